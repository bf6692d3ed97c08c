"""What became of a run: the ledger beside what the cluster holds, event by event and record by record."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final

from everline.calls.event import Event
from everline.calls.facts import facts_of
from everline.calls.record import CallRecord, is_call, record_of
from everline.drill.held import Held, Key, read_held, read_times
from everline.drill.ledger import Outage, SendLedger, Sent, events_of
from everline.store.errors import StoreError
from everline.store.search import Ask

POLL_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class LostAt:
    """What was lost of what one node was given: how many events, sent from when to when (epoch microseconds)."""

    node: str
    events: int
    first_us: int
    last_us: int


@dataclass(frozen=True, slots=True)
class WrongField:
    """A field of a record that is not what the stored events make of it."""

    call_id: str
    field: str
    expected: str
    found: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    What became of a run.

    Attributes:
        sent: Events in the ledger.
        undelivered: Of these, given to no node that was up: nobody accepted them.
        stored: Of the ledger's events, those that are stored.
        lost: Delivered, and not stored.
        duplicated: Stored more than once after merging.
        unknown: Stored, and not in the ledger.
        wrong: Fields of records that differ.
        missing_calls: Calls that have events and no record.
        extra_calls: Calls that have a record and no event.
        converged_after_s: How long it took until all was equal; None if it was not.
    """

    sent: int
    undelivered: int
    stored: int
    lost: tuple[Sent, ...] = ()
    duplicated: tuple[Key, ...] = ()
    unknown: tuple[Key, ...] = ()
    wrong: tuple[WrongField, ...] = ()
    missing_calls: tuple[str, ...] = ()
    extra_calls: tuple[str, ...] = ()
    converged_after_s: float | None = None

    @property
    def is_equal(self) -> bool:
        """Whether the store holds what its events say, each once, and nothing else; `lost` aside."""
        return not (self.duplicated or self.unknown or self.wrong or self.missing_calls or self.extra_calls)

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost either."""
        return self.is_equal and not self.lost

    def lost_by_node(self) -> list[LostAt]:
        """Where what was lost had been sent to; an event that two nodes were given counts for both."""
        by_node: defaultdict[str, list[int]] = defaultdict(list)
        for one in self.lost:
            for node in one.to:
                by_node[node].append(one.sent_us)
        return [LostAt(node, len(at), min(at), max(at)) for node, at in sorted(by_node.items())]

    def as_json(self) -> dict[str, Any]:  # JSON
        """Counts, and of what is wrong the first few by name."""
        return {
            "sent": self.sent, "undelivered": self.undelivered, "stored": self.stored, "lost": len(self.lost),
            "duplicated": len(self.duplicated), "unknown": len(self.unknown),
            "wrong_records": len({one.call_id for one in self.wrong}),
            "missing_calls": len(self.missing_calls), "extra_calls": len(self.extra_calls),
            "converged_after_s": self.converged_after_s,
            "lost_by_node": [asdict(one) for one in self.lost_by_node()],
            "examples": {
                "lost": [one.call_id for one in self.lost[:5]],
                "wrong": [asdict(one) for one in self.wrong[:5]],
                "missing_calls": self.missing_calls[:5], "extra_calls": self.extra_calls[:5],
            },
        }  # fmt: skip


def compare(ledger: SendLedger, held: Held, *, outages: Sequence[Outage] = ()) -> Verdict:
    """
    Compare everything.

    Records are held against the events that are stored, so that a lost event is counted once, as lost.
    """
    delivered = list(ledger.delivered(outages))
    known = {(one.call_id, one.event_key) for one in ledger.sent}
    there = [one for one in ledger.sent if (one.call_id, one.event_key) in held.times]
    expected = _expected_records([*events_of(there), *held.synthetic])
    records = held.records
    both = expected.keys() & records.keys()
    return Verdict(
        sent=len(ledger.sent),
        undelivered=len(ledger.sent) - len(delivered),
        stored=len(there),
        lost=_lost(delivered, held.times),
        duplicated=tuple(key for key, times in held.times.items() if len(times) > 1),
        unknown=tuple(key for key in held.times if key not in known),
        wrong=tuple(wrong for call_id in both for wrong in _differences(expected[call_id], records[call_id])),
        missing_calls=tuple(call_id for call_id in expected if call_id not in records),
        extra_calls=tuple(call_id for call_id in records if call_id not in expected),
    )  # fmt: skip


async def verdict_when_equal(
    ask: Ask, ledger: SendLedger, *, within_s: float, outages: Sequence[Outage] = (), most_lost: int = 0
) -> Verdict:
    """
    Read the store until all is equal, or the time is over; the last verdict.

    What can't be read now (a shard is away) counts as not yet equal.

    Args:
        ask: Runs one SELECT.
        ledger: What was sent; nothing is sent any more.
        within_s: Seconds from now.
        outages: When nodes took nothing.
        most_lost: So many events may be missing; then two readings must agree that no more will come.

    Raises:
        StoreError: The store could not be read to the end.
    """
    start, missing = time.monotonic(), -1
    while True:
        after_s = time.monotonic() - start
        try:
            times = await read_times(ask, ledger.run)
            lost = len(_lost(ledger.delivered(outages), times))
            settled = lost == 0 or (lost <= most_lost and lost == missing)
            missing = lost
            if settled or after_s > within_s:
                found = await _thorough(ask, ledger, outages)
                if settled and found.is_equal:
                    return replace(found, converged_after_s=round(after_s, 2))
                if after_s > within_s:
                    return found
        except StoreError:
            if after_s > within_s:
                raise
        await asyncio.sleep(POLL_S)


async def _thorough(ask: Ask, ledger: SendLedger, outages: Sequence[Outage]) -> Verdict:
    held = await read_held(ask, ledger.run, since_us=ledger.sent[0].sent_us if ledger.sent else 0)
    return await asyncio.to_thread(compare, ledger, held, outages=outages)


def _lost(delivered: Iterable[Sent], times: Mapping[Key, frozenset[int]]) -> tuple[Sent, ...]:
    return tuple(one for one in delivered if (one.call_id, one.event_key) not in times)


def _expected_records(events: Iterable[Event]) -> dict[str, CallRecord]:
    by_call: defaultdict[str, list[Event]] = defaultdict(list)
    for one in events:
        by_call[one.call_id].append(one)
    facts = {call_id: facts_of(its) for call_id, its in by_call.items()}
    return {call_id: record_of(call_id, one) for call_id, one in facts.items() if is_call(one)}


def _differences(expected: CallRecord, found: CallRecord) -> list[WrongField]:
    return [
        WrongField(expected.call_id, one.name, str(wanted), str(got))
        for one in fields(CallRecord)
        if (wanted := getattr(expected, one.name)) != (got := getattr(found, one.name))
    ]
