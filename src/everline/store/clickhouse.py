"""The store of a cluster: ClickHouse servers in shards of replicas."""

import logging
from collections.abc import Sequence
from datetime import date
from itertools import groupby
from typing import Final, Protocol

from everline.calls.event import EventBatch
from everline.store import queries
from everline.store.answer import Answer
from everline.store.cluster_schema import LOCAL
from everline.store.reader import NoServerError, Reader
from everline.store.schema import TABLES
from everline.store.servers import Server, ServerError
from everline.store.store import Store, is_over

log = logging.getLogger(__name__)

DROP_S: Final = 30.0


class BatchWriter(Protocol):
    """Brings batches to where they are safe: `everline.store.writer`, and what tests put in its place."""

    async def insert(self, batch: EventBatch) -> None:
        """Keep a batch. Raises StoreError when it is not kept."""
        ...

    async def close(self) -> None:
        """Finish what is under way."""
        ...


class ClickHouseStore(Store):
    """
    Every question is put to all shards, by one server.

    Args:
        servers: All servers, nearest first; `close` hangs up on them.
        reader: Asks them.
        writer: Writes to them.
    """

    def __init__(self, servers: Sequence[Server], *, reader: Reader, writer: BatchWriter) -> None:
        self._servers = tuple(servers)
        self._reader = reader
        self._writer = writer

    @property
    def partial_since(self) -> float | None:
        """Since when a shard is gone."""
        return self._reader.partial_since

    async def ask(self, sql: str) -> Answer:
        """Run one SELECT on whichever server answers."""
        return await self._reader.ask(sql)

    async def insert(self, batch: EventBatch) -> None:
        """Keep events, as the writer's rule says."""
        await self._writer.insert(batch)

    async def drop_before(self, day: date) -> int:
        """
        Delete all that was captured before a day (UTC), shard by shard; gives how many partitions went.

        Raises:
            NoServerError: A shard has no server that answers; its days go the next time.
        """
        by_shard = groupby(sorted(self._servers, key=_shard_of), key=_shard_of)
        dropped, faults = 0, list[ServerError]()
        for _, replicas in by_shard:
            gone, refused = await _drop_of_shard(tuple(replicas), day)
            dropped += gone
            faults += refused
        if faults:
            raise NoServerError(faults)
        return dropped

    async def close(self) -> None:
        """Finish what is under way, and hang up."""
        await self._writer.close()
        await self._reader.close()
        for server in self._servers:
            await server.close()


def _shard_of(server: Server) -> int:
    return server.address.shard


async def _drop_of_shard(replicas: Sequence[Server], day: date) -> tuple[int, list[ServerError]]:
    """Table by table, on the first replica that does it: it tells the others. What went, and why something did not."""
    dropped, faults = 0, list[ServerError]()
    for name in TABLES:
        refused: list[ServerError] = []
        for server in replicas:
            # A replica that does not lead its table hands the statement on, with a login that ours refuses.
            try:
                dropped += await _drop_before(server, f"{name}{LOCAL}", day)
                break
            except ServerError as fault:
                refused.append(fault)
        else:
            faults += refused
    return dropped, faults


async def _drop_before(server: Server, table: str, day: date) -> int:
    found = (await server.select(queries.partitions(table), limit_s=DROP_S)).column("partition")
    over = [partition for partition in found if is_over(partition, day)]
    for partition in over:
        await server.execute(queries.drop_partition(table, partition), limit_s=DROP_S)
    return len(over)
