"""Cut a byte stream into HEP3 packets; a stream may be compressed as a whole, as heplify sends it."""

import zlib
from collections import Counter
from collections.abc import Iterator
from typing import Final

from everline.wire.framing import FramingLoss

HEP3_MAGIC: Final = b"HEP3"
GZIP_MAGIC: Final = b"\x1f\x8b"

_HEADER_BYTES: Final = 6
_INFLATE_STEP_BYTES: Final = 65_536
_DEFLATED_STEP_BYTES: Final = 8_192
"""zlib copies what it has not used at every step: small pieces keep that linear."""
_MAX_INFLATE_RATIO: Final = 200
"""SIP shrinks some twenty times; far beyond that is somebody's bomb."""
_FREE_INFLATED_BYTES: Final = 4 * 1024 * 1024


class HepFramer:
    """
    Take a stream in pieces, give whole HEP3 packets (`HEP3`, 16-bit length, chunks).

    After garbage, framing goes on with the next magic. At most one packet (65,535 bytes) is held. A stream which
    begins with the gzip magic is inflated; when that fails or grows beyond reason, the stream is `broken` for good.

    Attributes:
        lost_bytes: Bytes given up, by reason, compressed ones as they came; may be shared by many streams.
        broken: Nothing more can come out of this stream: close it.
    """

    def __init__(self, *, lost_bytes: Counter[FramingLoss] | None = None) -> None:
        self.lost_bytes: Counter[FramingLoss] = Counter() if lost_bytes is None else lost_bytes
        self.broken = False
        self._buffer = bytearray()
        self._inflater: _Inflater | None = None
        self._begun = False

    @property
    def pending_bytes(self) -> int:
        """Bytes held of a packet that is not complete."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes of the stream; give the packets which they complete."""
        if self.broken:
            self.lost_bytes[FramingLoss.BAD_COMPRESSION] += len(data)
            return []
        if not self._begun:
            data = self._begin(data)
        if self._inflater is None:
            return self._cut(data)
        packets: list[bytes] = []
        try:
            for plain in self._inflater.feed(data):
                packets += self._cut(plain)
        except zlib.error:
            self.broken = True
            self.lost_bytes[FramingLoss.BAD_COMPRESSION] += len(data)
        return packets

    def cut(self) -> None:
        """The stream has ended or lost bytes: give up what is incomplete; a compressed stream cannot go on."""
        if self._buffer:
            self.lost_bytes[FramingLoss.CUT_OFF] += len(self._buffer)
        self._buffer.clear()
        self.broken = self._inflater is not None

    def _begin(self, data: bytes) -> bytes:
        """Look at the first two bytes, held until both are here."""
        data = bytes(self._buffer) + data
        self._buffer.clear()
        if len(data) < len(GZIP_MAGIC):
            self._buffer += data
            return b""
        self._begun = True
        if data.startswith(GZIP_MAGIC):
            self._inflater = _Inflater()
        return data

    def _cut(self, data: bytes) -> list[bytes]:
        if not self._begun:
            return []
        buffer = self._buffer
        buffer += data
        packets: list[bytes] = []
        start = 0
        while (start := self._find_magic(start)) + _HEADER_BYTES <= len(buffer):
            length = int.from_bytes(buffer[start + 4 : start + 6], "big")
            if length < _HEADER_BYTES:
                self.lost_bytes[FramingLoss.GARBAGE] += len(HEP3_MAGIC)
                start += len(HEP3_MAGIC)
                continue
            if start + length > len(buffer):
                break
            packets.append(bytes(buffer[start : start + length]))
            start += length
        del buffer[:start]
        return packets

    def _find_magic(self, start: int) -> int:
        """Where the next packet begins, or where the beginning of a magic is that is not complete."""
        found = self._buffer.find(HEP3_MAGIC, start)
        if found < 0:
            found = len(self._buffer)
            for size in (3, 2, 1):
                if found - size >= start and self._buffer.endswith(HEP3_MAGIC[:size]):
                    found -= size
                    break
        if found > start:
            self.lost_bytes[FramingLoss.GARBAGE] += found - start
        return found


class _Inflater:
    """Inflate a stream of gzip members; memory is bounded by the step, work by the ratio."""

    def __init__(self) -> None:
        self._member = _gzip_member()
        self._allowance_bytes = _FREE_INFLATED_BYTES

    def feed(self, data: bytes) -> Iterator[bytes]:
        """
        Give the plain bytes in steps.

        Raises:
            zlib.error: The stream is damaged, or grows beyond all reason.
        """
        self._allowance_bytes += len(data) * _MAX_INFLATE_RATIO
        for start in range(0, len(data), _DEFLATED_STEP_BYTES):
            yield from self._inflate(data[start : start + _DEFLATED_STEP_BYTES])

    def _inflate(self, data: bytes) -> Iterator[bytes]:
        more = True
        while data or more:
            if self._member.eof:
                self._member = _gzip_member()
            plain = self._member.decompress(data, _INFLATE_STEP_BYTES)
            self._allowance_bytes -= len(plain)
            if self._allowance_bytes < 0:
                raise zlib.error("inflates beyond the allowed ratio")
            yield plain
            data = self._member.unused_data or self._member.unconsumed_tail
            more = len(plain) == _INFLATE_STEP_BYTES and not self._member.eof


def _gzip_member() -> "zlib._Decompress":
    return zlib.decompressobj(wbits=31)
