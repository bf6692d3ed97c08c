"""Move the capture time of a HEP datagram."""

from typing import Final

from everline.wire.hep import HepDecodeError, decode_hep, encode_hep3
from everline.wire.packet import CapturedPacket

_SECONDS: Final = b"\x00\x00\x00\x09\x00\x0a"
_MICROSECONDS: Final = b"\x00\x00\x00\x0a\x00\x0a"


def retimed(data: bytes, offset_us: int) -> bytes:
    """
    The datagram with its capture time moved; every other byte of HEP3 stays, versions 1 and 2 become HEP3.

    A datagram that cannot be decoded, or carries no time, is given back as it is.
    """
    try:
        packet = decode_hep(data)
    except HepDecodeError:
        return data
    if not packet.captured_us:
        return data
    captured_us = max(packet.captured_us + offset_us, 0)
    if packet.version == 3:
        return _patched(data, captured_us)
    moved = CapturedPacket(captured_us, *packet[1:7])
    return encode_hep3(moved, protocol=packet.protocol, capture_id=packet.capture_id)


def _patched(data: bytes, captured_us: int) -> bytes:
    """Overwrite the two time chunks of a HEP3 packet that `decode_hep` accepted."""
    patched = bytearray(data)
    seconds, micros = divmod(captured_us, 1_000_000)
    offset, end = 6, int.from_bytes(data[4:6], "big")
    while offset < end:
        head = data[offset : offset + 6]
        if head == _SECONDS:
            patched[offset + 6 : offset + 10] = (seconds & 0xFFFF_FFFF).to_bytes(4, "big")
        elif head == _MICROSECONDS:
            patched[offset + 6 : offset + 10] = micros.to_bytes(4, "big")
        offset += int.from_bytes(head[4:6], "big")
    return bytes(patched)
