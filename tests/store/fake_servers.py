"""Servers that do as they are told, for what real ones can't show: exact times and orders."""

import asyncio

from everline.calls.event import EventBatch
from everline.store.errors import StoreError
from everline.store.routing import Target
from everline.store.servers import Login, Server, ServerAddress


class FakeServer(Server):
    """
    Takes batches, unless told otherwise.

    Attributes:
        fault: Raised for every batch, until it is taken away.
        hangs: Batches wait until it is cleared.
        taken: Call-IDs of each batch that was taken.
        asked: How often it was given one.
    """

    def __init__(self, name: str, shard: int, replica: int) -> None:
        super().__init__(ServerAddress(name, "127.0.0.1", 1, shard, replica), Login("everline", ""))
        self.target = Target(name, shard, replica, replica)
        self.fault: Exception | None = None
        self.faults_left = -1
        self.hangs = False
        self.go_on = asyncio.Event()
        self.taken: list[tuple[str, ...]] = []
        self.asked = 0

    async def insert(self, batch: EventBatch, *, deadline_s: float) -> None:
        """See the class."""
        self.asked += 1
        if self.hangs:
            try:
                async with asyncio.timeout(deadline_s):
                    await self.go_on.wait()
            except TimeoutError as error:
                raise StoreError("no answer", code=209) from error
        if self.fault is not None and self.faults_left:
            self.faults_left -= 1
            raise self.fault
        self.taken.append(tuple(batch.column("call_id")))


def four() -> dict[str, FakeServer]:
    """Two shards of two."""
    return {
        f"s{shard}r{replica}": FakeServer(f"s{shard}r{replica}", shard, replica)
        for shard in (1, 2)
        for replica in (1, 2)
    }
