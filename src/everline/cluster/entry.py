"""Entries of the failover log, and what they tell together: pure."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

MAX_DETAILS: Final = 4_096
MAX_REASON: Final = 512
MOST_DRILL_US: Final = 4 * 3600 * 1_000_000
"""A drill that nobody ended is over then: it must not excuse what fails later."""


class Kind(StrEnum):
    """What an entry is about."""

    LEADER_ELECTED = "leader_elected"
    LEADER_RESUMED = "leader_resumed"
    """The same leader with the same token, after a moment in which it could not be sure."""
    LEADER_RESIGNED = "leader_resigned"
    LEADER_LOST = "leader_lost"
    NODE_SUSPECT = "node_suspect"
    NODE_DEAD = "node_dead"
    NODE_BACK = "node_back"
    NODE_RESTARTED = "node_restarted"
    NODE_STOPPED = "node_stopped"
    NODE_DRAINED = "node_drained"
    NODE_UNDRAINED = "node_undrained"
    NODE_TWIN = "node_twin"
    REGION_LOST = "region_lost"
    REGION_BACK = "region_back"
    REDIS_FAILOVER = "redis_failover"
    BUS_REBUILT = "bus_rebuilt"
    STORE_REPLICA_LOST = "store_replica_lost"
    STORE_REPLICA_BACK = "store_replica_back"
    STORE_REPAIRED = "store_repaired"
    SPOOL_STARTED = "spool_started"
    SPOOL_DRAINED = "spool_drained"
    CUT_OFF = "cut_off"
    RECONNECTED = "reconnected"
    DRILL_STARTED = "drill_started"
    """Somebody breaks something on purpose; `node` is the name of the drill."""
    DRILL_ENDED = "drill_ended"
    HOOK_DONE = "hook_done"
    HOOK_FAILED = "hook_failed"


@dataclass(frozen=True, slots=True)
class Entry:
    """
    One line of the failover log; the same content has the same id, so that it may be written twice.

    Args:
        at_us: When it happened, epoch microseconds.
        node: Whom it is about; `by` wrote it.
        token: Of the leader that wrote it, or whose leadership it is about; 0 if none.
        detected_us, acted_us: When it was noticed, and when what follows from it was done; 0 if not known.
        details: JSON object, at most `MAX_DETAILS` characters.
    """

    at_us: int
    kind: Kind
    node: str
    region: str = ""
    reason: str = ""
    token: int = 0
    detected_us: int = 0
    acted_us: int = 0
    details: str = "{}"
    by: str = ""

    @property
    def entry_id(self) -> str:
        """Hash of the content, 32 hexadecimal digits."""
        return hashlib.sha256(json.dumps(self.as_json(), sort_keys=True).encode()).hexdigest()[:32]

    def as_json(self) -> dict[str, str | int]:
        """Field by field."""
        return {name: getattr(self, name) for name in self.__slots__}


def make_entry(
    kind: Kind,
    at_us: int,
    *,
    node: str,
    by: str,
    region: str = "",
    reason: str = "",
    token: int = 0,
    detected_us: int = 0,
    acted_us: int = 0,
    details: Mapping[str, object] | None = None,
) -> Entry:
    """An entry within its bounds: what is too long is cut, details that are too long are left out, and it says so."""
    text = json.dumps(details or {}, default=str, sort_keys=True)
    if len(text) > MAX_DETAILS:
        text = json.dumps({"left_out": len(text)})
    return Entry(at_us, kind, node, region, reason[:MAX_REASON], token, detected_us, acted_us, text, by)


def parse_entry(read: Any) -> Entry | None:  # JSON of a file
    """What `as_json` gave, None if it is nothing of the kind."""
    try:
        at_us, token, detected_us, acted_us = (
            int(read[name]) for name in ("at_us", "token", "detected_us", "acted_us")
        )
        node, region, reason, details, by = (str(read[name]) for name in ("node", "region", "reason", "details", "by"))
        return Entry(
            at_us, Kind(read["kind"]), node, region, reason, token, detected_us, acted_us, details=details, by=by
        )
    except (KeyError, TypeError, ValueError):
        return None


ENDS: Final = {
    Kind.LEADER_LOST: (Kind.LEADER_ELECTED, Kind.LEADER_RESUMED),
    Kind.LEADER_RESIGNED: (Kind.LEADER_ELECTED,),
    Kind.NODE_DEAD: (Kind.NODE_BACK, Kind.NODE_RESTARTED),
    Kind.REGION_LOST: (Kind.REGION_BACK,),
    Kind.STORE_REPLICA_LOST: (Kind.STORE_REPLICA_BACK, Kind.STORE_REPAIRED),
    Kind.SPOOL_STARTED: (Kind.SPOOL_DRAINED,),
    Kind.CUT_OFF: (Kind.RECONNECTED,),
    Kind.NODE_DRAINED: (Kind.NODE_UNDRAINED,),
    Kind.DRILL_STARTED: (Kind.DRILL_ENDED,),
}
"""What begins an episode, and what ends it."""
_OF_THE_CLUSTER: Final = frozenset({Kind.LEADER_ELECTED})
"""Ends of episodes that are about another node than their beginning."""
_ONE_ENTRY: Final = frozenset({Kind.LEADER_ELECTED, Kind.REDIS_FAILOVER})
"""Kinds whose entry tells a whole episode if nothing else tells of its beginning."""


@dataclass(frozen=True, slots=True)
class Episode:
    """
    A fault from its beginning to its end, as far as the log tells.

    Args:
        began_us: When it happened, or when it was noticed if nobody knows when it happened.
        detected_us, acted_us, recovered_us: None while it has not come to that, or nobody noted it.
        by, token: Who wrote its last entry, with which token; 0 if none.
        details: Of its entries, those of the last one first in line.
        is_drill: Whether it began while a drill was held.
    """

    kind: Kind
    node: str
    region: str
    reason: str
    began_us: int
    detected_us: int | None = None
    acted_us: int | None = None
    recovered_us: int | None = None
    by: str = ""
    token: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)  # JSON
    is_drill: bool = False

    @property
    def detect_s(self) -> float | None:
        """From its beginning to its detection."""
        return _between(self.began_us, self.detected_us)

    @property
    def elect_s(self) -> float | None:
        """From its detection to the act that followed."""
        return _between(self.detected_us, self.acted_us)

    @property
    def recover_s(self) -> float | None:
        """From its beginning to its end."""
        return _between(self.began_us, self.recovered_us)


def _between(early_us: int | None, late_us: int | None) -> float | None:
    """Clocks of two nodes may disagree: never less than nothing."""
    return None if early_us is None or late_us is None else max(0, late_us - early_us) / 1e6


def episodes(entries: Iterable[Entry]) -> list[Episode]:
    """Beginnings and ends brought together, in the order in which they began."""
    found: list[Episode] = []
    going_on: dict[tuple[Kind, str], int] = {}
    for entry in sorted(entries, key=lambda one: (one.at_us, one.entry_id)):
        closed = [
            going_on.pop((begin, whom))
            for begin, whom in list(going_on)
            if entry.kind in ENDS[begin] and (whom == entry.node or entry.kind in _OF_THE_CLUSTER)
        ]
        for index in closed:
            found[index] = _ended(found[index], entry)
        if entry.kind in ENDS and (entry.kind, entry.node) not in going_on:
            going_on[entry.kind, entry.node] = len(found)
            found.append(_begun(entry))
        elif entry.kind in _ONE_ENTRY and not closed:
            found.append(_ended(_begun(entry), entry))
    spans = _spans(found)
    return [replace(one, is_drill=is_within(spans, one.began_us)) for one in found]


def drill_spans(entries: Iterable[Entry]) -> list[tuple[int, int]]:
    """When drills were held, epoch microseconds."""
    return _spans(episodes([one for one in entries if one.kind in {Kind.DRILL_STARTED, Kind.DRILL_ENDED}]))


def is_within(spans: Iterable[tuple[int, int]], at_us: int) -> bool:
    """Whether a moment is in one of them."""
    return any(begin <= at_us <= end for begin, end in spans)


def _spans(found: Iterable[Episode]) -> list[tuple[int, int]]:
    ends = [
        (one.began_us, one.began_us + MOST_DRILL_US, one.recovered_us)
        for one in found
        if one.kind is Kind.DRILL_STARTED
    ]
    return [(began, min(latest, ended or latest)) for began, latest, ended in ends]


def _begun(entry: Entry) -> Episode:
    began_us = entry.at_us if entry.kind not in _ONE_ENTRY else entry.detected_us or entry.at_us
    return Episode(
        entry.kind, entry.node, entry.region, entry.reason, began_us, entry.detected_us or None, entry.acted_us or None,
        by=entry.by, token=entry.token, details=_details(entry),
    )  # fmt: skip


def _ended(begun: Episode, end: Entry) -> Episode:
    return replace(
        begun,
        detected_us=begun.detected_us or end.detected_us or None,
        acted_us=begun.acted_us or end.acted_us or None,
        recovered_us=end.acted_us or end.at_us,
        by=end.by,
        token=end.token or begun.token,
        details={**begun.details, **_details(end)},
    )


def _details(entry: Entry) -> dict[str, Any]:  # JSON
    try:
        read = json.loads(entry.details)
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}
