"""What happened to the cluster as people read it: each episode a sentence and a bar. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from everline.app.words import duration
from everline.cluster.entry import Entry, Episode, Kind, episodes

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
}


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
    """

    began_us: int
    over_us: int | None
    sentence: str
    reason: str
    parts: tuple[Part, ...]

    @property
    def is_over(self) -> bool:
        """Whether it has an end."""
        return self.over_us is not None

    @property
    def times(self) -> str:
        """The bar in words."""
        return ", ".join(f"{part.name} {part.words}" for part in self.parts)


def told(entries: Iterable[Entry]) -> list[Told]:
    """The episodes of a log, newest first."""
    return [_told(one) for one in reversed(episodes(entries))]


def episode_json(one: Episode) -> dict[str, object]:
    """The same for programs; seconds are null where nobody knows them."""
    return {
        "kind": str(one.kind), "node": one.node, "region": one.region, "reason": one.reason, "began_us": one.began_us,
        "detected_us": one.detected_us, "acted_us": one.acted_us, "recovered_us": one.recovered_us,
        "detect_s": one.detect_s, "elect_s": one.elect_s, "recover_s": one.recover_s,
    }  # fmt: skip


def _told(one: Episode) -> Told:
    sentence = _SENTENCES.get(one.kind, "{node}: " + str(one.kind).replace("_", " ")).format(node=one.node or "nobody")
    over = one.recover_s
    end = f"; over after {duration(over)}." if over is not None else "; it is not over."
    return Told(one.began_us, one.recovered_us, sentence + end, one.reason, tuple(_parts(one)))


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
