"""Writers on a rig, a ledger of what they took, and what the servers have of it."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from kazoo.client import KazooClient
from tests.rigs.clickhouse import CLUSTER, ClickHouse, ClickHouseRig
from tests.store.making import answered, failed, records_of

from everline.calls.event import Event, EventBatch
from everline.calls.record import CallRecord
from everline.store.clickhouse import ClickHouseStore
from everline.store.cluster_schema import replica_path
from everline.store.delivery import WriteTimes
from everline.store.reader import Reader
from everline.store.routing import Target
from everline.store.servers import Server
from everline.store.spool import Spool
from everline.store.writer import ClusterWriter

SPOOL_BYTES = 64 << 20
TIMES = WriteTimes(hedge_s=0.3, insert_s=2.0, patience_s=1.2)


def target_of(server: ClickHouse) -> Target:
    """As seen from beside the first replica of each shard."""
    return Target(server.name, server.shard, server.replica, server.replica)


class Writing:
    """A writer, and every event that it took."""

    def __init__(self, rig: ClickHouseRig, writer: ClusterWriter, servers: Sequence[Server]) -> None:
        self.rig = rig
        self.writer = writer
        self.servers = servers
        self.taken: list[Event] = []

    async def give(self, events: Iterable[Event]) -> None:
        """Insert a batch, once; what is taken goes into the ledger."""
        batch = list(events)
        await self.writer.insert(EventBatch.of(batch))
        self.taken += batch

    async def until_drained(self, *, within_s: float = 30.0) -> None:
        """Wait until the spool is empty."""
        await until(lambda: not self.writer.spool.records, within_s=within_s)


async def until(is_so: Callable[[], bool], *, within_s: float = 30.0) -> None:
    """Wait until something that nobody tells of is so."""
    async with asyncio.timeout(within_s):
        while not is_so():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.02)


@asynccontextmanager
async def writing(
    rig: ClickHouseRig, spool: Path, *, spool_bytes: int = SPOOL_BYTES, times: WriteTimes = TIMES, drains: bool = True
) -> AsyncIterator[Writing]:
    """A writer beside the first replicas."""
    servers = [Server(one.address, rig.login) for one in rig.servers]
    targets = [target_of(one) for one in rig.servers]
    opened = Spool.open(spool, max_bytes=spool_bytes)
    writer = ClusterWriter(list(zip(targets, servers, strict=True)), opened, times=times)
    drain = asyncio.create_task(writer.drain()) if drains else None
    await asyncio.sleep(0)  # Let it begin.
    try:
        yield Writing(rig, writer, servers)
    finally:
        await writer.close()
        if drain:
            await drain
        await asyncio.gather(*(server.close() for server in servers))


def calls(name: str, start_us: int, count: int) -> list[Event]:
    """Events of so many calls over both shards, every third refused."""
    return [
        event
        for number in range(count)
        for event in (
            answered(f"{name}-{number}", start_us + number)
            if number % 3
            else failed(f"{name}-{number}", start_us + number, 486)
        )
    ]


def keys_at(servers: Iterable[ClickHouse], name: str) -> set[tuple[object, ...]]:
    """Every message of calls named so that some of these servers have themselves."""
    sql = f"SELECT DISTINCT call_id, captured_us, event_key FROM everline.messages_local WHERE call_id LIKE '{name}-%'"
    return {row for server in servers for row in server.ask(sql)}


def keys_of(events: Iterable[Event]) -> set[tuple[object, ...]]:
    """The same of events."""
    return {(one.call_id, one.captured_us, one.event_key) for one in events}


async def records_in(rig: ClickHouseRig, events: Sequence[Event]) -> list[CallRecord]:
    """The records of all calls in some events, as the cluster has them."""
    servers = [Server(one.address, rig.login) for one in rig.servers]
    reader = Reader(servers)
    store = ClickHouseStore(servers, reader=reader, writer=None)  # type: ignore[arg-type] # only reads
    try:
        found = await store.records(sorted({one.call_id for one in events}))
    finally:
        await reader.close()
        await asyncio.gather(*(server.close() for server in servers))
    return sorted(found, key=lambda record: (record.start_us, record.call_id), reverse=True)


async def assert_kept(rig: ClickHouseRig, name: str, events: Sequence[Event]) -> None:
    """Every event is in `messages` of some server, and the records equal those of Python."""
    missing = keys_of(events) - keys_at(rig.servers, name)
    assert not missing, f"{len(missing)} of {len(events)} are missing"
    assert await records_in(rig, events) == records_of(events)


def revive(rig: ClickHouseRig) -> None:
    """
    Bring back what was killed or stopped, and wait until all can be written to.

    A server that is started while Keeper still holds its last session stays read-only for ten seconds (18.16), so this
    waits for the sessions of the dead to end first.
    """
    rig.keepers.revive()
    dead = [one for one in rig.servers if one.process is None or one.process.poll() is not None]
    for one in rig.servers:
        if one not in dead:
            one.signal(signal.SIGCONT)
    keeper = KazooClient(hosts=",".join(rig.keepers.addresses))
    keeper.start(timeout=15)
    try:
        deadline = time.monotonic() + 30
        paths = [
            f"{replica_path(CLUSTER, one.shard, 'messages_local')}/replicas/{one.replica}/is_active" for one in dead
        ]
        while any(keeper.exists(path) for path in paths):
            assert time.monotonic() < deadline, "sessions of dead servers do not end"
            time.sleep(0.05)
    finally:
        keeper.stop()
        keeper.close()
    rig.revive()
    rig.until_writable()
