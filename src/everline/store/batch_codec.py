"""A batch of events as bytes for the spool, and back: a version, then Arrow's stream format, compressed."""

from typing import Any, Final

import pyarrow as pa

from everline.calls.event import Event, EventBatch
from everline.store.errors import StoreError
from everline.store.rows import EVENT_SCHEMA, table_of

_VERSION: Final = b"EvBatch1"
# SIP repeats itself: of a message of 800 bytes some 90 are left, and it costs less than writing the rest would.
_OPTIONS: Final = pa.ipc.IpcWriteOptions(compression="zstd")
_TEXTS: Final = frozenset(field.name for field in EVENT_SCHEMA if field.type == pa.string())
_AS_BYTES: Final = pa.schema(
    [field.with_type(pa.binary()) if field.name in _TEXTS else field for field in EVENT_SCHEMA]
)
"""Of a batch with texts that are not Unicode (lone surrogates)."""


class BatchDecodeError(StoreError):
    """These bytes are no batch that this version of Everline can read."""

    def __init__(self, why: str) -> None:
        super().__init__(f"a spooled batch cannot be read ({why}): it was written by another version, or is damaged")


class BatchEncodeError(StoreError):
    """A batch holds a value that the store has no type for."""

    def __init__(self, why: str) -> None:
        super().__init__(f"a batch holds what the store cannot keep ({why})")


def encode_batch(batch: EventBatch) -> bytes:
    """
    A batch as bytes.

    Raises:
        BatchEncodeError: A value does not fit the type of its column.
    """
    table = _table_of(batch)
    sink = pa.BufferOutputStream()
    sink.write(_VERSION)
    with pa.ipc.new_stream(sink, table.schema, options=_OPTIONS) as writer:
        writer.write_table(table)
    encoded: bytes = sink.getvalue().to_pybytes()
    return encoded


def decode_batch_bytes(data: bytes) -> EventBatch:
    """
    The batch that was made into these bytes.

    Raises:
        BatchDecodeError: They are none; no other error, whatever the bytes.
    """
    if not data.startswith(_VERSION):
        raise BatchDecodeError(f"it starts with {data[: len(_VERSION)]!r}, and needs {_VERSION!r}")
    try:
        with pa.ipc.open_stream(pa.py_buffer(data)[len(_VERSION) :]) as reader:
            if reader.schema not in {EVENT_SCHEMA, _AS_BYTES}:
                raise BatchDecodeError("its columns are others")
            table = reader.read_all()
        table.validate(full=True)
        return EventBatch(tuple(_values(table, name) for name in Event._fields))
    except (pa.ArrowException, OSError, ValueError, MemoryError, OverflowError) as error:
        raise BatchDecodeError(str(error).splitlines()[0] if str(error) else type(error).__name__) from error


def _table_of(batch: EventBatch) -> pa.Table:
    try:
        table = _typed(batch)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise BatchEncodeError(str(error)) from error
    if any(column.null_count for column in table.columns):
        raise BatchEncodeError("a row without a value")
    return table


def _typed(batch: EventBatch) -> pa.Table:
    try:
        return table_of(batch)
    except UnicodeEncodeError:
        columns = [
            [text.encode("utf-8", "surrogatepass") for text in column] if name in _TEXTS else column
            for name, column in zip(Event._fields, batch.columns, strict=True)
        ]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, _AS_BYTES, strict=True)]
        return pa.Table.from_arrays(arrays, schema=_AS_BYTES)


def _values(table: pa.Table, name: str) -> tuple[Any, ...]:  # of the type of the field
    column = table.column(name)
    if column.null_count:
        raise BatchDecodeError(f"{name} has no value in a row")
    values = column.to_pylist()
    if name in _TEXTS and column.type == pa.binary():
        return tuple(value.decode("utf-8", "surrogatepass") for value in values)
    return tuple(values)
