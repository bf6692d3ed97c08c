"""The store in one process: calls and messages in an embedded engine, one data directory."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Final, Self, TypeVar

from everline.calls.event import EventBatch
from everline.store import queries
from everline.store.answer import Answer
from everline.store.engine import Engine
from everline.store.errors import StoreClosedError
from everline.store.rows import table_of
from everline.store.schema import DATABASE, TABLES
from everline.store.store import DEADLINE_S, Store, is_over

T = TypeVar("T")

READERS: Final = 2


class EmbeddedStore(Store):
    """
    Three threads own the engine, one that writes and two that read, so that a long question is not in everybody's way;
    all methods are for the event loop.

    Every question is limited to `deadline_s` for each SELECT it takes.
    """

    def __init__(self, engine: Engine, *, deadline_s: float = DEADLINE_S) -> None:
        self._writing = engine
        self._sessions = [engine.another() for _ in range(READERS)]
        self._idle: SimpleQueue[Engine] = SimpleQueue()
        for session in self._sessions:
            self._idle.put(session)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="store-writer")
        self._reader = ThreadPoolExecutor(READERS, thread_name_prefix="store-reader")
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

    async def ask(self, sql: str) -> Answer:
        """Run one SELECT."""
        return await self._on(self._reader, partial(self._select, sql, limit_s=self._deadline_s))

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
        for session in self._sessions:
            session.close()
        self._writing.close()

    def _select(self, sql: str, *, limit_s: float) -> Answer:
        session = self._idle.get()
        try:
            return session.select(sql, limit_s=limit_s)
        finally:
            self._idle.put(session)

    async def _on(self, thread: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        if self._closed:
            raise StoreClosedError
        return await asyncio.get_running_loop().run_in_executor(thread, work)


def _drop_before(engine: Engine, day: date, limit_s: float) -> int:
    dropped = 0
    for table in TABLES:
        for partition in engine.select(queries.partitions(table), limit_s=limit_s).column("partition"):
            if is_over(partition, day):
                engine.execute(queries.drop_partition(table, partition))
                dropped += 1
    return dropped
