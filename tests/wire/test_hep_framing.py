"""HEP3 over a byte stream, plain and compressed."""

import gzip
import struct
import zlib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everline.wire.framing import FramingLoss
from everline.wire.hep_framing import HepFramer


def hep(payload: bytes = b"chunks") -> bytes:
    """A HEP3 frame; its chunks do not matter here."""
    return b"HEP3" + struct.pack("!H", 6 + len(payload)) + payload


def chop(framer: HepFramer, stream: bytes, size: int) -> list[bytes]:
    """Feed in pieces of one size."""
    return [packet for at in range(0, len(stream), size) for packet in framer.feed(stream[at : at + size])]


@pytest.mark.parametrize(
    ("stream", "expected", "lost"),
    [
        pytest.param(hep() + hep(b""), [hep(), hep(b"")], {}, id="one-after-the-other"),
        pytest.param(b"noise HEP" + hep(), [hep()], {FramingLoss.GARBAGE: 9}, id="noise-before"),
        pytest.param(hep() + b"HEPH" + hep(), [hep(), hep()], {FramingLoss.GARBAGE: 4}, id="a-false-beginning"),
        pytest.param(b"HEP3\x00\x05" + hep(), [hep()], {FramingLoss.GARBAGE: 6}, id="shorter-than-its-header"),
        pytest.param(hep()[:-1], [], {FramingLoss.CUT_OFF: len(hep()) - 1}, id="stream-ends-inside"),
        pytest.param(b"H", [], {FramingLoss.CUT_OFF: 1}, id="stream-ends-at-once"),
        pytest.param(gzip.compress(hep() + hep()), [hep(), hep()], {}, id="gzip"),
        pytest.param(gzip.compress(hep()) + gzip.compress(hep()), [hep(), hep()], {}, id="a-gzip-member-each"),
        pytest.param(gzip.compress(hep(b"a" * 60_000) * 3), [hep(b"a" * 60_000)] * 3, {}, id="gzip-over-many-steps"),
    ],
)
@pytest.mark.parametrize("size", [pytest.param(1, id="byte-by-byte"), pytest.param(10**6, id="at-once")])
def test_packets_of_a_stream(stream: bytes, expected: list[bytes], lost: dict[FramingLoss, int], size: int) -> None:
    """Packets come out whole; what is between them is counted."""
    framer = HepFramer()

    assert chop(framer, stream, size) == expected
    framer.cut()
    assert framer.lost_bytes == Counter(lost)


def test_a_compressed_stream_gives_packets_at_each_flush() -> None:
    """An agent flushes its compressor after each batch; nothing has to wait for the end of the stream."""
    squeeze = zlib.compressobj(wbits=31)
    first = squeeze.compress(hep(b"one")) + squeeze.flush(zlib.Z_SYNC_FLUSH)
    second = squeeze.compress(hep(b"two")) + squeeze.flush(zlib.Z_SYNC_FLUSH)
    framer = HepFramer()

    assert [framer.feed(first), framer.feed(second)] == [[hep(b"one")], [hep(b"two")]]


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(b"\x1f\x8bnot gzip at all", id="damaged"),
        pytest.param(gzip.compress(bytes(50_000_000)), id="a-bomb"),
        pytest.param(gzip.compress(hep()) + b"trailing bytes", id="no-member-after-a-member"),
    ],
)
def test_a_compressed_stream_that_fails_is_broken_for_good(stream: bytes) -> None:
    """Where a damaged compressed stream goes on cannot be known: the shell closes it."""
    framer = HepFramer()
    framer.feed(stream)

    assert framer.broken
    assert framer.feed(hep()) == []
    assert framer.lost_bytes[FramingLoss.BAD_COMPRESSION] >= len(hep())


def test_after_a_cut_a_compressed_stream_cannot_go_on_but_a_plain_one_can() -> None:
    """Inflating needs every byte."""
    plain, squeezed = HepFramer(), HepFramer()
    plain.feed(hep()[:7])
    squeezed.feed(gzip.compress(hep())[:20])
    for framer in (plain, squeezed):
        framer.cut()

    assert (plain.feed(hep()), plain.broken) == ([hep()], False)
    assert (squeezed.feed(hep()), squeezed.broken) == ([], True)


PARTS = st.lists(st.sampled_from([hep(), hep(b"HEP3"), b"HEP3\0\0", b"HE", b"HEP", b"noise", b"\x1f\x8b"]), max_size=10)


@given(parts=PARTS, size=st.integers(1, 20), packed=st.booleans())
def test_how_the_stream_is_cut_into_pieces_makes_no_difference(parts: list[bytes], size: int, *, packed: bool) -> None:
    """Same packets and same losses in any pieces."""
    stream = b"H" + b"".join(parts)
    if packed:
        stream = gzip.compress(stream)
    whole, pieced = HepFramer(), HepFramer()

    assert chop(pieced, stream, size) == whole.feed(stream)
    assert pieced.lost_bytes == whole.lost_bytes
