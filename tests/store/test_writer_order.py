"""The writer on servers that do as they are told: what goes where, and how it ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.store.fake_servers import FakeServer, four
from tests.store.making import event
from tests.store.writing import until

from everline.calls.event import EventBatch
from everline.store.batch_codec import encode_batch
from everline.store.delivery import WriteTimes
from everline.store.errors import StoreClosedError, StoreError
from everline.store.spool import Spool, SpoolFullError
from everline.store.writer import ClusterWriter

TIMES = WriteTimes(hedge_s=0.05, insert_s=0.4, patience_s=0.15)
READ_ONLY = StoreError("read-only", code=242)


def batch(*call_ids: str) -> EventBatch:
    """An event of each call."""
    return EventBatch.of([event(call_id, number) for number, call_id in enumerate(call_ids)])


@asynccontextmanager
async def writer_to(
    servers: dict[str, FakeServer], path: Path, *, spool_bytes: int = 1 << 20
) -> AsyncIterator[ClusterWriter]:
    """With its drain running."""
    spool = Spool.open(path, max_bytes=spool_bytes)
    writer = ClusterWriter([(one.target, one) for one in servers.values()], spool, times=TIMES)
    drain = asyncio.create_task(writer.drain())
    await asyncio.sleep(0)
    try:
        yield writer
    finally:
        await writer.close()
        await drain


def fail_all(servers: dict[str, FakeServer], fault: Exception | None = READ_ONLY) -> None:
    """All take nothing; or all work again."""
    for one in servers.values():
        one.fault = fault


async def test_what_is_spooled_is_delivered_in_the_order_in_which_it_came(tmp_path: Path) -> None:
    """Oldest first, at every server."""
    servers = four()
    fail_all(servers)
    async with writer_to(servers, tmp_path) as writer:
        for number in range(10):
            await writer.insert(batch(f"call{number}"))
        assert (writer.spooled, writer.stored, writer.spool.records) == (10, 0, 10)
        fail_all(servers, None)
        await until(lambda: writer.stored == 10)

    for one in servers.values():
        order = [call_ids[0] for call_ids in one.taken]
        assert order == sorted(order)


async def test_a_spool_of_an_earlier_process_is_drained_without_anything_new(tmp_path: Path) -> None:
    """From the start."""
    spool = Spool.open(tmp_path, max_bytes=1 << 20)
    spool.append(encode_batch(batch("a", "b", "c", "d", "e")))
    spool.close()
    async with writer_to(four(), tmp_path) as writer:
        await until(lambda: writer.stored == 5)
        await until(lambda: not writer.spool.records)


async def test_a_spooled_batch_that_is_none_is_counted_and_passed(tmp_path: Path) -> None:
    """Another version wrote it."""
    spool = Spool.open(tmp_path, max_bytes=1 << 20)
    for record in (b"EvBatch9 and more", encode_batch(batch("a"))):
        spool.append(record)
    spool.close()
    async with writer_to(four(), tmp_path) as writer:
        await until(lambda: writer.stored == 1)
        assert writer.unreadable == 1


async def test_a_shard_that_is_kept_is_no_loss_when_the_spool_has_no_room_for_the_other(tmp_path: Path) -> None:
    """The batch is refused as a whole; what is stored of it is stored again with the next try."""
    servers = four()
    for name in ("s1r2", "s2r1", "s2r2"):
        servers[name].fault = READ_ONLY
    async with writer_to(servers, tmp_path, spool_bytes=100) as writer:
        with pytest.raises(SpoolFullError):
            await writer.insert(batch("a", "b", "c", "d"))
        assert writer.unready()
        fail_all(servers, None)
        await asyncio.sleep(0.4)  # The pauses of the circuits.
        await writer.insert(batch("a", "b", "c", "d"))
        assert writer.unready() == ()
        assert writer.stored == 4


async def test_nothing_is_nothing(tmp_path: Path) -> None:
    """An empty batch asks nobody."""
    servers = four()
    async with writer_to(servers, tmp_path) as writer:
        await writer.insert(EventBatch.of(()))
    assert not any(one.asked for one in servers.values())


async def test_a_stop_ends_in_the_middle_of_a_delivery(tmp_path: Path) -> None:
    """The calls under way are cut, what they brought stays in the spool, and nothing more is taken."""
    servers = four()
    fail_all(servers)
    async with writer_to(servers, tmp_path) as writer:
        await writer.insert(batch("a", "b", "c"))
        for one in servers.values():
            one.fault, one.hangs, one.asked = None, True, 0
        await until(lambda: any(one.asked for one in servers.values()))
        left = writer.spool.records
        await writer.close(0.01)
        with pytest.raises(StoreClosedError):
            await writer.insert(batch("d"))
        assert left

    async with writer_to(four(), tmp_path) as again:
        await again.close(10)
        assert again.stored == 3


async def test_a_stop_delivers_what_it_can_though_nothing_drains_any_more(tmp_path: Path) -> None:
    """Whoever ran the drain may be gone before."""
    servers = four()
    fail_all(servers)
    spool = Spool.open(tmp_path, max_bytes=1 << 20)
    writer = ClusterWriter([(one.target, one) for one in servers.values()], spool, times=TIMES)
    await writer.insert(batch("a", "b", "c"))
    fail_all(servers, None)
    await writer.close(10)

    assert writer.stored == 3


async def test_a_bad_row_among_spooled_ones_does_not_block_those_behind_it(tmp_path: Path) -> None:
    """It is found when it is delivered, since nobody could say so before."""
    servers = four()
    fail_all(servers)

    class Picky(FakeServer):
        async def insert(self, batch: EventBatch, *, deadline_s: float) -> None:
            await super().insert(batch, deadline_s=deadline_s)
            if "bad" in batch.column("call_id"):
                raise StoreError("type", code=53)

    picky: dict[str, FakeServer] = {
        name: Picky(name, one.target.shard, one.target.replica) for name, one in servers.items()
    }
    fail_all(picky)
    async with writer_to(picky, tmp_path) as writer:
        await writer.insert(batch("a", "b", "bad", "c", "d"))
        await writer.insert(batch("e", "f"))
        fail_all(picky, None)
        await until(lambda: not writer.spool.records)

        assert writer.stored == 6
        assert writer.rejected == {"type_mismatch": 1}
