"""HEP packets byte by byte, as the agents of the field send them (docs/protocols.md)."""

import struct
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path
from typing import Final

SEEDS: Final = {
    path.stem: bytes.fromhex(path.read_text()) for path in sorted((Path(__file__).parent / "seeds").glob("*.hex"))
}
"""Packets kept because a decoder once had to learn from them; hex, one a file, named by what is odd in them."""

SIP: Final = b"OPTIONS sip:b@h SIP/2.0\r\nCall-ID: a\r\nCSeq: 1 OPTIONS\r\n\r\n"
SEC: Final = 1_700_000_000
USEC: Final = 123_456


def chunk(kind: int, value: bytes, *, vendor: int = 0) -> bytes:
    """One chunk: vendor, type, length with its own six bytes, value."""
    return struct.pack("!HHH", vendor, kind, 6 + len(value)) + value


def hep3(chunks: Iterable[bytes], *, trailing: bytes = b"") -> bytes:
    """A packet of these chunks in this order."""
    body = b"".join(chunks)
    return b"HEP3" + struct.pack("!H", 6 + len(body)) + body + trailing


def chunks(**changed: bytes) -> dict[str, bytes]:
    """The chunks that every agent sends, in Kamailio's order; a changed one keeps its place, new ones go at the end."""
    usual = {
        "family": chunk(1, b"\x02"),
        "proto": chunk(2, b"\x11"),
        "src": chunk(3, bytes((192, 0, 2, 1))),
        "dst": chunk(4, bytes((198, 51, 100, 2))),
        "sport": chunk(7, struct.pack("!H", 5060)),
        "dport": chunk(8, struct.pack("!H", 5062)),
        "sec": chunk(9, struct.pack("!I", SEC)),
        "usec": chunk(10, struct.pack("!I", USEC)),
        "protocol": chunk(11, b"\x01"),
        "capture_id": chunk(12, struct.pack("!I", 77)),
    }
    return {**usual, "payload": chunk(15, SIP), **changed}


KAMAILIO: Final = ("family", "proto", "src", "dst", "sport", "dport", "sec", "usec", "protocol", "capture_id")
ASTERISK: Final = ("family", "proto", "sport", "dport", "sec", "usec", "protocol", "capture_id", "src", "dst")


def hep12(
    version: int,
    *,
    family: int = 2,
    src: str = "192.0.2.1",
    dst: str = "198.51.100.2",
    time: bytes = b"",
    head_bytes: int | None = None,
    payload: bytes = SIP,
) -> bytes:
    """A packet of version 1 or 2; `time` is what version 2 has behind the addresses."""
    addresses = ip_address(src).packed + ip_address(dst).packed
    size = 8 + len(addresses) if head_bytes is None else head_bytes
    return struct.pack("!BBBBHH", version, size, family, 17, 5060, 5062) + addresses + time + payload


def hep2_time(sec: int = SEC, usec: int = USEC, capture_id: int = 77, *, order: str = "<") -> bytes:
    """Time and agent number of version 2, with the two bytes of padding."""
    return struct.pack(f"{order}IIH", sec, usec, capture_id) + b"\x00\x00"
