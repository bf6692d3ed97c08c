"""
Who should lead, as rules without a clock or a connection.

One znode, the seat, can be held by one session at a time: whoever makes it leads, and its czxid is the fencing token.
The rules only say how soon a candidate reaches for an empty seat, and when a leader gives it to another:

- a ready candidate reaches at once, after one step for each class below the preferred one (app nodes before witness);
- one that is drained, unhealthy or has just resigned reaches late while a ready one stands, so that this is faster; but
  it does reach: if everybody is unhealthy, somebody still leads;
- a leader that is drained or unhealthy gives the seat up only while a ready candidate stands by, and a leader of a
  lower class gives it to a ready one of a higher class.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

STEP_S: Final = 0.3
"""Between the classes of preference."""
RELUCTANT_S: Final = 2.0
"""How much later a candidate reaches that had better not lead."""


def paths_of(cluster: str) -> dict[str, str]:
    """Where everything of a cluster is in Keeper."""
    root = f"/everline/{cluster}"
    return {name: f"{root}/{name}" for name in ("leader", "candidates", "last", "drain")}


class Standing(StrEnum):
    """How fit a candidate is; only the first is fit."""

    READY = "ready"
    DRAINED = "drained"
    UNHEALTHY = "unhealthy"
    HELD_DOWN = "held_down"
    """It resigned a moment ago."""


class Reason(StrEnum):
    """Why leadership changed."""

    FIRST = "first"
    SESSION_LOST = "session_lost"
    DRAINED = "drained"
    UNHEALTHY = "unhealthy"
    PREFERRED = "preferred"
    """A candidate of a higher class was there."""
    STOPPING = "stopping"
    DISCONNECTED = "disconnected"
    """The connection to Keeper is away: whether the session lives is not known, so the leader must not act."""
    NOT_CONFIRMED = "not_confirmed"
    """No answer of Keeper's majority for too long: a pause of the process, or a server that answers nobody."""
    RECONNECTED = "reconnected"
    """The session had lived on: the same leader, the same token."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One node that stands for election."""

    node: str
    role: str
    region: str
    priority: int = 0
    """0 is preferred."""
    standing: Standing = Standing.READY

    def encode(self) -> bytes:
        """As Keeper holds it."""
        return json.dumps({name: getattr(self, name) for name in self.__slots__}).encode()


def parse_candidate(data: bytes) -> Candidate | None:
    """What a node wrote, None if it is nothing of the kind."""
    try:
        read = json.loads(data)
        return Candidate(
            node=str(read["node"]),
            role=str(read["role"]),
            region=str(read["region"]),
            priority=int(read["priority"]),
            standing=Standing(read["standing"]),
        )
    except (ValueError, KeyError, TypeError):
        return None


def patience_s(me: Candidate, others: Iterable[Candidate]) -> float:
    """How long a candidate leaves an empty seat to others; one that is not fit only while somebody fit is there."""
    is_late = me.standing is not Standing.READY and bool(_ready(me, others))
    return me.priority * STEP_S + (RELUCTANT_S if is_late else 0)


def _ready(me: Candidate, others: Iterable[Candidate]) -> list[int]:
    """Priorities of the others that are fit."""
    return [one.priority for one in others if one.standing is Standing.READY and one.node != me.node]


def reason_to_leave(me: Candidate, others: Iterable[Candidate]) -> Reason | None:
    """Why a leader should give the seat up now, None if it should stay."""
    ready = _ready(me, others)
    if not ready:
        return None
    if me.standing is Standing.DRAINED:
        return Reason.DRAINED
    if me.standing is Standing.UNHEALTHY:
        return Reason.UNHEALTHY
    return Reason.PREFERRED if min(ready) < me.priority else None


@dataclass(frozen=True, slots=True)
class Term:
    """
    One leadership. `token` is strictly larger than that of every earlier one.

    Args:
        detected_us: When this node saw the seat empty (or was told that it may have it), epoch microseconds.
        since_us: When it had the seat.
    """

    token: int
    node: str
    role: str
    region: str
    reason: str
    detected_us: int
    since_us: int
    before: str = ""
    """Who led before, as far as known."""


def encode_term(term: Term) -> bytes:
    """As the seat holds it; the token is a property of the znode itself."""
    return json.dumps({name: getattr(term, name) for name in Term.__slots__ if name != "token"}).encode()


def parse_term(data: bytes, token: int) -> Term | None:
    """What a leader wrote into the seat, None if it is nothing of the kind."""
    try:
        read = json.loads(data)
        texts = {name: str(read[name]) for name in ("node", "role", "region", "reason", "before")}
        return Term(token=token, detected_us=int(read["detected_us"]), since_us=int(read["since_us"]), **texts)
    except (ValueError, KeyError, TypeError):
        return None


@dataclass(frozen=True, slots=True)
class LastTerm:
    """What is noted beside the seat, so that the next leader can say why it leads."""

    node: str
    resigned: str = ""
    """Why it left of its own will; empty while it leads, and if it never could."""

    def encode(self) -> bytes:
        """As Keeper holds it."""
        return json.dumps({"node": self.node, "resigned": self.resigned}).encode()


def parse_last(data: bytes) -> LastTerm | None:
    """What was noted, None if nobody ever led."""
    try:
        read = json.loads(data)
        return LastTerm(str(read["node"]), str(read["resigned"]))
    except (ValueError, KeyError, TypeError):
        return None


def why_empty(last: LastTerm | None) -> Reason:
    """Why the seat is empty."""
    if last is None:
        return Reason.FIRST
    return Reason(last.resigned) if last.resigned in list(Reason) else Reason.SESSION_LOST
