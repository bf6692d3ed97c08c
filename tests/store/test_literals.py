"""A text as SQL never ends early and never means anything but itself."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from everline.store.literals import number, pattern, text
from everline.store.store import Store


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.text(st.characters(codec=None, exclude_categories=()), max_size=30))
async def test_the_engine_reads_what_was_meant(store: Store, value: str) -> None:
    """Through the engine and back, and as a pattern that matches only itself."""
    meant = value.encode(errors="backslashreplace").decode()
    sql = f"SELECT {text(value)} AS same, {text(value)} LIKE {text(pattern(value))} AS matches"

    rows = await store.ask(sql)

    assert list(rows.rows("same", "matches")) == [(meant, 1)]


@pytest.mark.parametrize(("value", "sql"), [(5, "5"), (-1, "0"), (2**70, "18446744073709551615")])
def test_numbers_stay_within_the_type(value: int, sql: str) -> None:
    """What no column can hold becomes the nearest value."""
    assert number(value) == sql
