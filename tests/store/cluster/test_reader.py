"""Questions find an answer while servers die, hang and come back; what is missing from one is said."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from time import monotonic

import pytest
from tests.rigs.clickhouse import ClickHouseRig
from tests.store.cluster.direct import DirectWriter
from tests.store.making import HOUR_US, answered, insert, records_of

from everline.store.clickhouse import ClickHouseStore
from everline.store.filters import CallFilter
from everline.store.reader import NoServerError, Reader
from everline.store.servers import Login, Server, ServerError

ONE = "SELECT 1 AS one"
SPREAD = "SELECT count() AS calls FROM everline.calls WHERE hour > 0"


@pytest.fixture(autouse=True)
def healed(rig: ClickHouseRig) -> Iterator[None]:
    """Whatever a test did to the servers, the next one finds them well."""
    yield
    rig.revive()
    rig.until_writable()


@asynccontextmanager
async def opened(rig: ClickHouseRig, *, login: Login | None = None) -> AsyncIterator[tuple[ClickHouseStore, Reader]]:
    """A store that asks s1r1 first."""
    servers = [Server(address, login or rig.login, asking=2) for address in rig.addresses]
    reader = Reader(servers)
    store = ClickHouseStore(servers, reader=reader, writer=DirectWriter(servers))
    try:
        yield store, reader
    finally:
        await store.close()


async def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something."""
    deadline = monotonic() + 30
    while not condition():
        assert monotonic() < deadline, what
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hung"])
async def test_a_server_that_is_killed_or_hangs_is_left_and_comes_back(
    rig: ClickHouseRig, fault: signal.Signals
) -> None:
    """The next one answers, within the deadline of the question."""
    async with opened(rig) as (store, reader):
        await store.ask(SPREAD)
        rig.servers[0].signal(fault)
        asked_at = monotonic()
        await store.ask(SPREAD)
        first_s = monotonic() - asked_at
        assert reader.left == {"s1r1"}
        await store.ask(SPREAD)
        second_s = monotonic() - asked_at - first_s
        rig.revive()
        await until(lambda: not reader.left, "s1r1 is asked again")
        await store.ask(SPREAD)
        assert store.partial_since is None
    print(f"{fault.name} of the server that is asked: the next answer after {first_s:.2f} s, then {second_s:.2f} s")


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hung"])
async def test_a_replica_of_another_shard_that_is_killed_or_hangs_costs_no_calls(
    rig: ClickHouseRig, era_us: int, fault: signal.Signals
) -> None:
    """Its sibling is asked for it; the answer is whole."""
    async with opened(rig) as (store, _):
        events = [one for index in range(20) for one in answered(f"{era_us}-{index}", era_us)]
        for index in range(0, len(events), 4):
            await insert(store, events[index : index + 4])
        wanted = CallFilter(since_us=era_us, until_us=era_us + HOUR_US)
        assert (await store.search(wanted)).records == tuple(records_of(events))
        rig.servers[2].signal(fault)
        asked_at = monotonic()
        page = await store.search(wanted)
        took_s = monotonic() - asked_at

        assert page.records == tuple(records_of(events))
        assert not page.partial
    print(f"{fault.name} of a replica of another shard: the page after {took_s:.2f} s, whole")


async def test_while_a_shard_is_gone_answers_say_that_they_are_partial(rig: ClickHouseRig, era_us: int) -> None:
    """Pages and figures, until it was seen to answer again."""
    bounds = era_us, era_us + HOUR_US
    wanted = CallFilter(since_us=bounds[0], until_us=bounds[1])
    async with opened(rig) as (store, _):
        events = [one for index in range(20) for one in answered(f"{era_us}-{index}", era_us)]
        for index in range(0, len(events), 4):
            await insert(store, events[index : index + 4])
        whole = await store.search(wanted), await store.kpis(*bounds), await store.series(*bounds, 600)
        assert not whole[0].partial
        for one in rig.of_shard(2):
            one.kill()
        asked_at = monotonic()
        page = await store.search(wanted)
        first_s = monotonic() - asked_at

        assert page.partial
        assert 0 < len(page.records) < 20
        assert store.partial_since is not None
        assert (await store.kpis(*bounds)).partial
        assert all(one.kpis.partial for one in await store.series(*bounds, 600))
        second_s = monotonic() - asked_at - first_s
        rig.revive()
        back_at = monotonic()
        await until(lambda: store.partial_since is None, "all shards answer")
        print(f"shard gone: a partial page after {first_s:.2f} s, figures and series after {second_s:.2f} s more; "
              f"whole {monotonic() - back_at:.2f} s after it was back")  # fmt: skip
        assert (await store.search(wanted), await store.kpis(*bounds), await store.series(*bounds, 600)) == whole


async def test_when_no_server_answers_each_is_named(rig: ClickHouseRig) -> None:
    """With what it said."""
    for one in rig.servers:
        one.kill()
    async with opened(rig) as (store, _):
        with pytest.raises(NoServerError, match=r"(?s)4 asked.*s1r1.*s1r2.*s2r1.*s2r2.*cluster status"):
            await store.ask(ONE)


async def test_a_wrong_password_names_the_secret_and_not_the_password(rig: ClickHouseRig) -> None:
    """On every server the same."""
    async with opened(rig, login=Login("everline", "a-wrong-password")) as (store, _):
        with pytest.raises(NoServerError, match=r"secrets\.clickhouse") as caught:
            await store.ask(ONE)
    assert "a-wrong-password" not in str(caught.value)
    assert "a-wrong-password" not in repr(Login("everline", "a-wrong-password"))


async def test_what_one_server_refuses_is_not_asked_of_the_others(rig: ClickHouseRig) -> None:
    """A SELECT that is wrong is wrong everywhere; the server is not left for it."""
    async with opened(rig) as (store, reader):
        with pytest.raises(ServerError) as caught:
            await store.ask("SELECT no_such_column AS x")
        assert (caught.value.server, caught.value.code, reader.left) == ("s1r1", 47, frozenset())


async def test_a_server_that_works_on_a_question_is_waited_for(rig: ClickHouseRig) -> None:
    """It answers pings beside it."""
    async with opened(rig) as (store, reader):
        assert list((await store.ask("SELECT sleep(3) AS slept")).rows()) == [(0,)]
        assert not reader.left
