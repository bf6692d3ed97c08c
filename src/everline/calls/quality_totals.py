"""The quality of many calls at once: shares, spreads and where it is worst; functions of a set, as for one call."""

import ipaddress
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from everline.calls.agreed import Described
from everline.calls.emodel import MosBand, band_of
from everline.calls.event import Event
from everline.calls.quality import CallQuality, StreamQuality, quality_of

LOSS_HEARD: Final = 0.01
"""From about here on a loss can be heard in spite of concealment."""
LOSS_BAD: Final = 0.05
"""From here on a call is hard to follow."""
NETWORK_BITS: Final = {4: 24, 6: 48}


@dataclass(frozen=True, slots=True)
class QualityTotals:
    """
    Figures of calls of which RTCP was seen.

    Attributes:
        calls: All of them.
        measured: Calls of which the loss is known; the two ratios are shares of these.
        heard: Calls with a stream that lost more than 1 % of its packets.
        bad: More than 5 %.
        jitter_p50_ms: Median of the mean jitter of streams; None without any in milliseconds.
        jitter_p95_ms: 95 of 100 streams have less.
        mos: Calls by the score of their worst stream.
        agents: Capture agents, worst first.
        networks: Where streams go to: /24 of IPv4, /48 of IPv6; worst first.
    """

    calls: int = 0
    measured: int = 0
    heard: int = 0
    bad: int = 0
    jitter_p50_ms: float | None = None
    jitter_p95_ms: float | None = None
    mos: Mapping[MosBand, int] = field(default_factory=dict)
    agents: "tuple[QualityGroup, ...]" = ()
    networks: "tuple[QualityGroup, ...]" = ()

    @property
    def heard_ratio(self) -> float | None:
        """Share of measured calls that lost more than 1 %."""
        return self.heard / self.measured if self.measured else None

    @property
    def bad_ratio(self) -> float | None:
        """Share of measured calls that lost more than 5 %."""
        return self.bad / self.measured if self.measured else None


@dataclass(frozen=True, slots=True)
class QualityGroup:
    """Calls with streams that have something in common; counted as in `QualityTotals`, by those streams alone."""

    name: str
    calls: int
    measured: int
    heard: int
    bad: int
    loss_ratio: float | None


def qualities_of(events: Iterable[Event], described: Mapping[str, Iterable[Described]]) -> dict[str, CallQuality]:
    """The quality of each call by its Call-ID, out of the messages of many."""
    by_call: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        by_call[event.call_id].append(event)
    found = ((call_id, quality_of(its, described.get(call_id, ()))) for call_id, its in by_call.items())
    return {call_id: quality for call_id, quality in found if quality is not None}


def totals_of(qualities: Mapping[str, CallQuality]) -> QualityTotals:
    """The figures of calls by their Call-IDs."""
    losses = [one.loss_ratio for one in qualities.values()]
    jitters = sorted(
        stream.jitter_ms.mean for one in qualities.values() for stream in one.streams if stream.jitter_ms is not None
    )
    bands = Counter(band_of(one.mos) for one in qualities.values())
    return QualityTotals(
        calls=len(qualities),
        measured=_above(losses, -1),
        heard=_above(losses, LOSS_HEARD),
        bad=_above(losses, LOSS_BAD),
        jitter_p50_ms=_quantile(jitters, 0.5),
        jitter_p95_ms=_quantile(jitters, 0.95),
        mos={band: bands[band] for band in MosBand},
        agents=_groups(qualities, lambda stream: stream.agents),
        networks=_groups(qualities, lambda stream: (network_of(stream.id.dst_ip),)),
    )


def worst_first(qualities: Mapping[str, CallQuality]) -> list[tuple[str, CallQuality]]:
    """By loss, then by score, then by jitter; those of which nothing is known come last."""

    def badness(pair: tuple[str, CallQuality]) -> tuple[float, float, float, str]:
        call_id, one = pair
        return (-_or(one.loss_ratio, -1), _or(one.mos, 5), -_or(one.jitter_ms, -1), call_id)

    return sorted(qualities.items(), key=badness)


@lru_cache(maxsize=4096)
def network_of(ip: str) -> str:
    """The network of an address, as we group them; what is no address stays as it is."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return ip
    return str(ipaddress.ip_network(f"{address}/{NETWORK_BITS[address.version]}", strict=False))


def _groups(
    qualities: Mapping[str, CallQuality], names_of: Callable[[StreamQuality], Iterable[str]]
) -> tuple[QualityGroup, ...]:
    """Of each name, the calls with streams that have it, each with the worst loss of these streams."""
    found: dict[str, dict[str, float | None]] = defaultdict(dict)
    for call_id, quality in qualities.items():
        for stream in quality.streams:
            for name in names_of(stream):
                known = [one for one in (stream.loss_ratio, found[name].get(call_id)) if one is not None]
                found[name][call_id] = max(known, default=None)
    groups = [_group(name, list(losses.values())) for name, losses in found.items()]
    return tuple(sorted(groups, key=lambda one: (-one.bad, -one.heard, -_or(one.loss_ratio, -1), one.name)))


def _group(name: str, losses: Sequence[float | None]) -> QualityGroup:
    worst = max((one for one in losses if one is not None), default=None)
    return QualityGroup(
        name, len(losses), _above(losses, -1), _above(losses, LOSS_HEARD), _above(losses, LOSS_BAD), worst
    )


def _above(losses: Iterable[float | None], least: float) -> int:
    return sum(one is not None and one > least for one in losses)


def _quantile(values: Sequence[float], share: float) -> float | None:
    """Of sorted values, the least that so great a share of them does not exceed."""
    return values[min(int(len(values) * share), len(values) - 1)] if values else None


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value
