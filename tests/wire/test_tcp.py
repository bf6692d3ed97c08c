"""TCP streams from captured segments: any order, repeated, overlapping, missing."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.wire.builders import tcp

from everline.wire.ip import IpPayload
from everline.wire.loss import Loss
from everline.wire.tcp import StreamMark, StreamPiece, TcpStreams

FIN, SYN, RST, ACK = 0x11, 0x02, 0x04, 0x10
OLD = {Loss.TCP_RETRANSMITTED: 1}
TEXT = bytes(range(256)) * 4


def ip_payload(segment: bytes, *, captured_us: int = 0, cut_bytes: int = 0, src: bytes = bytes(4)) -> IpPayload:
    """A TCP packet as the IP layer gives it."""
    return IpPayload(captured_us, 6, src, b"\x01\x02\x03\x04", segment, cut_bytes)


def text(pieces: list[StreamPiece]) -> bytes:
    """The bytes of pieces, `|` where something is missing, `.` at the end of a stream."""
    marks = {StreamMark.DATA: b"", StreamMark.CUT: b"|", StreamMark.END: b"."}
    return b"".join(marks[piece.mark] + piece.data for piece in pieces)


def stream(*segments: bytes) -> tuple[bytes, Counter[str]]:
    """What segments give, a millisecond apart, with the end of the capture behind them."""
    counts: Counter[str] = Counter()
    streams = TcpStreams(counts)
    pieces = [
        piece
        for at, segment in enumerate(segments)
        for piece in streams.feed(ip_payload(segment, captured_us=at * 1000))
    ]
    return text(pieces + streams.flush()), counts


@pytest.mark.parametrize(
    ("segments", "expected", "lost"),
    [
        pytest.param([tcp(seq=9, flags=SYN), tcp(b"ab", seq=10), tcp(b"cd", seq=12)], b"abcd.", {}, id="in-order"),
        pytest.param([tcp(b"ab", seq=10), tcp(b"cd", seq=12)], b"abcd.", {}, id="without-syn"),
        pytest.param([tcp(seq=9, flags=ACK), tcp(b"ab", seq=20)], b"ab.", {}, id="a-bare-ack-begins-nothing"),
        pytest.param([tcp(b"ab", seq=10), tcp(seq=9, flags=SYN), tcp(b"cd", seq=12)], b"abcd.", {}, id="a-late-syn"),
        pytest.param(
            [tcp(seq=9, flags=SYN), tcp(b"cd", seq=12), tcp(b"ab", seq=10)], b"abcd.", {}, id="the-wrong-way-round"
        ),
        pytest.param(
            [tcp(b"ab", seq=10), tcp(b"ab", seq=10), tcp(b"c", seq=12)],
            b"abc.",
            OLD,
            id="retransmitted",
        ),
        pytest.param([tcp(b"abc", seq=10), tcp(b"BCde", seq=11)], b"abcde.", {}, id="overlap-the-first-copy-counts"),
        pytest.param(
            [tcp(seq=9, flags=SYN), tcp(b"cde", seq=12), tcp(b"de", seq=13), tcp(b"ab", seq=10)],
            b"abcde.",
            OLD,
            id="overlap-among-those-that-wait",
        ),
        pytest.param([tcp(b"ab", seq=0xFFFFFFFF), tcp(b"cd", seq=1)], b"abcd.", {}, id="numbers-wrap"),
        pytest.param([tcp(b"ab", seq=10), tcp(b"ef", seq=14)], b"ab|ef.", {Loss.TCP_GAP: 1}, id="a-hole-at-the-end"),
        pytest.param([tcp(b"ab", seq=10, flags=FIN), tcp(b"ab", seq=10)], b"ab.", OLD, id="fin-then-old"),
        pytest.param([tcp(b"cd", seq=12, flags=FIN), tcp(b"ab", seq=10)], b"cd.", OLD, id="late"),
        pytest.param(
            [tcp(seq=9, flags=SYN), tcp(b"cd", seq=12, flags=FIN), tcp(b"ab", seq=10)],
            b"abcd.",
            {},
            id="fin-before-data",
        ),
        pytest.param([tcp(b"ab", seq=10), tcp(seq=12, flags=RST), tcp(seq=12, flags=RST)], b"ab.", {}, id="reset"),
        pytest.param(
            [tcp(seq=9, flags=SYN), tcp(b"a", seq=10), tcp(seq=99, flags=SYN), tcp(b"b", seq=100)],
            b"a.b.",
            {},
            id="ports-used-again",
        ),
        pytest.param([tcp(b"a", seq=10, flags=FIN), tcp(b"b", seq=12)], b"a.b.", {}, id="used-again-without-syn"),
        pytest.param([tcp(b"a", seq=10), tcp(b"b", seq=10 + (1 << 30))], b"a.b.", {}, id="a-far-jump-is-another"),
        pytest.param([tcp(seq=9, flags=SYN), tcp(seq=9, flags=SYN), tcp(b"a", seq=10)], b"a.", {}, id="syn-twice"),
        pytest.param([tcp(b"abc", seq=9, flags=SYN), tcp(b"d", seq=13)], b"abcd.", {}, id="data-in-syn"),
        pytest.param([tcp(b"ab", seq=10), tcp(b"b", seq=11), tcp(b"c", seq=12)], b"abc.", OLD, id="keep-alive"),
        pytest.param([b"short"], b"", {Loss.BAD_TCP: 1}, id="cut-in-the-header"),
        pytest.param([tcp()[:12] + b"\xf0" + tcp()[13:]], b"", {Loss.BAD_TCP: 1}, id="options-beyond-the-segment"),
    ],
)
def test_bytes_of_a_stream(segments: list[bytes], expected: bytes, lost: dict[Loss, int]) -> None:
    """Bytes come once and in order; what is missing is marked."""
    assert stream(*segments) == (expected, Counter(lost))


@given(order=st.permutations(range(16)), seq=st.sampled_from([10, 0xFFFFFF00]))
def test_segments_in_any_order_give_the_stream(order: list[int], seq: int) -> None:
    """Once the SYN has been seen, order makes no difference."""
    made = [tcp(TEXT[at * 64 : at * 64 + 64], seq=seq + 1 + at * 64) for at in range(16)]
    got, counts = stream(tcp(seq=seq, flags=SYN), *(made[index] for index in order))

    assert (got, counts) == (TEXT + b".", Counter())


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 200)), max_size=30))
def test_overlaps_of_any_kind_give_each_byte_once(cuts: list[tuple[int, int]]) -> None:
    """Repacketised retransmissions: the same bytes in other segments."""
    made = [tcp(TEXT[start : start + size], seq=start) for start, size in cuts]
    whole = [tcp(TEXT[at : at + 100], seq=at) for at in range(0, len(TEXT), 100)]
    got, counts = stream(tcp(seq=-1, flags=SYN), *made, *whole)

    assert got == TEXT + b"."
    assert set(counts) <= {Loss.TCP_RETRANSMITTED}


def test_a_piece_is_as_late_as_the_last_byte_before_it() -> None:
    """The receiver could not read on before: a message is complete when its last hole is filled."""
    streams = TcpStreams(Counter())
    streams.feed(ip_payload(tcp(seq=9, flags=SYN)))
    assert streams.feed(ip_payload(tcp(b"cd", seq=12), captured_us=5)) == []

    pieces = streams.feed(ip_payload(tcp(b"ab", seq=10), captured_us=7))
    assert [(piece.data, piece.captured_us) for piece in pieces] == [(b"ab", 7), (b"cd", 7)]


def test_a_hole_is_given_up_after_five_seconds_even_if_its_stream_is_silent() -> None:
    """Any later packet moves the clock."""
    counts: Counter[str] = Counter()
    streams = TcpStreams(counts)
    streams.feed(ip_payload(tcp(b"ab", seq=10)))
    streams.feed(ip_payload(tcp(b"ef", seq=14), captured_us=1_000_000))
    assert streams.feed(ip_payload(tcp(b"x", seq=1), captured_us=6_000_000, src=b"else"))[:-1] == []

    pieces = streams.feed(ip_payload(tcp(b"y", seq=2), captured_us=6_000_001, src=b"else"))
    assert text(pieces) == b"|efy"
    assert counts == {Loss.TCP_GAP: 1}


@pytest.mark.parametrize(
    ("size", "count"), [pytest.param(1000, 300, id="too-many-bytes"), pytest.param(1, 1100, id="too-many-segments")]
)
def test_what_waits_behind_a_hole_is_bounded(size: int, count: int) -> None:
    """When too much waits, the hole is given up at once."""
    counts: Counter[str] = Counter()
    streams = TcpStreams(counts)
    pieces = [
        piece
        for at in range(count)
        for piece in streams.feed(ip_payload(tcp(b"x" * size, seq=10 + at * size * (at > 0) + (at > 0))))
    ]

    assert counts == {Loss.TCP_GAP: 1}
    assert text(pieces) == b"x" * size + b"|" + b"x" * size * (count - 1)


def test_a_segment_cut_by_the_snap_length_leaves_a_mark_and_no_wait() -> None:
    """Its length on the wire is known, so what follows fits."""
    streams = TcpStreams(Counter())
    pieces = streams.feed(ip_payload(tcp(b"ab", seq=10), cut_bytes=3)) + streams.feed(ip_payload(tcp(b"fg", seq=15)))

    assert text(pieces) == b"ab|fg"


@given(st.lists(st.tuples(st.integers(0, 0xFFFFFFFF), st.integers(0, 31), st.binary(max_size=8)), max_size=40))
def test_any_segments_end_every_stream_they_begin(segments: list[tuple[int, int, bytes]]) -> None:
    """Hostile flags and numbers: no failure, and nothing is left."""
    streams = TcpStreams(Counter())
    made = (tcp(data, seq=seq, flags=flags) for seq, flags, data in segments)
    pieces = [piece for segment in made for piece in streams.feed(ip_payload(segment))] + streams.flush()

    assert streams._held_bytes == 0
    assert not pieces or pieces[-1].mark is StreamMark.END
