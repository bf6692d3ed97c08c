"""Read pcapng (draft-ietf-opsawg-pcapng): sections, interfaces, and the three kinds of packet block."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from everline.wire.frame import CaptureFault, CaptureFileError, Frame

SECTION_MAGIC: Final = b"\x0a\x0d\x0d\x0a"
"""The same in both byte orders, and damaged by a file transfer in text mode: chosen for that."""

_INTERFACE, _OBSOLETE_PACKET, _SIMPLE_PACKET, _ENHANCED_PACKET = 1, 2, 3, 6
_OPTION_END, _OPTION_TSRESOL, _OPTION_TSOFFSET = 0, 9, 14
_BYTE_ORDERS: Final = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_MIN_BLOCK: Final = 12
_MICROSECONDS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class _Interface:
    link_type: int
    snap_bytes: int
    ticks_a_second: int
    offset_s: int

    def captured_us(self, high: int, low: int) -> int:
        ticks = high << 32 | low
        return max(0, ticks * _MICROSECONDS // self.ticks_a_second + self.offset_s * _MICROSECONDS)


@dataclass(slots=True)
class _Section:
    order: str = "<"
    interfaces: list[_Interface] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Block:
    offset: int
    kind: int
    body: memoryview


def read_pcapng(data: memoryview) -> Iterator[Frame]:
    """
    Give the frames of a pcapng file in file order.

    Raises:
        CaptureFileError: After the last frame before the damage.
    """
    section = _Section()
    offset = 0
    while offset < len(data):
        if bytes(data[offset : offset + 4]) == SECTION_MAGIC:
            section = _Section(_byte_order(data, offset))
        block = _block(data, offset, section.order)
        offset += len(block.body) + _MIN_BLOCK
        if block.kind == _INTERFACE:
            section.interfaces.append(_interface(block, section.order))
        elif (frame := _frame(block, section)) is not None:
            yield frame


def _byte_order(data: memoryview, offset: int) -> str:
    magic = bytes(data[offset + 8 : offset + 12])
    if len(magic) < 4:
        raise CaptureFileError(CaptureFault.TRUNCATED, offset=offset)
    if magic not in _BYTE_ORDERS:
        raise CaptureFileError(CaptureFault.BAD_BYTE_ORDER, offset=offset)
    return _BYTE_ORDERS[magic]


def _block(data: memoryview, offset: int, order: str) -> _Block:
    if len(data) - offset < _MIN_BLOCK:
        raise CaptureFileError(CaptureFault.TRUNCATED, offset=offset)
    kind, length = struct.unpack_from(order + "II", data, offset)
    if length < _MIN_BLOCK or length % 4:
        raise CaptureFileError(CaptureFault.BAD_LENGTH, offset=offset)
    if length > len(data) - offset:
        raise CaptureFileError(CaptureFault.TRUNCATED, offset=offset)
    if struct.unpack_from(order + "I", data, offset + length - 4) != (length,):
        raise CaptureFileError(CaptureFault.BAD_LENGTH, offset=offset)
    return _Block(offset, kind, data[offset + 8 : offset + length - 4])


def _interface(block: _Block, order: str) -> _Interface:
    if len(block.body) < 8:
        raise CaptureFileError(CaptureFault.BAD_LENGTH, offset=block.offset)
    link_type, _, snap_bytes = struct.unpack_from(order + "HHI", block.body)
    options = _options(block.body[8:], order)
    resolution = options.get(_OPTION_TSRESOL, b"\x06")
    offset_s = options.get(_OPTION_TSOFFSET, bytes(8))
    return _Interface(
        link_type=link_type,
        snap_bytes=snap_bytes or 0xFFFFFFFF,  # 0: no limit
        ticks_a_second=_ticks_a_second(resolution[0] if resolution else 6),
        offset_s=struct.unpack(order + "q", offset_s)[0] if len(offset_s) == 8 else 0,
    )


def _ticks_a_second(resolution: int) -> int:
    exponent = resolution & 0x7F
    return 1 << exponent if resolution & 0x80 else 10**exponent


def _options(data: memoryview, order: str) -> dict[int, bytes]:
    """Options by code, the first of each; a list that runs over its block ends there."""
    options: dict[int, bytes] = {}
    offset = 0
    while offset + 4 <= len(data):
        code, length = struct.unpack_from(order + "HH", data, offset)
        if code == _OPTION_END:
            break
        options.setdefault(code, bytes(data[offset + 4 : offset + 4 + length]))
        offset += 4 + length + -length % 4
    return options


def _frame(block: _Block, section: _Section) -> Frame | None:
    """The frame in a packet block; None for any other block."""
    if block.kind == _ENHANCED_PACKET:
        return _timed_frame(block, section, "IIIII")
    if block.kind == _OBSOLETE_PACKET:
        return _timed_frame(block, section, "HxxIIII")
    if block.kind == _SIMPLE_PACKET:
        return _simple_frame(block, section)
    return None


def _timed_frame(block: _Block, section: _Section, layout: str) -> Frame:
    if len(block.body) < 20:
        raise CaptureFileError(CaptureFault.BAD_LENGTH, offset=block.offset)
    index, high, low, captured, _ = struct.unpack_from(section.order + layout, block.body)
    if captured > len(block.body) - 20:
        raise CaptureFileError(CaptureFault.BAD_LENGTH, offset=block.offset)
    if index >= len(section.interfaces):
        raise CaptureFileError(CaptureFault.NO_INTERFACE, offset=block.offset)
    interface = section.interfaces[index]
    data = bytes(block.body[20 : 20 + captured])
    return Frame(interface.captured_us(high, low), interface.link_type, data)


def _simple_frame(block: _Block, section: _Section) -> Frame:
    """A simple packet block has no time and no captured length: both follow from interface 0."""
    if len(block.body) < 4:
        raise CaptureFileError(CaptureFault.BAD_LENGTH, offset=block.offset)
    if not section.interfaces:
        raise CaptureFileError(CaptureFault.NO_INTERFACE, offset=block.offset)
    interface = section.interfaces[0]
    (original,) = struct.unpack_from(section.order + "I", block.body)
    captured = min(original, interface.snap_bytes, len(block.body) - 4)
    return Frame(0, interface.link_type, bytes(block.body[4 : 4 + captured]))
