"""The leader's own events as one statement that a server refuses to a leader that is no longer one."""

# ruff: noqa: S608 - SQL is made here; values become text in `literals` alone.

from collections.abc import Sequence
from typing import Any, Final

from everline.calls.event import Event
from everline.store.literals import text
from everline.store.schema import COLUMN_TYPES, DATABASE

MAX_EVENTS: Final = 200
"""So many in one statement: its text stays within what a server reads (`max_query_size`, 256 kB)."""


def insert_if(events: Sequence[Event], condition: str) -> str:
    """
    An INSERT that a server carries out only if a condition holds there at that moment.

    Args:
        events: At most `MAX_EVENTS`, made by Everline: small, with a payload that is a text.
        condition: SQL that the server itself evaluates.
    """
    rows = ", ".join(f"tuple({', '.join(map(_literal, COLUMN_TYPES.values(), event))})" for event in events)
    columns = ", ".join(f"tupleElement(row, {number}) AS {name}" for number, name in enumerate(Event._fields, 1))
    return (
        f"INSERT INTO {DATABASE}.messages_local ({', '.join(Event._fields)}) "
        f"SELECT {columns} FROM (SELECT arrayJoin([{rows}]) AS row) WHERE {condition}"
    )


def _literal(kind: str, value: Any) -> str:  # a field of an Event
    if kind == "String":
        return text(value.decode() if isinstance(value, bytes) else value)
    return f"to{kind}({int(value)})"
