"""The store in one process: calls and messages in an embedded engine, one data directory."""

import asyncio
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import pyarrow as pa

from everline.calls.event import Event, EventBatch
from everline.calls.kpi import KpiBucket, KpiCounts, Kpis, kpis_of
from everline.calls.record import CallRecord, Outcome, State
from everline.store import queries
from everline.store.engine import Engine
from everline.store.errors import StoreClosedError
from everline.store.filters import CallFilter, CallPage, FailedTarget, PageKey
from everline.store.rows import events_of, table_of
from everline.store.schema import DATABASE, TABLES
from everline.store.search import MAX_PAGE, Search

T = TypeVar("T")

DEADLINE_S: Final = 10.0
MAX_MESSAGES: Final = 10_000
MAX_STEPS: Final = 5_000


class EmbeddedStore:
    """
    Two threads own the engine, one that writes and one that reads; all methods are for the event loop.

    Every question is limited to `deadline_s` for each SELECT it takes, and in what it gives back.
    """

    def __init__(self, engine: Engine, *, deadline_s: float = DEADLINE_S) -> None:
        self._writing = engine
        self._reading = engine.another()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="store-writer")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="store-reader")
        self._deadline_s = deadline_s
        self._closed = False

    @classmethod
    def open(cls, path: Path, *, deadline_s: float = DEADLINE_S) -> Self:
        """
        Open a data directory, and make it if it is not there. Blocks for about a second.

        Raises:
            StoreLockedError: Another process has it.
            StoreTooNewError: A later version has written it.
            StoreUnwritableError: It cannot be made or written.
        """
        return cls(Engine.open(path), deadline_s=deadline_s)

    async def insert(self, batch: EventBatch) -> None:
        """
        Keep events. When this returns they are seen by every question; giving them again changes nothing.

        Raises:
            StoreFullError: There is no room; give the batch again later.
            StoreError: The engine refused it; the batch may be given again.
        """
        if len(batch):
            await self._on(self._writer, lambda: self._writing.load(f"{DATABASE}.messages", table_of(batch)))

    async def search(self, wanted: CallFilter, *, limit: int = 100, after: PageKey | None = None) -> CallPage:
        """One page of calls, newest first; at most 1,000."""
        return await Search(self._ask, wanted).page(min(max(limit, 1), MAX_PAGE), after)

    async def call(self, call_id: str) -> CallRecord | None:
        """The record of one call; None for a Call-ID that has no INVITE."""
        return await Search(self._ask, CallFilter()).record(call_id)

    async def messages(self, call_id: str, *, limit: int = MAX_MESSAGES) -> list[Event]:
        """The first messages with a Call-ID by capture time, each once, of whatever method and protocol."""
        return events_of(await self._ask(queries.messages(call_id, limit=min(max(limit, 1), MAX_MESSAGES))))

    async def kpis(self, since_us: int, until_us: int) -> Kpis:
        """The figures of the calls that began in a range."""
        [found] = await self._figures(since_us, until_us, step_us=max(until_us - since_us, 1)) or [(0, KpiCounts())]
        return kpis_of(found[1])

    async def series(self, since_us: int, until_us: int, step_s: int) -> list[KpiBucket]:
        """
        The figures of a range step by step, steps without a call included.

        Raises:
            ValueError: The step is not positive, or there would be more than 5,000 steps.
        """
        step_us = step_s * 1_000_000
        if step_us <= 0 or (until_us - since_us) / step_us > MAX_STEPS:
            raise ValueError(f"a range of {(until_us - since_us) / 1e6:g} s cannot be given in steps of {step_s} s")
        found = dict(await self._figures(since_us, until_us, step_us=step_us))
        steps = math.ceil((until_us - since_us) / step_us)
        return [KpiBucket(since_us + step * step_us, kpis_of(found.get(step, KpiCounts()))) for step in range(steps)]

    async def top_failures(self, since_us: int, until_us: int, *, limit: int = 10) -> list[FailedTarget]:
        """Destinations that calls of a range failed to reach, most often first."""
        rows = await self._ask(queries.top_failures(since_us, until_us, limit=min(max(limit, 1), MAX_PAGE)))
        return [FailedTarget(row["callee"].decode(), row["status"], row["calls"]) for row in rows.to_pylist()]

    async def stale(self, since_us: int, before_us: int, *, limit: int = MAX_PAGE) -> list[str]:
        """
        Calls that began at `since_us` or later, have not ended, and were last heard of before `before_us`.

        Longest silent first. What is newer than both bounds is read as well, so keep `since_us` recent.
        """
        rows = await self._ask(queries.open_calls(since_us, before_us, limit=min(max(limit, 1), MAX_PAGE)))
        call_ids = [value.decode() for value in rows.column("call_id").to_pylist()]
        records = await Search(self._ask, CallFilter()).records(call_ids)
        silent = {one.call_id for one in records if one.state is not State.ENDED and one.last_us < before_us}
        return [call_id for call_id in call_ids if call_id in silent]

    async def drop_before(self, day: date) -> int:
        """Delete all that was captured before a day (UTC); gives how many partitions went."""
        return await self._on(self._writer, lambda: _drop_before(self._writing, day, self._deadline_s))

    async def close(self) -> None:
        """Wait for what is under way, and give the data directory back."""
        if self._closed:
            return
        self._closed = True
        await asyncio.get_running_loop().run_in_executor(None, self._close)

    def _close(self) -> None:
        self._reader.shutdown()
        self._writer.shutdown()
        self._reading.close()
        self._writing.close()

    async def _figures(self, since_us: int, until_us: int, *, step_us: int) -> list[tuple[int, KpiCounts]]:
        if until_us <= since_us:
            return []
        rows = await self._ask(queries.figures(since_us, until_us, step_us=step_us))
        return [(row["step"], _counts(row)) for row in rows.to_pylist()]

    async def _ask(self, sql: str) -> pa.Table:
        return await self._on(self._reader, partial(self._reading.select, sql, limit_s=self._deadline_s))

    async def _on(self, thread: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        if self._closed:
            raise StoreClosedError
        return await asyncio.get_running_loop().run_in_executor(thread, work)


def _counts(row: dict[str, Any]) -> KpiCounts:  # a row of queries.figures
    codes, calls = row["statuses"].values()
    pdd, srd = (_seconds(row[name]) for name in ("pdd", "srd"))
    return KpiCounts(
        attempts=row["attempts"],
        answered=row["with_answer"],
        challenged=row["challenged"],
        abandoned_ringing=row["abandoned_ringing"],
        outcomes={outcome.value: row[outcome] for outcome in Outcome if row[outcome]},
        statuses=dict(zip(codes, calls, strict=True)),
        talks=row["talks"],
        talk_s=row["all_talk_us"] / 1e6,
        pdd_p50_s=pdd[0],
        pdd_p95_s=pdd[1],
        srd_p50_s=srd[0],
        srd_p95_s=srd[1],
    )


def _seconds(quantiles_us: Sequence[float]) -> list[float | None]:
    return [None if math.isnan(one) else one / 1e6 for one in quantiles_us]


def _drop_before(engine: Engine, day: date, limit_s: float) -> int:
    """A day is a partition of its own, a look-up lives until its whole week is over."""
    dropped = 0
    for table in TABLES:
        for partition in engine.select(queries.partitions(table), limit_s=limit_s).column("partition").to_pylist():
            name = partition.decode()
            last = date.fromisoformat(name) + timedelta(days=0 if name.isdigit() else 6)
            if last < day:
                engine.execute(queries.drop_partition(table, name))
                dropped += 1
    return dropped
