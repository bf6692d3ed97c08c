"""
The rule that an acknowledged batch is on two servers, or on one and in the spool: proved by taking one away.

A server is killed and loses its disk at the instant of an acknowledgement; what was acknowledged has to be on those
that are left, in `messages` and in `calls`, or in the spool.
"""

import asyncio
import random
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from kazoo.client import KazooClient
from tests.conftest import require_programs
from tests.rigs.clickhouse import CLICKHOUSE, CLUSTER, ClickHouse, ClickHouseRig, clickhouses
from tests.store.making import DAY_US, records_of
from tests.store.writing import Writing, assert_kept, calls, keys_at, keys_of, records_in, writing

from everline.calls.event import Event, EventBatch
from everline.store.batch_codec import decode_batch_bytes
from everline.store.cluster_schema import cluster_statements, replica_path
from everline.store.routing import split
from everline.store.servers import Server
from everline.store.spool import Spool
from everline.store.upkeep.rejoin import rejoin

pytestmark = pytest.mark.peers(*CLICKHOUSE)

ROUNDS = 20
CALLS = 2_000
"""Of both shards; the half that the lost server has is written, and its batch has to be large enough to be caught."""


@pytest.fixture
def brief(tmp_path: Path) -> Iterator[ClickHouseRig]:
    """A rig of its own, whose dead are forgotten quickly, so that twenty of them come back within a minute."""
    require_programs(*CLICKHOUSE)
    with clickhouses(tmp_path / "brief", session_ms=1500) as started:
        yield started


async def test_an_acknowledged_batch_outlives_any_server_killed_and_wiped_at_that_instant(
    brief: ClickHouseRig, tmp_path: Path
) -> None:
    """Twenty times, a server of the one shard and of the other in turn; each comes back empty and is filled again."""
    chance = random.Random(20)
    began_s = time.monotonic()
    healing: dict[int, asyncio.Task[None]] = {}
    start_us = 1_600_000_000_000_000 // DAY_US * DAY_US
    async with writing(brief, tmp_path / "spool", drains=False) as it:
        await asyncio.gather(*(_make_tables(server) for server in it.servers))
        in_spool = 0
        for number in range(ROUNDS):
            shard = 1 + number % 2
            if shard in healing:
                await healing[shard]
            name = f"lost{number}"
            batch = split(EventBatch.of(calls(name, start_us, CALLS)), [1, 2])[shard]
            victim = chance.choice(brief.of_shard(shard))
            await it.give(batch.events())
            victim.kill()
            victim.wipe()

            healed = [task for task in healing.values() if not task.done()]
            whole = [one for one in brief.servers if one is not victim and (one.shard == shard or not healed)]
            in_spool += await _assert_outlived(brief, tmp_path / "spool", whole, name, list(batch.events()))
            healing[shard] = asyncio.create_task(_heal(it, brief, victim))
        for task in healing.values():
            await task
        print(
            f"{ROUNDS} servers lost at an acknowledgement, {len(it.taken)} events: nothing missing; {in_spool} batches "
            f"were in the spool; {time.monotonic() - began_s:.0f} s"
        )
    async with writing(brief, tmp_path / "spool") as again:
        await again.until_drained()
    for number in range(ROUNDS):
        name = f"lost{number}-"
        await assert_kept(brief, f"lost{number}", [event for event in it.taken if event.call_id.startswith(name)])


async def _assert_outlived(
    rig: ClickHouseRig, spool: Path, survivors: Sequence[ClickHouse], name: str, events: Sequence[Event]
) -> bool:
    """Nothing of it is missing; whether some of it is only in the spool."""
    missing = keys_of(events) - await asyncio.to_thread(keys_at, survivors, name)
    if missing:
        assert missing <= keys_of(_spooled(spool)), f"{len(missing)} of {len(events)} are on no survivor"
        return True
    assert await records_in(rig, events) == records_of(events)
    return False


def _spooled(spool: Path) -> list[Event]:
    """What is in a spool that another has open: in a copy of it."""
    copy = spool.with_suffix(".copy")
    shutil.copytree(spool, copy)
    opened = Spool.open(copy, max_bytes=1 << 30)
    events: list[Event] = []
    while oldest := opened.peek():
        events += decode_batch_bytes(oldest[1]).events()
        opened.done(oldest[0])
    opened.close()
    shutil.rmtree(copy)
    return events


async def _heal(it: Writing, rig: ClickHouseRig, victim: ClickHouse) -> None:
    """Start a server on an empty disk, and have its partner fill it."""
    servers = {server.name: server for server in it.servers}
    partners = [servers[one.name] for one in rig.of_shard(victim.shard) if one is not victim]
    keeper = KazooClient(hosts=",".join(rig.keepers.addresses))
    await asyncio.to_thread(keeper.start, 15)
    try:
        await asyncio.to_thread(_until_forgotten, keeper, victim)
        victim.start()
        await asyncio.to_thread(victim.until_serving)

        async def forget(path: str) -> None:
            await asyncio.to_thread(keeper.delete, path, recursive=True)

        again = Server(victim.address, rig.login)
        try:
            assert await rejoin(again, partners, CLUSTER, forget=forget)
            await asyncio.to_thread(
                _until_filled, next(one for one in rig.of_shard(victim.shard) if one is not victim), victim
            )
        finally:
            await again.close()
    finally:
        await asyncio.to_thread(keeper.stop)
        keeper.close()


def _until_filled(partner: ClickHouse, back: ClickHouse) -> None:
    """
    Until a server has the rows that its partner has.

    Its queue is no sign of that: it goes on looking for parts that only its lost disk had, whose rows came to the
    partner another way.
    """
    sql = (
        "SELECT (SELECT uniqExact(call_id, captured_us, event_key) FROM everline.messages_local) AS messages, "
        "(SELECT uniqExact(call_id) FROM everline.calls_local) AS calls, "
        # Not the calls alone: of each, all that is known of it, and every way that leads to it.
        "(SELECT uniqExactIfMerge(event_keys) FROM everline.calls_local) AS facts, "
        "(SELECT uniqExact(kind, value, hour, call_id) FROM everline.lookup_local) AS ways"
    )
    deadline = time.monotonic() + 30
    while back.ask(sql) != (wanted := partner.ask(sql)):
        assert time.monotonic() < deadline, f"{back.name} has {back.ask(sql)}, and {partner.name} has {wanted}"
        time.sleep(0.1)


async def _make_tables(server: Server) -> None:
    for sql in cluster_statements(CLUSTER, everywhere=False):
        await server.execute(sql, limit_s=10)


def _until_forgotten(keeper: KazooClient, victim: ClickHouse) -> None:
    """Until Keeper has ended its last session: a server that comes back before waits for ten seconds (18.16)."""
    path = f"{replica_path(CLUSTER, victim.shard, 'messages_local')}/replicas/{victim.replica}/is_active"
    deadline = time.monotonic() + 30
    while keeper.exists(path):
        assert time.monotonic() < deadline, "the session does not end"
        time.sleep(0.05)
