"""The primary is found, left in time, and found again; whoever asks meanwhile hears at once that there is none."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random
from time import monotonic

import pytest
from tests.rigs.redis import SERVICE, RedisRig, Server

from everline.bus.discovery import LONGEST_PAUSE_S, PrimaryChange, RedisPrimary, pause_s
from everline.bus.errors import BusAbsentError, BusError, BusPasswordError
from everline.bus.sentinels import Named, Sentinels, latest
from everline.bus.settings import Address, RedisSettings

RECOVERY_S = 15.0
"""Generous: these tests hold that it comes back, not how fast; they print how fast."""
A, B, C = (Address("192.0.2.1", port) for port in (1, 2, 3))


@asynccontextmanager
async def watching(settings: RedisSettings, changes: list[PrimaryChange] | None = None) -> AsyncIterator[RedisPrimary]:
    """A primary that is being watched."""
    heard: list[PrimaryChange] = [] if changes is None else changes
    primary = RedisPrimary(settings, changed=heard.append)
    task = asyncio.create_task(primary.run())
    try:
        yield primary
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until_answered(primary: RedisPrimary, *words: str) -> float:
    """Ask until there is an answer; seconds that it took."""
    began_s = monotonic()
    async with asyncio.timeout(RECOVERY_S):
        while True:
            try:
                await primary.command(*words)
            except BusError:
                await asyncio.sleep(0.01)
                continue
            return monotonic() - began_s


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param([(A, 3), (A, 3), (B, 4)], (B, 4, 1), id="the-latest-failover-counts-not-the-most-votes"),
        pytest.param([(A, 3), (B, 3), (B, 3)], (B, 3, 2), id="of-one-failover-most-votes"),
        pytest.param([(C, 3), (B, 3)], (B, 3, 1), id="a-tie-is-decided-by-content"),
    ],
)
def test_what_sentinels_say(said: list[tuple[Address, int]], expected: tuple[Address, int, int]) -> None:
    """One that was cut off names a primary that is none any more."""
    for order in (said, said[::-1]):
        assert latest([Named(*one) for one in order]) == Named(*expected)
    assert latest([]) is None


def test_pauses_grow_and_are_never_the_same() -> None:
    """Full jitter: a hundred nodes do not come back at one moment."""
    pauses = [[pause_s(failures, Random(seed)) for seed in range(200)] for failures in range(12)]

    assert all(0 <= one <= LONGEST_PAUSE_S for row in pauses for one in row)
    assert max(pauses[0]) < max(pauses[2]) < max(pauses[11])
    assert min(pauses[11]) < 0.1


async def test_the_primary_is_found(redis: RedisRig) -> None:
    """The one that the Sentinels name; whoever listens is told."""
    changes: list[PrimaryChange] = []
    async with watching(redis.settings(), changes) as primary:
        await primary.ready(RECOVERY_S)

        assert await primary.command("PING") in {b"PONG", True}
        assert primary.address == redis.primary().address
        assert [(one.old, one.new) for one in changes] == [(None, primary.address)]
    with pytest.raises(BusError):
        await primary.command("PING")


async def test_a_wrong_password_names_the_key(redis: RedisRig) -> None:
    """Not only that something is refused."""
    async with watching(redis.settings(password="wrong")) as primary:
        with pytest.raises(BusPasswordError, match=r"secrets\.redis"):
            await primary.ready(2)
        assert "wrong" not in primary.trouble.replace("WRONGPASS", "")
    assert "wrong" not in repr(redis.settings(password="wrong"))


async def test_without_sentinels_it_says_what_to_look_at() -> None:
    """And goes on asking."""
    nobody = RedisSettings(SERVICE, (Address("127.0.0.1", 1),), connect_s=0.1)
    async with watching(nobody) as primary:
        with pytest.raises(BusAbsentError, match="role"):
            await primary.ready(1)


async def test_a_sentinel_that_never_answers_holds_nobody_up(redis: RedisRig) -> None:
    """Its host is cut off, perhaps together with the primary: what most others say counts."""
    settings = redis.settings()

    async def never(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            writer.close()

    async with await asyncio.start_server(never, "127.0.0.1") as silent:
        port = silent.sockets[0].getsockname()[1]
        patient = replace(settings, sentinels=(Address("127.0.0.1", port), *settings.sentinels), command_s=600)
        async with watching(patient) as primary:
            await primary.ready(RECOVERY_S)

        assert primary.address == redis.primary().address


async def test_sentinels_are_told_to_look_more_often_and_to_doubt_sooner(
    redis: RedisRig, caplog: pytest.LogCaptureFixture
) -> None:
    """A hung primary is found sooner. One that was started again is told again; one that is away is named once."""
    async with watching(redis.settings()) as primary:
        await primary.hasten_sentinels(650)
        assert [pace_of(one) for one in redis.sentinels] == [("250", "250", "1000", "650")] * 3

        again = redis.sentinels[0]
        again.kill()
        for _ in range(2):
            await primary.hasten_sentinels(650)
        slow = [one for one in caplog.records if one.msg == "bus.sentinel_slow"]
        assert [vars(one)["sentinel"] for one in slow] == [str(again.address)]

        await asyncio.to_thread(redis.start)
        assert pace_of(again)[:3] == ("1000", "1000", "10000")
        await primary.hasten_sentinels(650)
        assert pace_of(again) == ("250", "250", "1000", "650")


def pace_of(sentinel: Server) -> tuple[str, ...]:
    """How often a Sentinel looks at Redis, asks the others and asks replicas, and when it doubts; ms."""
    said = [
        *sentinel.ask("SENTINEL", "DEBUG").split("\r\n"),
        *sentinel.ask("SENTINEL", "MASTER", SERVICE).split("\r\n"),
    ]
    words = ("PING-PERIOD", "ASK-PERIOD", "INFO-PERIOD", "down-after-milliseconds")
    return tuple(said[said.index(word) + 2] for word in words)


async def test_a_server_that_knows_no_pace_is_only_slower(redis: RedisRig) -> None:
    """A Sentinel before Redis 7.0 refuses the word; here a Redis does, which knows no `SENTINEL` at all."""
    sentinels = Sentinels(replace(redis.settings(), sentinels=(redis.servers[0].address,)))
    slow = await sentinels.hasten(700)
    await sentinels.close()

    assert "at its own pace" in str(slow[redis.servers[0].address])


async def test_when_the_primary_is_killed_then_another_is_found(
    redis: RedisRig, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever listens is told how long there was none."""
    changes: list[PrimaryChange] = []
    async with watching(redis.settings(), changes) as primary:
        await primary.ready(RECOVERY_S)
        old = redis.primary()
        old.kill()

        with caplog.at_level(logging.WARNING):
            took_s = await until_answered(primary, "SET", "x", "1")

        print(f"Redis primary kill -9: writes again after {took_s:.2f} s")
        assert (changes[-1].old, changes[-1].new) == (old.address, primary.address)
        assert primary.address != old.address
        assert 0 < changes[-1].gap_s <= took_s + 1
        assert [one for one in caplog.records if one.msg == "bus.primary_changed"]


async def test_when_the_primary_hangs_then_it_is_left(redis: RedisRig) -> None:
    """By the deadline of one command; then commands fail at once, until another is found."""
    async with watching(redis.settings()) as primary:
        await primary.ready(RECOVERY_S)
        old = redis.primary()
        old.signal(signal.SIGSTOP)
        began_s = monotonic()
        with pytest.raises(BusError):
            await primary.command("SET", "x", "1")
        suspected_s = monotonic() - began_s
        for _ in range(100):
            with pytest.raises(BusError):
                await primary.command("SET", "x", "1")
        assert monotonic() - began_s < suspected_s + 100 * primary.settings.command_s / 4

        took_s = await until_answered(primary, "SET", "x", "2")

        print(f"Redis primary SIGSTOP: suspected after {suspected_s:.2f} s, writes again after {took_s:.2f} s more")
        assert primary.address != old.address


async def test_a_primary_that_hung_for_a_moment_is_taken_back(redis: RedisRig) -> None:
    """It was only suspected: the Sentinels name no other."""
    changes: list[PrimaryChange] = []
    async with watching(redis.settings(), changes) as primary:
        await primary.ready(RECOVERY_S)
        hung = redis.primary()
        hung.signal(signal.SIGSTOP)
        with pytest.raises(BusError):
            await primary.ask(lambda client: client.set("x", "1"), within_s=0.2)
        hung.signal(signal.SIGCONT)

        await until_answered(primary, "SET", "x", "2")

        assert (primary.address, len(changes)) == (hung.address, 1)


async def test_when_all_are_gone_it_never_gives_up(redis: RedisRig) -> None:
    """However long it takes."""
    async with watching(redis.settings()) as primary:
        await primary.ready(RECOVERY_S)
        redis.kill_all()
        with pytest.raises(BusError):
            await primary.command("PING")
        await asyncio.to_thread(redis.start)

        await until_answered(primary, "SET", "x", "1")
