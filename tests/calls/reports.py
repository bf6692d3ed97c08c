"""RTCP packets as they are captured, for tests of media quality."""

import struct
from typing import Any

from xxhash import xxh3_64_intdigest

from everline.calls.event import RTCP, Event

NEAR = ("192.0.2.1", 4001)
FAR = ("198.51.100.7", 6001)
NTP_S = 3_998_988_800
"""An NTP time of 2026."""


def block(
    ssrc: int = 2,
    *,
    fraction: int = 0,
    lost: int = 0,
    seq: int = 1000,
    jitter: int = 80,
    last_sr: int = 0,
    delay: int = 0,
) -> bytes:
    """A report block, on the wire."""
    return struct.pack("!IIIIII", ssrc, fraction << 24 | lost & 0xFFFFFF, seq, jitter, last_sr, delay)


def sender_report(ssrc: int, *blocks: bytes, packets: int = 1000, ntp_s: int = NTP_S, fraction: int = 0) -> bytes:
    """An SR."""
    body = struct.pack("!IIIIII", ssrc, ntp_s, fraction, 160_000, packets, packets * 160 % 2**32) + b"".join(blocks)
    return struct.pack("!BBH", 0x80 | len(blocks), 200, len(body) // 4) + body


def receiver_report(ssrc: int, *blocks: bytes) -> bytes:
    """An RR."""
    body = struct.pack("!I", ssrc) + b"".join(blocks)
    return struct.pack("!BBH", 0x80 | len(blocks), 201, len(body) // 4) + body


def captured(
    payload: bytes,
    at_us: int = 0,
    *,
    source: tuple[str, int] = NEAR,
    target: tuple[str, int] = FAR,
    agent: str = "sbc-1",
    call_id: str = "call-1@test",
    **fields: Any,  # any field of an event
) -> Event:
    """The packet as an event."""
    known: dict[str, Any] = dict.fromkeys(Event._fields, "") | dict.fromkeys(
        ("received_us", "status", "cseq", "cause"), 0
    )
    key = xxh3_64_intdigest(repr((payload, at_us, source, target, agent)).encode())
    known |= {
        "call_id": call_id, "captured_us": at_us, "event_key": key, "protocol": RTCP, "ip_proto": 17,
        "src_ip": source[0], "src_port": source[1], "dst_ip": target[0], "dst_port": target[1],
        "method": "RTCP", "agent": agent, "correlation_id": call_id, "node": "n1", "payload": payload,
    }  # fmt: skip
    return Event(**known | fields)


def returned(payload: bytes, at_us: int = 0, *, agent: str = "sbc-1") -> Event:
    """The packet the other way."""
    return captured(payload, at_us, source=FAR, target=NEAR, agent=agent)
