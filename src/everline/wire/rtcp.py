"""RTCP as it is on the wire (RFC 3550 section 6) with extended reports on VoIP (RFC 3611 section 4.7)."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from everline.errors import EverlineError

_SENDER_REPORT, _RECEIVER_REPORT, _SDES, _BYE, _APP, _XR = 200, 201, 202, 203, 204, 207
_VOIP_METRICS_BLOCK: Final = 7
_UNAVAILABLE: Final = 127


class RtcpFault(StrEnum):
    """Why a packet cannot be read: a closed set."""

    TRUNCATED = "truncated"
    BAD_VERSION = "bad-version"
    BAD_LENGTH = "bad-length"
    BAD_JSON = "bad-json"


class RtcpDecodeError(EverlineError):
    """The sender broke the RTCP format, or the packet is encrypted (SRTCP)."""

    def __init__(self, reason: RtcpFault, *, offset: int) -> None:
        super().__init__(f"RTCP {reason} at byte {offset}; check that the agent sends plain RTCP, not SRTCP")
        self.reason, self.offset = reason, offset


@dataclass(frozen=True, slots=True)
class RtcpReport:
    """
    How one source is received (RFC 3550 section 6.4.1). None: an agent's JSON left it out.

    Attributes:
        source_ssrc: Whose packets this is about.
        fraction_lost_ratio: Lost since the last report, 0..1, in steps of 1/256.
        packets_lost: Lost since the beginning; negative when duplicates outnumber losses.
        highest_seq: Highest sequence number received, with the count of its cycles in the upper 16 bits.
        jitter_ts: Interarrival jitter in RTP timestamp units.
        last_sr: Middle 32 bits of the NTP time of the last sender report; 0 if there was none.
        delay_since_last_sr_s: Seconds since that report came.
    """

    source_ssrc: int
    fraction_lost_ratio: float | None
    packets_lost: int | None
    highest_seq: int | None
    jitter_ts: int | None
    last_sr: int | None
    delay_since_last_sr_s: float | None


@dataclass(frozen=True, slots=True)
class SenderInfo:
    """What a sender says it has sent; its clock is NTP: seconds since 1900 and 1/2^32 of a second."""

    ntp_s: int
    ntp_fraction: int
    rtp_timestamp: int
    packets: int
    payload_bytes: int


@dataclass(frozen=True, slots=True)
class SenderReport:
    """SR: a sender's own account, and how it receives others."""

    ssrc: int
    sender: SenderInfo
    reports: tuple[RtcpReport, ...]


@dataclass(frozen=True, slots=True)
class ReceiverReport:
    """RR: how one that sends nothing receives others."""

    ssrc: int
    reports: tuple[RtcpReport, ...]


@dataclass(frozen=True, slots=True)
class SourceDescription:
    """SDES: of each source, its items as (type, text); type 1 is the CNAME."""

    sources: tuple[tuple[int, tuple[tuple[int, str], ...]], ...]


@dataclass(frozen=True, slots=True)
class Goodbye:
    """BYE: sources that leave, and why."""

    ssrcs: tuple[int, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class ApplicationPacket:
    """APP: whatever an application likes."""

    ssrc: int
    subtype: int
    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class VoipMetrics:
    """
    What a receiver thinks of the call (RFC 3611 section 4.7). None: it does not say, or an agent's JSON left it out.

    Ratios are 0..1; MOS is 1..5; levels are in dBm, echo return loss in dB.
    """

    source_ssrc: int
    loss_ratio: float | None = None
    discard_ratio: float | None = None
    burst_density_ratio: float | None = None
    gap_density_ratio: float | None = None
    burst_ms: int | None = None
    gap_ms: int | None = None
    round_trip_ms: int | None = None
    end_system_delay_ms: int | None = None
    signal_dbm: int | None = None
    noise_dbm: int | None = None
    echo_return_loss_db: int | None = None
    gap_minimum: int | None = None
    r_factor: int | None = None
    external_r_factor: int | None = None
    mos_lq: float | None = None
    mos_cq: float | None = None
    jitter_buffer_nominal_ms: int | None = None
    jitter_buffer_maximum_ms: int | None = None
    jitter_buffer_absolute_maximum_ms: int | None = None


@dataclass(frozen=True, slots=True)
class ExtendedReport:
    """XR: only the VoIP metrics blocks of it."""

    ssrc: int
    voip: tuple[VoipMetrics, ...]


@dataclass(frozen=True, slots=True)
class OtherPacket:
    """A packet of any other type: feedback (RFC 4585) and later inventions."""

    packet_type: int
    data: bytes


RtcpPacket: TypeAlias = (
    SenderReport | ReceiverReport | SourceDescription | Goodbye | ApplicationPacket | ExtendedReport | OtherPacket
)


@dataclass(frozen=True, slots=True)
class _Raw:
    """One packet of a compound packet, its padding taken off; `body` is what follows the first 4 bytes."""

    offset: int
    count: int
    body: bytes

    def unpack(self, layout: str, at: int = 0) -> tuple[int, ...]:
        try:
            return struct.unpack_from("!" + layout, self.body, at)
        except struct.error:
            raise self.fault(at) from None

    def fault(self, at: int) -> RtcpDecodeError:
        return RtcpDecodeError(RtcpFault.BAD_LENGTH, offset=self.offset + 4 + at)


def decode_rtcp(data: bytes) -> tuple[RtcpPacket, ...]:
    """
    Read a compound RTCP packet; one that begins with no report (RFC 5506) is welcome too.

    Raises:
        RtcpDecodeError: Nothing of it is used then: encrypted packets look right for a while.
    """
    packets: list[RtcpPacket] = []
    offset = 0
    while offset < len(data) or not packets:
        if len(data) - offset < 4:
            raise RtcpDecodeError(RtcpFault.TRUNCATED, offset=offset)
        first, packet_type, words = struct.unpack_from("!BBH", data, offset)
        if first >> 6 != 2:
            raise RtcpDecodeError(RtcpFault.BAD_VERSION, offset=offset)
        end = offset + 4 + words * 4
        if end > len(data):
            raise RtcpDecodeError(RtcpFault.TRUNCATED, offset=offset)
        body = data[offset + 4 : end]
        if first & 0x20:
            body = _without_padding(body, offset)
        decode = _DECODERS.get(packet_type)
        packets.append(decode(_Raw(offset, first & 0x1F, body)) if decode else OtherPacket(packet_type, body))
        offset = end
    return tuple(packets)


def _without_padding(body: bytes, offset: int) -> bytes:
    padding = body[-1] if body else 0
    if not 0 < padding <= len(body):
        raise RtcpDecodeError(RtcpFault.BAD_LENGTH, offset=offset)
    return body[:-padding]


def _sender_report(raw: _Raw) -> SenderReport:
    ssrc, *fields = raw.unpack("IIIIII")
    return SenderReport(ssrc, SenderInfo(*fields), _reports(raw, 24))


def _receiver_report(raw: _Raw) -> ReceiverReport:
    (ssrc,) = raw.unpack("I")
    return ReceiverReport(ssrc, _reports(raw, 4))


def _reports(raw: _Raw, at: int) -> tuple[RtcpReport, ...]:
    return tuple(_report(*raw.unpack("IIIIII", at + index * 24)) for index in range(raw.count))


def _report(ssrc: int, lost: int, highest_seq: int, jitter_ts: int, last_sr: int, delay: int) -> RtcpReport:
    return RtcpReport(
        source_ssrc=ssrc,
        fraction_lost_ratio=(lost >> 24) / 256,
        packets_lost=signed_24(lost & 0xFFFFFF),
        highest_seq=highest_seq,
        jitter_ts=jitter_ts,
        last_sr=last_sr,
        delay_since_last_sr_s=delay / 65_536,
    )


def signed_24(value: int) -> int:
    """The cumulative number of packets lost is a signed number of 24 bits."""
    return value - (1 << 24) if value & 0x800000 else value


def _source_description(raw: _Raw) -> SourceDescription:
    sources: list[tuple[int, tuple[tuple[int, str], ...]]] = []
    at = 0
    for _ in range(raw.count):
        (ssrc,) = raw.unpack("I", at)
        items, at = _items(raw, at + 4)
        sources.append((ssrc, items))
    return SourceDescription(tuple(sources))


def _items(raw: _Raw, at: int) -> tuple[tuple[tuple[int, str], ...], int]:
    """The items of one source, and where the next source begins: after null bytes up to a multiple of four."""
    items: list[tuple[int, str]] = []
    while at < len(raw.body) and raw.body[at]:
        kind, size = raw.unpack("BB", at)
        if at + 2 + size > len(raw.body):
            raise raw.fault(at)
        items.append((kind, _text(raw.body[at + 2 : at + 2 + size])))
        at += 2 + size
    return tuple(items), at + 4 - at % 4


def _goodbye(raw: _Raw) -> Goodbye:
    ssrcs = raw.unpack(f"{raw.count}I")
    rest = raw.body[raw.count * 4 :]
    return Goodbye(ssrcs, _text(rest[1 : 1 + rest[0]]) if rest else "")


def _application(raw: _Raw) -> ApplicationPacket:
    ssrc, _ = raw.unpack("II")
    return ApplicationPacket(ssrc, raw.count, _text(raw.body[4:8]), raw.body[8:])


def _extended_report(raw: _Raw) -> ExtendedReport:
    (ssrc,) = raw.unpack("I")
    voip: list[VoipMetrics] = []
    at = 4
    while at < len(raw.body):
        kind, _, words = raw.unpack("BBH", at)
        if at + 4 + words * 4 > len(raw.body):
            raise raw.fault(at)
        if kind == _VOIP_METRICS_BLOCK and words >= 8:
            voip.append(_voip_metrics(raw.unpack("IBBBBHHHHbbBBBBBBBxHHH", at + 4)))
        at += 4 + words * 4
    return ExtendedReport(ssrc, tuple(voip))


def _voip_metrics(fields: tuple[int, ...]) -> VoipMetrics:
    ssrc, loss, discard, burst_density, gap_density, burst_ms, gap_ms, round_trip_ms, end_system_ms = fields[:9]
    signal, noise, echo, gap_minimum, r_factor, external_r, mos_lq, mos_cq, _ = fields[9:18]
    nominal_ms, maximum_ms, absolute_ms = fields[18:]
    return VoipMetrics(
        source_ssrc=ssrc,
        loss_ratio=loss / 256,
        discard_ratio=discard / 256,
        burst_density_ratio=burst_density / 256,
        gap_density_ratio=gap_density / 256,
        burst_ms=burst_ms,
        gap_ms=gap_ms,
        round_trip_ms=round_trip_ms,
        end_system_delay_ms=end_system_ms,
        signal_dbm=_available(signal),
        noise_dbm=_available(noise),
        echo_return_loss_db=_available(echo),
        gap_minimum=gap_minimum,
        r_factor=_available(r_factor),
        external_r_factor=_available(external_r),
        mos_lq=None if mos_lq == _UNAVAILABLE else mos_lq / 10,
        mos_cq=None if mos_cq == _UNAVAILABLE else mos_cq / 10,
        jitter_buffer_nominal_ms=nominal_ms,
        jitter_buffer_maximum_ms=maximum_ms,
        jitter_buffer_absolute_maximum_ms=absolute_ms,
    )


def _available(value: int) -> int | None:
    return None if value == _UNAVAILABLE else value


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


_DECODERS: Final[dict[int, Callable[[_Raw], RtcpPacket]]] = {
    _SENDER_REPORT: _sender_report,
    _RECEIVER_REPORT: _receiver_report,
    _SDES: _source_description,
    _BYE: _goodbye,
    _APP: _application,
    _XR: _extended_report,
}
