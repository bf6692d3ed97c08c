"""
The tables, and the SQL that makes them: one definition for the embedded engine and for a cluster.

The SQL stays in the subset that ClickHouse 18.16 and current versions share; what differs between one
process and a cluster is a `Dialect`.

messages
    Every captured message. Rows with one (call_id, captured_us, event_key) are one message.
calls
    The facts of a call as mergeable states, one row for each hour in which something of it was captured.
    They are generated from `everline.calls.facts.FACTS`. `in_call` comes first in the sort key, so that
    a search does not read the OPTIONS and MESSAGE traffic that no call was ever made of.
lookup
    For searches that time cannot narrow: which calls, in which hours, show a number, an address, a failure
    or a user agent; and in which hours a Call-ID is to be found at all.
"""

# ruff: noqa: S608 - SQL is made here; values become text in `literals` alone.

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from everline.calls.event import NEVER_IN_A_CALL, SIP, SYNTHETIC, TIMEOUT_METHOD, Event
from everline.calls.facts import FACTS, Fact, Law, When

VERSION: Final = 1
DATABASE: Final = "everline"
HOUR_US: Final = 3_600_000_000
DAY_US: Final = 24 * HOUR_US

COLUMN_TYPES: Final[Mapping[str, str]] = {
    "call_id": "String",
    "captured_us": "UInt64",
    "event_key": "UInt64",
    "received_us": "UInt64",
    "protocol": "UInt8",
    "ip_proto": "UInt8",
    "src_ip": "String",
    "src_port": "UInt16",
    "dst_ip": "String",
    "dst_port": "UInt16",
    "method": "String",
    "status": "UInt16",
    "cseq": "UInt32",
    "from_user": "String",
    "from_host": "String",
    "from_tag": "String",
    "to_user": "String",
    "to_host": "String",
    "to_tag": "String",
    "user_agent": "String",
    "codecs": "String",
    "cause": "UInt16",
    "agent": "String",
    "correlation_id": "String",
    "node": "String",
    "payload": "String",
}
"""Every field of an `Event`, in its order."""

IN_CALL_METHODS: Final = ("INVITE", "ACK", "BYE", "CANCEL", "PRACK", "UPDATE", "INFO", "REFER", TIMEOUT_METHOD)
"""Methods that start or belong to an INVITE dialog; others with its Call-ID only add to a call that these made."""

COUNTED: Final = frozenset({"event_keys"})
"""Unions of which only the size is ever read: kept as an exact count, not as an array."""


class Kind(StrEnum):
    """What a row of `lookup` leads to."""

    CALL = "call"
    NUMBER = "number"
    IP = "ip"
    STATUS = "status"
    AGENT = "agent"


@dataclass(frozen=True, slots=True)
class Dialect:
    """
    Where the tables live.

    Attributes:
        on_cluster: " ON CLUSTER name", or "" to make them on one server alone.
        engine: Engine clause, a format of `family` ("ReplacingMergeTree") and `table`, the table's whole name.
        local: Ends the names of the tables that hold rows; in a cluster, those without it ask all servers.
        settings: More settings of a table, each after a comma.
    """

    on_cluster: str
    engine: str
    local: str = ""
    settings: str = ""

    def table(self, name: str, columns: str, *, family: str, partition: str, order: str, rows: int) -> str:
        """One CREATE TABLE; `rows` is how many share a mark of the index."""
        engine = self.engine.format(family=family, table=f"{name}{self.local}")
        return (
            f"CREATE TABLE IF NOT EXISTS {DATABASE}.{name}{self.local}{self.on_cluster} ({columns}) ENGINE = {engine} "
            f"PARTITION BY {partition} ORDER BY ({order}) SETTINGS index_granularity = {rows}{self.settings}"
        )

    def view(self, name: str, *, to: str, select: str) -> str:
        """One view that fills a table from what is inserted into another."""
        return (
            f"CREATE MATERIALIZED VIEW IF NOT EXISTS {DATABASE}.{name}{self.on_cluster} "
            f"TO {DATABASE}.{to}{self.local} AS {select}"
        )


# Merging more parts at a time costs fewer rewrites of each row: 80,000 rows/s on one core instead of 60,000.
EMBEDDED: Final = Dialect(on_cluster="", engine="{family}", settings=", merge_selector_base = 15")

TABLES: Final = ("messages", "calls", "lookup")


def statements(dialect: Dialect) -> list[str]:
    """All DDL of the tables that hold rows, in order; running it again changes nothing."""
    local = dialect.local
    return [
        f"CREATE DATABASE IF NOT EXISTS {DATABASE}{dialect.on_cluster}",
        dialect.table(
            "messages",
            _messages_columns(),
            family="ReplacingMergeTree",
            partition="toYYYYMMDD(day)",
            order="call_id, captured_us, event_key",
            rows=1024,
        ),
        dialect.table(
            "calls",
            _calls_columns(),
            family="AggregatingMergeTree",
            partition="toYYYYMMDD(day)",
            order="in_call, hour, call_id",
            # A page picks calls all over an hour, and states are long to read: so few beside each that is wanted.
            rows=128,
        ),
        dialect.table(
            "lookup",
            "kind String, value String, hour UInt32, call_id String, day Date",
            family="ReplacingMergeTree",
            # By week: a look-up by Call-ID or number visits every part, so parts should be few.
            partition="toMonday(day)",
            order="kind, value, hour, call_id",
            rows=256,
        ),
        dialect.view("calls_of_messages", to="calls", select=calls_select(f"{DATABASE}.messages{local}")),
        dialect.view("lookup_of_messages", to="lookup", select=lookup_select(f"{DATABASE}.messages{local}")),
    ]


def calls_select(source: str) -> str:
    """The rows of `calls` that messages give; inserting them twice changes no fact."""
    states = ", ".join(
        f"{_function(fact)}State({value_of(fact)}, {condition_of(fact.when)}) AS {fact.name}" for fact in FACTS
    )
    return (
        f"SELECT toUInt8(method IN {_texts(IN_CALL_METHODS)}) AS in_call, {HOUR_OF} AS hour, call_id, day, {states} "
        f"FROM {source} WHERE {IS_CALL_EVENT} GROUP BY in_call, hour, call_id, day"
    )


def lookup_select(source: str) -> str:
    """
    The rows of `lookup` that messages give.

    Without a sub-query, and with every column called what it is: 18.16 can make no view of anything else.
    """
    keys = (
        f"('{Kind.CALL}', call_id)",
        f"('{Kind.NUMBER}', if(from_user = '', from_host, from_user))",
        f"('{Kind.NUMBER}', if(to_user = '', to_host, to_user))",
        f"('{Kind.IP}', src_ip)",
        f"('{Kind.IP}', dst_ip)",
        f"('{Kind.STATUS}', if(status >= 300, toString(status), ''))",
        f"('{Kind.AGENT}', user_agent)",
    )
    shown = f"arrayJoin(if(method = 'INVITE', [{', '.join(keys)}], [{keys[0]}]))"
    return (
        f"SELECT tupleElement({shown} AS key, 1) AS kind, tupleElement(key, 2) AS value, {HOUR_OF} AS hour, "
        f"call_id, day FROM {source} WHERE {IS_CALL_EVENT} AND value != '' GROUP BY kind, value, hour, call_id, day"
    )


def value_of(fact: Fact) -> str:
    """The value of a fact, out of a message."""
    return fact.fields[0] if len(fact.fields) == 1 else f"tuple({', '.join(fact.fields)})"


def condition_of(when: When) -> str:
    """Which messages a fact is made of, as SQL; the same as `facts.absorb` does."""
    terms = [f"method != '{TIMEOUT_METHOD}'" if when.method is None else f"method = '{when.method}'"]
    terms.append(f"status = {when.low}" if when.low == when.high else f"status >= {when.low} AND status <= {when.high}")
    if when.but_not:
        terms.append(f"status NOT IN ({', '.join(map(str, sorted(when.but_not)))})")
    if when.present:
        terms.append(f"{when.present} != ''")
    if when.absent:
        terms.append(f"{when.absent} = ''")
    return " AND ".join(terms)


def merged(fact: Fact) -> str:
    """The value of a fact, out of the states in `calls`; a zero, an empty text or tuple where there is none."""
    return f"{_function(fact)}Merge({fact.name})"


HOUR_OF: Final = f"toUInt32(intDiv(captured_us, {HOUR_US}))"
_DAY_OF: Final = f"toDate(toUInt16(intDiv(captured_us, {DAY_US})))"


def _texts(values: tuple[str, ...]) -> str:
    return "(" + ", ".join(f"'{value}'" for value in values) + ")"


IS_CALL_EVENT: Final = f"protocol IN ({SIP}, {SYNTHETIC}) AND method NOT IN {_texts(tuple(sorted(NEVER_IN_A_CALL)))}"


def _messages_columns() -> str:
    columns = [f"{name} {COLUMN_TYPES[name]}" for name in Event._fields]
    # The day in UTC, whatever time zone the engine runs in: toDate of a small number counts days.
    return ", ".join([*columns, f"day Date DEFAULT {_DAY_OF}"])


def _calls_columns() -> str:
    columns = ["in_call UInt8", "hour UInt32", "call_id String", "day Date"]
    return ", ".join([*columns, *(f"{fact.name} {_state_type(fact)}" for fact in FACTS)])


def _state_type(fact: Fact) -> str:
    types = ", ".join(COLUMN_TYPES[field] for field in fact.fields)
    value = types if len(fact.fields) == 1 else f"Tuple({types})"
    return f"AggregateFunction({_function(fact)}, {value}, UInt8)"


def _function(fact: Fact) -> str:
    if fact.name in COUNTED:
        return "uniqExactIf"
    return {Law.MIN: "minIf", Law.MAX: "maxIf", Law.UNION: "groupUniqArrayIf"}[fact.law]
