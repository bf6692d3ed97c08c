"""Is this server one of ours, as old as it may be, with our tables, and the replica that cluster.yaml says it is?"""

# ruff: noqa: S608 - SQL is made here; values become text in `literals` alone.

import re
from typing import Final

from everline.store.cluster_schema import KEEPER_PATH
from everline.store.errors import StoreError
from everline.store.literals import text
from everline.store.schema import DATABASE
from everline.store.servers import Server

OLDEST: Final = (18, 16)
LOOK_S: Final = 5.0


class WrongServerError(StoreError):
    """A server is not what cluster.yaml says. Nothing was changed on it."""

    def __init__(self, server: Server, what: str) -> None:
        address = server.address
        super().__init__(f"ClickHouse {address.name} ({address.host}:{address.port}) {what}")
        self.server = server.name


async def check_server(server: Server, cluster: str) -> None:
    """
    See what a server says of itself.

    Raises:
        WrongServerError: It is too old, has another cluster's tables, does not know this cluster, or is another
            shard or replica.
        ServerError: It can't be asked.
    """
    await _check_version(server)
    await _check_cluster(server, cluster)
    await _check_place(server)
    await _check_tables(server, cluster)


async def _check_version(server: Server) -> None:
    [(version,)] = (await server.select("SELECT version() AS version", limit_s=LOOK_S)).rows()
    numbers = tuple(map(int, re.findall(r"\d+", version)[:2]))
    if numbers < OLDEST:
        needed = ".".join(map(str, OLDEST))
        raise WrongServerError(
            server, f"is version {version}, and {needed} or later is needed: upgrade it, or move its role clickhouse"
        )


async def _check_cluster(server: Server, cluster: str) -> None:
    sql = f"SELECT DISTINCT cluster FROM system.clusters WHERE cluster = {text(cluster)}"
    if not len(await server.select(sql, limit_s=LOOK_S)):
        raise WrongServerError(
            server,
            f"does not know a cluster {cluster!r}: see `cluster` in cluster.yaml, "
            "run `everline render` and give the server its files",
        )


async def _check_place(server: Server) -> None:
    sql = "SELECT macro, substitution FROM system.macros WHERE macro IN ('shard', 'replica')"
    found = dict((await server.select(sql, limit_s=LOOK_S)).rows("macro", "substitution"))
    wanted = {"shard": str(server.address.shard), "replica": str(server.address.replica)}
    if found != wanted:
        raise WrongServerError(
            server,
            f"says it is {_place(found)}, and cluster.yaml says {_place(wanted)} (roles.clickhouse): "
            "run `everline render` and give the server its own files",
        )


async def _check_tables(server: Server, cluster: str) -> None:
    sql = f"SELECT table, zookeeper_path AS path FROM system.replicas WHERE database = '{DATABASE}' ORDER BY table"
    for table, path in (await server.select(sql, limit_s=LOOK_S)).rows("table", "path"):
        if not path.startswith(f"{KEEPER_PATH}/{cluster}/"):
            raise WrongServerError(
                server,
                f"has a table {DATABASE}.{table} of another cluster ({path}), and this one is {cluster!r}: "
                "see `cluster` in cluster.yaml, or give this cluster a server of its own (roles.clickhouse)",
            )


def _place(macros: dict[str, str]) -> str:
    return f"shard {macros.get('shard', '?')}, replica {macros.get('replica', '?')}"
