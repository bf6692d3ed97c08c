"""Copies that lack rows are found and mended, sleeping tables are woken, and a server comes back without its disk."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError
from tests.rigs.clickhouse import CLICKHOUSE, CLUSTER, ClickHouse, ClickHouseRig, clickhouses
from tests.store.making import HOUR_US, answered

from everline.calls.event import Event, EventBatch
from everline.store.cluster_schema import replica_path
from everline.store.fenced import insert_if
from everline.store.migrations import Migrator
from everline.store.servers import Server
from everline.store.upkeep.audit import Lack
from everline.store.upkeep.caretaker import Caretaker
from everline.store.upkeep.rejoin import RejoinError, rejoin, until_caught_up
from everline.store.upkeep.revive import Reviver

pytestmark = pytest.mark.peers(*CLICKHOUSE)

CALLS = 50
SETTLED_S = 60
"""The tests' messages are said to have come so long ago."""


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseRig]:
    """Four servers, for all tests here."""
    with clickhouses(tmp_path_factory.mktemp("upkeep")) as rig:
        yield rig


@pytest.fixture
async def servers(rig: ClickHouseRig) -> AsyncIterator[dict[str, Server]]:
    """The servers by name, with the tables of a cluster."""
    rig.revive()
    found = {one.name: Server(one.address, rig.login) for one in rig.servers}
    await Migrator(list(found.values()), CLUSTER, node="n1").migrate()
    yield found
    await asyncio.gather(*(server.close() for server in found.values()))


def caretaker(servers: dict[str, Server]) -> Caretaker:
    """One for both shards."""
    shards = {shard: [one for one in servers.values() if one.address.shard == shard] for shard in (1, 2)}
    return Caretaker(shards)


def calls(name: str) -> list[Event]:
    """Answered calls of a minute ago."""
    start_us = int((time.time() - SETTLED_S) * 1e6)
    return [event for number in range(CALLS) for event in answered(f"{name}-{number}", start_us + number, talk_s=1)]


def held(server: ClickHouse, name: str) -> tuple[int, int, int]:
    """How many messages, calls and look-ups of these calls a server has by itself."""
    [(messages,)] = server.ask(
        f"SELECT uniqExact(call_id, event_key) FROM everline.messages_local WHERE call_id LIKE '{name}-%'"
    )
    [(known,)] = server.ask(f"SELECT uniqExact(call_id) FROM everline.calls_local WHERE call_id LIKE '{name}-%'")
    [(found,)] = server.ask(
        f"SELECT uniqExact(value) FROM everline.lookup_local WHERE kind = 'call' AND value LIKE '{name}-%'"
    )
    return int(str(messages)), int(str(known)), int(str(found))


WHOLE = (4 * CALLS, CALLS, CALLS)


async def until_held(server: ClickHouse, name: str) -> None:
    """Wait until a server has it all."""
    async with asyncio.timeout(30):
        while held(server, name) != WHOLE:  # noqa: ASYNC110 - it happens in another program
            await asyncio.sleep(0.05)


def forget_parts(rig: ClickHouseRig, lost: ClickHouse) -> None:
    """Let a replica come up empty that calls itself healthy: Keeper has lost its list of parts."""
    lost.kill()
    keeper = KazooClient(",".join(rig.keepers.addresses))
    keeper.start()
    try:
        for table in ("messages_local", "calls_local", "lookup_local"):
            parts = f"{replica_path(CLUSTER, lost.shard, table)}/replicas/{lost.replica}/parts"
            for part in keeper.get_children(parts):
                keeper.delete(f"{parts}/{part}", recursive=True)
    finally:
        keeper.stop()
        keeper.close()
    flag = lost.directory / "data" / "flags"
    flag.mkdir(exist_ok=True)
    (flag / "force_restore_data").touch()
    lost.start()
    lost.until_serving()


async def test_a_whole_store_lacks_nothing(servers: dict[str, Server], rig: ClickHouseRig) -> None:
    """And is left alone, also when a message is there several times."""
    batch = EventBatch.of(calls("whole"))
    for _ in range(2):
        await servers["s1r1"].insert(batch, deadline_s=10)
    await until_held(rig.of_shard(1)[1], "whole")

    found = await caretaker(servers).everything()

    assert (found.gaps, dict(found.given), dict(found.unasked)) == ((), {}, {})


async def test_a_replica_that_lost_its_parts_silently_is_found_and_mended(
    servers: dict[str, Server], rig: ClickHouseRig
) -> None:
    """It calls itself healthy, and has nothing."""
    first, lost = rig.of_shard(1)
    await servers["s1r1"].insert(EventBatch.of(calls("silent")), deadline_s=10)
    await until_held(lost, "silent")
    await asyncio.to_thread(forget_parts, rig, lost)
    assert held(lost, "silent") == (0, 0, 0)
    assert lost.ask("SELECT max(is_readonly), max(queue_size) FROM system.replicas") == [(0, 0)]

    found = await caretaker(servers).recent()

    assert {(gap.server, gap.lack) for gap in found.gaps} >= {("s1r2", Lack.MESSAGES)}
    assert found.given["s1r2"] >= WHOLE[0]
    assert held(lost, "silent") == held(first, "silent") == WHOLE
    assert not (await caretaker(servers).everything()).gaps


@contextmanager
def fetching_nothing(server: ClickHouse) -> Iterator[None]:
    """Let a replica get no parts from its partner, though it knows that it lacks them."""
    tables = ("messages_local", "calls_local", "lookup_local")
    for table in tables:
        server.ask(f"SYSTEM STOP FETCHES everline.{table}")
    try:
        yield
    finally:
        for table in tables:
            server.ask(f"SYSTEM START FETCHES everline.{table}")


async def test_a_replica_that_waits_for_ever_for_what_it_lacks_is_mended_at_the_second_look(
    servers: dict[str, Server], rig: ClickHouseRig
) -> None:
    """At the first it may still be catching up by itself, which is left alone."""
    lagging = rig.of_shard(2)[1]
    with fetching_nothing(lagging):
        await servers["s2r1"].insert(EventBatch.of(calls("late")), deadline_s=10)
        care = caretaker(servers)

        first, second = await care.recent(), await care.recent()

        assert first.waiting == {lagging.name}
        assert not first.given
        assert second.given[lagging.name] == 4 * CALLS
        assert held(lagging, "late") == WHOLE


def drop_all(rig: ClickHouseRig, table: str) -> None:
    """Lose all rows of a table of the second shard; only the replica that leads in ClickHouse's sense can."""
    [leader] = [
        server
        for server in rig.of_shard(2)
        if server.ask(f"SELECT is_leader FROM system.replicas WHERE table = '{table}'") == [(1,)]
    ]
    for (partition,) in leader.ask(f"SELECT DISTINCT partition FROM system.parts WHERE active AND table = '{table}'"):
        value = partition if str(partition).isdigit() else f"'{partition}'"
        leader.ask(f"ALTER TABLE everline.{table} DROP PARTITION {value}")


@pytest.mark.parametrize(("table", "lack"), [("calls_local", Lack.CALLS), ("lookup_local", Lack.LOOKUP)])
async def test_what_is_made_of_messages_is_made_again(
    servers: dict[str, Server], rig: ClickHouseRig, table: str, lack: Lack
) -> None:
    """As after a server that died between writing a message and filling its views."""
    name = f"made-{lack}"
    await servers["s2r1"].insert(EventBatch.of(calls(name)), deadline_s=10)
    await until_held(rig.of_shard(2)[1], name)
    drop_all(rig, table)
    assert held(rig.of_shard(2)[0], name) != WHOLE

    found = await caretaker(servers).recent()

    assert lack in {gap.lack for gap in found.gaps}
    for server in rig.of_shard(2):
        await until_held(server, name)


@pytest.fixture
async def forget(rig: ClickHouseRig) -> AsyncIterator[Callable[[str], Awaitable[None]]]:
    """Removes a path and all below it from Keeper."""
    keeper = KazooClient(",".join(rig.keepers.addresses))
    await asyncio.to_thread(keeper.start)

    async def remove(path: str) -> None:
        with suppress(NoNodeError):
            await asyncio.to_thread(keeper.delete, path, recursive=True)

    yield remove
    await asyncio.to_thread(keeper.stop)
    keeper.close()


async def test_a_server_that_lost_its_disk_comes_back(
    servers: dict[str, Server], rig: ClickHouseRig, forget: Callable[[str], Awaitable[None]]
) -> None:
    """Keeper is made to forget it, its tables are made anew, and its partner gives it the rows."""
    first, lost = rig.of_shard(1)
    await servers["s1r1"].insert(EventBatch.of(calls("disk")), deadline_s=10)
    await until_held(lost, "disk")
    lost.kill()
    lost.wipe()
    lost.start()
    lost.until_serving()
    made = await rejoin(servers["s1r2"], [servers["s1r1"]], CLUSTER, forget=forget)

    assert "messages_local" in made
    assert await until_caught_up(servers["s1r2"], within_s=30)
    await until_held(lost, "disk")
    assert held(first, "disk") == WHOLE


async def test_a_server_is_not_brought_back_while_its_partner_is_away(
    servers: dict[str, Server], rig: ClickHouseRig, forget: Callable[[str], Awaitable[None]]
) -> None:
    """Its place in Keeper may be all that is left of it."""
    first, lost = rig.of_shard(2)
    lost.kill()
    lost.wipe()
    lost.start()
    lost.until_serving()
    first.kill()

    with pytest.raises(RejoinError, match="start that one first"):
        await rejoin(servers["s2r2"], [servers["s2r1"]], CLUSTER, forget=forget)

    rig.revive()
    rig.until_writable()
    assert await rejoin(servers["s2r2"], [servers["s2r1"]], CLUSTER, forget=forget)


def is_read_only(server: ClickHouse) -> bool:
    """Whether its messages can't be written."""
    return server.ask(
        "SELECT is_readonly OR is_session_expired FROM system.replicas WHERE table = 'messages_local'"
    ) == [(1,)]


async def test_a_read_only_table_is_woken_once_keeper_is_back(servers: dict[str, Server], rig: ClickHouseRig) -> None:
    """Not before: a server that is told to restart a table without Keeper loses it. And then it is left in peace."""
    now_s = 100.0
    reviver = Reviver([servers["s1r1"]], clock=lambda: now_s)
    for keeper in rig.keepers.servers:
        keeper.kill()
    async with asyncio.timeout(30):
        while not is_read_only(rig.servers[0]):  # noqa: ASYNC110 - it happens in another program
            await asyncio.sleep(0.05)

    assert await reviver.revive() == []
    now_s += 10
    rig.keepers.revive()
    async with asyncio.timeout(30):
        while not (woken := await reviver.revive()) and is_read_only(rig.servers[0]):
            now_s += 1

    assert woken
    assert {one.server for one in woken} == {"s1r1"}
    assert await reviver.revive() == []
    await servers["s1r1"].insert(EventBatch.of(calls("awake")), deadline_s=10)


async def test_a_table_that_a_server_lost_is_attached_again(servers: dict[str, Server], rig: ClickHouseRig) -> None:
    """Its definition and its rows are still on the disk."""
    await servers["s1r1"].insert(EventBatch.of(calls("attach")), deadline_s=10)
    await servers["s1r1"].execute("DETACH TABLE everline.messages_local", limit_s=10)

    await Reviver([servers["s1r1"]]).revive()

    assert held(rig.servers[0], "attach") == WHOLE


async def test_a_late_leaders_events_are_refused_by_the_server(servers: dict[str, Server]) -> None:
    """The condition is evaluated where and when the rows would be written."""
    events = calls("late")[:4]
    await servers["s1r1"].execute(insert_if(events[:2], "1 = 2"), limit_s=10)
    await servers["s1r1"].execute(insert_if(events[2:], "1 = 1"), limit_s=10)

    answer = await servers["s1r1"].select(
        "SELECT event_key, hour FROM (SELECT event_key, toUInt32(intDiv(captured_us, 3600000000)) AS hour, call_id "
        "FROM everline.messages_local) WHERE event_key IN "
        f"({', '.join(str(event.event_key) for event in events)})",
        limit_s=10,
    )

    assert set(answer.rows()) == {(event.event_key, event.captured_us // HOUR_US) for event in events[2:]}
