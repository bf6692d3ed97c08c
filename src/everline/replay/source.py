"""The messages of a capture file: pcap, pcapng, or `.hep` (records of a 32-bit big-endian length and a datagram)."""

import mmap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from everline.replay.errors import CaptureInputError
from everline.wire.capture import SipExtractor, is_hep
from everline.wire.frame import CaptureFault, CaptureFileError
from everline.wire.hep import HepDecodeError, decode_hep, looks_like_hep
from everline.wire.packet import CapturedPacket
from everline.wire.pcap import read_frames

_MAX_HEP_BYTES: Final = 65_535
_LENGTH_BYTES: Final = 4
_PCAP_MAGICS: Final = (
    b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4", b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d", b"\x0a\x0d\x0d\x0a",
)  # fmt: skip


class CaptureSource:
    """
    The messages of one capture, read as often as asked.

    Attributes:
        skipped: What gave no message in the last reading, by reason.
        damage: Why the last reading ended before the end of the file, or None.
    """

    def __init__(self, data: bytes | memoryview, *, is_hep_file: bool) -> None:
        self.skipped: Counter[str] = Counter()
        self.damage: CaptureFileError | None = None
        self._data = memoryview(data)
        self._is_hep_file = is_hep_file

    def messages(self) -> Iterator[CapturedPacket]:
        """
        Every SIP message and HEP datagram in file order, up to the damage if there is some.

        For a HEP datagram the time is the one it carries, and the payload the datagram itself (see `is_hep_message`).
        """
        self.skipped, self.damage = Counter(), None
        return self._hep_records() if self._is_hep_file else self._captured()

    def is_hep_message(self, message: CapturedPacket) -> bool:
        """Whether the payload is a HEP datagram rather than SIP."""
        return self._is_hep_file or is_hep(message)

    def _captured(self) -> Iterator[CapturedPacket]:
        extractor = SipExtractor()
        try:
            for frame in read_frames(self._data):
                for packet in extractor.feed(frame):
                    yield self._timed(packet) if is_hep(packet) else packet
        except CaptureFileError as fault:
            self.damage = fault
        for packet in extractor.flush():
            yield self._timed(packet) if is_hep(packet) else packet
        self.skipped.update({str(reason): count for reason, count in extractor.losses.items()})

    def _hep_records(self) -> Iterator[CapturedPacket]:
        offset, data = 0, self._data
        while offset < len(data):
            length = int.from_bytes(data[offset : offset + _LENGTH_BYTES], "big")
            start = offset + _LENGTH_BYTES
            if start > len(data) or start + length > len(data) or not 0 < length <= _MAX_HEP_BYTES:
                is_cut = start > len(data) or 0 < length <= _MAX_HEP_BYTES
                fault = CaptureFault.TRUNCATED if is_cut else CaptureFault.BAD_LENGTH
                self.damage = CaptureFileError(fault, offset=offset)
                return
            datagram = bytes(data[start : start + length])
            yield self._timed(CapturedPacket(0, 0, "", 0, "", 0, datagram))
            offset = start + length

    def _timed(self, packet: CapturedPacket) -> CapturedPacket:
        """With the capture time which the HEP datagram carries; one that cannot be decoded is sent all the same."""
        try:
            captured_us = decode_hep(packet.payload).captured_us or packet.captured_us
        except HepDecodeError:
            captured_us = packet.captured_us
        ends = (packet.src_ip, packet.src_port, packet.dst_ip, packet.dst_port)
        return CapturedPacket(captured_us, packet.ip_proto, *ends, packet.payload)


def open_capture(path: Path) -> CaptureSource:
    """
    Map a capture file into memory: its size does not matter.

    Raises:
        CaptureInputError: It cannot be read, is empty, or is no capture.
    """
    try:
        with path.open("rb") as file:
            if not path.stat().st_size:
                raise CaptureInputError(f"{path} is empty: need a .pcap, .pcapng or .hep file")
            # Never closed by hand: it lives as long as somebody holds a piece of it.
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise CaptureInputError(f"{path} cannot be read: {error.strerror or error}") from error
    return CaptureSource(data, is_hep_file=_is_hep_file(path, bytes(data[:8])))


def _is_hep_file(path: Path, head: bytes) -> bool:
    """
    Tell the formats apart.

    Raises:
        CaptureInputError: It is none of them.
    """
    if head.startswith(_PCAP_MAGICS):
        return False
    if path.suffix == ".hep" or looks_like_hep(head[_LENGTH_BYTES:]):
        return True
    raise CaptureInputError(f"{path} is no capture: need a .pcap, .pcapng or .hep file; unpack it if it is compressed")
