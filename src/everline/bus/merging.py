"""
What an ingest node knows of calls beside Redis: enough to send only what is new, and to know its steps beforehand.

Nothing here must be kept: a node that knows nothing of a call is told by Redis to look.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from everline.bus.encoding import FIELDS, decode_facts
from everline.bus.steps import KEYS, MAX_MEMBERS, PROGRESS_SETS, TIMEOUT, WHO, bound, event_id, kept, progress, steps
from everline.bus.transition import ANSWER, CREATE, HANGUP, RINGING, Transition
from everline.bus.transition_json import encode_transition
from everline.calls.event import EventBatch
from everline.calls.facts import NOTHING, Facts, Law, absorb, index_of, is_call_event
from everline.calls.record import CallRecord, State, record_of

BITS: Final = {CREATE: 1, RINGING: 2, ANSWER: 4, HANGUP: 8}
STRAY, GOING_ON, OVER = "s", "l", "e"

Row: TypeAlias = list[Any]
"""One call as the merge script takes it; see `scripts.MERGE`."""

_SIGNALS: Final = frozenset(map(index_of, PROGRESS_SETS))
_LAWS: Final = tuple((index, one.law is Law.UNION, one.law is Law.MIN) for index, one in enumerate(FIELDS))


@dataclass(slots=True)
class Known:
    """
    One call.

    Attributes:
        told: Mask of the steps that were told, by whomever.
        is_sure: Whether Redis has all of these values; if not, all are sent again.
        is_counted: Whether the number of its events says which they are.
    """

    values: list[Any] = field(default_factory=lambda: list(NOTHING))
    told: int = 0
    is_sure: bool = False
    is_counted: bool = True
    progress: tuple[Any, ...] = ()
    record: CallRecord | None = None

    @property
    def kind(self) -> str:
        """How long it stays known."""
        if self.record is None:
            return STRAY
        return OVER if self.record.state is State.ENDED else GOING_ON


def deltas_of(batch: EventBatch) -> dict[str, list[Any]]:
    """The facts of a batch alone, call by call."""
    found: dict[str, list[Any]] = {}
    for event in batch.events():
        if is_call_event(event):
            values = found.get(event.call_id)
            if values is None:
                values = found[event.call_id] = list(NOTHING)
            absorb(values, event)
    return found


class Merging:
    """The calls that this process has sent something of, at most `max_calls`: the ones first seen are forgotten."""

    def __init__(self, max_calls: int) -> None:
        self._max_calls = max_calls
        self._calls: dict[str, Known] = {}

    def row(self, call_id: str, delta: Iterable[Any] = NOTHING, *, looked: bool = False) -> Row:
        """
        What to send of a call to which a delta is added; until `taken`, it all counts as not sent.

        A call with more members than are kept, or whose events the store only counted, can't be compared by their
        number: once Redis was `looked` at, it is taken as known.
        """
        known = self._known(call_id)
        fresh = _join(known.values, delta)
        if not known.is_sure:
            fresh = known.values
        has_moved = self._come_further(call_id, known)
        known.is_sure = False
        start = str(known.record.start_us) if known.record else ""
        return [call_id, _expected(known, looked=looked), known.kind, start, has_moved, known.told,
                _untold(call_id, known), *_encoded(fresh)]  # fmt: skip

    def taken(self, row: Row, *, told: bool) -> None:
        """Redis has merged this; its steps were told by that, or are others' to tell."""
        known = self._calls.get(row[0])
        if known:
            known.is_sure = True
            if told:
                known.told |= sum(bit for bit, _ in row[6])

    def learn(self, call_id: str, fields: Mapping[str, str]) -> list[str]:
        """Join what Redis knows of a call; the fields that are too many there."""
        known = self._known(call_id)
        values = decode_facts(fields)
        known.told |= int(fields.get(".t", 0))
        _join(known.values, values)
        known.is_counted = int(fields.get(".n", 0)) < MAX_MEMBERS
        same = len(values[KEYS] or ()) >= len(known.values[KEYS] or ()) and values[TIMEOUT] == known.values[TIMEOUT]
        known.is_sure = bool(fields) and (same or not known.is_counted)
        return _surplus(values)

    def restored(self, call_id: str, facts: Facts, *, silently: bool) -> Row:
        """What to send of a call as the store knows it; `silently`, all of its steps were told long ago."""
        known = self._known(call_id)
        if isinstance(facts[KEYS], int):
            known.is_counted = False
            facts = (*facts[:KEYS], None, *facts[KEYS + 1 :])
        _join(known.values, facts)
        known.is_sure = False
        self._come_further(call_id, known)
        if silently and known.record:
            known.told |= sum(BITS[name] for name, _ in steps(known.record))
        return self.row(call_id, looked=True)

    def doubt(self) -> None:
        """The stream goes on at a primary that may lack the last moment: what was sent and told of it, Redis knows."""
        for known in self._calls.values():
            known.is_sure, known.told = False, 0

    def _known(self, call_id: str) -> Known:
        known = self._calls.get(call_id)
        if known is None:
            if len(self._calls) >= self._max_calls:
                for oldest in list(self._calls)[: self._max_calls // 10 + 1]:
                    del self._calls[oldest]
            known = self._calls[call_id] = Known()
        return known

    @staticmethod
    def _come_further(call_id: str, known: Known) -> bool:
        """Make the record anew if the call may have come further; whether its place among live calls may be new."""
        bound(known.values)
        reached = progress(known.values)
        if reached == known.progress or known.values[WHO] is None:
            return not known.is_sure
        known.progress = reached
        known.record = record_of(call_id, tuple(known.values))  # Sets do as well: it keeps none.
        return True


def is_in_progress(row: Row) -> bool:
    """Whether a row is of a call that goes on."""
    return bool(row[2] == GOING_ON)


def _join(values: list[Any], delta: Iterable[Any]) -> list[Any]:
    """Join facts into values, in place; what of them was new."""
    fresh: list[Any] = list(NOTHING)
    for (index, is_union, is_min), value in zip(_LAWS, delta, strict=True):
        if value is None:
            continue
        known = values[index]
        if is_union:
            new = set(value) if known is None else value - known
            if new:
                fresh[index] = new
                values[index] = new.copy() if known is None else known | new
        elif known is None or (value < known if is_min else value > known):
            values[index] = fresh[index] = value
    return fresh


def _expected(known: Known, *, looked: bool) -> str:
    """What Redis has of the call, if it has exactly what is known here."""
    count = len(known.values[KEYS] or ())
    if count >= MAX_MEMBERS or not known.is_counted:
        return "*" if looked else ""
    timeout_us = known.values[TIMEOUT]
    return f"{count}:{'' if timeout_us is None else timeout_us}"


def _untold(call_id: str, known: Known) -> list[list[Any]]:
    """The steps that were not told as far as is known here."""
    if known.record is None:
        return []
    found = []
    for name, at_us in steps(known.record):
        if not known.told & BITS[name]:
            step = Transition("", name, event_id(call_id, name), at_us / 1e6, known.record)
            found.append([BITS[name], encode_transition(step)])
    return found


def _encoded(values: list[Any]) -> tuple[list[str], list[str], list[str], list[str], list[str]]:
    """Names and values of facts, event keys, members that decide about steps, other members."""
    names: list[str] = []
    texts: list[str] = []
    keys: list[str] = []
    signals: list[str] = []
    members: list[str] = []
    for index, value in enumerate(values):
        if value is None:
            continue
        one = FIELDS[index]
        if one.law is not Law.UNION:
            names.append(one.name)
            texts.append(one.encode(value))
            continue
        where = keys if index == KEYS else signals if index in _SIGNALS else members
        where += [f"{one.name}/{one.encode(member)}" for member in value]
    return names, texts, keys, signals, members


def _surplus(values: list[Any]) -> list[str]:
    """Fields of members that decide about steps, and are more than a call can have."""
    return [
        f"{FIELDS[index].name}/{FIELDS[index].encode(member)}"
        for index in sorted(_SIGNALS)
        if len(values[index] or ()) > MAX_MEMBERS
        for member in values[index] - set(kept(index, values[index]))
    ]
