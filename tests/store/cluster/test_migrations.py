"""The tables of a cluster are made by one leader after the other, whatever stops them, and by nobody else's leader."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from time import monotonic

import pytest
from kazoo.client import KazooClient
from tests.rigs.clickhouse import CLUSTER, ClickHouseRig
from tests.store.making import answered

from everline.calls.event import EventBatch
from everline.errors import EverlineError
from everline.store import identity
from everline.store.cluster_schema import CLUSTER_TABLES, KEEPER_PATH, cluster_statements
from everline.store.identity import WrongServerError, check_server
from everline.store.migrations import LATEST, Migrator, ReplicaForgottenError, TablesTooNewError, version_of
from everline.store.servers import Server

STATEMENTS = cluster_statements(CLUSTER)


@pytest.fixture
def bare(rig: ClickHouseRig) -> Iterator[ClickHouseRig]:
    """Servers without a table; those that come after find them with all."""
    drop(rig)
    yield rig
    rig.revive()
    rig.until_writable()
    drop(rig)
    asyncio.run(_migrate(rig))


def drop(rig: ClickHouseRig) -> None:
    """Delete all tables."""
    for one in rig.servers:
        one.ask("DROP DATABASE IF EXISTS everline")


async def _migrate(rig: ClickHouseRig) -> None:
    servers = [Server(address, rig.login) for address in rig.addresses]
    await Migrator(servers, CLUSTER, node="tests").migrate()
    await asyncio.gather(*(one.close() for one in servers))


@pytest.fixture
async def servers(rig: ClickHouseRig) -> AsyncIterator[list[Server]]:
    """Connections to all."""
    opened = [Server(address, rig.login) for address in rig.addresses]
    yield opened
    await asyncio.gather(*(one.close() for one in opened))


def tables(rig: ClickHouseRig) -> list[set[object]]:
    """Of each server."""
    return [{name for (name,) in one.ask("SELECT name FROM system.tables WHERE database = 'everline'")}
            for one in rig.servers]  # fmt: skip


async def assert_works(rig: ClickHouseRig, servers: list[Server]) -> None:
    """A call that goes in at one server is told by all."""
    await servers[3].insert(EventBatch.of(answered("works", 1_600_000_000_000_000)), deadline_s=10)
    counts = "SELECT (SELECT count() FROM everline.messages), (SELECT uniq(call_id) FROM everline.calls), count() " \
        "FROM everline.lookup WHERE kind = 'number'"  # fmt: skip
    for one in rig.servers:
        await until(lambda one=one: one.ask(counts) == [(4, 1, 2)], f"{one.name} has the call")  # type: ignore[misc]


async def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something that the servers do by themselves."""
    deadline = monotonic() + 30
    while not condition():
        assert monotonic() < deadline, what
        await asyncio.sleep(0.05)


def forget_replica(rig: ClickHouseRig, of_shard: str, of_all: str) -> None:
    """Delete what Keeper knows of s2r2."""
    client = KazooClient(",".join(rig.keepers.addresses))
    client.start()
    for shard, replica in (("2", of_shard), ("all", of_all)):
        for table in client.get_children(f"{KEEPER_PATH}/{CLUSTER}/{shard}"):
            client.delete(f"{KEEPER_PATH}/{CLUSTER}/{shard}/{table}/replicas/{replica}", recursive=True)
    client.stop()
    client.close()


@pytest.mark.parametrize("done", range(len(STATEMENTS) + 1))
async def test_a_leader_that_died_after_any_statement_is_followed_by_one_that_finishes(
    bare: ClickHouseRig, servers: list[Server], done: int
) -> None:
    """Both get to the same tables; a third finds nothing to do."""
    for sql in STATEMENTS[:done]:
        await servers[0].execute(sql, limit_s=15)
    assert await version_of(servers[1]) == 0

    assert await Migrator(servers[1:], CLUSTER, node="second").migrate() == LATEST

    assert tables(bare) == [CLUSTER_TABLES] * 4
    assert [await version_of(one) for one in servers[1:2]] == [LATEST]
    assert await Migrator(servers, CLUSTER, node="third").migrate() == LATEST
    await assert_works(bare, servers)


async def test_a_server_that_is_down_gets_its_tables_when_it_is_back(
    bare: ClickHouseRig, servers: list[Server]
) -> None:
    """From the queue of ClickHouse, without a leader."""
    bare.servers[3].kill()

    assert await Migrator(servers, CLUSTER, node="leader").migrate() == LATEST

    bare.servers[3].start()
    bare.servers[3].until_serving()
    await until(lambda: tables(bare)[3] == CLUSTER_TABLES, "it has its tables")
    bare.until_writable()
    assert tables(bare) == [CLUSTER_TABLES] * 4
    await assert_works(bare, servers)


async def test_a_server_without_tables_is_told_by_itself(bare: ClickHouseRig, servers: list[Server]) -> None:
    """It is new in cluster.yaml: the queue has nothing for it."""
    await Migrator(servers, CLUSTER, node="leader").migrate()
    bare.servers[3].ask("DROP DATABASE everline")

    await Migrator(servers, CLUSTER, node="leader").migrate()

    assert tables(bare) == [CLUSTER_TABLES] * 4
    await assert_works(bare, servers)


async def test_a_server_whose_disk_was_lost_is_for_the_repair(bare: ClickHouseRig, servers: list[Server]) -> None:
    """Keeper still has its replicas: what to run is said."""
    await Migrator(servers, CLUSTER, node="leader").migrate()
    bare.servers[3].kill()
    bare.servers[3].wipe()
    bare.servers[3].start()
    bare.servers[3].until_serving()

    with pytest.raises(ReplicaForgottenError, match=r"s2r2.*everline store repair s2r2"):
        await Migrator(servers, CLUSTER, node="leader").migrate()
    assert tables(bare)[:3] == [CLUSTER_TABLES] * 3
    bare.servers[3].kill()
    bare.servers[3].wipe()
    forget_replica(bare, "2", "2-2")


async def test_a_version_is_not_written_down_for_a_leader_of_yesterday(
    bare: ClickHouseRig, servers: list[Server]
) -> None:
    """The tables are there, and the next leader makes them again, which changes nothing."""
    await Migrator(servers, CLUSTER, node="late", still="1 = 0").migrate()

    assert await version_of(servers[0]) == 0
    assert tables(bare) == [CLUSTER_TABLES] * 4


async def test_tables_of_a_later_everline_are_left_alone(bare: ClickHouseRig, servers: list[Server]) -> None:
    """The version that was found, and the one that is known, are said."""
    await Migrator(servers, CLUSTER, node="leader").migrate()
    bare.servers[2].ask(f"INSERT INTO everline.migrations SELECT toUInt32({LATEST + 6}), 'later', toUInt64(1)")

    with pytest.raises(TablesTooNewError, match=rf"version {LATEST + 6}.*knows up to {LATEST}"):
        await Migrator(servers, CLUSTER, node="leader").migrate()


async def test_servers_that_are_not_ours_are_refused(
    rig: ClickHouseRig, servers: list[Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with its host, what was found, and the key; nothing is made on any."""
    with pytest.raises(WrongServerError, match=r"s1r1 \(127\.0\.0\.1:\d+\) does not know a cluster 'other'.*`cluster`"):
        await check_server(servers[0], "other")
    moved = Server(replace(rig.addresses[0], shard=2), rig.login)
    with pytest.raises(WrongServerError, match=r"shard 1, replica 1.*cluster.yaml says shard 2, replica 1"):
        await check_server(moved, CLUSTER)
    await moved.close()
    monkeypatch.setattr(identity, "OLDEST", (19, 1))
    with pytest.raises(WrongServerError, match=r"is version 18\.16\.\d+, and 19\.1 or later is needed"):
        await Migrator(servers, CLUSTER, node="leader").migrate()


async def test_tables_of_another_cluster_are_left_alone(bare: ClickHouseRig, servers: list[Server]) -> None:
    """Keeper's path tells whose they are."""
    bare.servers[1].ask("CREATE DATABASE everline")
    bare.servers[1].ask(
        "CREATE TABLE everline.calls_local (x UInt8) "
        "ENGINE = ReplicatedMergeTree('/clickhouse/tables/theirs/1/calls_local', 'r') ORDER BY x"
    )

    with pytest.raises(EverlineError, match=r"s1r2.*everline\.calls_local of another cluster.*theirs/1.*'rig'"):
        await Migrator(servers, CLUSTER, node="leader").migrate()
    assert tables(bare) == [set(), {"calls_local"}, set(), set()]
