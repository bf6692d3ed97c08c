"""How a search goes through the store: newest hours first, a bounded number of calls at a time."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from everline.calls.record import CallRecord, record_of
from everline.store import queries
from everline.store.answer import Answer
from everline.store.filters import CallFilter, CallPage, PageKey
from everline.store.queries import Hint, Place, Window
from everline.store.rows import facts_of_rows
from everline.store.schema import HOUR_US

MAX_PAGE: Final = 1000
FEW_PAGES: Final = 2
"""So many pages of calls are looked at as a whole, without going through the hours: each costs a millisecond or two."""

FIRST_ROWS: Final = 200
WINDOW_ROWS: Final = 20_000
GROWTH: Final = 4
"""A window has about so many rows, the first few and each next one so much more: mostly the newest fill a page."""
CHUNK: Final = 4000
MAX_LOOKED_AT: Final = 60_000
PATIENCE_S: Final = 2.0
"""A search that has looked at so many calls, or for so long, gives what it has, and where to go on."""

Ask = Callable[[str], Awaitable[Answer]]
"""Runs one SELECT."""


@dataclass(frozen=True, slots=True)
class Search:
    """One search. `ask` is given every SELECT, so that other work of the store gets its turn in between."""

    ask: Ask
    wanted: CallFilter

    async def page(self, limit: int, after: PageKey | None) -> CallPage:
        """The calls that follow `after`, newest first."""
        if self.wanted.call_id is not None:
            return await self._page_of([self.wanted.call_id], limit, after)
        hours = queries.hours_of(self.wanted)
        hint = queries.hint_of(self.wanted)
        counts = await self._hour_counts(hours, hint)
        if hint and sum(rows for _, rows in counts) <= FEW_PAGES * limit:
            rows = await self.ask(queries.hinted_calls(hours, hint))
            return await self._page_of(rows.column("call_id"), limit, after)
        newest = hours.high if after is None else min(hours.high, after.start_us // HOUR_US)
        return await self._walk(windows(counts, Window(hours.low, newest)), hint, limit, after)

    async def record(self, call_id: str) -> CallRecord | None:
        """The record of one call."""
        found = await self._records([call_id], limit=1)
        return found[0] if found else None

    async def records(self, call_ids: Sequence[str]) -> list[CallRecord]:
        """The records of some calls that match, newest first."""
        return await self._records(call_ids, limit=len(call_ids))

    async def _walk(self, hours: Sequence[Window], hint: Hint | None, limit: int, after: PageKey | None) -> CallPage:
        """Go through the windows until the page is full; `after` moves along with what was looked at."""
        found: list[CallRecord] = []
        looked_at, chunk, patient_until = 0, min(limit + 1, CHUNK), time.monotonic() + PATIENCE_S
        for window in hours:
            while True:
                sql = queries.candidates(window, self.wanted, hint=hint, before=after, limit=chunk)
                seen = await self._candidates(sql)
                found += await self._checked(seen)
                if len(found) > limit:
                    return CallPage(tuple(found[:limit]), _key(found[limit - 1]))
                if seen:
                    after = seen[-1]
                if len(seen) < chunk:
                    break
                looked_at += len(seen)
                if looked_at >= MAX_LOOKED_AT or time.monotonic() > patient_until:
                    return CallPage(tuple(found), after)
                chunk = min(chunk * 4, CHUNK)
        return CallPage(tuple(found), None)

    async def _page_of(self, call_ids: Sequence[str], limit: int, after: PageKey | None) -> CallPage:
        """A page out of few calls."""
        found = await self._records(call_ids, before=after, limit=limit + 1)
        more = _key(found[limit - 1]) if len(found) > limit else None
        return CallPage(tuple(found[:limit]), more)

    async def _checked(self, seen: Sequence[PageKey]) -> list[CallRecord]:
        """The calls that match as a whole, and that really began when they seemed to."""
        starts = {call_id: start_us for start_us, call_id in seen}
        found = await self._records(list(starts), limit=len(starts))
        return [record for record in found if record.start_us == starts[record.call_id]]

    async def _records(self, call_ids: Sequence[str], *, limit: int, before: PageKey | None = None) -> list[CallRecord]:
        if not call_ids:
            return []
        rows = await self.ask(queries.places(call_ids))
        found = [Place(*one) for one in rows.rows("call_id", "hour")]
        if not found:
            return []
        rows = await self.ask(queries.records(found, self.wanted, before=before, limit=limit))
        return [record_of(call_id, facts) for call_id, facts in facts_of_rows(rows)]

    async def _candidates(self, sql: str) -> list[PageKey]:
        rows = await self.ask(sql)
        return [PageKey(*one) for one in rows.rows("start", "call_id")]

    async def _hour_counts(self, hours: Window, hint: Hint | None) -> list[tuple[int, int]]:
        rows = await self.ask(queries.hour_counts(hours, hint))
        return [(hour, count) for hour, count in rows.rows("hour", "rows")]


def windows(counts: Sequence[tuple[int, int]], hours: Window) -> list[Window]:
    """
    Ranges of hours, newest first, of about `FIRST_ROWS` rows and then more and more, without gaps between them.

    Args:
        counts: Hours that have rows and how many, newest first; hours outside of `hours` only as far as
            the next one after it, whose rows may belong to calls that began before.
        hours: Where calls must have begun.
    """
    found: list[Window] = []
    high, rows, wanted = min(hours.high, counts[0][0]) if counts else 0, 0, FIRST_ROWS
    for hour, count in counts:
        rows += count
        low = max(hour, hours.low)
        if rows >= wanted and low <= high:
            found.append(Window(low, high))
            high, rows, wanted = low - 1, 0, min(wanted * GROWTH, WINDOW_ROWS)
    if counts and high >= hours.low:
        # A call may have begun in the hour before the first row that leads to it.
        low = max(counts[-1][0] - 1, hours.low)
        if low <= high:
            found.append(Window(low, high))
    return found


def _key(record: CallRecord) -> PageKey:
    return PageKey(record.start_us, record.call_id)
