"""The failover log in ClickHouse: the table `failovers`, which every server of the cluster has whole."""

from collections.abc import Sequence
from typing import Final

from everline.cluster.entry import Entry, Kind
from everline.store.answer import Answer
from everline.store.cluster_schema import FAILOVERS
from everline.store.everywhere import WholeServer, insert_into_two, select_from_any, storable
from everline.store.literals import number

TABLE: Final = "everline.failovers"


class StoreLog:
    """
    The log on several servers. Entries go to two of them, so that none is lost with one machine.

    Args:
        servers: Nearest first.
    """

    def __init__(self, servers: Sequence[WholeServer]) -> None:
        self._servers = tuple(servers)

    async def insert_entries(self, entries: Sequence[Entry]) -> None:
        """
        Write them to the first two servers that take them (to one if there is only one).

        Raises:
            EverlineError: Fewer did.
        """
        if not entries:
            return
        await insert_into_two(self._servers, TABLE, _columns(entries))

    async def entries(self, since_us: int, limit: int) -> list[Entry]:
        """
        The latest since a time, newest last, from the first server that answers.

        Raises:
            EverlineError: None did.
        """
        where = f"WHERE at_us >= {number(since_us)} ORDER BY at_us DESC, entry_id DESC"
        limits = f"LIMIT 1 BY at_us, entry_id LIMIT {number(limit)}"
        sql = f"SELECT {', '.join(FAILOVERS)} FROM {TABLE} {where} {limits}"  # noqa: S608 - numbers
        return _entries(await select_from_any(self._servers, sql))[::-1]


def _columns(entries: Sequence[Entry]) -> dict[str, list[str | int]]:
    rows = [one.as_json() | {"entry_id": one.entry_id, "author": one.by} for one in entries]
    return {name: [storable(row[name]) for row in rows] for name in FAILOVERS}


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
