"""
The facts of a call: the one definition of how its events merge.

Each fact is a join-semilattice (a minimum, a maximum or a union), so that merging is commutative,
associative and idempotent: any node may take any event, in any order, twice. `FACTS` is the only place
where they are defined; Python merges by it here, and the store makes its SQL from it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final, TypeAlias

from everline.calls.event import NEVER_IN_A_CALL, SIP, SYNTHETIC, TIMEOUT_METHOD, Event

# One value a fact: int, str, tuple of both, or frozenset of those; None while nothing was seen.
Facts: TypeAlias = tuple[Any, ...]

CHALLENGES: Final = frozenset({401, 402, 407})
"""Responses that ask the caller to try again with credentials (RFC 3261 section 22; RFC 6076 section 4.3)."""


class Law(StrEnum):
    """How two values of one fact become one."""

    MIN = "min"
    MAX = "max"
    UNION = "union"


@dataclass(frozen=True, slots=True)
class When:
    """
    Which events a fact is made of.

    Attributes:
        method: CSeq method, or None for every SIP message.
        low: Least status; 0 is a request.
        high: Greatest status.
        but_not: Statuses in between that do not count.
        present: A text field that must not be empty, or "".
        absent: A text field that must be empty, or "".
    """

    method: str | None = None
    low: int = 0
    high: int = 699
    but_not: frozenset[int] = frozenset()
    present: str = ""
    absent: str = ""


@dataclass(frozen=True, slots=True)
class Fact:
    """
    One fact: its name, its law, the event fields its value is made of, and the events that count.

    A value of several fields is a tuple, compared field by field, so that a tie is decided by content.
    """

    name: str
    law: Law
    fields: tuple[str, ...]
    when: When


_INVITE: Final = When("INVITE", high=0)
_WHO: Final = (
    "status", "to_tag", "captured_us", "event_key", "from_user", "from_host", "to_user", "to_host",
    "from_tag", "src_ip", "src_port", "dst_ip", "dst_port", "user_agent",
)  # fmt: skip

FACTS: Final = (
    Fact("first_us", Law.MIN, ("captured_us",), When()),
    Fact("last_us", Law.MAX, ("captured_us",), When()),
    # A request sorts before a response (status 0) and the initial INVITE before a re-INVITE (no To tag).
    Fact("who", Law.MIN, _WHO, When("INVITE")),
    Fact("invite_us", Law.MIN, ("captured_us",), _INVITE),
    Fact("attempt", Law.MAX, ("cseq",), When("INVITE", high=0, absent="to_tag")),
    Fact("response_us", Law.MIN, ("captured_us",), When("INVITE", low=101, but_not=CHALLENGES)),
    Fact("ringing_us", Law.MIN, ("captured_us",), When("INVITE", low=180, high=189)),
    Fact("answer", Law.MIN, ("captured_us", "status", "to_tag", "user_agent"), When("INVITE", low=200, high=299)),
    Fact("ack_us", Law.MIN, ("captured_us",), When("ACK", high=0)),
    Fact("bye", Law.MIN, ("captured_us", "from_tag", "cause", "to_tag"), When("BYE", high=0)),
    Fact("cancels", Law.UNION, ("captured_us", "src_ip", "src_port"), When("CANCEL", high=0)),
    Fact(
        "failures", Law.UNION,
        ("cseq", "captured_us", "status", "to_tag", "dst_ip", "dst_port", "cause"),
        When("INVITE", low=300),
    ),
    Fact("timeout_us", Law.MAX, ("captured_us",), When(TIMEOUT_METHOD, high=0)),
    Fact("codecs", Law.UNION, ("codecs",), When("INVITE", present="codecs")),
    Fact("user_agents", Law.UNION, ("user_agent",), When(present="user_agent")),
    Fact("agents", Law.UNION, ("agent",), When(present="agent")),
    Fact("event_keys", Law.UNION, ("event_key",), When()),
)  # fmt: skip

NAMES: Final = tuple(fact.name for fact in FACTS)
NOTHING: Final[Facts] = (None,) * len(FACTS)
"""The neutral element: the facts of no event at all."""


def index_of(name: str) -> int:
    """Where a fact stands in a `Facts` tuple."""
    return NAMES.index(name)


def is_call_event(event: Event) -> bool:
    """Whether facts are made of this event: SIP that could belong to an INVITE dialog, and our own timeouts."""
    return event.protocol in {SIP, SYNTHETIC} and event.method not in NEVER_IN_A_CALL


def merge(left: Facts, right: Facts) -> Facts:
    """Join two sets of facts of one call; `NOTHING` is neutral, order and repetition do not matter."""
    return tuple(_join(fact.law, one, other) for fact, one, other in zip(FACTS, left, right, strict=True))


def facts_of(events: Iterable[Event]) -> Facts:
    """The facts of the events of one call, in any order and with any repetition."""
    values: list[Any] = list(NOTHING)
    for event in events:
        if is_call_event(event):
            absorb(values, event)
    return freeze(values)


def absorb(values: list[Any], event: Event) -> None:
    """
    Join one event into the facts of its call, in place; the hot path of the live state.

    Args:
        values: One value a fact as in `Facts`, but with mutable sets; changed.
        event: An event for which `is_call_event` holds.
    """
    for index, law, getter, present, absent in _touched(event.method, event.status):
        if (present and not getattr(event, present)) or (absent and getattr(event, absent)):
            continue
        value, known = getter(event), values[index]
        if law is Law.UNION:
            if known is None:
                values[index] = {value}
            else:
                known.add(value)
        elif known is None or (value < known if law is Law.MIN else value > known):
            values[index] = value


def freeze(values: Iterable[Any]) -> Facts:
    """Facts that were absorbed, as an immutable tuple."""
    return tuple(frozenset(value) if isinstance(value, set) else value for value in values)


_Touch: TypeAlias = tuple[int, Law, Callable[[Event], Any], str, str]


@lru_cache(maxsize=4096)
def _touched(method: str, status: int) -> tuple[_Touch, ...]:
    """The facts that an event of this method and status can change."""
    return tuple(
        (index, fact.law, attrgetter(*fact.fields), fact.when.present, fact.when.absent)
        for index, fact in enumerate(FACTS)
        if _concerns(fact.when, method, status)
    )


def _concerns(when: When, method: str, status: int) -> bool:
    wanted = method != TIMEOUT_METHOD if when.method is None else method == when.method
    return wanted and when.low <= status <= when.high and status not in when.but_not


def _join(law: Law, one: Any, other: Any) -> Any:  # values of one fact, see Facts
    if one is None or other is None:
        return other if one is None else one
    if law is Law.UNION:
        return one | other
    return min(one, other) if law is Law.MIN else max(one, other)
