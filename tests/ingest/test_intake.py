"""The queue between the sockets and the decoder: bounded, in batches, never blocking."""

import asyncio

from tests.ingest.making import datagram, datagrams

from everline.ingest.intake import MEAN_MESSAGE_BYTES, Intake
from everline.ingest.ledger import Drop, Ledger
from everline.ingest.limits import SourceLimiter

FOREVER_S = 3600.0


async def test_more_than_fits_is_dropped_and_counted() -> None:
    """The oldest stay."""
    ledger = Ledger()
    intake = Intake(ledger, capacity=3)

    intake.offer(datagrams(2, "a"))
    intake.offer(datagrams(2, "b"))

    assert len(intake) == 3
    assert intake.room == 0
    assert (ledger.received, ledger.dropped[Drop.QUEUE_FULL]) == (4, 1)
    assert await intake.take(3, FOREVER_S) == [*datagrams(2, "a"), *datagrams(1, "b")]


async def test_large_messages_fill_it_sooner() -> None:
    """The bound holds in bytes too: 60,000 datagrams of 64 KiB would be 4 GB."""
    ledger = Ledger()
    intake = Intake(ledger, capacity=1_000)
    large = datagram(bytes(64_000))
    while intake.room:
        intake.offer([large])

    assert len(intake) * 64_000 < 1_000 * MEAN_MESSAGE_BYTES + 64_000
    intake.offer([large])
    assert ledger.dropped[Drop.QUEUE_FULL] == 1
    await intake.take(1, FOREVER_S)
    assert intake.room > 0


async def test_a_batch_is_given_as_soon_as_it_is_full() -> None:
    """Long before its time is up; what is over waits for the next."""
    intake = Intake(Ledger(), capacity=100)
    taking = asyncio.create_task(intake.take(5, FOREVER_S))
    await asyncio.sleep(0)
    intake.offer(datagrams(4))
    await asyncio.sleep(0)
    assert not taking.done()

    intake.offer(datagrams(4))

    assert len(await taking) == 5
    assert len(intake) == 3


async def test_a_batch_that_does_not_fill_is_given_after_its_time() -> None:
    """Whatever came until then."""
    intake = Intake(Ledger(), capacity=100)
    intake.offer(datagrams(2))

    assert await intake.take(5, 0.001) == datagrams(2)


async def test_room_is_told_once_after_each_batch() -> None:
    """A socket that waits is called when something was taken, and asks again if that is not enough."""
    intake = Intake(Ledger(), capacity=4)
    intake.offer(datagrams(4))
    told: list[int] = []
    intake.when_room(lambda: told.append(intake.room))

    await intake.take(2, FOREVER_S)
    await intake.take(2, FOREVER_S)

    assert told == [2]


async def test_has_room_waits_for_room() -> None:
    """And returns at once when there is some."""
    intake = Intake(Ledger(), capacity=2)
    await intake.has_room()
    intake.offer(datagrams(2))
    waiting = asyncio.create_task(intake.has_room())
    await asyncio.sleep(0)
    assert not waiting.done()

    await intake.take(1, FOREVER_S)

    await waiting


async def test_closed_it_gives_what_is_left_and_then_nothing() -> None:
    """At once: who takes need not wait for a batch that will never fill."""
    intake = Intake(Ledger(), capacity=100)
    intake.offer(datagrams(3))
    taking = asyncio.create_task(intake.take(2, FOREVER_S))

    intake.close()

    assert len(await taking) == 2
    assert len(await intake.take(2, FOREVER_S)) == 1
    assert await intake.take(2, FOREVER_S) == []


async def test_closing_wakes_who_waits_for_the_first() -> None:
    """An idle node stops at once."""
    intake = Intake(Ledger(), capacity=1)
    taking = asyncio.create_task(intake.take(1, FOREVER_S))
    await asyncio.sleep(0)

    intake.close()

    assert await taking == []


async def test_a_cancelled_take_loses_nothing() -> None:
    """What it would have given waits for the next."""
    intake = Intake(Ledger(), capacity=10)
    intake.offer(datagrams(2))
    taking = asyncio.create_task(intake.take(5, FOREVER_S))
    await asyncio.sleep(0)
    taking.cancel()
    await asyncio.wait([taking])

    assert await intake.take(2, FOREVER_S) == datagrams(2)


async def test_a_noisy_source_does_not_crowd_out_the_others() -> None:
    """Each source has its own allowance; what is over is counted as that."""
    ledger = Ledger()
    intake = Intake(ledger, capacity=100, limiter=SourceLimiter(rate_per_s=0.001, burst=3))
    noisy = [datagram(b"noise", "192.0.2.66")] * 10

    intake.offer([*noisy, *datagrams(2)])

    assert (ledger.received, ledger.dropped[Drop.RATE_LIMITED]) == (12, 7)
    assert (await intake.take(5, FOREVER_S))[-2:] == datagrams(2)
