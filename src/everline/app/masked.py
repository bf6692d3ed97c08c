"""
What those see who may not see numbers: the same store and the same live state, with the numbers masked on their way.

Here and nowhere else, so that no page, export or stream can forget it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from everline.access.masking import masked, masked_text, masked_uri, without_numbers
from everline.app.services import CallStore
from everline.bus.live import LiveBus, LiveCounts, Position
from everline.bus.transition import Transition
from everline.calls.event import SIP, Event, EventBatch
from everline.calls.kpi import KpiBucket, Kpis
from everline.calls.record import CallRecord
from everline.store.filters import CallFilter, CallPage, FailedTarget, PageKey
from everline.store.reports import Reports

SHARED: Final = 1_024
"""Masked transitions that are kept."""


def masked_record(record: CallRecord) -> CallRecord:
    """A call without its numbers."""
    return replace(
        record,
        caller=masked(record.caller),
        callee=masked(record.callee),
        caller_uri=masked_uri(record.caller_uri),
        callee_uri=masked_uri(record.callee_uri),
    )


@lru_cache(SHARED)
def masked_transition(transition: Transition) -> Transition:
    """A transition of such a call; many streams tell the same one."""
    return replace(transition, record=masked_record(transition.record))


def masked_events(events: Sequence[Event]) -> list[Event]:
    """Messages of a call without its numbers, as long as they were."""
    numbers = {user for one in events for user in (one.from_user, one.to_user)}
    return [
        one._replace(
            from_user=masked(one.from_user),
            to_user=masked(one.to_user),
            payload=(masked_text if one.protocol == SIP else without_numbers)(one.payload, numbers),
        )
        for one in events
    ]


@dataclass(frozen=True, slots=True)
class MaskedStore:
    """A store whose answers are masked; what is searched for is not, since who types a number knows it."""

    store: CallStore

    @property
    def partial_since(self) -> float | None:
        """As the store's."""
        return self.store.partial_since

    async def search(self, wanted: CallFilter, *, limit: int, after: PageKey | None = None) -> CallPage:
        """One page of calls, masked."""
        page = await self.store.search(wanted, limit=limit, after=after)
        return replace(page, records=tuple(map(masked_record, page.records)))

    async def call(self, call_id: str) -> CallRecord | None:
        """One call, masked."""
        found = await self.store.call(call_id)
        return masked_record(found) if found else None

    async def records(self, call_ids: Sequence[str]) -> list[CallRecord]:
        """Some calls, masked."""
        return [masked_record(one) for one in await self.store.records(call_ids)]

    async def messages(self, call_id: str) -> list[Event]:
        """Its messages, masked."""
        return masked_events(await self.store.messages(call_id))

    async def reports(self, since_us: int, until_us: int) -> Reports:
        """RTCP names addresses, not numbers."""
        return await self.store.reports(since_us, until_us)

    async def kpis(self, since_us: int, until_us: int) -> Kpis:
        """Figures name nobody."""
        return await self.store.kpis(since_us, until_us)

    async def series(self, since_us: int, until_us: int, step_s: int) -> list[KpiBucket]:
        """The same."""
        return await self.store.series(since_us, until_us, step_s)

    async def top_failures(self, since_us: int, until_us: int, *, limit: int) -> list[FailedTarget]:
        """Destinations, masked; two that look alike then stay two."""
        found = await self.store.top_failures(since_us, until_us, limit=limit)
        return [one._replace(callee=masked(one.callee)) for one in found]


@dataclass(frozen=True, slots=True)
class MaskedBus:
    """Live state whose calls are masked."""

    bus: LiveBus

    @property
    def counts(self) -> LiveCounts:
        """As the bus counts."""
        return self.bus.counts

    async def insert(self, batch: EventBatch) -> None:
        """As the bus takes them."""
        await self.bus.insert(batch)

    async def live(self, limit: int = 1000) -> list[CallRecord]:
        """Calls in progress, masked."""
        return [masked_record(one) for one in await self.bus.live(limit)]

    async def in_progress(self) -> int:
        """How many."""
        return await self.bus.in_progress()

    async def position(self) -> Position:
        """Where the stream is."""
        return await self.bus.position()

    async def transitions_after(self, position: Position) -> list[Transition] | None:
        """Transitions, masked."""
        found = await self.bus.transitions_after(position)
        return None if found is None else [masked_transition(one) for one in found]

    async def wait(self, after: Position, timeout_s: float) -> None:
        """Until there is more."""
        await self.bus.wait(after, timeout_s)

    async def close(self) -> None:
        """It is not ours to close."""
