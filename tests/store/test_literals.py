"""A text as SQL never ends early and never means anything but itself."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everline.store.embedded import EmbeddedStore
from everline.store.literals import number, pattern, text


@settings(deadline=None, max_examples=60)
@given(value=st.text(st.characters(codec=None, exclude_categories=()), max_size=30))
async def test_the_engine_reads_what_was_meant(store: EmbeddedStore, value: str) -> None:
    """Through the engine and back, and as a pattern that matches only itself."""
    meant = value.encode(errors="backslashreplace")
    sql = f"SELECT {text(value)} AS same, {text(value)} LIKE {text(pattern(value))} AS matches"

    rows = await store._ask(sql)

    assert rows.to_pylist() == [{"same": meant, "matches": 1}]


@pytest.mark.parametrize(("value", "sql"), [(5, "5"), (-1, "0"), (2**70, "18446744073709551615")])
def test_numbers_stay_within_the_type(value: int, sql: str) -> None:
    """What no column can hold becomes the nearest value."""
    assert number(value) == sql
