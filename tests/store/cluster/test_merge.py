"""Whatever becomes of events on their way to the servers, every server tells the same calls."""

import asyncio
import random
from itertools import count

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.rigs.clickhouse import ClickHouseRig
from tests.store.making import DAY_US, HOUR_US, SECOND_US, any_call
from tests.store.merging import as_columns, as_stored, facts_and_columns

from everline.calls.event import Event, EventBatch
from everline.calls.facts import facts_of
from everline.calls.record import is_call, record_of
from everline.store import queries
from everline.store.answer import Answer
from everline.store.cluster_schema import LOCAL
from everline.store.rows import events_of
from everline.store.schema import DATABASE
from everline.store.servers import Server, ServerError

LIMIT_S = 30.0
NOTHING_TO_MERGE = 49
"""18.16 waits for a merge that it did not plan, and then calls it a logical error."""
START_US = 1_470_000_000 * SECOND_US // DAY_US * DAY_US + 20 * HOUR_US
_numbers = count()


@st.composite
def some_calls(draw: st.DrawFn) -> dict[str, list[Event]]:
    """Calls with Call-IDs never used before."""
    names = [f"dealt-{next(_numbers)}" for _ in range(draw(st.integers(1, 12)))]
    return {name: draw(any_call(name, START_US)) for name in names}


@settings(
    deadline=None,
    max_examples=15,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # A smaller example would take minutes to be found.
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(calls=some_calls(), seed=st.integers(0, 2**32))
async def test_any_order_twice_and_by_any_server_gives_the_calls_of_python(
    rig: ClickHouseRig, calls: dict[str, list[Event]], seed: int
) -> None:
    """
    Each event comes twice, through two servers chosen by chance, so that half of them are on the wrong shard.

    Every replica has the same facts then, and each message once, before its parts are merged and after.
    """
    servers = [Server(address, rig.login) for address in rig.addresses]
    try:
        await deal([one for its in calls.values() for one in its], servers, random.Random(seed))
        await until_replicated(servers)
        await assert_same_as_python(servers, calls)
        for server in servers:
            await optimize(server)
        await until_replicated(servers)
        await assert_same_as_python(servers, calls)
    finally:
        await asyncio.gather(*(server.close() for server in servers))


async def deal(events: list[Event], servers: list[Server], chance: random.Random) -> None:
    """Every event twice, in any order, in batches of any size to any server."""
    twice = events * 2
    chance.shuffle(twice)
    while twice:
        size = chance.randint(1, len(twice))
        batch, twice = twice[:size], twice[size:]
        await chance.choice(servers).insert(EventBatch.of(batch), deadline_s=LIMIT_S)


async def until_replicated(servers: list[Server]) -> None:
    """Wait until the replicas of each shard have the same parts."""
    for shard in (1, 2):
        replicas = [one for one in servers if one.address.shard == shard]
        for _ in range(600):
            first, second = [await parts(one) for one in replicas]
            if first == second:
                break
            await asyncio.sleep(0.05)
        else:
            raise AssertionError(f"the replicas of shard {shard} stay apart: {first ^ second}")


async def parts(server: Server) -> set[tuple[str, str]]:
    """Table and name."""
    sql = f"SELECT table, name FROM system.parts WHERE active AND database = '{DATABASE}'"
    return set((await server.select(sql, limit_s=LIMIT_S)).rows("table", "name"))


async def optimize(server: Server) -> None:
    """Merge the parts of the tables that a server leads; it tells its replicas."""
    sql = f"SELECT table FROM system.replicas WHERE database = '{DATABASE}' AND is_leader AND table LIKE '%{LOCAL}'"
    for table in (await server.select(sql, limit_s=LIMIT_S)).column("table"):
        try:
            await server.execute(f"OPTIMIZE TABLE {DATABASE}.{table} FINAL", limit_s=LIMIT_S)
        except ServerError as fault:
            if fault.code != NOTHING_TO_MERGE:
                raise


async def assert_same_as_python(servers: list[Server], calls: dict[str, list[Event]]) -> None:
    """Facts, records and messages, asked of every server: each of them reads its own copy and another shard's."""
    facts = {name: facts_of(its) for name, its in calls.items() if is_call(facts_of(its))}
    expected = {name: (as_stored(its), as_columns(record_of(name, its))) for name, its in facts.items()}
    for server in servers:

        async def ask(sql: str, server: Server = server) -> Answer:
            return await server.select(sql, limit_s=LIMIT_S)

        assert await facts_and_columns(ask, calls) == expected, server.name
        for name, its in calls.items():
            found = events_of(await server.select(queries.messages(name, limit=1000), limit_s=LIMIT_S))
            assert found == sorted(its, key=lambda one: (one.captured_us, one.event_key)), server.name
