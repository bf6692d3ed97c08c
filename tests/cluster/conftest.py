"""Real engines for the tests of the cluster."""

from collections.abc import Iterator

import pytest
from tests.conftest import require_programs
from tests.rigs.zookeeper import ZOOKEEPER, Ensemble, zookeepers


@pytest.fixture(scope="session")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ensemble]:
    """Three ZooKeepers; a test that ends one revives it."""
    require_programs(ZOOKEEPER, "java")
    with zookeepers(tmp_path_factory.mktemp("keeper")) as started:
        yield started
