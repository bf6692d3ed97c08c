"""The tables are made of the facts, and of SQL that old and new engines share."""

import re

import pytest

from everline.calls.event import Event
from everline.calls.facts import FACTS, Fact
from everline.store.schema import COLUMN_TYPES, EMBEDDED, Dialect, statements

NOT_IN_18_16 = r"\b(LowCardinality|CODEC|TTL|DateTime64|Nullable|INDEX|PROJECTION|ILIKE|xxHash64|WITH|OVER)\b"


def test_every_field_of_an_event_has_a_column() -> None:
    """In the order of the event."""
    assert tuple(COLUMN_TYPES) == Event._fields


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.name)
def test_every_fact_has_a_state(fact: Fact) -> None:
    """A fact that was added is kept."""
    [calls] = [sql for sql in statements(EMBEDDED) if "everline.calls (" in sql]

    assert f" {fact.name} AggregateFunction(" in calls


def test_only_what_every_version_knows() -> None:
    """The cluster's server may be as old as 18.16."""
    assert not [sql for sql in statements(EMBEDDED) if re.search(NOT_IN_18_16, sql)]


def test_a_cluster_differs_in_engine_and_cluster_clause_alone() -> None:
    """One definition serves both."""
    cluster = Dialect(" ON CLUSTER c", "Replicated{family}('/tables/{{shard}}/{table}', '{{replica}}')")

    for alone, together in zip(statements(EMBEDDED), statements(cluster), strict=True):
        plain = re.sub(r"Replicated(\w+)\([^)]*\)", r"\1", together.replace(" ON CLUSTER c", ""))
        assert plain == alone.replace(EMBEDDED.settings, "")
        assert ("MergeTree" in alone) == ("'/tables/{shard}/" in together)
