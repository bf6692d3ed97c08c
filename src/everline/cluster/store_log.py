"""The failover log in ClickHouse: the table `failovers`, which every server of the cluster has whole."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from everline.cluster.entry import Entry, Kind
from everline.errors import EverlineError
from everline.store.answer import Answer
from everline.store.cluster_schema import FAILOVERS
from everline.store.literals import number

TABLE: Final = "everline.failovers"
INSERT_S: Final = 3.0
ANSWER_S: Final = 10.0


class LogServer(Protocol):
    """One ClickHouse server: `everline.store.servers.Server`."""

    async def insert_columns(self, table: str, columns: Mapping[str, Sequence[Any]], *, deadline_s: float) -> None:
        """Keep rows. Raises EverlineError when it can't now."""
        ...

    async def select(self, sql: str, *, limit_s: float) -> Answer:
        """What it answers. Raises EverlineError when it can't now."""
        ...


class StoreLog:
    """
    The log on several servers. Entries go to two of them, so that none is lost with one machine.

    Args:
        servers: Nearest first.
    """

    def __init__(self, servers: Sequence[LogServer]) -> None:
        self._servers = tuple(servers)

    async def insert_entries(self, entries: Sequence[Entry]) -> None:
        """
        Write them to the first two servers that take them (to one if there is only one).

        Raises:
            EverlineError: Fewer did.
        """
        if not entries:
            return
        columns = _columns(entries)
        needed = min(2, len(self._servers))
        untried = list(self._servers)
        fault: BaseException | None = None
        while needed and untried:
            now, untried = untried[:needed], untried[needed:]
            asked = [one.insert_columns(TABLE, columns, deadline_s=INSERT_S) for one in now]
            for answer in await asyncio.gather(*asked, return_exceptions=True):
                if isinstance(answer, BaseException):
                    fault = answer
                else:
                    needed -= 1
        if needed:
            raise fault or EverlineError("no ClickHouse server is configured: cluster.yaml needs the role clickhouse")

    async def entries(self, since_us: int, limit: int) -> list[Entry]:
        """
        The latest since a time, newest last, from the first server that answers.

        Raises:
            EverlineError: None did.
        """
        where = f"WHERE at_us >= {number(since_us)} ORDER BY at_us DESC, entry_id DESC"
        limits = f"LIMIT 1 BY at_us, entry_id LIMIT {number(limit)}"
        sql = f"SELECT {', '.join(FAILOVERS)} FROM {TABLE} {where} {limits}"  # noqa: S608 - numbers
        fault: EverlineError | None = None
        for server in self._servers:
            try:
                answer = await server.select(sql, limit_s=ANSWER_S)
            except EverlineError as refusal:
                fault = refusal
                continue
            return _entries(answer)[::-1]
        raise fault or EverlineError("no ClickHouse server is configured: cluster.yaml needs the role clickhouse")


def _columns(entries: Sequence[Entry]) -> dict[str, list[str | int]]:
    rows = [one.as_json() | {"entry_id": one.entry_id, "author": one.by} for one in entries]
    return {name: [_storable(row[name]) for row in rows] for name in FAILOVERS}


def _storable(value: str | int) -> str | int:
    """A text that UTF-8 can hold: the output of a hook may be anything."""
    return value if isinstance(value, int) else value.encode(errors="backslashreplace").decode()


def _entries(answer: Answer) -> list[Entry]:
    """Entries of kinds that this version does not know are left out."""
    known = {str(kind) for kind in Kind}
    named = (dict(zip(FAILOVERS, row, strict=True)) for row in answer.rows(*FAILOVERS))
    return [
        Entry(
            row["at_us"], Kind(row["kind"]), row["node"], row["region"], row["reason"], row["token"],
            row["detected_us"], row["acted_us"], details=row["details"], by=row["author"],
        )
        for row in named
        if row["kind"] in known
    ]  # fmt: skip
