"""One batch and the servers that are asked: who, in which order, and when another."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.store.fake_servers import FakeServer, four
from tests.store.making import event
from tests.store.writing import until

from everline.calls.event import EventBatch
from everline.store.circuit import CircuitState
from everline.store.delivery import Delivery, WriteTimes
from everline.store.errors import StoreError

BATCH = EventBatch.of([event("a", 1)])
TIMES = WriteTimes(hedge_s=0.05, insert_s=0.4, patience_s=0.15)
READ_ONLY = StoreError("read-only", code=242)
HUNG_UP = StoreError("hung up", code=210)
BAD_ROW = StoreError("type", code=53)
BAD_STATEMENT = StoreError("syntax", code=62)


@asynccontextmanager
async def delivering(servers: dict[str, FakeServer], *, chance: float = 1.0) -> AsyncIterator[Delivery]:
    """Ended with all its calls."""
    delivery = Delivery([(one.target, one) for one in servers.values()], TIMES, chance=lambda: chance)
    try:
        yield delivery
    finally:
        await delivery.close()
        await asyncio.gather(*(server.close() for server in servers.values()))


def asked(servers: dict[str, FakeServer]) -> dict[str, int]:
    """How often each was asked, of those that were."""
    return {name: one.asked for name, one in servers.items() if one.asked}


async def test_both_replicas_are_asked_and_nobody_else() -> None:
    """Side by side."""
    servers = four()
    async with delivering(servers) as delivery:
        assert (await delivery.bring(BATCH, 2)).is_stored

    assert asked(servers) == {"s2r1": 1, "s2r2": 1}


async def test_for_one_that_fails_the_next_is_asked_at_once_and_the_one_is_passed_over_then() -> None:
    """The nearest of the other shard."""
    servers = four()
    servers["s1r1"].fault = READ_ONLY
    async with delivering(servers) as delivery:
        assert (await delivery.bring(BATCH, 1)).is_stored
        assert (await delivery.bring(BATCH, 1)).is_stored

        assert delivery.hedges == 0
        assert delivery.states()["s1r1"] is CircuitState.OPEN
    assert asked(servers) == {"s1r1": 1, "s1r2": 2, "s2r1": 2}


async def test_a_connection_that_broke_is_made_again_once() -> None:
    """A server that was restarted has all its connections closed, and works."""
    servers = four()
    servers["s1r1"].fault = HUNG_UP
    servers["s1r1"].faults_left = 1
    async with delivering(servers) as delivery:
        assert (await delivery.bring(BATCH, 1)).is_stored

        assert delivery.retries == 1
        assert set(delivery.states().values()) == {CircuitState.CLOSED}
    assert asked(servers) == {"s1r1": 2, "s1r2": 1}


async def test_for_one_that_is_late_another_is_asked_and_the_late_one_gets_nothing_more() -> None:
    """Only the first batch waits for a hedge."""
    servers = four()
    servers["s1r1"].hangs = True
    async with delivering(servers) as delivery:
        clock = asyncio.get_running_loop().time
        began_s = clock()
        for _ in range(3):
            assert (await delivery.bring(BATCH, 1)).is_stored

        assert clock() - began_s >= TIMES.hedge_s
        assert delivery.hedges == 1
        assert delivery.states()["s1r1"] is CircuitState.BUSY
        assert asked(servers) == {"s1r1": 1, "s1r2": 3, "s2r1": 3}
        servers["s1r1"].go_on.set()
        await until(lambda: delivery.states()["s1r1"] is CircuitState.CLOSED)
    assert servers["s1r1"].taken


async def test_one_that_may_be_back_is_asked_besides_two_that_work() -> None:
    """So that a probe delays nobody."""
    servers = four()
    servers["s1r1"].hangs = True
    async with delivering(servers, chance=0) as delivery:
        await delivery.bring(BATCH, 1)
        await until(lambda: delivery.states()["s1r1"] is CircuitState.HALF_OPEN)
        before, hedges = asked(servers), delivery.hedges
        assert (await delivery.bring(BATCH, 1)).is_stored

        assert delivery.hedges == hedges
        assert asked(servers) == {name: count + 1 for name, count in before.items()}
        assert delivery.states()["s1r1"] is CircuitState.OPEN, "one probe at a time"


async def test_when_all_hang_a_batch_is_given_up_after_its_patience_and_the_next_at_once() -> None:
    """It goes to the spool instead."""
    servers = four()
    for one in servers.values():
        one.hangs = True
    async with delivering(servers) as delivery:
        clock = asyncio.get_running_loop().time
        began_s = clock()
        assert not (await delivery.bring(BATCH, 1)).is_stored
        assert clock() - began_s >= TIMES.patience_s
        assert delivery.may_take() == 0
        assert not (await delivery.bring(BATCH, 1)).is_stored
    assert asked(servers) == dict.fromkeys(servers, 1)


async def test_when_all_fail_nothing_is_waited_for() -> None:
    """Read-only tables say so in a millisecond."""
    servers = four()
    for one in servers.values():
        one.fault = READ_ONLY
    async with delivering(servers) as delivery:
        outcome = await delivery.bring(BATCH, 1)

        assert not outcome.is_stored
        assert outcome.refusal is None
    assert asked(servers) == dict.fromkeys(servers, 1)


async def test_a_bad_row_is_believed_when_two_servers_say_so_and_costs_them_no_trust() -> None:
    """A server with a bad disk may say so of any row."""
    servers = four()
    for one in servers.values():
        one.fault = BAD_ROW
    async with delivering(servers) as delivery:
        outcome = await delivery.bring(BATCH, 1)
        assert outcome.refusal is BAD_ROW
        assert asked(servers) == {"s1r1": 1, "s1r2": 1}

        servers["s1r2"].fault = servers["s2r1"].fault = None
        assert (await delivery.bring(BATCH, 1)).is_stored
        assert set(delivery.states().values()) == {CircuitState.CLOSED}


async def test_a_statement_that_two_servers_refuse_is_not_taken_to_the_others() -> None:
    """It waits in the spool for whoever mends it."""
    servers = four()
    for one in servers.values():
        one.fault = BAD_STATEMENT
    async with delivering(servers) as delivery:
        outcome = await delivery.bring(BATCH, 1)

        assert not outcome.is_stored
        assert outcome.refusal is None
        assert set(delivery.states().values()) == {CircuitState.CLOSED}
    assert asked(servers) == {"s1r1": 1, "s1r2": 1}


async def test_acknowledgements_of_an_earlier_try_count_while_the_server_has_not_failed() -> None:
    """So that a spooled batch is not written again and again to the one server that is left."""
    servers = four()
    for name in ("s1r2", "s2r1", "s2r2"):
        servers[name].fault = READ_ONLY
    acks: dict[str, int] = {}
    async with delivering(servers, chance=0) as delivery:
        for _ in range(3):
            assert not (await delivery.bring(BATCH, 1, acks)).is_stored
        assert servers["s1r1"].asked == 1

        servers["s1r1"].fault = READ_ONLY
        await delivery.bring(EventBatch.of([event("b", 1)]), 1)
        servers["s1r1"].fault = servers["s2r1"].fault = None
        assert (await delivery.bring(BATCH, 1, acks)).is_stored
    assert servers["s1r1"].taken == [("a",), ("a",)], "it may have lost what it had acknowledged"


@pytest.mark.parametrize(("names", "copies"), [(("s1r1",), 1), (("s1r1", "s2r1"), 2)])
async def test_a_cluster_of_fewer_servers_is_content_with_what_it_has(names: tuple[str, ...], copies: int) -> None:
    """One server is one copy, as its topology says."""
    servers = {name: one for name, one in four().items() if name in names}
    async with delivering(servers) as delivery:
        assert (await delivery.bring(BATCH, 1)).is_stored
    assert sum(map(len, (one.taken for one in servers.values()))) == copies


async def test_a_defect_of_the_driver_stops_nothing() -> None:
    """Whatever it raises is a reason to ask another server."""
    servers = four()
    servers["s1r1"].fault = RuntimeError("the driver's own")
    async with delivering(servers) as delivery:
        assert (await delivery.bring(BATCH, 1)).is_stored
        assert delivery.members["s1r1"].fault == "the driver's own"


async def test_a_batch_whose_task_is_cancelled_leaves_nothing_behind() -> None:
    """The calls end with the writer."""
    servers = four()
    for one in servers.values():
        one.hangs = True
    async with delivering(servers) as delivery:
        task = asyncio.create_task(delivery.bring(BATCH, 1))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await delivery.close()
        assert not delivery._calls
