"""Events and facts as the engine's rows, and back."""

from collections.abc import Iterator
from typing import Any, Final

import pyarrow as pa

from everline.calls.event import Event, EventBatch
from everline.calls.facts import FACTS, NAMES, Fact, Facts, Law
from everline.store.answer import Answer
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


def events_of(answer: Answer) -> list[Event]:
    """Rows of `messages` as events."""
    return [Event._make(row) for row in answer.rows(*Event._fields)]


def facts_of_rows(answer: Answer) -> Iterator[tuple[str, Facts]]:
    """Rows of merged facts as Call-ID and facts; of `COUNTED` unions the size."""
    for call_id, *values in answer.rows("call_id", *NAMES):
        yield call_id, tuple(_value(fact, value) for fact, value in zip(FACTS, values, strict=True))


def _value(fact: Fact, value: Any) -> Any:  # one value of Facts, from what the engine gave for it
    if fact.name in COUNTED:
        return value
    if fact.law is Law.UNION:
        return frozenset(value) or None
    # Where nothing was seen the engine has zeros and empty texts, which no event with a capture time gives.
    return value if (any(value) if isinstance(value, tuple) else value) else None
