"""Media quality as people read it and as programs get it: what is asked for, sentences, figures, JSON. Pure."""

import ipaddress
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Final
from urllib.parse import urlencode

from markupsafe import Markup
from pydantic import Field

from everline.app import words
from everline.app.call_json import Json, seconds
from everline.app.figures import sparkline
from everline.app.problems import ProblemError
from everline.app.query import MAX_PAGE
from everline.app.ranges import Span, Text
from everline.calls.emodel import MosBand
from everline.calls.ladder import address_text
from everline.calls.quality import CallQuality, Spread, StreamQuality, only
from everline.calls.quality_totals import QualityTotals
from everline.calls.record import CallRecord

FILTERS: Final = ("last", "since", "until", "agent", "network", "loss")
COURSE_STEPS: Final = 60
BAR_WIDTH: Final = 320
BANDS: Final[Mapping[MosBand, tuple[str, str, str]]] = {
    MosBand.SATISFIED: ("✓", "satisfied, 4.03 or more", "good"),
    MosBand.SOME_DISSATISFIED: ("◔", "some dissatisfied, 3.60 or more", "fair"),
    MosBand.MANY_DISSATISFIED: ("◐", "many dissatisfied, 3.10 or more", "degraded"),
    MosBand.POOR: ("✕", "poor, below 3.10", "bad"),
    MosBand.UNKNOWN: ("–", "no score: codec or loss unknown", "unknown"),
}
"""For each band a sign, its words, and a class for its colour."""


class QualityQuery(Span):
    """Which calls: a time range, and what their streams have in common; an empty value is no filter."""

    agent: Annotated[Text, Field(description="Capture agent that saw the reports.")] = ""
    network: Annotated[Text, Field(description="Where streams go to: an address, or a network as 192.0.2.0/24.")] = ""
    loss: Annotated[Text, Field(description="List only calls that lost more than so many per cent.")] = ""
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE, description="Most calls that are listed.")] = 100

    def least_loss(self) -> float:
        """
        The ratio above which calls are listed; below 0 for all.

        Raises:
            ProblemError: It is no percentage.
        """
        text = self.loss.strip()
        try:
            percent = float(text or -100)
        except ValueError:
            percent = math.nan
        if text and not 0 <= percent <= 100:
            raise ProblemError(400, f"loss={text[:80]!r} is no percentage", next_step="Give a number from 0 to 100.")
        return percent / 100

    def chooses(self) -> Callable[[StreamQuality], bool]:
        """
        Which streams count.

        Raises:
            ProblemError: The network is none.
        """
        agent, text = self.agent.strip(), self.network.strip()
        try:
            network = ipaddress.ip_network(text, strict=False) if text else None
        except ValueError as error:
            step = "Give an address, or a network as 192.0.2.0/24 or 2001:db8::/48."
            raise ProblemError(400, f"network={text[:80]!r} is no network", next_step=step) from error
        return lambda stream: (
            (not agent or agent in stream.agents) and (network is None or _is_in(stream.id.dst_ip, network))
        )

    def chosen(self) -> dict[str, str]:
        """The filters that are set."""
        return {name: getattr(self, name).strip() for name in FILTERS if getattr(self, name).strip()}

    def chips(self) -> list[tuple[str, str, str]]:
        """Name and value of each filter that is set, and the query string without it."""
        return [(name, value, self.link(**{name: ""})) for name, value in self.chosen().items()]

    def link(self, **changed: str) -> str:
        """The query string with other values."""
        return urlencode({name: value for name, value in (self.chosen() | changed).items() if value})


@dataclass(frozen=True, slots=True)
class Tile:
    """A figure, what it is, and where that is defined."""

    name: str
    value: str
    definition: str
    state: str = ""
    query: str | None = None


@dataclass(frozen=True, slots=True)
class ToldStream:
    """
    A stream as the page of its call shows it.

    Attributes:
        side: Which way it goes, if its address tells.
        lost, jitter: Small curves, report by report; of many reports the worst of each step.
    """

    stream: StreamQuality
    side: str
    lost: Markup
    jitter: Markup


def narrowed(qualities: Mapping[str, CallQuality], chooses: Callable[[StreamQuality], bool]) -> dict[str, CallQuality]:
    """The calls with the streams that count; calls without any are left out, unless all count."""
    found = {call_id: only(one, filter(chooses, one.streams)) for call_id, one in qualities.items()}
    return {call_id: one for call_id, one in found.items() if one.streams or not qualities[call_id].streams}


def sentence(totals: QualityTotals, *, when: str) -> str:
    """How it was, in words; `when` is how it begins: "In the last hour"."""
    calls = _calls(totals.measured)
    if not totals.measured:
        return f"{when} no report said how much was lost; RTCP was seen of {_calls(totals.calls)}."
    if totals.bad:
        return f"{when} {totals.bad:,} of {calls} with reports lost more than 5 % of their packets{_where(totals)}."
    if totals.heard:
        return (
            f"{when} {totals.heard:,} of {calls} with reports lost more than 1 % of their packets, none more than 5 %."
        )
    return f"{when} none of {calls} with reports lost more than 1 % of its packets."


def tiles_of(totals: QualityTotals, query: QualityQuery) -> list[Tile]:
    """The figures above the fold."""
    known = f"RTCP was seen of them; of {totals.measured:,} the loss is known."
    lost = "Calls with a stream that lost more than 5 % / calls with a known loss. RFC 3550 s.6.4.1."
    heard = "The same for 1 %, from where on losses can be heard."
    jitter = "Median of streams, each with its mean interarrival jitter. RFC 3550 s.6.4.1."
    return [
        Tile("Calls with reports", f"{totals.calls:,}", known),
        Tile("Lost over 5 %", words.percent(totals.bad_ratio), lost, "bad" if totals.bad else "", query.link(loss="5")),
        Tile(
            "Lost over 1 %", words.percent(totals.heard_ratio), heard,
            "degraded" if totals.heard else "", query.link(loss="1"),
        ),
        Tile("Jitter p50", words.milliseconds(totals.jitter_p50_ms), jitter),
        Tile("Jitter p95", words.milliseconds(totals.jitter_p95_ms), "95 of 100 streams have less."),
    ]  # fmt: skip


def mos_bar(mos: Mapping[MosBand, int]) -> Markup:
    """How many calls are in which band, as one bar."""
    calls = sum(mos.values())
    label = ", ".join(f"{BANDS[band][1]}: {_calls(count)}" for band, count in mos.items() if count)
    parts, x = [], 0.0
    for band, count in mos.items():
        width = BAR_WIDTH * count / calls if calls else 0.0
        parts.append(
            Markup('<rect class="{}" x="{:.1f}" y="0" width="{:.1f}" height="16"/>').format(BANDS[band][2], x, width)
        )
        x += width
    head = Markup('<svg class="bar mos" role="img" aria-label="{}" viewBox="0 0 {} 16" preserveAspectRatio="none">')
    return head.format(label, BAR_WIDTH) + Markup().join(parts) + Markup("</svg>")


def told_streams(quality: CallQuality | None, record: CallRecord | None) -> list[ToldStream]:
    """The streams of a call for its page."""
    caller_ip = record.src_ip if record else ""
    return [
        ToldStream(
            one,
            _side(one, caller_ip),
            sparkline(_thinned([point.lost_ratio for point in one.points]), label="Loss"),
            sparkline(_thinned([point.jitter_ts for point in one.points]), label="Jitter"),
        )
        for one in (quality.streams if quality else ())
    ]


def quality_json(quality: CallQuality | None) -> Json:
    """The media of a call; null where no RTCP was seen."""
    if quality is None:
        return None
    return {
        **_figures_json(quality),
        "unreadable": quality.unreadable,
        "left_out": quality.left_out,
        "streams": [_stream_json(one) for one in quality.streams],
    }


def listed_json(call_id: str, quality: CallQuality, record: CallRecord | None) -> Json:
    """A call in a list, without its streams; caller, callee and start are null where no INVITE was captured."""
    known: dict[str, Json] = {
        "call_id": call_id,
        "caller": record.caller if record else None,
        "callee": record.callee if record else None,
        "start_at": seconds(record.start_us) if record else None,
    }
    return known | _figures_json(quality) | {"streams": len(quality.streams)}


def totals_json(totals: QualityTotals) -> dict[str, Json]:
    """The figures of many calls."""
    return {
        "calls": totals.calls,
        "measured": totals.measured,
        "loss_over_1_percent": totals.heard,
        "loss_over_5_percent": totals.bad,
        "loss_over_1_percent_ratio": totals.heard_ratio,
        "loss_over_5_percent_ratio": totals.bad_ratio,
        "jitter_p50_ms": totals.jitter_p50_ms,
        "jitter_p95_ms": totals.jitter_p95_ms,
        "mos": {band.value: count for band, count in totals.mos.items()},
        "agents": [asdict(one) for one in totals.agents],
        "networks": [asdict(one) for one in totals.networks],
    }


def _figures_json(quality: CallQuality) -> dict[str, Json]:
    return {
        "loss_ratio": quality.loss_ratio,
        "jitter_ms": quality.jitter_ms,
        "round_trip_ms": quality.round_trip_ms,
        "mos": quality.mos,
    }


def _stream_json(stream: StreamQuality) -> Json:
    return {
        "ssrc": stream.id.ssrc,
        "src": address_text((stream.id.src_ip, stream.id.src_port)),
        "dst": address_text((stream.id.dst_ip, stream.id.dst_port)),
        "agents": list(stream.agents),
        "reports": stream.reports,
        "packets_sent": stream.packets_sent,
        "packets_lost": stream.packets_lost,
        "loss_ratio": stream.loss_ratio,
        "worst_lost_ratio": stream.worst_lost_ratio,
        "jitter_ts": _spread_json(stream.jitter_ts),
        "clock_hz": stream.clock_hz,
        "jitter_ms": _spread_json(stream.jitter_ms),
        "codec": stream.codec,
        "round_trip_ms": stream.round_trip_ms,
        "mos": stream.mos,
    }


def _spread_json(spread: Spread | None) -> Json:
    return None if spread is None else {"min": spread.low, "mean": spread.mean, "max": spread.high}


def _is_in(ip: str, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    try:
        return ipaddress.ip_address(ip) in network
    except ValueError:
        return False


def _side(stream: StreamQuality, caller_ip: str) -> str:
    """Media may come from another address than signalling: then nothing is said."""
    if stream.id.src_ip == stream.id.dst_ip:
        return ""
    return {stream.id.src_ip: "from the caller", stream.id.dst_ip: "to the caller"}.get(caller_ip, "")


def _where(totals: QualityTotals) -> str:
    """Where most of the bad calls go, if there is such a network."""
    worst = next(iter(totals.networks), None)
    if worst is None or worst.bad * 2 <= totals.bad or len(totals.networks) == 1:
        return ""
    share = "" if totals.bad == 1 else "all of them " if worst.bad == totals.bad else "most of them "
    return f", {share}to {worst.name}"


def _calls(count: int) -> str:
    return f"{count:,} call{'' if count == 1 else 's'}"


def _thinned(values: Sequence[float | None]) -> list[float | None]:
    step = -(-len(values) // COURSE_STEPS) or 1
    parts = (values[at : at + step] for at in range(0, len(values), step))
    return [max((one for one in part if one is not None), default=None) for part in parts]
