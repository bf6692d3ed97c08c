"""
The tables of a cluster: those of `schema` replicated within each shard, and what only a cluster has.

messages, calls, lookup
    Ask all shards. Rows are in `messages_local`, `calls_local` and `lookup_local`: the writer chooses the server.
failovers
    The failover log, whole on every server.
fences
    The tokens of leaders, whole on every server, so that each can refuse a late leader's write by itself.
audit
    Who did what, whole on every server.
migrations
    Which versions of these tables have been made, whole on every server.
"""

from collections.abc import Mapping
from typing import Final

from everline.store.literals import text
from everline.store.schema import DATABASE, TABLES, Dialect, statements

LOCAL: Final = "_local"
KEEPER_PATH: Final = "/clickhouse/tables"

FAILOVERS: Final[Mapping[str, str]] = {
    "at_us": "UInt64",
    "entry_id": "String",
    "kind": "String",
    "node": "String",
    "region": "String",
    "reason": "String",
    "token": "UInt64",
    "detected_us": "UInt64",
    "acted_us": "UInt64",
    "details": "String",
    "author": "String",
}
AUDIT: Final[Mapping[str, str]] = {
    "seq": "UInt64",
    "at_us": "UInt64",
    "node": "String",
    "who": "String",
    "act": "String",
    "target": "String",
    "before": "String",
    "after": "String",
    "client": "String",
    "request_id": "String",
    "previous": "String",
    "digest": "String",
}
FENCES: Final[Mapping[str, str]] = {"duty": "String", "token": "UInt64", "node": "String", "at_us": "UInt64"}
MIGRATIONS: Final[Mapping[str, str]] = {"version": "UInt32", "node": "String", "at_us": "UInt64"}

EVERYWHERE: Final[Mapping[str, tuple[Mapping[str, str], str]]] = {
    "failovers": (FAILOVERS, "at_us, entry_id"),
    "audit": (AUDIT, "seq, digest"),
    "fences": (FENCES, "duty, token, node"),
    "migrations": (MIGRATIONS, "version"),
}
"""Tables that every server has whole: columns and order. Rows of one order are one row."""


def replica_path(cluster: str, shard: int | str, table: str) -> str:
    """Where Keeper has a table of a shard, or with "all" as shard one that every server has; e.g. of `calls_local`."""
    return f"{KEEPER_PATH}/{cluster}/{shard}/{table}"


def cluster_dialect(cluster: str, *, everywhere: bool = True) -> Dialect:
    """For all servers at once, or only for the one that is told."""
    path = replica_path(cluster, "{{shard}}", "{table}")
    on_cluster = f" ON CLUSTER {text(cluster)}" if everywhere else ""
    return Dialect(on_cluster, f"Replicated{{family}}('{path}', '{{{{replica}}}}')", local=LOCAL)


def cluster_statements(cluster: str, *, everywhere: bool = True) -> list[str]:
    """All DDL, in order; running it again changes nothing."""
    dialect = cluster_dialect(cluster, everywhere=everywhere)
    asking = (
        f"CREATE TABLE IF NOT EXISTS {DATABASE}.{name}{dialect.on_cluster} AS {DATABASE}.{name}{LOCAL} "
        f"ENGINE = Distributed({text(cluster)}, {text(DATABASE)}, {text(name + LOCAL)}, cityHash64(call_id))"
        for name in TABLES
    )
    return [*statements(dialect), *asking, *(_everywhere(cluster, dialect.on_cluster, name) for name in EVERYWHERE)]


def audit_statements(cluster: str) -> list[str]:
    """The table that version 2 added."""
    return [_everywhere(cluster, cluster_dialect(cluster).on_cluster, "audit")]


def _everywhere(cluster: str, on_cluster: str, name: str) -> str:
    columns, order = EVERYWHERE[name]
    path = replica_path(cluster, "all", name)
    return (
        f"CREATE TABLE IF NOT EXISTS {DATABASE}.{name}{on_cluster} ({', '.join(map(' '.join, columns.items()))}) "
        f"ENGINE = ReplicatedReplacingMergeTree('{path}', '{{shard}}-{{replica}}') ORDER BY ({order})"
    )


REPLICATED: Final = frozenset({*(f"{name}{LOCAL}" for name in TABLES), *EVERYWHERE})
"""Tables with rows that a whole server has, shared with other servers."""

CLUSTER_TABLES: Final = REPLICATED | {*TABLES, "calls_of_messages", "lookup_of_messages"}
"""Tables and views that a whole server has."""
