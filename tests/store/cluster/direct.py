"""A writer for tests: batches go to both replicas of a shard, right or wrong, chosen by chance."""

import asyncio
import random
from collections.abc import Sequence

from everline.calls.event import EventBatch
from everline.store.servers import Server

DEADLINE_S = 30.0


class DirectWriter:
    """What it was given is on every replica of one shard when it returns, so that any server may be asked at once."""

    def __init__(self, servers: Sequence[Server], *, seed: int = 0) -> None:
        self._servers = tuple(servers)
        self._chance = random.Random(seed)

    async def insert(self, batch: EventBatch) -> None:
        """Keep a batch."""
        shard = self._chance.choice([1, 2])
        there = (one for one in self._servers if one.address.shard == shard)
        await asyncio.gather(*(one.insert(batch, deadline_s=DEADLINE_S) for one in there))

    async def close(self) -> None:
        """Nothing is under way."""
