"""One embedded store for all tests of a run: the engine allows one data directory a process."""

import asyncio
from collections.abc import Iterator
from itertools import count

import pytest
from tests.store.making import DAY_US

from everline.store.embedded import EmbeddedStore

_eras = count(1)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    """An open store. What one test puts in, the others see: keep to an `era_us` and its own Call-IDs."""
    opened = EmbeddedStore.open(tmp_path_factory.mktemp("store") / "data")
    yield opened
    asyncio.run(opened.close())


@pytest.fixture
def era_us() -> int:
    """A moment, epoch microseconds, with ten days around it that no other test touches; it begins a day."""
    return 1_500_000_000_000_000 // DAY_US * DAY_US + next(_eras) * 10 * DAY_US
