"""SIP over a byte stream: where a message begins and ends, whatever the pieces are."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.wire.builders import ok, sip

from everline.wire.framing import FramingLoss, SipFramer

BODY = b"v=0\r\nINVITE sip:x SIP/2.0\r\n"
NO_LENGTH = b"OPTIONS sip:bob@example.com SIP/2.0\r\nCall-ID: n\r\n\r\n"


def with_length(field: bytes, body: bytes) -> bytes:
    """A request with its own way to write Content-Length."""
    return b"MESSAGE sip:bob@example.com SIP/2.0\r\n" + field + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        pytest.param(sip(body=BODY) + ok(), [sip(body=BODY), ok()], id="a-body-may-look-like-a-start-line"),
        pytest.param(b"\r\n\r\n" + sip() + b"\r\n\r\n" + ok() + b"\r\n", [sip(), ok()], id="keep-alives-are-skipped"),
        pytest.param(NO_LENGTH + ok(), [NO_LENGTH, ok()], id="without-length-there-is-no-body"),
        pytest.param(
            with_length(b"CONTENT-LENGTH  :  3", b"abc"), [with_length(b"CONTENT-LENGTH  :  3", b"abc")], id="any-case"
        ),
        pytest.param(with_length(b"l:3", b"abc"), [with_length(b"l:3", b"abc")], id="compact-form"),
        pytest.param(
            with_length(b"Content-Length:\r\n 3", b"abc"), [with_length(b"Content-Length:\r\n 3", b"abc")], id="folded"
        ),
        pytest.param(
            with_length(b"Subject: l: 9\r\nl: 3", b"abc"),
            [with_length(b"Subject: l: 9\r\nl: 3", b"abc")],
            id="not-a-header",
        ),
        pytest.param(ok().replace(b"\r\n", b"\n"), [ok().replace(b"\r\n", b"\n")], id="bare-line-feeds"),
        pytest.param(b"sip/2.0 200 OK\r\n\r\n", [b"sip/2.0 200 OK\r\n\r\n"], id="version-in-any-case"),
        pytest.param(b"\x16\x03\x01\n" + ok(), [ok()], id="garbage-up-to-a-line-end"),
        pytest.param(b"half a body</presence>" + ok(), [ok()], id="garbage-glued-to-a-response"),
        pytest.param(b"half a body" + sip(), [sip()], id="garbage-glued-to-a-request"),
        pytest.param(b"x" * 9000 + b"\r\n" + ok(), [ok()], id="a-line-that-is-no-line"),
    ],
)
def test_messages_of_a_stream(stream: bytes, expected: list[bytes]) -> None:
    """Messages come out byte-exact, what is between them is skipped (RFC 3261 sections 7.5 and 18.3)."""
    assert SipFramer().feed(stream) == expected


@pytest.mark.parametrize(
    ("stream", "lost"),
    [
        pytest.param(b"\r\n\r\n" + sip() + b"\r\n", {}, id="keep-alives-are-no-loss"),
        pytest.param(b"GET / HTTP/1.1\r\n", {FramingLoss.GARBAGE: 16}, id="http"),
        pytest.param(
            with_length(b"l: 65535", b""),
            {FramingLoss.TOO_LONG: len(with_length(b"l: 65535", b""))},
            id="body-too-long",
        ),
        pytest.param(
            b"SIP/2.0 200 OK\r\n" + b"Via: x\r\n" * 10_000 + b"\r\n",
            {FramingLoss.TOO_LONG: 65_535, FramingLoss.GARBAGE: 16 + 80_000 - 65_535},
            id="headers-without-end",
        ),
        pytest.param(sip(body=b"cut")[:-1], {FramingLoss.CUT_OFF: len(sip(body=b"cut")) - 1}, id="stream-ends-inside"),
    ],
)
def test_what_is_lost_is_counted_by_reason(stream: bytes, lost: dict[FramingLoss, int]) -> None:
    """Every byte is in a message, in a keep-alive, or counted."""
    framer = SipFramer()
    framer.feed(stream)
    framer.cut()

    assert framer.lost_bytes == Counter(lost)
    assert framer.pending_bytes == 0


@pytest.mark.parametrize(
    "field",
    [
        pytest.param(b"Content-Length: -1", id="negative"),
        pytest.param(b"Content-Length: " + b"9" * 5000, id="longer-than-any-number"),
        pytest.param(b"Content-Length: many", id="a-word"),
        pytest.param(b"Content-Length:", id="empty"),
        pytest.param(b"Subject: none", id="missing"),
    ],
)
def test_a_message_without_usable_length_ends_with_its_headers(field: bytes) -> None:
    """Nothing better is known; it is counted, and what follows is looked at for a start line."""
    framer = SipFramer()

    assert framer.feed(with_length(field, b"") + ok()) == [with_length(field, b""), ok()]
    assert framer.unsized == 1


def test_a_cut_gives_up_the_message_and_the_next_one_is_found() -> None:
    """After lost bytes the stream goes on in the middle of anything."""
    framer = SipFramer()
    framer.feed(sip(body=b"x" * 100)[:-50])
    framer.cut()

    assert framer.feed(b"x" * 20 + b"\r\n" + ok()) == [ok()]


PIECES = st.sampled_from(
    [
        sip(), ok(), sip(body=BODY), NO_LENGTH, b"\r\n\r\n", b"garbage\r\n", b"glued", b"\x00\xff", b"x" * 9000,
        b"\n\n", with_length(b"l: 700", b"y" * 700), with_length(b"l: 50", b""),
        b"SIP/2.0 200 OK\r\n" + b"a: b\r\n" * 120,
    ]
)  # fmt: skip


@given(parts=st.lists(PIECES, max_size=12), cuts=st.lists(st.integers(1, 400), min_size=1, max_size=60))
def test_how_the_stream_is_cut_into_pieces_makes_no_difference(parts: list[bytes], cuts: list[int]) -> None:
    """Same messages and same losses, byte by byte or all at once, and never more held than the bound."""
    stream = b"".join(parts)
    whole, pieced = SipFramer(max_message=600), SipFramer(max_message=600)
    expected = whole.feed(stream)
    got: list[bytes] = []
    at = 0
    for index in range(len(stream)):
        size = cuts[index % len(cuts)]
        got += pieced.feed(stream[at : at + size])
        at += size
        assert pieced.pending_bytes <= 8_192 + 400
        if at >= len(stream):
            break

    assert got == expected
    assert (pieced.lost_bytes, pieced.unsized) == (whole.lost_bytes, whole.unsized)


@given(st.binary(max_size=300), st.integers(0, 200))
def test_any_damage_gives_messages_or_counted_bytes(noise: bytes, at: int) -> None:
    """The framer never fails, and every byte but line ends is accounted for."""
    stream = (sip(body=BODY) + ok())[:at] + noise + sip()
    framer = SipFramer()
    messages = framer.feed(stream)
    framer.cut()

    assert sum(map(len, messages)) + framer.lost_bytes.total() <= len(stream)
    assert all(message in stream for message in messages)


@pytest.mark.parametrize(
    "line", [b"SIP/2.0 200 OK\rx\n", b"SIP/2.0 486 \r\r\n", b"xSIP/2.0 200 OK\rSIP/2.0 200 \r\r\n"]
)
def test_a_line_that_only_begins_like_a_status_line_is_garbage(line: bytes) -> None:
    """It is given up, and framing goes on behind it."""
    framer = SipFramer()

    assert framer.feed(line + sip()) == [sip()]
    assert framer.lost_bytes[FramingLoss.GARBAGE] == len(line)


def test_a_megabyte_byte_by_byte_is_no_work() -> None:
    """Work is linear in bytes: each is searched once, whatever the pieces (a quadratic framer needs hours here)."""
    framer = SipFramer()
    stream = with_length(b"l: 60000", b"z" * 60_000) + b"SIP/2.0 200 OK\r\n" * 4000 + b"q" * 200_000
    messages = [message for index in range(len(stream)) for message in framer.feed(stream[index : index + 1])]

    assert [len(message) for message in messages] == [60_000 + len(with_length(b"l: 60000", b""))]
