"""Fences and the failover log in real ClickHouse servers, with a real Redis and a real Keeper beside them."""

import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager

import pytest
from tests.cluster import late_leader
from tests.cluster.electors import RunningElector, until
from tests.conftest import require_programs
from tests.rigs import clickhouse as rigs
from tests.rigs.clickhouse import CLICKHOUSE, ClickHouseRig, clickhouses
from tests.rigs.redis import PASSWORD, SERVICE, RedisRig

from everline.access.audit import Act, AuditEntry, Head, check_chain, next_entry
from everline.access.store_audit import StoreAudit
from everline.cluster.candidacy import Term
from everline.cluster.entry import Entry, Kind, make_entry
from everline.cluster.fences import ClickHouseFence, not_fenced
from everline.cluster.store_log import StoreLog
from everline.errors import EverlineError
from everline.store.cluster_schema import AUDIT, FAILOVERS
from everline.store.servers import Server

FENCES = "duty String, token UInt64, node String, at_us UInt64"
ACTS = "token UInt64, node String, late UInt8"


def replicated(table: str, columns: str, family: str, order: str) -> str:
    """DDL of a table that every server has whole."""
    return (
        f"CREATE TABLE IF NOT EXISTS everline.{table} ({columns}) ENGINE = Replicated{family}MergeTree("
        f"'/clickhouse/tables/rig/all/{table}', '{{shard}}-{{replica}}') ORDER BY ({order})"
    )


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseRig]:
    """Four servers with the tables of the cluster."""
    require_programs(*CLICKHOUSE)
    log = ", ".join(f"{name} {kind}" for name, kind in FAILOVERS.items())
    audit = ", ".join(f"{name} {kind}" for name, kind in AUDIT.items())
    with clickhouses(tmp_path_factory.mktemp("clickhouse")) as started:
        for one in started.servers:
            one.ask("CREATE DATABASE IF NOT EXISTS everline")
            one.ask(replicated("fences", FENCES, "", "duty, token"))
            one.ask(replicated("failovers", log, "Replacing", "at_us, entry_id"))
            one.ask(replicated("audit", audit, "Replacing", "seq, digest"))
            one.ask(replicated("acts", ACTS, "", "token"))
        yield started


@asynccontextmanager
async def servers_of(rig: ClickHouseRig) -> AsyncIterator[list[Server]]:
    """Connections to all."""
    servers = [Server(one, rig.login) for one in rig.addresses]
    try:
        yield servers
    finally:
        for one in servers:
            await one.close()


def term(token: int) -> Term:
    """A leadership."""
    return Term(token, "n", "app", "north", "first", 0, 0)


async def test_clickhouse_writes_nothing_for_an_older_token(rig: ClickHouseRig) -> None:
    """On any server, also on one that knows the newer token by replication only."""
    rig.servers[0].ask("TRUNCATE TABLE everline.fences")
    sql = "INSERT INTO everline.acts SELECT toUInt64({0}), 'n', toUInt8(0) WHERE "
    async with servers_of(rig) as servers:
        await ClickHouseFence(servers[:2], node="old").raise_to(term(4_294_967_300))
        await servers[0].execute(sql.format(1) + not_fenced(4_294_967_300), limit_s=5)
        await ClickHouseFence(servers[:2], node="new").raise_to(term(4_294_967_302))
        known = "SELECT max(token) FROM everline.fences"
        until(lambda: all(one.ask(known) == [(4_294_967_302,)] for one in rig.servers), "all know the newer token")
        for server in servers:
            await server.execute(sql.format(2) + not_fenced(4_294_967_300), limit_s=5)
            await server.execute(sql.format(3) + not_fenced(4_294_967_302), limit_s=5)

    written = "SELECT token, count() FROM everline.acts WHERE token < 10 GROUP BY token ORDER BY token"
    until(
        lambda: rig.servers[3].ask(written) == [(1, 1), (3, 4)], "the rows of the newer leader, and none of the older"
    )


def test_the_late_write_of_a_stopped_leader_is_refused_by_its_token(
    rig: ClickHouseRig, redis_servers: RedisRig
) -> None:
    """It is stopped after its last check; another leads; it goes on and writes, to ClickHouse and to Redis."""
    where = {
        "keepers": rig.keepers.addresses, "cluster": f"late{os.urandom(4).hex()}", "user": rigs.USER,
        "password": rigs.PASSWORD, "ports": [one.port for one in rig.servers], "service": SERVICE,
        "sentinels": [one.port for one in redis_servers.sentinels], "redis_password": PASSWORD,
        "redis": redis_servers.primary().port,
    }  # fmt: skip
    with ExitStack() as stack:
        old, new = (RunningElector(name, late_leader.__name__, json.dumps(where)) for name in ("old", "new"))
        stack.callback(old.end)
        stack.callback(new.end)
        first, second = until(lambda: (old, new) if old.leads else (new, old) if new.leads else None, "one leads")
        until(lambda: wrote(rig, first) > 3, "it writes")
        first.tell("pause")
        paused = until(lambda: next((one for one in first.said if "pausing" in one), None), "it is stopped")
        acting = until(lambda: next((one for one in second.said if "acting" in one), None), "the other acts")
        until(lambda: wrote(rig, second) > 3, "and writes")
        first.signal(signal.SIGCONT)
        late = until(lambda: next((one for one in first.said if "late" in one), None), "it writes late")

    took_s = (acting["boot_us"] - paused["boot_us"]) / 1e6
    print(f"leader stopped after its check: the next one acts, fences raised, after {took_s:.2f} s")
    assert acting["acting"] > paused["pausing"] == late["late"]
    assert late["redis"].startswith("FENCED")
    assert not late["still_valid"]
    assert rig.servers[0].ask("SELECT count() FROM everline.acts WHERE late") == [(0,)]
    assert redis_servers.primary().ask("GET", "acted").split()[1:] == [str(acting["acting"]), second.name]


def wrote(rig: ClickHouseRig, leader: RunningElector) -> int:
    """How many rows it has written."""
    sql = "SELECT count() FROM everline.acts WHERE node = '{}'"
    count = rig.servers[0].ask(sql.format(leader.name))[0][0]
    assert isinstance(count, int)
    return count


def entry(number: int, text: str = "") -> Entry:
    """One of the log."""
    return make_entry(Kind.NODE_DEAD, number, node=f"n{number}", region="north", by="w", reason=text, token=1 << 33,
                      detected_us=3, acted_us=4, details={"text": text})  # fmt: skip


async def test_the_failover_log_is_the_same_on_every_server(rig: ClickHouseRig) -> None:
    """Whatever is in it; one that comes twice is one."""
    odd = [
        entry(number, text) for number, text in enumerate(("plain", "it's \\ a\nline", "über\x00", "'); DROP", "{}"))
    ]
    async with servers_of(rig) as servers:
        log = StoreLog(servers)
        await log.insert_entries(odd)
        await log.insert_entries(odd[:3])
        until(lambda: all(one.ask("SELECT uniq(entry_id) FROM everline.failovers") == [(5,)] for one in rig.servers),
              "all have them")  # fmt: skip

        for server in servers:
            assert await StoreLog([server]).entries(0, 100) == odd
        assert await log.entries(2, 2) == odd[3:]


async def test_the_audit_log_is_the_same_on_every_server(rig: ClickHouseRig) -> None:
    """Whatever is in it; one that comes twice is one; a forged one beside it is seen."""
    head, entries = Head(), list[AuditEntry]()
    for text in ("plain", "it's \\ a\nline", "über\x00", "'); DROP", "\ud800", "{}"):
        entries.append(next_entry(head, Act(text, "user.added", text, before=text), at_us=7, node="n"))
        head = Head(entries[-1].seq, entries[-1].digest)
    async with servers_of(rig) as servers:
        log = StoreAudit(servers)
        await log.append(entries)
        await log.append(entries[:3])
        until(lambda: all(one.ask("SELECT uniq(digest) FROM everline.audit") == [(6,)] for one in rig.servers),
              "all have them")  # fmt: skip

        for server in servers:
            assert await StoreAudit([server]).entries(before=None, limit=100) == entries
        assert await log.entries(before=4, limit=2) == entries[1:3]
        await log.append([next_entry(Head(2, "x"), Act("eve", "nothing"), at_us=8, node="n")])
        assert check_chain(await log.entries(before=None, limit=100), head).fault.startswith("There are two entries")


async def test_the_failover_log_takes_entries_while_two_servers_answer(rig: ClickHouseRig) -> None:
    """And says what is wrong when fewer do."""
    try:
        for one in rig.servers[:2]:
            one.kill()
        async with servers_of(rig) as servers:
            await StoreLog(servers).insert_entries([entry(100)])
            assert entry(100) in await StoreLog(servers).entries(100, 10)
            rig.servers[2].kill()
            with pytest.raises(EverlineError, match=r"s[12]r[12]"):
                await StoreLog(servers).insert_entries([entry(101)])
    finally:
        rig.revive()
