"""What happened to the cluster as people read it: each episode a sentence and a bar. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from everline.app.words import duration
from everline.cluster.entry import Episode, Kind

BAR_WIDTH: Final = 240
_LEAST: Final = 2.0
"""Of the bar, for what took no time: it must be seen that it was there."""
_SENTENCES: Final[Mapping[Kind, str]] = {
    Kind.LEADER_LOST: "The leader {node} was lost",
    Kind.LEADER_RESIGNED: "The leader {node} gave its seat up",
    Kind.LEADER_ELECTED: "{node} became the leader",
    Kind.NODE_DEAD: "{node} was dead",
    Kind.NODE_DRAINED: "{node} was drained by an operator",
    Kind.REGION_LOST: "Region {node} was lost",
    Kind.REDIS_FAILOVER: "Redis {node} became the primary",
    Kind.STORE_REPLICA_LOST: "ClickHouse {node} was away",
    Kind.SPOOL_STARTED: "{node} kept packets in its spool",
    Kind.CUT_OFF: "{node} was cut off",
    Kind.DRILL_STARTED: "Drill {node} was held",
}
_COSTS: Final[Mapping[str, str]] = {
    "spooled_bytes": "{:,} bytes waited in its spool, none lost",
    "silent_s": "silent for {:.1f} s",
    "cut_off_s": "cut off for {:.1f} s",
    "events": "{:,} events given to it again",
}
"""Which details of entries say what it cost, and how."""
_AROUND_US: Final = 120_000_000
"""How much before and after an episode is shown of the key figures."""


@dataclass(frozen=True, slots=True)
class Part:
    """
    A part of a bar.

    Attributes:
        x, width: In the units of a bar of `BAR_WIDTH`.
    """

    name: str
    x: float
    width: float
    words: str


@dataclass(frozen=True, slots=True)
class Told:
    """
    One episode: its sentence, its times in words, its bar.

    Attributes:
        over_us: None while it is not over.
        cost: What it cost, a few words each.
        acted: Who acted, with which token; empty if nobody had to.
        figures: Path of the page with the key figures of that time.
    """

    began_us: int
    over_us: int | None
    sentence: str
    reason: str
    is_drill: bool
    parts: tuple[Part, ...]
    cost: tuple[str, ...]
    acted: str
    figures: str

    @property
    def is_over(self) -> bool:
        """Whether it has an end."""
        return self.over_us is not None

    @property
    def times(self) -> str:
        """The bar in words."""
        return ", ".join(f"{part.name} {part.words}" for part in self.parts)


def told(found: Sequence[Episode], *, now_us: int) -> list[Told]:
    """Episodes, newest first."""
    return [_told(one, now_us) for one in reversed(found)]


def episode_json(one: Episode) -> dict[str, object]:
    """The same for programs; seconds are null where nobody knows them."""
    return {
        "kind": str(one.kind), "node": one.node, "region": one.region, "reason": one.reason, "began_us": one.began_us,
        "detected_us": one.detected_us, "acted_us": one.acted_us, "recovered_us": one.recovered_us,
        "detect_s": one.detect_s, "elect_s": one.elect_s, "recover_s": one.recover_s,
        "drill": one.is_drill, "by": one.by, "token": one.token, "details": dict(one.details),
    }  # fmt: skip


def _told(one: Episode, now_us: int) -> Told:
    sentence = _SENTENCES.get(one.kind, "{node}: " + str(one.kind).replace("_", " ")).format(node=one.node or "nobody")
    over = one.recover_s
    end = f"; over after {duration(over)}." if over is not None else "; it is not over."
    return Told(
        one.began_us, one.recovered_us, sentence + end, one.reason, one.is_drill, tuple(_parts(one)), tuple(_cost(one)),
        f"{one.by}, token {one.token}" if one.token else "", _figures(one, now_us),
    )  # fmt: skip


def _cost(one: Episode) -> Iterator[str]:
    for name, words in _COSTS.items():
        value = one.details.get(name)
        if isinstance(value, int | float) and value > 0:
            yield words.format(value)


def _figures(one: Episode, now_us: int) -> str:
    """The overview from a little before to a little after; whole seconds, and never empty."""
    since = max(0, one.began_us - _AROUND_US) // 1_000_000
    until = min((one.recovered_us or now_us) + _AROUND_US, max(now_us, one.began_us + _AROUND_US)) // 1_000_000
    return f"/?since={since}&until={max(until, since + 1)}"


def _parts(one: Episode) -> Iterator[Part]:
    """Detected, acted, recovered, each from the end of the one before, as far as they are known."""
    ends = [("detected", one.detected_us), ("acted", one.acted_us), ("recovered", one.recovered_us)]
    known = [(name, max(us, one.began_us)) for name, us in ends if us is not None]
    last = max((us for _, us in known), default=one.began_us)
    scale = BAR_WIDTH / max(1, last - one.began_us)
    before, x = one.began_us, 0.0
    for name, us in known:
        width = max(_LEAST, (max(us, before) - before) * scale)
        yield Part(name, round(x, 1), round(width, 1), f"after {duration(max(0, us - one.began_us) / 1e6)}")
        before, x = max(us, before), x + width
