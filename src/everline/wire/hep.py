"""
HEP, the Homer Encapsulation Protocol: decode versions 1, 2 and 3, encode version 3.

Source: HEP3 Network Protocol Specification rev. 37 (chunk numbers and types), and for versions 1 and 2, which have
no formal text, the `sipcapture` module of Kamailio (hep.h). docs/protocols.md says what real agents send.
"""

import re
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from struct import Struct, error
from typing import Final, NamedTuple, TypeAlias

from everline.errors import EverlineError
from everline.wire.inflate import InflateError, inflate
from everline.wire.packet import CapturedPacket

MAX_PAYLOAD_BYTES: Final = 65_535
MAX_CHUNKS: Final = 128
"""More chunks than any agent sends: a datagram of empty chunks costs no more than a real one."""

PROTOCOL_SIP: Final = 1
PROTOCOL_RTCP: Final = 5

_AF_INET: Final = 2
_AF_INET6: Final = 10


class HepFault(StrEnum):
    """Why a datagram is no HEP packet: a closed set, it labels a counter."""

    NOT_HEP = "not_hep"
    TRUNCATED = "hep_truncated"
    BAD_LENGTH = "hep_bad_length"
    BAD_CHUNK = "hep_bad_chunk"
    TOO_MANY_CHUNKS = "hep_too_many_chunks"
    NO_PAYLOAD = "hep_no_payload"
    BAD_COMPRESSION = "hep_bad_compression"
    TOO_LARGE = "hep_payload_too_large"


class HepDecodeError(EverlineError):
    """The sender broke the HEP format; `reason` says how and `offset` where."""

    def __init__(self, reason: HepFault, *, offset: int) -> None:
        super().__init__(f"{reason} at byte {offset}; check the capture agent's HEP version (3 is best)")
        self.reason = reason
        self.offset = offset


class HepPacket(NamedTuple):
    """
    One decoded HEP packet. The first seven fields mean what they mean in `CapturedPacket`.

    Attributes:
        captured_us: Capture time, UTC epoch microseconds; 0 when the agent sent none (version 1).
        protocol: HEP protocol type, chunk 0x0b: 1 SIP, 5 RTCP, 34/35 quality reports.
        capture_id: Capture agent number, chunk 0x0c.
        correlation_id: Chunk 0x11, as sent; it may or may not be the Call-ID.
        auth_key: Chunk 0x0e.
        node_name: Chunk 0x13.
        version: 1, 2 or 3.
        extra: Every other generic chunk, as (type, bytes), in the order sent.
    """

    captured_us: int
    ip_proto: int
    src_ip: str
    src_port: int
    dst_ip: str
    dst_port: int
    payload: bytes
    protocol: int = PROTOCOL_SIP
    capture_id: int = 0
    correlation_id: bytes = b""
    auth_key: bytes = b""
    node_name: bytes = b""
    version: int = 3
    extra: tuple[tuple[int, bytes], ...] = ()


def decode_hep(data: bytes) -> HepPacket:
    """
    Decode one HEP packet of version 1, 2 or 3; bytes after its declared end are ignored.

    Raises:
        HepDecodeError: It is not HEP, or broken.
    """
    if data[:4] == b"HEP3":
        return decode_hep3(data)
    if data[:1] in {b"\x01", b"\x02"}:
        return _decode_hep12(data)
    raise HepDecodeError(HepFault.NOT_HEP, offset=0)


def looks_like_hep(data: bytes) -> bool:
    """Whether this is meant to be HEP; mirrored SIP is text and never starts so."""
    return data[:4] == b"HEP3" or data[:1] in {b"\x01", b"\x02"}


# --- version 3 ---------------------------------------------------------------------------------------------------

# Nearly all agents send the same ten chunks first, in one of two orders (IPv4): Kamailio, heplify and OpenSIPS put the
# addresses third, Asterisk, FreeSWITCH, captagent and rtpengine last. One match checks an order, one unpack reads it,
# and with it the vendor, type and length of the chunk behind. With the addresses early, what comes first is the same
# for all packets between two ends: it is looked up.
_CHUNK: Final = {
    1: (b"\x00\x00\x00\x01\x00\x07", "B"), 2: (b"\x00\x00\x00\x02\x00\x07", "B"),
    3: (b"\x00\x00\x00\x03\x00\x0a", "4s"), 4: (b"\x00\x00\x00\x04\x00\x0a", "4s"),
    7: (b"\x00\x00\x00\x07\x00\x08", "H"), 8: (b"\x00\x00\x00\x08\x00\x08", "H"),
    9: (b"\x00\x00\x00\x09\x00\x0a", "I"), 10: (b"\x00\x00\x00\x0a\x00\x0a", "I"),
    11: (b"\x00\x00\x00\x0b\x00\x07", "B"), 12: (b"\x00\x00\x00\x0c\x00\x0a", "I"),
}  # fmt: skip
_WIDTH: Final = {"B": b".", "H": b"..", "I": b"....", "4s": b"...."}


def _layout(order: tuple[int, ...]) -> tuple[re.Pattern[bytes], str]:
    """What chunks in this order look like, and the `struct` format of their values."""
    pattern = b"".join(re.escape(_CHUNK[kind][0]) + _WIDTH[_CHUNK[kind][1]] for kind in order)
    return re.compile(b"HEP3.." + pattern, re.DOTALL), "".join("6x" + _CHUNK[kind][1] for kind in order)


_ENDS, _ENDS_VALUES = _layout((1, 2, 3, 4, 7, 8))
_ADDRESSES_LATE, _LATE_VALUES = _layout((1, 2, 7, 8, 9, 10, 11, 12, 3, 4))
_READ_ENDS: Final = Struct(f">6x{_ENDS_VALUES}")
_ENDS_BYTES: Final = _READ_ENDS.size
_READ_STREAM: Final = Struct(f">4xH{_ENDS_BYTES - 6}x6sI6sI6sB6sIIH").unpack_from
_READ_LATE: Final = Struct(f">4xH{_LATE_VALUES}IH").unpack_from
_HEAD_BYTES: Final = Struct(f">6x{_LATE_VALUES}").size  # The same in both orders.
_HEAD9, _HEAD10, _HEAD11, _HEAD12 = (_CHUNK[kind][0] for kind in (9, 10, 11, 12))

_Ends: TypeAlias = tuple[int, str, int, str, int]  # ip_proto, src_ip, src_port, dst_ip, dst_port
_STREAMS: Final[dict[bytes, _Ends]] = {}
_MAX_STREAMS: Final = 65_536

_Tail: TypeAlias = tuple[bytes, bytes, bytes, bytes, tuple[tuple[int, bytes], ...]]
_PAYLOAD_CHUNK: Final = 0x0000_000F
_CHUNK_HEAD: Final = Struct(">IH").unpack_from  # Vendor and type as one number: the type itself for vendor 0.
_NO_EXTRA: Final[tuple[tuple[int, bytes], ...]] = ()
_U16: Final = Struct(">H")
_U32: Final = Struct(">I")


def decode_hep3(data: bytes) -> HepPacket:
    """
    Decode a packet that begins with `HEP3`.

    Raises:
        HepDecodeError: It is broken.
    """
    try:
        ends = _STREAMS.get(data[6:_ENDS_BYTES]) or _new_stream(data)
        if ends:
            size, head9, sec, head10, usec, head11, protocol, head12, capture_id, kind, length = _READ_STREAM(data)
            if head9 != _HEAD9 or head10 != _HEAD10 or head11 != _HEAD11 or head12 != _HEAD12:
                return _decode_any_order(data)
            ip_proto, src_ip, src_port, dst_ip, dst_port = ends
        elif _ADDRESSES_LATE.match(data):
            (size, _, ip_proto, src_port, dst_port, sec, usec, protocol, capture_id, source, target,
             kind, length) = _READ_LATE(data)  # fmt: skip
            src_ip, dst_ip = ipv4_text(source), ipv4_text(target)
        else:
            return _decode_any_order(data)
    except error:
        return _decode_any_order(data)  # Nothing behind them: the slow way says what is missing.
    if size > len(data):
        raise HepDecodeError(HepFault.TRUNCATED, offset=len(data))
    # The usual end: the payload is the only chunk left, and it ends where the packet ends.
    if kind == _PAYLOAD_CHUNK and _HEAD_BYTES + length == size and length >= 6:
        payload, correlation_id, auth_key, node_name, extra = data[_HEAD_BYTES + 6 : size], b"", b"", b"", _NO_EXTRA
    else:
        payload, correlation_id, auth_key, node_name, extra = _read_tail(data, _HEAD_BYTES, size)
    return _packet(HepPacket, (
        sec * 1_000_000 + usec, ip_proto, src_ip, src_port, dst_ip, dst_port, payload,
        protocol, capture_id, correlation_id, auth_key, node_name, 3, extra,
    ))  # fmt: skip


_packet = tuple.__new__  # Half the cost of the constructor, on the hottest path there is.


def _new_stream(data: bytes) -> _Ends | None:
    """The two ends of a packet whose addresses come early, remembered; None if it is made otherwise."""
    if not _ENDS.match(data):
        return None
    _, ip_proto, source, target, src_port, dst_port = _READ_ENDS.unpack_from(data)
    ends = (ip_proto, ipv4_text(source), src_port, ipv4_text(target), dst_port)
    if len(_STREAMS) >= _MAX_STREAMS:
        _STREAMS.clear()
    _STREAMS[data[6:_ENDS_BYTES]] = ends
    return ends


def _decode_any_order(data: bytes) -> HepPacket:
    if len(data) < 6:
        raise HepDecodeError(HepFault.TRUNCATED, offset=len(data))
    size = _U16.unpack_from(data, 4)[0]
    if size < 6:
        raise HepDecodeError(HepFault.BAD_LENGTH, offset=4)
    if size > len(data):
        raise HepDecodeError(HepFault.TRUNCATED, offset=len(data))
    payload, correlation_id, auth_key, node_name, others = _read_tail(data, 6, size)
    numbers = {kind: _number(kind, value) for kind, value in others if kind in _NUMBERS}
    addresses = {kind: _address(value) for kind, value in others if kind in _ADDRESSES}
    return HepPacket(
        captured_us=numbers.get(9, 0) * 1_000_000 + numbers.get(10, 0),
        ip_proto=numbers.get(2, 0),
        src_ip=addresses.get(5) or addresses.get(3) or "",
        src_port=numbers.get(7, 0),
        dst_ip=addresses.get(6) or addresses.get(4) or "",
        dst_port=numbers.get(8, 0),
        payload=payload,
        protocol=numbers.get(11, PROTOCOL_SIP),
        capture_id=numbers.get(12, 0),
        correlation_id=correlation_id,
        auth_key=auth_key,
        node_name=node_name,
        extra=tuple(one for one in others if one[0] not in _NUMBERS and one[0] not in _ADDRESSES),
    )


_NUMBERS: Final = {1: 1, 2: 1, 7: 2, 8: 2, 9: 4, 10: 4, 11: 1, 12: 4}
_ADDRESSES: Final = frozenset({3, 4, 5, 6})


def _read_tail(data: bytes, start: int, end: int) -> _Tail:
    """
    The chunks between two offsets: payload, correlation id, auth key, node name and the others.

    Of a chunk sent twice the last counts; those of other vendors are skipped by their length.
    """
    payload: bytes | None = None
    compressed = False
    correlation_id = auth_key = node_name = b""
    extra: list[tuple[int, bytes]] = []
    offset, chunks = start, 0
    while offset < end:
        chunks += 1
        if offset + 6 > end:
            raise HepDecodeError(HepFault.BAD_CHUNK, offset=offset)
        kind, size = _CHUNK_HEAD(data, offset)
        if size < 6 or offset + size > end:
            raise HepDecodeError(HepFault.BAD_CHUNK, offset=offset)
        if chunks > MAX_CHUNKS:
            raise HepDecodeError(HepFault.TOO_MANY_CHUNKS, offset=offset)
        value = data[offset + 6 : offset + size]
        offset += size
        if kind in {0x0F, 0x10}:
            payload, compressed = value, kind == 0x10
        elif kind == 0x11:
            correlation_id = value
        elif kind == 0x13:
            node_name = value
        elif kind == 0x0E:
            auth_key = value
        elif kind <= 0xFFFF:  # Vendor 0.
            extra.append((kind, value))
    if payload is None:
        raise HepDecodeError(HepFault.NO_PAYLOAD, offset=6)
    if compressed:
        payload = _inflated(payload)
    return payload, correlation_id, auth_key, node_name, tuple(extra)


def _inflated(value: bytes) -> bytes:
    try:
        return inflate(value, MAX_PAYLOAD_BYTES)
    except InflateError as fault:
        reason = HepFault.TOO_LARGE if fault.too_large else HepFault.BAD_COMPRESSION
        raise HepDecodeError(reason, offset=6) from fault


def _number(kind: int, value: bytes) -> int:
    if len(value) != _NUMBERS[kind]:
        raise HepDecodeError(HepFault.BAD_CHUNK, offset=6)
    return int.from_bytes(value, "big")


def _address(value: bytes) -> str:
    """4 bytes are IPv4 and 16 IPv6, whichever chunk they came in: agents mix them up."""
    if len(value) == 4:
        return ipv4_text(value)
    if len(value) == 16:
        return ipv6_text(value)
    raise HepDecodeError(HepFault.BAD_CHUNK, offset=6)


@lru_cache(maxsize=65_536)
def ipv4_text(packed: bytes) -> str:
    """Dotted form of four bytes."""
    return f"{packed[0]}.{packed[1]}.{packed[2]}.{packed[3]}"


@lru_cache(maxsize=65_536)
def ipv6_text(packed: bytes) -> str:
    """Canonical form of sixteen bytes (RFC 5952); a mapped IPv4 address (RFC 4291 s.2.5.5.2) as IPv4."""
    address = IPv6Address(packed)
    return str(address.ipv4_mapped or address)


# --- versions 1 and 2 --------------------------------------------------------------------------------------------

_HEP12_HEAD: Final = Struct(">BBBBHH")
_HEP2_TIME_LE: Final = Struct("<IIH")
_HEP2_TIME_BE: Final = Struct(">IIH")
_YEAR_2000: Final = 946_684_800
_YEAR_2100: Final = 4_102_444_800


def _decode_hep12(data: bytes) -> HepPacket:
    try:
        version, head_bytes, family, ip_proto, src_port, dst_port = _HEP12_HEAD.unpack_from(data)
        width = 4 if family == _AF_INET else 16
        if family == 0 or head_bytes < 8 + 2 * width:
            raise HepDecodeError(HepFault.BAD_LENGTH, offset=1)
        src, dst = data[8 : 8 + width], data[8 + width : 8 + 2 * width]
        start, captured_us, capture_id = 8 + 2 * width, 0, 0
        if version == 2:
            captured_us, capture_id = _hep2_time(data, start)
            start += 12
    except error as fault:
        raise HepDecodeError(HepFault.TRUNCATED, offset=len(data)) from fault
    if len(dst) < width or len(data) <= start:
        raise HepDecodeError(HepFault.TRUNCATED, offset=len(data))
    return HepPacket(
        captured_us, ip_proto, _address(src), src_port, _address(dst), dst_port, data[start:],
        capture_id=capture_id, version=version,
    )  # fmt: skip


def _hep2_time(data: bytes, offset: int) -> tuple[int, int]:
    """
    Capture time and agent number. Kamailio and FreeSWITCH send them little-endian; others were seen big-endian.

    Whichever gives a year of this century counts, little-endian first; otherwise the time is unknown (0).
    """
    for reader in (_HEP2_TIME_LE, _HEP2_TIME_BE):
        sec, usec, capture_id = reader.unpack_from(data, offset)
        if _YEAR_2000 <= sec < _YEAR_2100 and usec < 1_000_000:
            return sec * 1_000_000 + usec, capture_id
    return 0, _HEP2_TIME_LE.unpack_from(data, offset)[2]


# --- encode ------------------------------------------------------------------------------------------------------


def encode_hep3(
    packet: CapturedPacket,
    *,
    protocol: int = PROTOCOL_SIP,
    capture_id: int = 0,
    node_name: bytes = b"",
    auth_key: bytes = b"",
    correlation_id: bytes = b"",
) -> bytes:
    """
    Encode one packet as HEP3, payload uncompressed.

    Raises:
        HepDecodeError: The whole would not fit the 16-bit length (`hep_payload_too_large`).
        ValueError: An address is not one.
    """
    source, target = ip_address(packet.src_ip), ip_address(packet.dst_ip)
    sec, usec = divmod(packet.captured_us, 1_000_000)
    parts = [
        _u8(1, _AF_INET if isinstance(source, IPv4Address) else _AF_INET6),
        _u8(2, packet.ip_proto),
        _chunk(3 if isinstance(source, IPv4Address) else 5, source.packed),
        _chunk(4 if isinstance(target, IPv4Address) else 6, target.packed),
        _chunk(7, _U16.pack(packet.src_port)),
        _chunk(8, _U16.pack(packet.dst_port)),
        _chunk(9, _U32.pack(sec)),
        _chunk(10, _U32.pack(usec)),
        _u8(11, protocol),
        _chunk(12, _U32.pack(capture_id)),
    ]
    optional = ((0x0E, auth_key), (0x11, correlation_id), (0x13, node_name))
    parts += [_chunk(kind, value) for kind, value in optional if value]
    size = 6 + sum(map(len, parts)) + 6 + len(packet.payload)
    if size > MAX_PAYLOAD_BYTES:
        raise HepDecodeError(HepFault.TOO_LARGE, offset=size)
    return b"".join((b"HEP3", _U16.pack(size), *parts, _chunk(0x0F, packet.payload)))


_WRITE_HEAD: Final = Struct(">IH")


def _chunk(kind: int, value: bytes) -> bytes:
    return _WRITE_HEAD.pack(kind, len(value) + 6) + value


def _u8(kind: int, value: int) -> bytes:
    return _WRITE_HEAD.pack(kind, 7) + bytes((value,))
