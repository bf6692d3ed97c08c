"""pcapng: sections, interfaces, clocks and the three kinds of packet block."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everline.wire.frame import CaptureFault, CaptureFileError, Frame
from everline.wire.pcap import read_frames

SECOND = 1_000_000


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """Any block: type, length, body, length."""
    body += bytes(-len(body) % 4)
    length = 12 + len(body)
    return struct.pack(order + "II", kind, length) + body + struct.pack(order + "I", length)


def section(order: str = "<") -> bytes:
    """A section header block of unknown section length."""
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    """One option, padded."""
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def interface(link_type: int = 1, options: bytes = b"", order: str = "<", *, snap_bytes: int = 0) -> bytes:
    """An interface description block."""
    return block(1, struct.pack(order + "HHI", link_type, 0, snap_bytes) + options, order)


def enhanced(ticks: int, data: bytes = b"frame", order: str = "<", *, index: int = 0) -> bytes:
    """An enhanced packet block."""
    head = struct.pack(order + "IIIII", index, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data))
    return block(6, head + data, order)


def simple(original: int, data: bytes) -> bytes:
    """A simple packet block: no time, no captured length."""
    return block(3, struct.pack("<I", original) + data)


def obsolete(ticks: int, data: bytes = b"frame") -> bytes:
    """The packet block of the first pcapng drafts."""
    return block(2, struct.pack("<HHIIII", 0, 0, ticks >> 32, ticks & 0xFFFFFFFF, len(data), len(data)) + data)


FILE = (
    section()
    + interface(options=option(9, b"\x09") + option(14, struct.pack("<q", 10)) + option(0, b""))
    + interface(113, snap_bytes=3)
    + block(5, b"statistics, skipped")
    + enhanced(2_500_000_000)
    + enhanced(7 * SECOND, index=1)
)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(section() + interface() + enhanced(3 * SECOND), [Frame(3 * SECOND, 1, b"frame")], id="default-us"),
        pytest.param(
            section(">") + interface(order=">") + enhanced(3 * SECOND, order=">"),
            [Frame(3 * SECOND, 1, b"frame")],
            id="big-endian",
        ),
        pytest.param(
            section() + interface(options=option(9, b"\x8a")) + enhanced(1536),
            [Frame(1_500_000, 1, b"frame")],
            id="resolution-in-powers-of-two",
        ),
        pytest.param(
            FILE, [Frame(12_500_000, 1, b"frame"), Frame(7 * SECOND, 113, b"frame")], id="a-clock-an-interface"
        ),
        pytest.param(
            section() + interface(snap_bytes=3) + simple(5, b"fra"),
            [Frame(0, 1, b"fra")],
            id="simple-block-cut-by-snap",
        ),
        pytest.param(section() + interface() + simple(5, b"frame"), [Frame(0, 1, b"frame")], id="simple-block-padding"),
        pytest.param(section() + interface() + obsolete(9), [Frame(9, 1, b"frame")], id="obsolete-block"),
        pytest.param(
            section() + interface() + section(">") + interface(101, order=">") + enhanced(1, order=">"),
            [Frame(1, 101, b"frame")],
            id="a-new-section-has-its-own-order-and-interfaces",
        ),
    ],
)
def test_frames_of_a_file(data: bytes, expected: list[Frame]) -> None:
    """Each interface has its own link type, resolution and offset."""
    assert list(read_frames(data)) == expected


@pytest.mark.parametrize(
    ("tail", "reason"),
    [
        pytest.param(enhanced(1, index=2), CaptureFault.NO_INTERFACE, id="unknown-interface"),
        pytest.param(enhanced(1)[:-1], CaptureFault.TRUNCATED, id="cut"),
        pytest.param(enhanced(1)[:-4] + b"\0\0\0\0", CaptureFault.BAD_LENGTH, id="lengths-disagree"),
        pytest.param(struct.pack("<II", 6, 8) + b"\0\0\0\0", CaptureFault.BAD_LENGTH, id="shorter-than-a-block"),
        pytest.param(block(6, bytes(12) + b"\xff" * 8), CaptureFault.BAD_LENGTH, id="frame-over-its-block"),
        pytest.param(block(6, bytes(16)), CaptureFault.BAD_LENGTH, id="no-room-for-the-fields"),
        pytest.param(block(1, b""), CaptureFault.BAD_LENGTH, id="interface-without-link-type"),
        pytest.param(block(3, b""), CaptureFault.BAD_LENGTH, id="simple-block-without-length"),
        pytest.param(section() + simple(1, b"f"), CaptureFault.NO_INTERFACE, id="simple-block-without-interface"),
        pytest.param(block(0x0A0D0D0A, bytes(16)), CaptureFault.BAD_BYTE_ORDER, id="no-byte-order"),
    ],
)
def test_damage_is_named_after_the_frames_before_it(tail: bytes, reason: CaptureFault) -> None:
    """The frames before the damage come first, then the error with its place."""
    frames = read_frames(FILE + tail)

    assert [next(frames).link_type, next(frames).link_type] == [1, 113]
    with pytest.raises(CaptureFileError) as caught:
        next(frames)
    assert caught.value.reason == reason
    assert caught.value.offset >= len(FILE)


@given(cut=st.integers(0, len(FILE) - 1), value=st.integers(0, 255))
def test_any_cut_or_changed_byte_gives_frames_or_the_own_error(cut: int, value: int) -> None:
    """No damage makes the reader fail in any other way."""
    for damaged in (FILE[:cut], FILE[:cut] + bytes([value]) + FILE[cut + 1 :]):
        try:
            assert len(list(read_frames(damaged))) <= 2
        except CaptureFileError:
            continue
