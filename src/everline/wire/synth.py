"""Make the IP, UDP and TCP headers that a captured payload has lost, so that other tools can read it."""

import struct
from collections import OrderedDict
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Final

from everline.wire.packet import IPPROTO_TCP, IPPROTO_UDP, CapturedPacket

_TLS_BY_KAMAILIO: Final = 22
_STREAMS: Final = frozenset({IPPROTO_TCP, _TLS_BY_KAMAILIO})
_MAX_UDP_PAYLOAD: Final = {4: 65_507, 6: 65_527}
_MAX_SEGMENT: Final = 65_495
"""The longest TCP payload of one IPv4 packet: a capture file knows no MTU."""
_MAX_CONNECTIONS: Final = 65_536
_ACK_PUSH: Final = 0x18
_TTL: Final = 64
_MAPPED_PREFIX: Final = bytes(10) + b"\xff\xff"

_Endpoint = tuple[bytes, int]


class Synthesizer:
    """
    Turn payloads into IP packets with right lengths and checksums.

    TCP, and TLS as Kamailio reports it, become TCP segments whose sequence and acknowledgement numbers run on
    in each direction, without an invented handshake. What UDP cannot carry goes as TCP too, to stay byte-exact;
    everything else is UDP. Memory is bounded: the longest unused connections are forgotten and start anew.
    """

    def __init__(self, *, max_connections: int = _MAX_CONNECTIONS) -> None:
        self._max_connections = max_connections
        self._next_seq: OrderedDict[frozenset[_Endpoint], dict[_Endpoint, int]] = OrderedDict()
        self._ip_id = 0

    def frames(self, packet: CapturedPacket) -> Iterator[bytes]:
        """Give the IP packets that carry one payload."""
        source, target = _addresses(packet.src_ip, packet.dst_ip)
        if packet.ip_proto in _STREAMS or len(packet.payload) > _MAX_UDP_PAYLOAD[4 if len(source) == 4 else 6]:
            for segment in self._segments(packet, source, target):
                yield self._ip(source, target, IPPROTO_TCP, _with_checksum(source, target, IPPROTO_TCP, segment))
        else:
            header = struct.pack("!HHHH", packet.src_port, packet.dst_port, 8 + len(packet.payload), 0)
            datagram = _with_checksum(source, target, IPPROTO_UDP, header + packet.payload)
            yield self._ip(source, target, IPPROTO_UDP, datagram)

    def _segments(self, packet: CapturedPacket, source: bytes, target: bytes) -> Iterator[bytes]:
        sender, receiver = (source, packet.src_port), (target, packet.dst_port)
        seqs = self._connection(sender, receiver, packet.captured_us)
        for start in range(0, max(1, len(packet.payload)), _MAX_SEGMENT):
            part = packet.payload[start : start + _MAX_SEGMENT]
            header = struct.pack(
                "!HHIIBBHHH",
                packet.src_port,
                packet.dst_port,
                seqs[sender],
                seqs[receiver],
                5 << 4,
                _ACK_PUSH,
                65_535,
                0,
                0,
            )
            yield header + part
            seqs[sender] = (seqs[sender] + len(part)) & 0xFFFFFFFF

    def _connection(self, sender: _Endpoint, receiver: _Endpoint, captured_us: int) -> dict[_Endpoint, int]:
        """Next sequence number by sender; numbers start from the clock so that a forgotten one never runs backwards."""
        key = frozenset((sender, receiver))
        if key not in self._next_seq:
            start = captured_us & 0xFFFFFFFF
            self._next_seq[key] = {sender: start, receiver: start}
            if len(self._next_seq) > self._max_connections:
                self._next_seq.popitem(last=False)
        self._next_seq.move_to_end(key)
        return self._next_seq[key]

    def _ip(self, source: bytes, target: bytes, ip_proto: int, payload: bytes) -> bytes:
        if len(source) == 16:
            return struct.pack("!IHBB", 6 << 28, len(payload), ip_proto, _TTL) + source + target + payload
        self._ip_id = (self._ip_id + 1) & 0xFFFF
        layout = "!BBHHHBBH4s4s"
        fields = (0x45, 0, 20 + len(payload), self._ip_id, 0, _TTL, ip_proto)
        checksum = _checksum(struct.pack(layout, *fields, 0, source, target)) % 0xFFFF
        return struct.pack(layout, *fields, checksum, source, target) + payload


def _addresses(src_ip: str, dst_ip: str) -> tuple[bytes, bytes]:
    """Both addresses as bytes of one family: beside an IPv6 address, an IPv4 one is written as mapped."""
    source, target = _address(src_ip), _address(dst_ip)
    if len(source) == len(target):
        return source, target
    return _mapped(source), _mapped(target)


def _mapped(address: bytes) -> bytes:
    return address if len(address) == 16 else _MAPPED_PREFIX + address


def _address(text: str) -> bytes:
    try:
        return ip_address(text).packed
    except ValueError:  # A capture agent without an address: the payload is still worth a frame.
        return bytes(4)


def _with_checksum(source: bytes, target: bytes, ip_proto: int, segment: bytes) -> bytes:
    """Fill in the checksum over the pseudo-header (RFC 9293 section 3.1, RFC 768, RFC 8200 section 8.1)."""
    checksum = _checksum(source + target + struct.pack("!II", len(segment), ip_proto) + segment)
    at = 6 if ip_proto == IPPROTO_UDP else 16
    return segment[:at] + checksum.to_bytes(2, "big") + segment[at + 2 :]


def _checksum(data: bytes) -> int:
    """
    The Internet checksum (RFC 1071), 1..65535.

    The sum of 16-bit words with end-around carry is the number modulo 65535, and 0 is written as 0xFFFF:
    the same value in one's complement, and the only one that UDP may send (RFC 768).
    """
    if len(data) % 2:
        data += b"\0"
    return 0xFFFF - int.from_bytes(data, "big") % 0xFFFF
