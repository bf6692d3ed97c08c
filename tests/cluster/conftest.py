"""Real engines for the tests of the cluster."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from tests.conftest import require_programs
from tests.rigs.redis import REDIS, RedisRig, redis_rig
from tests.rigs.zookeeper import ZOOKEEPER, Ensemble, zookeepers

from everline.bus.discovery import RedisPrimary
from everline.cluster.keeper import Keeper


@pytest.fixture(scope="session")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ensemble]:
    """Three ZooKeepers; a test that ends one revives it."""
    require_programs(ZOOKEEPER, "java")
    with zookeepers(tmp_path_factory.mktemp("keeper")) as started:
        yield started


@pytest.fixture(scope="session")
def redis_of_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisRig]:
    """Redis with Sentinels."""
    require_programs(*REDIS)
    with redis_rig(tmp_path_factory.mktemp("redis")) as started:
        yield started


@pytest.fixture
def redis_servers(redis_of_run: RedisRig) -> RedisRig:
    """The same, all of it well and empty, whatever the test before did to it."""
    redis_of_run.heal()
    return redis_of_run


@pytest.fixture
async def keeper(ensemble: Ensemble) -> AsyncIterator[Keeper]:
    """A session with Keeper."""
    async with keeper_of(ensemble) as connected:
        yield connected


@asynccontextmanager
async def keeper_of(ensemble: Ensemble, *, secret: str = "") -> AsyncIterator[Keeper]:
    """Another session."""
    keeper = Keeper(ensemble.addresses, session_ms=2_000, secret=secret)
    keeper.start()
    try:
        await keeper.connected(within_s=10)
        yield keeper
    finally:
        await keeper.close()


@asynccontextmanager
async def found_primary(redis: RedisRig) -> AsyncIterator[RedisPrimary]:
    """Discovery that runs."""
    primary = RedisPrimary(redis.settings())
    task = asyncio.create_task(primary.run())
    try:
        await primary.ready(10)
        yield primary
    finally:
        task.cancel()
        await asyncio.wait([task])
