"""What a node that may lead has: a store that it asks, and the work of the leader."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from everline.calls.event import EventBatch
from everline.cluster.entry import Entry
from everline.cluster.leader import Duty
from everline.node.common import Common
from everline.node.leader_duties import LeaderWork
from everline.store.clickhouse import ClickHouseStore
from everline.store.errors import StoreError
from everline.store.reader import Reader

NOTHING_REACHED: Final = "it reaches neither ClickHouse nor Redis"
LOOK_S: Final = 1.0
"""Between two looks at whether the store answers."""


class Leading:
    """Asks the store, and does the leader's work while it leads."""

    def __init__(self, common: Common, note: Callable[[Entry], None]) -> None:
        self._common = common
        self._reader = Reader(common.servers, query_s=common.topology.timers.query_ms / 1000)
        self.store = ClickHouseStore(common.servers, reader=self._reader, writer=_NoWriter())
        self._work = LeaderWork(common, self.store, note=note)

    def duties(self) -> Sequence[Duty]:
        """What it does while it leads."""
        return self._work.duties()

    async def watch(self) -> None:
        """Ask the store something small, for ever: a node that nobody asks must still know if it could answer."""
        while True:
            with suppress(StoreError):  # The reader remembers who did not answer.
                await self._reader.ask("SELECT 1")
            await asyncio.sleep(LOOK_S)

    def reaches_store(self) -> bool:
        """Whether some server is known to answer."""
        return len(self._reader.left) < len(self._common.servers)

    def unfit(self) -> str:
        """Why it should not lead now; empty if it may."""
        return NOTHING_REACHED if self._common.primary.trouble and not self.reaches_store() else ""


class _NoWriter:
    """Packets are taken in, and written, by ingest nodes alone."""

    async def insert(self, batch: EventBatch) -> None:
        raise StoreError(f"{len(batch)} events for a node that stores none: send packets to an ingest node")

    async def close(self) -> None:
        """Nothing is under way."""
