"""Time for each test of the store to itself: they share one (tests/conftest.py)."""

from itertools import count

import pytest
from tests.store.making import DAY_US

_eras = count(1)


@pytest.fixture
def era_us() -> int:
    """A moment, epoch microseconds, with ten days around it that no other test touches; it begins a day."""
    return 1_500_000_000_000_000 // DAY_US * DAY_US + next(_eras) * 10 * DAY_US
