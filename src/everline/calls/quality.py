"""
How well the media of a call came through, by the RTCP reports that were captured of it.

Like a call record, this is a join: what one report says of one stream is one observation, however many agents saw it
and however often it arrived; all figures are functions of the set of observations, so that order and repetition do
not matter. Of an observation only the earliest capture time at each agent counts.

A stream goes from one address to another: a report block (RFC 3550 section 6.4.1) speaks of the stream that comes the
other way. Addresses are those of the RTCP packets. Where a relay passes RTCP on, each leg is a stream of its own.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Final, NamedTuple

from everline.calls.agreed import Agreed, Described, agreed
from everline.calls.emodel import estimated_mos
from everline.calls.event import RTCP, Event
from everline.wire.rtcp import ReceiverReport, RtcpDecodeError, RtcpReport, SenderInfo, SenderReport
from everline.wire.rtcp_json import decode_agent_rtcp

MAX_REPORTS: Final = 5000
"""So many RTCP packets of a call are read, the newest."""
MAX_STREAMS: Final = 64
"""So many streams of a call are shown, those with most reports; more are a conference, or made up."""
MAX_JITTER_S: Final = 10.0
"""Beyond this a jitter is garbage: some agents print what they never set."""
MAX_CLOCK_HZ: Final = 90_000
MAX_ROUND_TRIP_S: Final = 10.0
CLOCK_NOISE_S: Final = 0.01
"""So far below zero a round trip is zero, measured with clocks of limited resolution."""
UNIX_TO_NTP_S: Final = 2_208_988_800
_WORD: Final = 1 << 32


class StreamId(NamedTuple):
    """The packets of one source on their way between two addresses, as RTCP has them."""

    ssrc: int
    src_ip: str
    src_port: int
    dst_ip: str
    dst_port: int

    @property
    def ends(self) -> tuple[str, int, str, int]:
        """Its addresses."""
        return self[1:]


class Spread(NamedTuple):
    """Least, mean and greatest of some values."""

    low: float
    mean: float
    high: float


class Point(NamedTuple):
    """One report: when it was captured, and what it said; None for what it left out."""

    at_us: int
    lost_ratio: float | None
    jitter_ts: int | None


@dataclass(frozen=True, slots=True)
class StreamQuality:
    """
    One stream. None: no report says it, or not without a guess.

    Attributes:
        agents: Capture agents that saw reports of it.
        reports: How many reports speak of how it was received.
        packets_sent: As its sender says.
        packets_lost: As its receiver says at last; 0 when duplicates outnumber losses.
        loss_ratio: Lost / expected packets, 0..1; see `_loss_ratio`.
        worst_lost_ratio: The greatest share lost between two reports, 0..1.
        jitter_ts: Interarrival jitter in timestamp units (RFC 3550 section 6.4.1).
        clock_hz: Timestamp units a second, by SDP; None when SDP leaves it open.
        codec: By SDP.
        round_trip_ms: Between the capture point and both ends together, or one end if only that one told; of several
            capture points the one that saw most of the way.
        mos: Estimated, see `calls.emodel`.
        points: Its reports by capture time.
    """

    id: StreamId
    agents: tuple[str, ...] = ()
    reports: int = 0
    packets_sent: int | None = None
    packets_lost: int | None = None
    loss_ratio: float | None = None
    worst_lost_ratio: float | None = None
    jitter_ts: Spread | None = None
    clock_hz: int | None = None
    codec: str | None = None
    round_trip_ms: float | None = None
    mos: float | None = None
    points: tuple[Point, ...] = ()

    @property
    def jitter_ms(self) -> Spread | None:
        """Jitter in milliseconds; None without a clock rate."""
        if self.jitter_ts is None or self.clock_hz is None:
            return None
        return Spread(*(value * 1000 / self.clock_hz for value in self.jitter_ts))


@dataclass(frozen=True, slots=True)
class CallQuality:
    """
    The media of one call.

    Attributes:
        streams: In the order of their first reports.
        unreadable: Stored packets that are no RTCP.
        left_out: Streams beyond `MAX_STREAMS`.
    """

    streams: tuple[StreamQuality, ...] = ()
    unreadable: int = 0
    left_out: int = 0

    @property
    def loss_ratio(self) -> float | None:
        """The greatest loss of any stream."""
        return max((one.loss_ratio for one in self.streams if one.loss_ratio is not None), default=None)

    @property
    def worst(self) -> StreamQuality | None:
        """The stream with the greatest loss; None where no loss is known."""
        known = (one for one in self.streams if one.loss_ratio is not None)
        return max(known, key=lambda one: one.loss_ratio or 0.0, default=None)

    @property
    def jitter_ms(self) -> float | None:
        """The greatest mean jitter of any stream."""
        return max((one.jitter_ms.mean for one in self.streams if one.jitter_ms is not None), default=None)

    @property
    def round_trip_ms(self) -> float | None:
        """The longest round trip."""
        return max((one.round_trip_ms for one in self.streams if one.round_trip_ms is not None), default=None)

    @property
    def mos(self) -> float | None:
        """The least score of any stream."""
        return min((one.mos for one in self.streams if one.mos is not None), default=None)


def quality_of(events: Iterable[Event], described: Iterable[Described]) -> CallQuality | None:
    """
    The quality of one call; None where no RTCP was seen.

    Args:
        events: Its messages in any order; only RTCP counts, of that the newest `MAX_REPORTS`.
        described: What its session descriptions say, see `calls.agreed`.
    """
    packets = {(one.captured_us, one.event_key): one for one in events if one.protocol == RTCP}
    if not packets:
        return None
    observed = _Observed()
    for key in sorted(packets, reverse=True)[:MAX_REPORTS]:
        observed.take(packets[key])
    trips = _round_trips_ms(observed.streams)
    agreement = agreed(described)
    streams = [_stream(one, heard, agreement, trips.get(one)) for one, heard in observed.streams.items()]
    kept = sorted(streams, key=lambda one: (-one.reports, one.id))[:MAX_STREAMS]
    kept.sort(key=lambda one: (one.points[0].at_us if one.points else math.inf, one.id))
    return CallQuality(tuple(kept), observed.unreadable, len(streams) - len(kept))


def only(quality: CallQuality, streams: Iterable[StreamQuality]) -> CallQuality:
    """The same with some of its streams."""
    return replace(quality, streams=tuple(streams))


_Sightings = dict[str, int]
"""Of one observation: the earliest capture time at each agent."""


@dataclass(slots=True)
class _Heard:
    """What was observed of one stream: the accounts of its sender, and how it was received."""

    sent: dict[SenderInfo, _Sightings] = field(default_factory=dict)
    received: dict[RtcpReport, _Sightings] = field(default_factory=dict)


@dataclass(slots=True)
class _Observed:
    streams: dict[StreamId, _Heard] = field(default_factory=lambda: defaultdict(_Heard))
    unreadable: int = 0

    def take(self, event: Event) -> None:
        try:
            packets = decode_agent_rtcp(event.payload)
        except RtcpDecodeError:
            self.unreadable += 1
            return
        there = (event.src_ip, event.src_port, event.dst_ip, event.dst_port)
        back = (event.dst_ip, event.dst_port, event.src_ip, event.src_port)
        for packet in packets:
            if isinstance(packet, SenderReport):
                _sight(self.streams[StreamId(packet.ssrc, *there)].sent.setdefault(packet.sender, {}), event)
            if isinstance(packet, SenderReport | ReceiverReport):
                for report in filter(_says_something, packet.reports):
                    heard = self.streams[StreamId(report.source_ssrc, *back)]
                    _sight(heard.received.setdefault(report, {}), event)


def _says_something(report: RtcpReport) -> bool:
    """A block of zeros is what heplify sends where a packet has none."""
    return bool(report.source_ssrc or report.highest_seq or report.packets_lost or report.jitter_ts)


def _sight(sightings: _Sightings, event: Event) -> None:
    sightings[event.agent] = min(sightings.get(event.agent, event.captured_us), event.captured_us)


def _stream(key: StreamId, heard: _Heard, agreement: Agreed, round_trip_ms: float | None) -> StreamQuality:
    reports = [report for _, report in _by_time(heard.received)]
    sent = max((one.packets for one in heard.sent), default=None)
    lost = [one.packets_lost for one in reports if one.packets_lost is not None]
    fractions = [one.fraction_lost_ratio for one in reports if one.fraction_lost_ratio is not None]
    stream = StreamQuality(
        key,
        agents=tuple(sorted({agent for seen in (*heard.sent.values(), *heard.received.values()) for agent in seen})),
        reports=len(reports),
        packets_sent=sent,
        packets_lost=max(lost[-1], 0) if lost else None,
        loss_ratio=_loss_ratio(reports, sent),
        worst_lost_ratio=max(fractions, default=None),
        jitter_ts=_jitter(reports, agreement.clock_hz),
        clock_hz=agreement.clock_hz,
        codec=agreement.codec,
        round_trip_ms=round_trip_ms,
        points=tuple(Point(at_us, one.fraction_lost_ratio, one.jitter_ts) for at_us, one in _by_time(heard.received)),
    )
    jitter_ms = stream.jitter_ms.mean if stream.jitter_ms else None
    mos = estimated_mos(stream.codec, stream.loss_ratio, round_trip_ms=round_trip_ms, jitter_ms=jitter_ms)
    return replace(stream, mos=mos)


def _by_time(received: Mapping[RtcpReport, _Sightings]) -> list[tuple[int, RtcpReport]]:
    """Reports by their first capture; of those with one time, by content."""
    first = [(min(seen.values()), one) for one, seen in received.items()]
    return sorted(first, key=lambda pair: (pair[0], _rank(pair[1])))


def _rank(report: RtcpReport) -> tuple[float, ...]:
    values = (report.highest_seq, report.packets_lost, report.jitter_ts, report.fraction_lost_ratio, report.last_sr,
              report.delay_since_last_sr_s)  # fmt: skip
    return tuple(-math.inf if one is None else one for one in values)


def _loss_ratio(reports: Sequence[RtcpReport], sent: int | None) -> float | None:
    """
    The share of packets that were lost, 0..1.

    Lost / expected at the last report. Expected is what the sender says it sent, or how far sequence numbers went
    between the first and the last report if that is more. Without word from the sender both are counted from the
    first report on. With a single report and no such word it is the share of the last interval.
    """
    counted = [(one.packets_lost, one.highest_seq) for one in reports if one.packets_lost is not None]
    steps = [(lost, seq) for lost, seq in counted if seq is not None]
    span = _sequence_span(steps)
    if counted and sent:
        return _ratio(counted[-1][0], max(sent, span))
    if span:
        return _ratio(steps[-1][0] - steps[0][0], span)
    fractions = [one.fraction_lost_ratio for one in reports if one.fraction_lost_ratio is not None]
    return math.fsum(fractions) / len(fractions) if fractions else None


def _sequence_span(steps: Sequence[tuple[int, int]]) -> int:
    """How far extended sequence numbers went; 0 if they went back, as those of a source that began anew do."""
    span = (steps[-1][1] - steps[0][1]) % _WORD if steps else 0
    return span if span < _WORD // 2 else 0


def _ratio(lost: int, expected: int) -> float:
    return min(max(lost / expected, 0.0), 1.0)


def _jitter(reports: Sequence[RtcpReport], clock_hz: int | None) -> Spread | None:
    limit = MAX_JITTER_S * (clock_hz or MAX_CLOCK_HZ)
    values = [one.jitter_ts for one in reports if one.jitter_ts is not None and one.jitter_ts <= limit]
    return Spread(min(values), math.fsum(values) / len(values), max(values)) if values else None


def _round_trips_ms(streams: Mapping[StreamId, _Heard]) -> dict[StreamId, float]:
    """
    Round trips by LSR and DLSR (RFC 3550 section 6.4.1), with the clock of the capture agent alone.

    A sender report passes the agent, and later a block that names it in LSR comes back; what of the time between the
    end did not keep it (DLSR) is the way from the agent to that end and back. The clocks of the ends do not matter.
    The other end's way is known from the streams that come back; both together are the whole round trip.
    """
    ways = {one: _ways_s(heard) for one, heard in streams.items()}
    to_end: dict[tuple[str, int, str, int], dict[str, float]] = defaultdict(dict)
    for one, by_agent in ways.items():
        for agent, way_s in by_agent.items():
            to_end[one.ends][agent] = max(way_s, to_end[one.ends].get(agent, 0.0))
    found = {}
    for one, by_agent in ways.items():
        src_ip, src_port, dst_ip, dst_port = one.ends
        other = to_end.get((dst_ip, dst_port, src_ip, src_port), {})
        if whole := [by_agent.get(agent, 0.0) + other.get(agent, 0.0) for agent in by_agent.keys() | other.keys()]:
            found[one] = max(whole) * 1000
    return found


def _ways_s(heard: _Heard) -> dict[str, float]:
    """Of each agent, the median time to the receiver and back."""
    sent_at: dict[tuple[str, int], int] = {}
    for info, sightings in heard.sent.items():
        for agent, at_us in sightings.items():
            for middle in _middles(info):
                sent_at[agent, middle] = min(at_us, sent_at.get((agent, middle), at_us))
    samples: dict[str, list[float]] = defaultdict(list)
    for report, sightings in heard.received.items():
        if report.last_sr and report.delay_since_last_sr_s is not None:
            for agent, at_us in sightings.items():
                began_us = sent_at.get((agent, report.last_sr))
                way_s = math.inf if began_us is None else (at_us - began_us) / 1e6 - report.delay_since_last_sr_s
                if -CLOCK_NOISE_S <= way_s <= MAX_ROUND_TRIP_S:
                    samples[agent].append(max(way_s, 0.0))
    return {agent: median(values) for agent, values in samples.items()}


def _middles(info: SenderInfo) -> tuple[int, ...]:
    """
    What LSR may say of a sender report: the middle 32 bits of its NTP time.

    Asterisk's JSON has Unix seconds and microseconds instead; rounding makes it one more or less then.
    """
    if info.ntp_s >= UNIX_TO_NTP_S or info.ntp_fraction >= 1_000_000:
        return (_middle(info.ntp_s, info.ntp_fraction),)
    near = _middle(info.ntp_s + UNIX_TO_NTP_S, (info.ntp_fraction << 32) // 1_000_000)
    return (_middle(info.ntp_s, info.ntp_fraction), *((near + step) % _WORD for step in (-1, 0, 1)))


def _middle(ntp_s: int, fraction: int) -> int:
    return (ntp_s & 0xFFFF) << 16 | fraction >> 16 & 0xFFFF
