"""Events and facts as the engine's rows, and back."""

from collections.abc import Iterator
from typing import Any, Final

import pyarrow as pa

from everline.calls.event import Event, EventBatch
from everline.calls.facts import FACTS, NAMES, Fact, Facts, Law
from everline.store.schema import COLUMN_TYPES, COUNTED

_ARROW: Final = {
    "UInt8": pa.uint8(),
    "UInt16": pa.uint16(),
    "UInt32": pa.uint32(),
    "UInt64": pa.uint64(),
    "String": pa.string(),
}
EVENT_SCHEMA: Final = pa.schema(
    [(name, pa.binary() if name == "payload" else _ARROW[kind]) for name, kind in COLUMN_TYPES.items()]
)


def table_of(batch: EventBatch) -> pa.Table:
    """A batch as a table for `messages`."""
    arrays = [pa.array(column, field.type) for column, field in zip(batch.columns, EVENT_SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=EVENT_SCHEMA)


def events_of(rows: pa.Table) -> list[Event]:
    """Rows of `messages` as events."""
    columns = []
    for name, kind in COLUMN_TYPES.items():
        values = rows.column(name).to_pylist()
        columns.append([value.decode() for value in values] if kind == "String" and name != "payload" else values)
    return [Event._make(row) for row in zip(*columns, strict=True)]


def facts_of_rows(rows: pa.Table) -> Iterator[tuple[str, Facts]]:
    """Rows of merged facts as Call-ID and facts; of `COUNTED` unions the size."""
    columns = [rows.column(name).to_pylist() for name in NAMES]
    for call_id, *values in zip(rows.column("call_id").to_pylist(), *columns, strict=True):
        yield call_id.decode(), tuple(_value(fact, value) for fact, value in zip(FACTS, values, strict=True))


def _value(fact: Fact, value: Any) -> Any:  # one value of Facts, from what the engine gave for it
    if fact.name in COUNTED:
        return value
    if fact.law is Law.UNION:
        return frozenset(map(_plain, value)) or None
    plain = _plain(value)
    # Where nothing was seen the engine has zeros and empty texts, which no event with a capture time gives.
    return plain if (any(plain) if isinstance(plain, tuple) else plain) else None


def _plain(value: Any) -> Any:  # an integer, a text as bytes, or a struct of them
    if isinstance(value, dict):
        return tuple(map(_plain, value.values()))
    return value.decode() if isinstance(value, bytes) else value
