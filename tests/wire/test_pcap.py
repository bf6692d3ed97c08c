"""Capture files in and out: what is read, what is written, and what a damaged file gives."""

import struct
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.wire.builders import packet, sip

from everline.wire.frame import CaptureFault, CaptureFileError, Frame
from everline.wire.pcap import read_frames, write_pcap


def classic(order: str = "<", *, nanoseconds: bool = False, frames: int = 2) -> bytes:
    """Two Ethernet frames, at 1.5 s and 2.5 s."""
    magic = 0xA1B23C4D if nanoseconds else 0xA1B2C3D4
    half = 500_000_999 if nanoseconds else 500_000
    file = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, 1)
    for index in range(frames):
        file += struct.pack(order + "IIII", 1 + index, half, 5, 60) + b"frame"
    return file


def read_until_damage(data: bytes) -> tuple[list[Frame], CaptureFileError | None]:
    """The frames, and the error if there was one."""
    frames: list[Frame] = []
    try:
        frames.extend(islice(read_frames(data), 10_000))
    except CaptureFileError as error:
        return frames, error
    return frames, None


@pytest.mark.parametrize("order", [pytest.param("<", id="little-endian"), pytest.param(">", id="big-endian")])
@pytest.mark.parametrize("nanoseconds", [pytest.param(False, id="us"), pytest.param(True, id="ns")])
def test_classic_pcap_in_every_byte_order_and_resolution(order: str, *, nanoseconds: bool) -> None:
    """The magic tells byte order and resolution; times come out as microseconds."""
    frames = list(read_frames(memoryview(classic(order, nanoseconds=nanoseconds))))

    assert frames == [Frame(1_500_000, 1, b"frame"), Frame(2_500_000, 1, b"frame")]


@pytest.mark.parametrize(
    ("data", "reason", "offset", "frames"),
    [
        pytest.param(b"", CaptureFault.TRUNCATED, 0, 0, id="empty"),
        pytest.param(b"\xd4\xc3", CaptureFault.TRUNCATED, 0, 0, id="half-a-magic"),
        pytest.param(b"\x1f\x8b\x08\x00", CaptureFault.NOT_A_CAPTURE, 0, 0, id="gzip"),
        pytest.param(classic()[:20], CaptureFault.TRUNCATED, 0, 0, id="cut-in-file-header"),
        pytest.param(classic()[:30], CaptureFault.TRUNCATED, 24, 0, id="cut-in-record-header"),
        pytest.param(classic()[:-1], CaptureFault.TRUNCATED, 45, 1, id="cut-in-second-frame"),
        pytest.param(classic() + b"\xff" * 16, CaptureFault.BAD_LENGTH, 66, 2, id="absurd-length"),
    ],
)
def test_damage_is_named_after_the_frames_before_it(
    data: bytes, reason: CaptureFault, offset: int, frames: int
) -> None:
    """A damaged file is still good for everything before the damage."""
    got, error = read_until_damage(data)

    assert error is not None
    assert (error.reason, error.offset, len(got)) == (reason, offset, frames)


@given(at=st.integers(0, 65), value=st.integers(0, 255))
def test_any_changed_byte_gives_frames_or_the_own_error(at: int, value: int) -> None:
    """No byte of a file can make the reader fail in any other way."""
    data = bytearray(classic())
    data[at] = value

    read_until_damage(bytes(data))


def test_what_is_written_is_a_little_endian_microsecond_file_of_raw_ip() -> None:
    """One header, then one piece a frame: a writer holds no more than one frame."""
    pieces = list(write_pcap([packet(sip(), captured_us=1_700_000_000_123_456)]))

    assert [len(piece) for piece in pieces] == [24, 16 + 28 + len(sip())]
    assert [frame.captured_us for frame in read_frames(b"".join(pieces))] == [1_700_000_000_123_456]
    assert {frame.link_type for frame in read_frames(b"".join(pieces))} == {101}
