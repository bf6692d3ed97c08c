"""Session descriptions: addresses, media, codecs, hold; tolerant of whatever is sent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everline.wire.sdp import Direction, Media, Sdp, find_sdp, parse_sdp

OFFER = (
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\na=sendrecv\r\n"
    b"m=audio 4000/2 RTP/AVP 96 8 0 101 77\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\n"
    b"a=rtcp:4005 IN IP4 192.0.2.1\r\na=fmtp:101 0-15\r\n"
    b"m=video 0 RTP/SAVPF 97\r\nc=IN IP6 2001:db8::1\r\na=rtpmap:97 H264/90000\r\na=inactive\r\na=rtcp-mux\r\n"
    b"m=image 4002 udptl t38\r\n"
)
AUDIO = Media(
    "audio", 4000, "RTP/AVP", ("96", "8", "0", "101", "77"),
    ("opus/48000", "PCMA/8000", "PCMU/8000", "telephone-event/8000"),
    "192.0.2.1", Direction.SENDRECV, 4005, has_rtcp_mux=False,
)  # fmt: skip
VIDEO = Media(
    "video", 0, "RTP/SAVPF", ("97",), ("H264/90000",), "2001:db8::1", Direction.INACTIVE, None, has_rtcp_mux=True
)
IMAGE = Media("image", 4002, "udptl", ("t38",), (), "192.0.2.1", Direction.SENDRECV, None, has_rtcp_mux=False)


def test_a_whole_description() -> None:
    """Media take the session's address and direction unless they have their own."""
    assert parse_sdp(OFFER) == Sdp("192.0.2.1", (AUDIO, VIDEO, IMAGE), 0)


def test_codecs_of_all_media_in_order_each_once() -> None:
    """Known by rtpmap, or by RFC 3551 for the static payload types; 77 is neither."""
    sdp = parse_sdp(b"m=audio 1 RTP/AVP 0 8 77\nm=audio 2 RTP/AVP 8 9\n")

    assert sdp.codecs == ("PCMU/8000", "PCMA/8000", "G722/8000")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param("c=IN IP4 192.0.2.1\nm=audio 4000 RTP/AVP 0", False, id="sendrecv-is-the-default"),
        pytest.param("m=audio 4000 RTP/AVP 0\na=sendonly", True, id="sendonly"),
        pytest.param("m=audio 4000 RTP/AVP 0\na=inactive", True, id="inactive"),
        pytest.param("m=audio 4000 RTP/AVP 0\na=recvonly", False, id="recvonly-is-the-one-held"),
        pytest.param("a=sendonly\nm=audio 4000 RTP/AVP 0", True, id="for-the-whole-session"),
        pytest.param("a=sendonly\nm=audio 4000 RTP/AVP 0\na=sendrecv", False, id="the-medium-knows-better"),
        pytest.param("c=IN IP4 0.0.0.0\nm=audio 4000 RTP/AVP 0", True, id="the-older-way"),
        pytest.param("c=IN IP6 ::\nm=audio 4000 RTP/AVP 0", True, id="the-older-way-for-ipv6"),
        pytest.param("c=IN IP4 0.0.0.0\nm=audio 4000 RTP/AVP 0\nc=IN IP4 192.0.2.1", False, id="own-address"),
        pytest.param("m=audio 4000 RTP/AVP 0\na=sendonly\nm=video 4002 RTP/AVP 34", False, id="one-of-two"),
        pytest.param(
            "m=audio 4000 RTP/AVP 0\na=sendonly\nm=video 0 RTP/AVP 34", True, id="a-refused-one-does-not-count"
        ),
        pytest.param("m=audio 0 RTP/AVP 0\na=inactive", False, id="no-medium-in-use"),
        pytest.param("", False, id="nothing"),
    ],
)
def test_hold(body: str, *, expected: bool) -> None:
    """RFC 3264 section 8.4, and what was done before it."""
    assert parse_sdp(body.encode()).is_hold is expected


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("no letter", id="no-letter"),
        pytest.param("V=0", id="capital-letter"),
        pytest.param("m=audio RTP/AVP 0", id="media-without-port"),
        pytest.param("m=audio 65536 RTP/AVP 0", id="media-with-a-port-too-high"),
        pytest.param("c=IN IP4", id="connection-without-address"),
        pytest.param("a=rtpmap:0", id="rtpmap-without-name"),
        pytest.param("a=rtcp:many", id="rtcp-without-port"),
        pytest.param("\udcff\udcfe", id="no-text"),
    ],
)
def test_an_odd_line_is_skipped_and_counted(line: str) -> None:
    """The rest stays what it is."""
    sdp = parse_sdp(b"c=IN IP4 192.0.2.1\nm=audio 1 RTP/AVP 0\n" + line.encode("utf-8", "surrogateescape") + b"\r\n")

    assert (sdp.address, sdp.codecs, sdp.skipped_lines) == ("192.0.2.1", ("PCMU/8000",), 1)


def test_lines_after_a_media_line_that_cannot_be_understood_belong_to_nothing() -> None:
    """They must not change the medium before it."""
    sdp = parse_sdp(b"m=audio 1 RTP/AVP 0\nm=video\na=sendonly\nc=IN IP4 0.0.0.0\n")

    assert (sdp.media[0].is_held, sdp.skipped_lines) == (False, 1)


def part(content_type: str, body: bytes) -> bytes:
    """One part of a multipart body, without its delimiter."""
    return f"Content-Type: {content_type}\r\nContent-ID: <1>\r\n\r\n".encode() + body


def multipart(*parts: bytes, boundary: bytes = b"b1") -> bytes:
    """A multipart body."""
    return b"".join(b"--" + boundary + b"\r\n" + one + b"\r\n" for one in parts) + b"--" + boundary + b"--\r\n"


SDP = b"v=0\r\ns=-"
ISUP = part("application/isup;version=1", b"\x01\x02\r\n\r\n")
NESTED = part("multipart/alternative; boundary=b2", multipart(ISUP, part("application/sdp", SDP), boundary=b"b2"))


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        pytest.param("application/sdp", SDP, SDP, id="the-body-itself"),
        pytest.param("Application/SDP ; charset=utf-8", SDP, SDP, id="any-case-and-parameters"),
        pytest.param("", SDP, SDP, id="no-type-but-it-begins-like-sdp"),
        pytest.param("", b"hello", None, id="no-type-and-no-sdp"),
        pytest.param("text/plain", SDP, None, id="another-type"),
        pytest.param(
            "multipart/mixed;boundary=b1", multipart(ISUP, part("application/sdp", SDP)), SDP, id="second-part"
        ),
        pytest.param(
            'multipart/mixed; boundary="b 1"',
            multipart(part("application/sdp", SDP), boundary=b"b 1"),
            SDP,
            id="quoted",
        ),
        pytest.param("multipart/mixed; boundary=b1", multipart(NESTED), SDP, id="nested"),
        pytest.param("multipart/mixed; boundary=b1", multipart(ISUP), None, id="no-such-part"),
        pytest.param("multipart/mixed; boundary=b1", multipart(SDP), None, id="a-part-without-headers"),
        pytest.param("multipart/mixed; boundary=b1", multipart(b"\r\n" + SDP), None, id="a-part-without-type-is-text"),
        pytest.param("multipart/mixed", multipart(part("application/sdp", SDP)), None, id="no-boundary"),
        pytest.param(
            "multipart/mixed; boundary=b1", multipart(part("application/sdp", SDP))[:-10], SDP, id="without-its-end"
        ),
        pytest.param(
            "multipart/mixed; boundary=b1", b"--b1--\r\n" + multipart(part("application/sdp", SDP)), None, id="over"
        ),
    ],
)
def test_sdp_in_a_body(content_type: str, body: bytes, expected: bytes | None) -> None:
    """The body, or the first part that is SDP (SIP-T and SIP-I carry ISUP beside it)."""
    assert find_sdp(content_type, body) == expected


def test_parts_nested_without_end_are_given_up() -> None:
    """Depth is bounded."""
    body = part("application/sdp", SDP)
    for _ in range(6):
        body = part("multipart/mixed; boundary=b1", body)

    assert find_sdp("multipart/mixed; boundary=b1", multipart(body)) is None


@given(at=st.integers(0, 1000), value=st.binary(max_size=3))
def test_any_damage_gives_a_description(at: int, value: bytes) -> None:
    """Never an error, in the description or around it."""
    body = multipart(ISUP, part("application/sdp", OFFER))
    at %= len(body)
    for damaged in (body[:at], body[:at] + value + body[at + 1 :]):
        parse_sdp(damaged)
        parse_sdp(find_sdp("multipart/mixed; boundary=b1", damaged) or b"")


@given(st.text())
def test_any_text_is_a_content_type(text: str) -> None:
    """Whatever the header says."""
    find_sdp(text, SDP)
    find_sdp("multipart/mixed; boundary=" + text, multipart(part("application/sdp", SDP)))
