"""
Versions of a cluster's tables: the leader makes what is missing, ON CLUSTER, and writes down that it did.

Every statement can be run again, so after a leader that died in the middle the next one begins anew and gets to the
same tables. A server that is down finds the statements in the queue of ClickHouse when it is back; one that answers
but has not all (new in cluster.yaml, or brought back without its disk) is told by itself.
"""

# ruff: noqa: S608 - SQL is made here; values become text in `literals` alone.

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from time import time_ns
from typing import Final

from everline.store.cluster_schema import CLUSTER_TABLES, audit_statements, cluster_statements
from everline.store.errors import StoreError
from everline.store.identity import WrongServerError, check_server
from everline.store.literals import number, text
from everline.store.reader import NoServerError
from everline.store.schema import DATABASE
from everline.store.servers import Server, ServerError, ServerLostError

log = logging.getLogger(__name__)

DDL_S: Final = 5
"""So long is waited for servers that do not carry a statement out; those that are up need milliseconds."""
DDL_WITHOUT_ALL_S: Final = 1
"""And so long once it is known that somebody will not: the statements wait for it in the queue."""
LOOK_S: Final = 5.0
SETTLED_S: Final = 6
"""Its queue of DDL looks for Keeper every five seconds."""
SETTLE_AGAIN_S: Final = 0.2

_STILL_QUEUED: Final = 159
_NOT_THERE: Final = frozenset({60, 81})
_REPLICA_EXISTS: Final = 253

MIGRATIONS: Final[Mapping[int, Callable[[str], list[str]]]] = {1: cluster_statements, 2: audit_statements}
"""By version, what makes it of the one before: statements ON CLUSTER, given the cluster's name, each to be repeated."""

LATEST: Final = max(MIGRATIONS)


class TablesTooNewError(StoreError):
    """A later Everline has made the tables."""

    def __init__(self, found: int) -> None:
        super().__init__(
            f"the cluster's tables are of version {found}, and this Everline knows up to {LATEST}: "
            "install the later Everline on this host too"
        )
        self.found = found


class ReplicaForgottenError(WrongServerError):
    """Keeper has a replica of which the server knows nothing: its disk was lost."""

    def __init__(self, server: Server) -> None:
        super().__init__(server, f"has lost its tables, and Keeper has them: run `everline store repair {server.name}`")


class Migrator:
    """
    Brings the tables of a cluster to the latest version. One at a time: the leader.

    Args:
        servers: All, nearest first; those that do not answer are left out.
        still: SQL that is true while the caller leads: a version is not written down for a leader of yesterday.
    """

    def __init__(self, servers: Sequence[Server], cluster: str, *, node: str, still: str = "1 = 1") -> None:
        self._servers = tuple(servers)
        self._cluster = cluster
        self._node = node
        self._still = still

    async def migrate(self) -> int:
        """
        Make what is missing; the version that the tables have now.

        Raises:
            WrongServerError: A server is not what cluster.yaml says.
            TablesTooNewError: A later Everline was here.
            NoServerError: No server answers.
            ServerError: A statement was refused.
        """
        there = await self._answering()
        found = max([await version_of(server) for server in there])
        if found > LATEST:
            raise TablesTooNewError(found)
        if found < LATEST:
            await self._until_settled(there)
        for version in range(found + 1, LATEST + 1):
            wait_s = DDL_S if len(there) == len(self._servers) else DDL_WITHOUT_ALL_S
            for sql in MIGRATIONS[version](self._cluster):
                if not await self._run(there, sql, wait_s):
                    wait_s = DDL_WITHOUT_ALL_S
        for server in there:
            await self._complete(server)
        if found < LATEST:
            await self._write_down(there[0])
            log.info("store.migrated", extra={"version": LATEST, "was": found, "servers": len(there)})
        return LATEST

    async def _until_settled(self, there: Sequence[Server]) -> None:
        """Let servers that have just been started find Keeper first: 18.16 dies of ON CLUSTER before it has."""
        for server in there:
            while not await _is_settled(server):  # noqa: ASYNC110 - what is waited for happens in another program
                await asyncio.sleep(SETTLE_AGAIN_S)

    async def _answering(self) -> list[Server]:
        there: list[Server] = []
        faults: list[ServerError] = []
        for server in self._servers:
            try:
                await check_server(server, self._cluster)
            except ServerLostError as fault:
                faults.append(fault)
            else:
                there.append(server)
        if not there:
            raise NoServerError(faults)
        return there

    async def _run(self, there: Sequence[Server], sql: str, wait_s: int) -> bool:
        """One statement, by the first server that takes it to all; whether all have carried it out."""
        faults: list[ServerError] = []
        for server in there:
            try:
                await server.execute_everywhere(sql, wait_s=wait_s, limit_s=wait_s + LOOK_S)
            except ServerLostError as fault:
                faults.append(fault)
            except ServerError as fault:
                if fault.code != _STILL_QUEUED:
                    raise
                log.warning("store.migration_queued", extra={"why": str(fault), "server": server.name})
                return False
            else:
                return True
        raise NoServerError(faults)

    async def _complete(self, server: Server) -> None:
        sql = f"SELECT name FROM system.tables WHERE database = '{DATABASE}'"
        missing = CLUSTER_TABLES - set((await server.select(sql, limit_s=LOOK_S)).column("name"))
        if not missing:
            return
        log.warning("store.tables_missing", extra={"server": server.name, "tables": sorted(missing)})
        for statement in cluster_statements(self._cluster, everywhere=False):
            try:
                await server.execute(statement, limit_s=LOOK_S)
            except ServerError as fault:
                if fault.code == _REPLICA_EXISTS:
                    raise ReplicaForgottenError(server) from fault
                raise

    async def _write_down(self, server: Server) -> None:
        now_us = number(time_ns() // 1000)
        row = f"toUInt32({LATEST}) AS version, {text(self._node)} AS node, toUInt64({now_us}) AS at_us"
        await server.execute(
            f"INSERT INTO {DATABASE}.migrations (version, node, at_us) SELECT {row} WHERE {self._still}", limit_s=LOOK_S
        )


async def _is_settled(server: Server) -> bool:
    """Whether it has had time to look for Keeper, and the queue of DDL is in Keeper."""
    [(seconds,)] = (await server.select("SELECT uptime() AS s", limit_s=LOOK_S)).rows("s")
    if seconds < SETTLED_S:
        return False
    try:
        await server.select("SELECT count() AS found FROM system.zookeeper WHERE path = '/clickhouse'", limit_s=LOOK_S)
    except ServerLostError:
        raise
    except ServerError as fault:
        log.info("store.keeper_not_found", extra={"server": server.name, "why": str(fault)})
        return False
    return True


async def version_of(server: Server) -> int:
    """
    The version of the tables as a server knows it; 0 if there are none.

    Raises:
        ServerError: It can't be asked.
    """
    try:
        answer = await server.select(f"SELECT max(version) AS version FROM {DATABASE}.migrations", limit_s=LOOK_S)
    except ServerError as fault:
        if fault.code in _NOT_THERE:
            return 0
        raise
    [version] = answer.column("version")
    return int(version)
