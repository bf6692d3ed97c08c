"""The buses, and Redis for them: started once for a module that needs it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from tests.conftest import require_programs
from tests.rigs.redis import REDIS, RedisRig, redis_rig

from everline.bus.discovery import RedisPrimary
from everline.bus.live import LiveBus
from everline.bus.memory import MemoryBus
from everline.bus.redis import RedisBus


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisRig]:
    """A primary, two replicas and three Sentinels."""
    require_programs(*REDIS)
    with redis_rig(tmp_path_factory.mktemp("redis")) as started:
        yield started


@pytest.fixture
def redis(rig: RedisRig) -> Iterator[RedisRig]:
    """The same, whole and empty."""
    rig.heal()
    yield rig
    rig.heal()


@asynccontextmanager
async def redis_bus(
    rig: RedisRig, *, max_calls: int = 50_000, max_transitions: int = 10_000
) -> AsyncIterator[RedisBus]:
    """A bus on Redis as one process has it."""
    primary = RedisPrimary(rig.settings())
    one = RedisBus(primary, max_calls=max_calls, max_transitions=max_transitions)
    tasks = [asyncio.create_task(primary.run()), asyncio.create_task(one.run())]
    try:
        await primary.ready(15)
        yield one
    finally:
        await one.close()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled():
                task.result()


@pytest.fixture(params=["memory", "redis"])
async def bus(request: pytest.FixtureRequest) -> AsyncIterator[LiveBus]:
    """A bus with nothing in it, of each kind."""
    if request.param == "memory":
        one = MemoryBus()
        yield one
        await one.close()
        return
    rig: RedisRig = request.getfixturevalue("rig")
    rig.primary().ask("FLUSHALL")
    async with redis_bus(rig) as shared:
        yield shared
