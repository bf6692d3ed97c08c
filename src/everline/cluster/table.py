"""
Which nodes are alive, as far as one node can hear: a table of deadlines. No clock: time is an argument.

Two clocks are told apart: `at_us` is monotonic and decides about silence, `wall_us` is the time of day and is compared
with what senders say, for the skew of their clocks.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from everline.cluster.beat import Activity, Heartbeat

MAX_UNKNOWN: Final = 64
"""Nodes that cluster.yaml does not have: shown, so that somebody can wonder, but not without end."""
SKEW_LIMIT_US: Final = 2_000_000
_WINDOW: Final = 20
_FORMER_BOOTS: Final = 4


class Presence(StrEnum):
    """What the table holds of a node."""

    UNHEARD = "unheard"
    """Not since this table began, and it has not been long enough to say that it is dead."""
    ALIVE = "alive"
    SUSPECT = "suspect"
    DEAD = "dead"
    STOPPED = "stopped"
    """It said that it stops, and is silent since."""


class ChangeKind(StrEnum):
    """What has changed in the table."""

    HEARD = "heard"
    """For the first time."""
    SUSPECT = "suspect"
    DEAD = "dead"
    STOPPED = "stopped"
    BACK = "back"
    RESTARTED = "restarted"
    DRAINED = "drained"
    UNDRAINED = "undrained"
    TWIN = "twin"
    """Two processes beat under one name."""


@dataclass(frozen=True, slots=True)
class Member:
    """A node as cluster.yaml has it, or as an unknown node describes itself."""

    node: str
    role: str
    region: str
    rack: str
    host: str


@dataclass(frozen=True, slots=True)
class TableChange:
    """
    One change.

    Args:
        silent_us: For how long the node had been silent.
    """

    kind: ChangeKind
    member: Member
    at_us: int
    silent_us: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of one node. `skew_us`: how far its clock is ahead of ours, None until known."""

    member: Member
    presence: Presence
    heard_us: int | None
    beat: Heartbeat | None
    skew_us: int | None
    is_known: bool

    @property
    def is_skewed(self) -> bool:
        """Whether its clock is so far from ours that times of both can't be compared."""
        return self.skew_us is not None and abs(self.skew_us) > SKEW_LIMIT_US


@dataclass(slots=True)
class _Entry:
    member: Member
    is_known: bool
    deadline_from_us: int
    presence: Presence = Presence.UNHEARD
    heard_us: int | None = None
    beat: Heartbeat | None = None
    behind: deque[int] = field(default_factory=lambda: deque(maxlen=_WINDOW))
    former_boots: deque[str] = field(default_factory=lambda: deque(maxlen=_FORMER_BOOTS))
    is_twin: bool = False


class NodeTable:
    """
    All nodes of the cluster, and those that only say that they are of it.

    Args:
        own: Name of the node that has this table; its own beats show how long a beat is on its way.
        suspect_us, dead_us: Silence after which a node is suspected, and counts as dead.
    """

    def __init__(self, own: str, members: Iterable[Member], *, suspect_us: int, dead_us: int, at_us: int) -> None:
        self._own = own
        self._suspect_us, self._dead_us = suspect_us, dead_us
        self._entries = {one.node: _Entry(one, True, at_us) for one in members}  # noqa: FBT003 - a field
        self._is_deaf = False
        self.passed_over = 0
        """Beats of unknown nodes for which there was no room, and beats that came late or twice."""

    def observe(self, beat: Heartbeat, *, at_us: int, wall_us: int) -> list[TableChange]:
        """A beat was heard; what changed by it."""
        entry = self._entry_for(beat, at_us)
        if entry is None or not self._is_news(entry, beat):
            self.passed_over += 1
            return []
        before, silent_us = entry.beat, at_us - entry.deadline_from_us
        kinds = list(_kinds(entry, beat))
        if before and before.boot != beat.boot:
            entry.former_boots.append(before.boot)
            entry.behind.clear()
        entry.beat, entry.presence = beat, Presence.ALIVE
        entry.heard_us = entry.deadline_from_us = at_us
        entry.behind.append(wall_us - beat.sent_us)
        return [TableChange(kind, entry.member, at_us, silent_us) for kind in kinds]

    def tick(self, at_us: int) -> list[TableChange]:
        """Time has passed; who is suspected or dead by it. Nobody while we are deaf ourselves."""
        if self._is_deaf:
            return []
        changes = []
        for entry in self._entries.values():
            silent_us = at_us - entry.deadline_from_us
            kind = self._fate(entry, silent_us)
            if kind:
                entry.presence = Presence(kind)
                changes.append(TableChange(kind, entry.member, at_us, silent_us))
        return changes

    def deaf(self) -> None:
        """We hear nobody, not even ourselves: the silence is ours."""
        self._is_deaf = True

    def hears_again(self, at_us: int) -> None:
        """We hear ourselves: everybody has the whole time again to be heard."""
        self._is_deaf = False
        for entry in self._entries.values():
            entry.deadline_from_us = at_us

    def rows(self) -> list[Row]:
        """All, those of cluster.yaml first and in its order."""
        return [
            Row(one.member, one.presence, one.heard_us, one.beat, self._skew_us(one), one.is_known)
            for one in self._entries.values()
        ]

    def presence(self, node: str) -> Presence | None:
        """Of one node, None if it is neither known nor was heard."""
        entry = self._entries.get(node)
        return entry.presence if entry else None

    def _entry_for(self, beat: Heartbeat, at_us: int) -> _Entry | None:
        entry = self._entries.get(beat.node)
        if entry is None and sum(not one.is_known for one in self._entries.values()) < MAX_UNKNOWN:
            member = Member(beat.node, beat.role, beat.region, beat.rack, beat.host)
            entry = self._entries[beat.node] = _Entry(member, is_known=False, deadline_from_us=at_us)
        return entry

    @staticmethod
    def _is_news(entry: _Entry, beat: Heartbeat) -> bool:
        return not entry.beat or entry.beat.boot != beat.boot or beat.sequence > entry.beat.sequence

    def _fate(self, entry: _Entry, silent_us: int) -> ChangeKind | None:
        """What the silence of a node makes of it, if anything new."""
        if entry.presence is Presence.STOPPED:
            return None
        if entry.beat and entry.beat.activity is Activity.STOPPING:
            return ChangeKind.STOPPED if silent_us >= self._suspect_us else None
        if silent_us >= self._dead_us:
            return ChangeKind.DEAD if entry.presence is not Presence.DEAD else None
        if silent_us >= self._suspect_us and entry.presence is Presence.ALIVE:
            return ChangeKind.SUSPECT
        return None

    def _skew_us(self, entry: _Entry) -> int | None:
        """The quickest of the last beats took at least as long as the quickest of our own, by the same way."""
        if not entry.behind:
            return None
        own = self._entries.get(self._own)
        usual_us = min(own.behind) if own and own.behind else 0
        return usual_us - min(entry.behind)


def _kinds(entry: _Entry, beat: Heartbeat) -> Iterable[ChangeKind]:
    """What a beat changes."""
    before = entry.beat
    if before is None:
        yield ChangeKind.BACK if entry.presence is Presence.DEAD else ChangeKind.HEARD
    elif beat.boot in entry.former_boots:
        if not entry.is_twin:
            entry.is_twin = True
            yield ChangeKind.TWIN
    elif beat.boot != before.boot:
        yield ChangeKind.RESTARTED
    if before and entry.presence in {Presence.SUSPECT, Presence.DEAD, Presence.STOPPED}:
        yield ChangeKind.BACK
    was_drained = before is not None and before.activity is Activity.DRAINED
    if (beat.activity is Activity.DRAINED) != was_drained and beat.activity is not Activity.STOPPING:
        yield ChangeKind.UNDRAINED if was_drained else ChangeKind.DRAINED


def lost_regions(rows: Iterable[Row]) -> frozenset[str]:
    """Regions all of whose nodes, as cluster.yaml has them, are dead."""
    known = [one for one in rows if one.is_known]
    alive = {one.member.region for one in known if one.presence is not Presence.DEAD}
    return frozenset(one.member.region for one in known) - alive
