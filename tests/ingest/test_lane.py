"""A sink's own queue: in order, until taken, bounded, and alone with its troubles."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.ingest.making import WITHIN_S, FakeSink, datagram, datagrams, hep, until

from everline.calls.decode import DecodeRules, decode_batch
from everline.calls.event import EventBatch
from everline.ingest.intake import MEAN_MESSAGE_BYTES
from everline.ingest.lane import LARGEST_BATCH, Lane


def events(count: int, name: str = "call") -> EventBatch:
    """A batch."""
    return decode_batch(datagrams(count, name), DecodeRules("n1")).batch


class Counts:
    """What a lane said that became of its events."""

    def __init__(self) -> None:
        self.taken = self.lost = 0

    def take(self, events: int) -> None:
        """Taken."""
        self.taken += events

    def lose(self, events: int) -> None:
        """Given up."""
        self.lost += events


def make_lane(sink: FakeSink, *, capacity: int = 100, every_s: float = 0) -> tuple[Lane, Counts]:
    """A lane that is not running yet."""
    counts = Counts()
    return Lane("test", sink, capacity=capacity, taken=counts.take, lost=counts.lose, every_s=every_s), counts


@asynccontextmanager
async def running(lane: Lane) -> AsyncIterator[None]:
    """Run it, and at the end let it finish."""
    task = asyncio.create_task(lane.run())
    yield
    lane.close()
    async with asyncio.timeout(WITHIN_S):
        await task


async def test_batches_arrive_in_order() -> None:
    """Joined into one insert when several wait."""
    sink = FakeSink()
    lane, counts = make_lane(sink)
    for index in range(5):
        lane.offer(events(2, f"b{index}"))

    async with running(lane):
        pass

    assert sink.call_ids == [f"b{batch}-{call}" for batch in range(5) for call in range(2)]
    assert len(sink.batches) == 1
    assert (counts.taken, counts.lost, lane.waiting) == (10, 0, 0)


async def test_a_refused_batch_is_brought_again_until_it_is_taken() -> None:
    """Nothing overtakes it, nothing is lost, and the refusal shows as long as it lasts."""
    sink = FakeSink()
    sink.refusals = 2
    lane, counts = make_lane(sink)

    async with running(lane):
        lane.offer(events(1, "a"))
        await until(lambda: lane.refusing == "not now")
        lane.offer(events(1, "b"))
        await until(lambda: counts.taken == 2)
        assert lane.refusing == ""

    assert sink.call_ids == ["a-0", "b-0"]


async def test_what_does_not_fit_is_lost_and_counted() -> None:
    """Those being inserted count as waiting."""
    sink = FakeSink()
    sink.may_take.clear()
    lane, counts = make_lane(sink, capacity=5)

    async with running(lane):
        lane.offer(events(3, "a"))
        await sink.entered.wait()
        lane.offer(events(2, "b"))
        lane.offer(events(1, "c"))
        assert (lane.waiting, counts.lost) == (5, 1)
        sink.may_take.set()

    assert (counts.taken, counts.lost) == (5, 1)


async def test_large_messages_fill_it_sooner() -> None:
    """The bound holds in bytes too."""
    lane, counts = make_lane(FakeSink(), capacity=40)
    large = decode_batch([datagram(hep("large", padding=60_000))], DecodeRules("n1")).batch

    lane.offer(large)
    lane.offer(large)

    assert 40 * MEAN_MESSAGE_BYTES < 2 * 60_000
    assert (lane.waiting, counts.lost) == (1, 1)


async def test_one_insert_has_a_bounded_size() -> None:
    """A sink that comes back after long gets what waits in several."""
    sink = FakeSink()
    lane, _ = make_lane(sink, capacity=10 * LARGEST_BATCH)
    batch = EventBatch.concat([events(100)] * 100)
    for _ in range(3):
        lane.offer(batch)

    async with running(lane):
        pass

    assert [len(one) for one in sink.batches] == [LARGEST_BATCH, len(batch)]


async def test_a_defect_of_the_sink_costs_its_batch_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged with its traceback, the batch counts as lost, and the next goes on."""
    sink = FakeSink()
    sink.refusals, sink.fault = 1, OverflowError("too large for a column")
    lane, counts = make_lane(sink)

    async with running(lane):
        lane.offer(events(2, "bad"))
        await until(lambda: counts.lost == 2)
        lane.offer(events(1, "good"))
        await until(lambda: counts.taken == 1)

    assert sink.call_ids == ["good-0"]
    [record] = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert record.getMessage() == "ingest.sink_failed"
    assert record.exc_info


async def test_a_sink_that_hangs_is_late() -> None:
    """For as long as it hangs; a lane without a batch is never late."""
    sink = FakeSink()
    sink.may_take.clear()
    lane, counts = make_lane(sink)

    async with running(lane):
        assert lane.late_s == 0
        lane.offer(events(1))
        await sink.entered.wait()
        await until(lambda: lane.late_s > 0.01)
        sink.may_take.set()
        await until(lambda: counts.taken == 1)
        assert lane.late_s == 0


async def test_a_lane_can_be_cancelled_at_any_time() -> None:
    """While it waits for events, for the sink, or between two tries."""
    for refusals, hangs, offered in ((0, False, 0), (0, True, 1), (99, False, 1)):
        sink = FakeSink()
        sink.refusals = refusals
        if hangs:
            sink.may_take.clear()
        lane, counts = make_lane(sink)
        task = asyncio.create_task(lane.run())
        if offered:
            lane.offer(events(offered))
            await sink.entered.wait()
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task], timeout=WITHIN_S)

        assert task.cancelled()
        assert counts.taken == 0


async def test_what_comes_between_two_inserts_goes_into_one() -> None:
    """A sink to which many small inserts cost more than few large ones; a lane that is closed waits for nothing."""
    sink = FakeSink()
    lane, counts = make_lane(sink, every_s=3600)
    async with running(lane):
        lane.offer(events(1, "first"))
        await until(lambda: counts.taken == 1)
        for index in range(3):
            lane.offer(events(2, f"b{index}"))

    assert [len(batch) for batch in sink.batches] == [1, 6]


async def test_a_full_batch_does_not_wait_for_its_time() -> None:
    """Memory is not for pacing."""
    sink = FakeSink()
    lane, counts = make_lane(sink, capacity=2 * LARGEST_BATCH, every_s=3600)
    many = EventBatch.concat([events(500, "many")] * (LARGEST_BATCH // 500))
    async with running(lane):
        lane.offer(events(1, "first"))
        await until(lambda: counts.taken == 1)
        lane.offer(many)
        await until(lambda: counts.taken == 1 + LARGEST_BATCH)

    assert len(sink.batches) == 2
