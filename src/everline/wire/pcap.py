"""Read capture files (classic pcap here, pcapng beside it) and write classic pcap."""

import struct
from collections.abc import Iterable, Iterator
from typing import Final

from everline.wire.frame import CaptureFault, CaptureFileError, Frame
from everline.wire.packet import CapturedPacket
from everline.wire.pcapng import SECTION_MAGIC, read_pcapng
from everline.wire.synth import Synthesizer

LINKTYPE_RAW: Final = 101
"""The frame is the IP packet: nothing about a link needs to be invented when we write."""

# Magic -> byte order and ticks a microsecond.
_MAGICS: Final = {
    b"\xd4\xc3\xb2\xa1": ("<", 1),
    b"\xa1\xb2\xc3\xd4": (">", 1),
    b"\x4d\x3c\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\x3c\x4d": (">", 1000),
}
_FILE_HEADER_BYTES: Final = 24
_RECORD_HEADER_BYTES: Final = 16
_MAX_FRAME_BYTES: Final = 262_144
"""What libpcap and Wireshark take as the longest frame; a greater length is damage."""
_MICROSECONDS: Final = 1_000_000


def read_frames(data: bytes | memoryview) -> Iterator[Frame]:
    """
    Give the frames of a capture file in file order; the format is known by its magic.

    Args:
        data: The whole file; a memoryview of a memory map keeps memory constant.

    Raises:
        CaptureFileError: After the last frame before the damage.
    """
    view = memoryview(data).cast("B")
    magic = bytes(view[:4])
    if magic == SECTION_MAGIC:
        return read_pcapng(view)
    return _read_classic(view, magic)


def _read_classic(data: memoryview, magic: bytes) -> Iterator[Frame]:
    if magic not in _MAGICS:
        short = any(known.startswith(magic) for known in (*_MAGICS, SECTION_MAGIC))
        raise CaptureFileError(CaptureFault.TRUNCATED if short else CaptureFault.NOT_A_CAPTURE, offset=0)
    order, ticks = _MAGICS[magic]
    if len(data) < _FILE_HEADER_BYTES:
        raise CaptureFileError(CaptureFault.TRUNCATED, offset=0)
    link_type = struct.unpack_from(order + "I", data, 20)[0] & 0xFFFF  # The upper half tells the FCS length.
    record = struct.Struct(order + "IIII")
    offset = _FILE_HEADER_BYTES
    while offset < len(data):
        if len(data) - offset < _RECORD_HEADER_BYTES:
            raise CaptureFileError(CaptureFault.TRUNCATED, offset=offset)
        seconds, fraction, length, _ = record.unpack_from(data, offset)
        if length > _MAX_FRAME_BYTES:
            raise CaptureFileError(CaptureFault.BAD_LENGTH, offset=offset)
        start = offset + _RECORD_HEADER_BYTES
        if start + length > len(data):
            raise CaptureFileError(CaptureFault.TRUNCATED, offset=offset)
        yield Frame(seconds * _MICROSECONDS + fraction // ticks, link_type, bytes(data[start : start + length]))
        offset = start + length


def write_pcap(packets: Iterable[CapturedPacket]) -> Iterator[bytes]:
    """
    Give a classic pcap file (microseconds, raw IP) piece by piece: its header, then one piece a frame.

    The headers under the payload are made up to agree with the packet's addresses; payloads are byte-exact.
    """
    yield struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, _MAX_FRAME_BYTES, LINKTYPE_RAW)
    synthesizer = Synthesizer()
    for packet in packets:
        seconds, fraction = divmod(packet.captured_us, _MICROSECONDS)
        for frame in synthesizer.frames(packet):
            yield struct.pack("<IIII", seconds & 0xFFFFFFFF, fraction, len(frame), len(frame)) + frame
