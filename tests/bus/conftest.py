"""Redis for the tests of the bus: started once for a module that needs it."""

from collections.abc import Iterator

import pytest
from tests.conftest import require_programs
from tests.rigs.redis import REDIS, RedisRig, redis_rig


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
