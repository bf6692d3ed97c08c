"""Bytes for the tests of captures: frames, headers and SIP messages, each as plain as the test allows."""

import struct
from ipaddress import ip_address

from everline.wire.packet import CapturedPacket

ALICE, BOB = "192.0.2.1", "198.51.100.2"
ALICE6, BOB6 = "2001:db8::1", "2001:db8::2"


def sip(call_id: str = "a@b", *, body: bytes = b"", method: str = "INVITE") -> bytes:
    """A request that a framer can cut: start line, a few headers, Content-Length, body."""
    return (
        f"{method} sip:bob@example.com SIP/2.0\r\nCall-ID: {call_id}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )


def ok(call_id: str = "a@b") -> bytes:
    """A response, with the compact form of Content-Length."""
    return f"SIP/2.0 200 OK\r\ni: {call_id}\r\nl: 0\r\n\r\n".encode()


def packet(payload: bytes, *, ip_proto: int = 17, captured_us: int = 1_000_000, v6: bool = False) -> CapturedPacket:
    """A payload from Alice to Bob."""
    src, dst = (ALICE6, BOB6) if v6 else (ALICE, BOB)
    return CapturedPacket(captured_us, ip_proto, src, 5060, dst, 5062, payload)


def ipv4(payload: bytes, proto: int = 17, *, frag: int = 0, ident: int = 1, options: bytes = b"") -> bytes:
    """An IPv4 packet; `frag` is the field of flags and offset. The checksum is left 0: nobody may look at it."""
    first = 0x40 | 5 + len(options) // 4
    length = 20 + len(options) + len(payload)
    header = struct.pack("!BBHHHBBH", first, 0, length, ident, frag, 64, proto, 0)
    return header + ip_address(ALICE).packed + ip_address(BOB).packed + options + payload


def ipv6(payload: bytes, next_header: int = 17) -> bytes:
    """An IPv6 packet; extension headers are part of `payload`."""
    header = struct.pack("!IHBB", 6 << 28, len(payload), next_header, 64)
    return header + ip_address(ALICE6).packed + ip_address(BOB6).packed + payload


def udp(payload: bytes, *, src_port: int = 5060, dst_port: int = 5062) -> bytes:
    """A UDP datagram without checksum."""
    return struct.pack("!HHHH", src_port, dst_port, 8 + len(payload), 0) + payload


def tcp(payload: bytes = b"", *, seq: int = 0, flags: int = 0x18) -> bytes:
    """A TCP segment from Alice's port 5060 to Bob's 5062."""
    return struct.pack("!HHIIBBHHH", 5060, 5062, seq & 0xFFFFFFFF, 0, 5 << 4, flags, 65535, 0, 0) + payload
