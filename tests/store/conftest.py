"""Time for each test of the store to itself: they share one (tests/conftest.py), and one cluster."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import count

import pytest
from tests.conftest import require_programs
from tests.rigs.clickhouse import CLICKHOUSE, CLUSTER, ClickHouseRig, clickhouses
from tests.store.cluster.direct import DirectWriter
from tests.store.making import DAY_US

from everline.store.clickhouse import ClickHouseStore
from everline.store.embedded import EmbeddedStore
from everline.store.migrations import Migrator
from everline.store.reader import Reader
from everline.store.servers import Server
from everline.store.store import Store

_eras = count(1)


@pytest.fixture
def era_us() -> int:
    """A moment, epoch microseconds, with ten days around it that no other test touches; it begins a day."""
    return 1_500_000_000_000_000 // DAY_US * DAY_US + next(_eras) * 10 * DAY_US


@pytest.fixture(scope="session")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseRig]:
    """Four servers with the tables of today; a test that does something to one heals it."""
    require_programs(*CLICKHOUSE)
    with clickhouses(tmp_path_factory.mktemp("clickhouse")) as started:
        asyncio.run(_make_tables(started))
        yield started


async def _make_tables(rig: ClickHouseRig) -> None:
    servers = [Server(address, rig.login) for address in rig.addresses]
    await Migrator(servers, CLUSTER, node="tests").migrate()
    for server in servers:
        await server.close()


@pytest.fixture(params=["embedded", "cluster"])
def engine(request: pytest.FixtureRequest) -> ClickHouseRig | None:
    """Nothing, then four servers."""
    return request.getfixturevalue("rig") if request.param == "cluster" else None


@pytest.fixture
async def store(engine: ClickHouseRig | None, store: EmbeddedStore) -> AsyncIterator[Store]:
    """The one in this process, then one on four servers: the same sentences hold for both."""
    if engine is None:
        yield store
        return
    servers = [Server(address, engine.login) for address in engine.addresses]
    opened = ClickHouseStore(servers, reader=Reader(servers), writer=DirectWriter(servers))
    yield opened
    await opened.close()
