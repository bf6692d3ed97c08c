"""
Datagrams to events: batch in, columns out.

The one hot path of an ingest node. It takes a batch and gives columns, so that a compiled core could take its place.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from hmac import compare_digest
from typing import Any, Final, NamedTuple

from xxhash import xxh3_64_intdigest

from everline.calls.event import RTCP, SIP, EventBatch
from everline.errors import EverlineError
from everline.wire.codecs import offered_codecs
from everline.wire.hep import HepDecodeError, HepPacket, decode_hep, decode_hep3, looks_like_hep
from everline.wire.inflate import InflateError, inflate
from everline.wire.packet import IPPROTO_UDP
from everline.wire.rtcp import RtcpDecodeError
from everline.wire.rtcp_json import decode_agent_rtcp
from everline.wire.sip import MAX_CALL_ID, SipDecodeError, SipFault, SipMessage, parse_sip, unwrap_json

MAX_DATAGRAM: Final = 65_535
MAX_RTCP: Final = 8192
"""Longest RTCP taken, in bytes: a report fits one packet on the wire, and its JSON is a few times as long."""
MAX_RTCP_OBJECTS: Final = 128
"""Most objects in its JSON: a report has up to 31 blocks (RFC 3550 section 6.4.1), with as many of XR and SDES."""
_GZIP: Final = b"\x1f\x8b"
_MASK: Final = 0xFFFF_FFFF_FFFF_FFFF


class Fault(StrEnum):
    """Why a datagram that is well-formed HEP gives no event: a closed set, it labels a counter."""

    WRONG_KEY = "wrong_auth_key"
    KEEPALIVE = "keepalive"
    PROTOCOL = "unsupported_protocol"
    NO_CORRELATION = "rtcp_no_correlation_id"
    RTCP_TOO_LARGE = "rtcp_too_large"
    BAD_GZIP = "bad_gzip"


class RejectedError(EverlineError):
    """The datagram is in order but gives no event; `reason` says why."""

    def __init__(self, reason: Fault) -> None:
        super().__init__(reason)
        self.reason = reason


class Datagram(NamedTuple):
    """
    What a socket gave.

    Attributes:
        data: A HEP packet, or a mirrored SIP message.
        received_us: When it was received, UTC epoch microseconds.
        peer_ip: Who sent it; the source of a mirrored SIP message.
        peer_port: The sender's port.
    """

    data: bytes
    received_us: int
    peer_ip: str
    peer_port: int


@dataclass(frozen=True, slots=True)
class DecodeRules:
    """
    What a node adds to the bytes.

    Attributes:
        node: The node's name, for `Event.node`.
        local_ip: Where mirrored SIP is taken to have been sent.
        local_port: Likewise.
        auth_key: HEP authentication key; empty to take packets with any key or none.
        max_age_us: Capture times older than this before the receive time are replaced by it.
        max_ahead_us: So are those further ahead of it.
    """

    node: str
    local_ip: str = ""
    local_port: int = 0
    auth_key: bytes = b""
    max_age_us: int = 10 * 366 * 86_400 * 1_000_000
    max_ahead_us: int = 3_600 * 1_000_000


@dataclass(slots=True)
class Decoded:
    """A decoded batch: its events, and what became of the rest."""

    batch: EventBatch
    rejected: Counter[str] = field(default_factory=Counter)
    clamped: int = 0


def decode_batch(datagrams: Iterable[Datagram], rules: DecodeRules) -> Decoded:
    """
    Decode datagrams to events.

    Returns:
        One event for each datagram that gives one; each other one is counted in `rejected` by its reason, and
        `clamped` counts the events whose capture time was replaced by the receive time.
    """
    rows: list[tuple[Any, ...]] = []
    rejected: Counter[str] = Counter()
    clamped = 0
    no_key = not rules.auth_key
    for datagram in datagrams:
        data = datagram[0]
        try:
            packet = decode_hep3(data) if no_key and data[:4] == b"HEP3" else _packet_of(datagram, rules)
            row = _sip_row(packet, datagram[1], rules) if packet[7] == SIP else _quality_row(packet, datagram, rules)
        except (HepDecodeError, SipDecodeError, RtcpDecodeError, RejectedError) as fault:
            rejected[fault.reason] += 1
            continue
        rows.append(row)
        if row[1] != packet[0]:
            clamped += 1
    return Decoded(EventBatch.of(rows), rejected, clamped)


def event_key(captured_us: int, src_ip: str, src_port: int, dst_ip: str, dst_port: int, payload: bytes) -> int:
    """64-bit hash of capture time (as sent), addresses and payload: the same datagram has the same key everywhere."""
    return xxh3_64_intdigest(payload, (_address_hash(src_ip, src_port, dst_ip, dst_port) + captured_us) & _MASK)


def _sip_row(packet: HepPacket, received_us: int, rules: DecodeRules) -> tuple[Any, ...]:
    (captured_us, ip_proto, src_ip, src_port, dst_ip, dst_port, payload, _,
     capture_id, correlation_id, _, node_name, _, _) = packet  # fmt: skip
    try:
        method, status, call_id, cseq, sender, recipient, user_agent, cause, sdp = parse_sip(payload)
    except SipDecodeError as fault:
        method, status, call_id, cseq, sender, recipient, user_agent, cause, sdp = _unwrapped(payload, fault)
    from_user, from_host, from_tag = sender
    to_user, to_host, to_tag = recipient
    key = xxh3_64_intdigest(payload, (_address_hash(src_ip, src_port, dst_ip, dst_port) + captured_us) & _MASK)
    if not -rules.max_age_us <= captured_us - received_us <= rules.max_ahead_us:
        captured_us = received_us
    return (
        call_id, captured_us, key, received_us, SIP, ip_proto, src_ip, src_port, dst_ip, dst_port,
        method, status, cseq, from_user, from_host, from_tag, to_user, to_host, to_tag,
        user_agent, offered_codecs(sdp) if sdp else "", cause,
        _agent(node_name, capture_id), _text(correlation_id) if correlation_id else "", rules.node, payload,
    )  # fmt: skip


def _quality_row(packet: HepPacket, datagram: Datagram, rules: DecodeRules) -> tuple[Any, ...]:
    """RTCP, binary or JSON: it follows its call by the correlation id, which agents set to the Call-ID."""
    if packet.protocol != RTCP:
        raise RejectedError(Fault.PROTOCOL)
    call_id = _text(packet.correlation_id).strip()
    if not call_id or len(call_id) > MAX_CALL_ID:
        raise RejectedError(Fault.NO_CORRELATION)
    if len(packet.payload) > MAX_RTCP or (packet.payload[:1] == b"{" and packet.payload.count(b"{") > MAX_RTCP_OBJECTS):
        raise RejectedError(Fault.RTCP_TOO_LARGE)
    decode_agent_rtcp(packet.payload)
    captured_us = _captured_us(packet.captured_us, datagram.received_us, rules)
    return (
        call_id, captured_us, event_key(packet[0], *packet[2:7]), datagram.received_us, RTCP, packet.ip_proto,
        packet.src_ip, packet.src_port, packet.dst_ip, packet.dst_port, "RTCP", 0, 0,
        "", "", "", "", "", "", "", "", 0,
        _agent(packet.node_name, packet.capture_id), call_id, rules.node, packet.payload,
    )  # fmt: skip


def _packet_of(datagram: Datagram, rules: DecodeRules) -> HepPacket:
    """The HEP packet of a datagram; mirrored SIP becomes one that was captured as it was received."""
    data = datagram[0]
    if data[:4] != b"HEP3":
        if data[:2] == _GZIP:
            data = _gunzipped(data)
        if not looks_like_hep(data):
            return _mirrored(data, datagram, rules)
        packet = decode_hep(data)
    else:
        packet = decode_hep3(data)
    if rules.auth_key and not compare_digest(packet.auth_key, rules.auth_key):
        raise RejectedError(Fault.WRONG_KEY)
    return packet


def _mirrored(data: bytes, datagram: Datagram, rules: DecodeRules) -> HepPacket:
    if not data.strip(b"\r\n\x00 "):
        raise RejectedError(Fault.KEEPALIVE)
    if rules.auth_key:
        raise RejectedError(Fault.WRONG_KEY)
    return HepPacket(
        datagram.received_us, IPPROTO_UDP, datagram.peer_ip, datagram.peer_port, rules.local_ip, rules.local_port, data
    )


def _gunzipped(data: bytes) -> bytes:
    """One kind of agent compresses whole frames (docs/protocols.md)."""
    try:
        return inflate(data, MAX_DATAGRAM)
    except InflateError as fault:
        raise RejectedError(Fault.BAD_GZIP) from fault


def _unwrapped(payload: bytes, fault: SipDecodeError) -> SipMessage:
    """The SIP message of a payload that is not SIP itself: some agents wrap it in JSON."""
    inner = unwrap_json(payload) if fault.reason is SipFault.NOT_SIP and payload[:1] == b"{" else None
    if inner is None:
        raise fault
    return parse_sip(inner)


def _captured_us(captured_us: int, received_us: int, rules: DecodeRules) -> int:
    """The capture time, or the receive time if it is too far from it: a wrong minimum can never be undone."""
    if received_us - rules.max_age_us <= captured_us <= received_us + rules.max_ahead_us:
        return captured_us
    return received_us


@lru_cache(maxsize=16_384)
def _address_hash(src_ip: str, src_port: int, dst_ip: str, dst_port: int) -> int:
    return int(xxh3_64_intdigest(f"{src_ip} {src_port} {dst_ip} {dst_port}".encode()))


@lru_cache(maxsize=4096)
def _agent(node_name: bytes, capture_id: int) -> str:
    return _text(node_name[:64]) if node_name else str(capture_id) if capture_id else ""


def _text(value: bytes) -> str:
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError:
        return str(value, "latin-1")
