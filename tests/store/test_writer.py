"""The writer on four real servers: whatever happens to them, what it took is there."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.rigs.clickhouse import CLICKHOUSE, ClickHouseRig
from tests.store.making import event
from tests.store.writing import TIMES, assert_kept, calls, keys_at, keys_of, revive, until, writing

from everline.calls.event import EventBatch
from everline.store.circuit import CircuitState
from everline.store.errors import StoreError
from everline.store.routing import split
from everline.store.spool import SpoolFullError
from everline.store.writer import ClusterWriter

pytestmark = pytest.mark.peers(*CLICKHOUSE)


@pytest.fixture
def hurt(rig: ClickHouseRig) -> Iterator[ClickHouseRig]:
    """A rig that is healed afterwards."""
    yield rig
    revive(rig)


async def test_a_batch_is_on_both_replicas_of_its_shard(rig: ClickHouseRig, tmp_path: Path, era_us: int) -> None:
    """Without replication having to bring it there."""
    async with writing(rig, tmp_path) as it:
        await it.give(calls("both", era_us, 200))

        for shard in (1, 2):
            first, second = (keys_at([one], "both") for one in rig.of_shard(shard))
            assert first == second
            assert first
        assert it.writer.stored == len(it.taken)
        assert it.writer.spooled == 0
        assert set(it.writer.server_states().values()) == {CircuitState.CLOSED}
    await assert_kept(rig, "both", it.taken)


async def test_the_same_batch_twice_changes_nothing(rig: ClickHouseRig, tmp_path: Path, era_us: int) -> None:
    """And half of it once more."""
    async with writing(rig, tmp_path) as it:
        batch = calls("twice", era_us, 100)
        for again in (batch, batch, batch[::2]):
            await it.give(again)
    await assert_kept(rig, "twice", batch)


async def test_when_a_replica_is_killed_mid_stream_then_writes_go_on_through_the_others(
    hurt: ClickHouseRig, tmp_path: Path, era_us: int
) -> None:
    """Nothing is spooled: two servers of three take each batch."""
    async with writing(hurt, tmp_path) as it:
        longest_s = 0.0
        for number in range(30):
            if number == 10:
                hurt.servers[0].kill()
            began_s = time.monotonic()
            await it.give(calls(f"killed-{number}", era_us + number, 60))
            longest_s = max(longest_s, time.monotonic() - began_s)

        assert it.writer.spooled == 0
        assert it.writer.server_states()["s1r1"] is not CircuitState.CLOSED
        assert list(it.writer.server_faults()) == ["s1r1"]
        assert keys_of(it.taken) <= keys_at(hurt.servers[1:], "killed")
        print(f"replica killed: longest insert {longest_s:.2f} s")
        revive(hurt)
        await _until_closed(it.writer, "s1r1", lambda: it.give(calls("killed-after", era_us, 3)))
    await assert_kept(hurt, "killed", it.taken)


async def test_when_a_replica_hangs_then_writes_go_on_through_the_others(
    hurt: ClickHouseRig, tmp_path: Path, era_us: int
) -> None:
    """Past its deadline, and past the next try with it; and it is given batches again once it goes on."""
    async with writing(hurt, tmp_path) as it:
        await it.give(calls("hung-before", era_us, 60))
        hurt.servers[0].signal(signal.SIGSTOP)
        spent_s: list[float] = []
        while it.writer.failures()["s1r1"] < 2:
            began_s = time.monotonic()
            await it.give(calls(f"hung-{len(spent_s)}", era_us, 60))
            spent_s.append(time.monotonic() - began_s)

        assert it.writer.spooled == 0
        assert it.writer.hedges >= 1
        assert keys_of(it.taken) <= keys_at(hurt.servers[1:], "hung")
        print(
            f"replica hung: first insert {spent_s[0]:.2f} s, "
            f"longest of {len(spent_s) - 1} later {max(spent_s[1:]):.2f} s"
        )
        hurt.servers[0].signal(signal.SIGCONT)
        await _until_closed(it.writer, "s1r1", lambda: it.give(calls("hung-after", era_us, 3)))
    await assert_kept(hurt, "hung", it.taken)


async def test_when_a_whole_shard_is_gone_then_the_other_takes_its_calls(
    hurt: ClickHouseRig, tmp_path: Path, era_us: int
) -> None:
    """And reads find them, since they merge over all shards."""
    async with writing(hurt, tmp_path) as it:
        for one in hurt.of_shard(2):
            one.kill()
        began_s = time.monotonic()
        await it.give(calls("shard", era_us, 200))
        print(f"shard gone: insert {time.monotonic() - began_s:.2f} s")

        assert it.writer.spooled == 0
        for one in hurt.of_shard(1):
            assert keys_at([one], "shard") == keys_of(it.taken)
        revive(hurt)
    await assert_kept(hurt, "shard", it.taken)


async def test_when_a_shard_hangs_then_calls_of_the_other_are_stored_meanwhile(
    hurt: ClickHouseRig, tmp_path: Path, era_us: int
) -> None:
    """A batch with nothing of the hung shard waits for nothing."""
    async with writing(hurt, tmp_path) as it:
        parts = split(EventBatch.of(calls("side", era_us, 200)), [1, 2])
        await it.give(calls("side-before", era_us, 50))
        for one in hurt.of_shard(2):
            one.signal(signal.SIGSTOP)
        ended: list[int] = []

        async def give(shard: int) -> None:
            await it.give(parts[shard].events())
            ended.append(shard)

        slow = asyncio.create_task(give(2))
        await asyncio.sleep(0)
        await give(1)

        assert ended == [1]
        await slow
        assert it.writer.spooled == 0
        assert keys_of([*parts[1].events(), *parts[2].events()]) <= keys_at(hurt.of_shard(1), "side")
        for one in hurt.of_shard(2):
            one.signal(signal.SIGCONT)
    await assert_kept(hurt, "side", it.taken)


async def test_when_all_servers_are_gone_then_the_spool_keeps_all_and_is_drained_when_they_are_back(
    hurt: ClickHouseRig, tmp_path: Path, era_us: int
) -> None:
    """Without anybody doing anything about it, and in the order in which it came."""
    async with writing(hurt, tmp_path) as it:
        for one in hurt.servers:
            one.kill()
        for number in range(5):
            await it.give(calls(f"gone-{number}", era_us + number, 60))

        assert it.writer.stored == 0
        assert it.writer.spooled == len(it.taken)
        assert it.writer.spool_age_s(time.time()) > 0
        assert len(it.writer.server_faults()) == 4
        assert it.writer.unready() == ()
        began_s = time.monotonic()
        revive(hurt)
        up_s = time.monotonic()
        await it.until_drained()
        print(f"all gone: servers up after {up_s - began_s:.1f} s, drained {time.monotonic() - up_s:.2f} s later")

        assert it.writer.stored == len(it.taken)
        assert it.writer.spool_age_s(time.time()) == 0
    await assert_kept(hurt, "gone", it.taken)


async def test_when_all_servers_hang_then_a_batch_waits_for_its_patience_and_the_next_one_does_not(
    hurt: ClickHouseRig, tmp_path: Path, era_us: int
) -> None:
    """A node that waited for every batch would have to drop packets."""
    async with writing(hurt, tmp_path) as it:
        await it.give(calls("stop-before", era_us, 60))
        for one in hurt.servers:
            one.signal(signal.SIGSTOP)
        spent_s = []
        for number in range(3):
            began_s = time.monotonic()
            await it.give(calls(f"stop-{number}", era_us + number, 60))
            spent_s.append(time.monotonic() - began_s)

        assert it.writer.spool.records
        assert spent_s[0] >= TIMES.patience_s
        assert max(spent_s[1:]) < TIMES.hedge_s
        print(f"all hang: inserts took {[round(one, 2) for one in spent_s]} s")
        for one in hurt.servers:
            one.signal(signal.SIGCONT)
        await it.until_drained()
    await assert_kept(hurt, "stop", it.taken)


async def test_with_one_server_left_a_batch_is_on_it_and_in_the_spool(
    hurt: ClickHouseRig, tmp_path: Path, era_us: int
) -> None:
    """Two places; and when a second server is back it needs to be given to that one only."""
    async with writing(hurt, tmp_path) as it:
        for one in hurt.servers[1:]:
            one.kill()
        await it.give(calls("one", era_us, 60))

        assert it.writer.stored == 0
        assert it.writer.spooled == len(it.taken)
        assert keys_at(hurt.servers[:1], "one") == keys_of(it.taken)
        tried = it.writer.failures()["s1r2"]
        await until(lambda: it.writer.failures()["s1r2"] >= tried + 3)
        first = max(len(part) for part in split(EventBatch.of(it.taken), [1, 2]).values())
        assert it.writer.acknowledged()["s1r1"] <= len(it.taken) + first
        revive(hurt)
        await it.until_drained()
    await assert_kept(hurt, "one", it.taken)


async def test_when_the_spool_is_full_too_then_a_batch_is_refused_and_nothing_is_lost_unsaid(
    hurt: ClickHouseRig, tmp_path: Path, era_us: int
) -> None:
    """What was taken before is there, and what was refused is taken when there is room again."""
    async with writing(hurt, tmp_path, spool_bytes=20_000) as it:
        for one in hurt.servers:
            one.kill()
        refused = []
        for number in range(20):
            batch = calls(f"full-{number}", era_us + number, 20)
            try:
                await it.give(batch)
            except SpoolFullError:
                refused.append(batch)

        assert it.taken
        assert refused
        assert "store.spool_bytes" in it.writer.unready()[0]
        assert it.writer.spool.size_bytes <= 20_000
        revive(hurt)
        await it.until_drained()
        assert keys_of(it.taken) <= keys_at(hurt.servers, "full")
        for batch in refused:
            await it.give(batch)
        assert it.writer.unready() == ()
    await assert_kept(hurt, "full", it.taken)


async def test_when_keeper_is_gone_then_the_spool_takes_over_until_it_is_back(
    hurt: ClickHouseRig, tmp_path: Path, era_us: int
) -> None:
    """Replicated tables are read-only without it, on all servers."""
    async with writing(hurt, tmp_path) as it:
        await it.give(calls("keeper-before", era_us, 60))
        for one in hurt.keepers.servers:
            one.kill()
        longest_s = 0.0
        for number in range(5):
            began_s = time.monotonic()
            await it.give(calls(f"keeper-{number}", era_us + number, 60))
            longest_s = max(longest_s, time.monotonic() - began_s)

        assert it.writer.spool.records
        began_s = time.monotonic()
        hurt.keepers.revive()
        up_s = time.monotonic()
        await it.until_drained()
        print(
            f"Keeper gone: longest insert {longest_s:.2f} s; Keeper up after {up_s - began_s:.1f} s, "
            f"drained {time.monotonic() - up_s:.1f} s later"
        )
    await assert_kept(hurt, "keeper", it.taken)


async def test_what_a_process_spooled_before_kill_9_the_next_one_delivers(
    rig: ClickHouseRig, tmp_path: Path, era_us: int
) -> None:
    """All that the dead one had acknowledged."""
    process = subprocess.Popen(  # noqa: ASYNC220 - it is awaited line by line, and nothing else happens meanwhile
        [sys.executable, "-m", "tests.store.writer_owner", str(tmp_path), str(era_us)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(20)]
        process.kill()
        said += process.stdout.read().splitlines()
    taken = [event for name in said for event in calls(name.strip(), era_us, 10)]
    async with writing(rig, tmp_path) as it:
        assert it.writer.spool.records >= 20
        await it.until_drained()
    await assert_kept(rig, "orphan", taken)


async def test_what_cannot_be_delivered_when_the_node_stops_stays_in_the_spool(
    hurt: ClickHouseRig, tmp_path: Path, era_us: int
) -> None:
    """The stop ends in its time, and the next start brings it."""
    for one in hurt.servers:
        one.signal(signal.SIGSTOP)
    async with writing(hurt, tmp_path) as it:
        await it.give(calls("stays", era_us, 60))
        taken = it.taken
        began_s = time.monotonic()
        await it.writer.close(0.5)
        assert time.monotonic() - began_s < 5
        with pytest.raises(StoreError):
            await it.give(calls("stays", era_us, 1))
    for one in hurt.servers:
        one.signal(signal.SIGCONT)
    async with writing(hurt, tmp_path) as it:
        await it.writer.close(20)
        assert it.writer.stored == len(taken)
    await assert_kept(hurt, "stays", taken)


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param({"status": 70_000}, id="a-number-too-large"),
        pytest.param({"payload": None}, id="nothing"),
        pytest.param({"user_agent": "\ud800"}, id="a-text-that-is-none"),
    ],
)
async def test_a_row_that_can_never_be_stored_is_found_and_costs_no_other(
    rig: ClickHouseRig, tmp_path: Path, era_us: int, bad: dict[str, Any]
) -> None:
    """It is counted with its reason; the lane goes on."""
    name = f"bad{era_us}"
    good = calls(name, era_us, 200)
    rows = [
        *good[:37],
        event("bad-row", era_us)._replace(**bad),
        *good[37:400],
        event("bad-row", era_us)._replace(**bad),
    ]
    async with writing(rig, tmp_path) as it:
        await it.writer.insert(EventBatch.of([*rows, *good[400:]]))

        assert it.writer.rejected.total() == 2
        assert it.writer.stored == len(good)
        assert it.writer.spooled == 0
        assert set(it.writer.failures().values()) == {0}
    await assert_kept(rig, name, good)


async def test_a_batch_of_nothing_but_bad_rows_ends(rig: ClickHouseRig, tmp_path: Path, era_us: int) -> None:
    """The search for the guilty is bounded."""
    async with writing(rig, tmp_path) as it:
        await it.writer.insert(EventBatch.of([event(f"worse-{n}", era_us, status=70_000) for n in range(2_000)]))

        assert it.writer.rejected.total() == 2_000


async def _until_closed(writer: ClusterWriter, name: str, give: Callable[[], Awaitable[None]]) -> None:
    """Give batches until a server is trusted again."""
    async with asyncio.timeout(20):
        while writer.server_states()[name] is not CircuitState.CLOSED:
            await give()
            await asyncio.sleep(0.05)
