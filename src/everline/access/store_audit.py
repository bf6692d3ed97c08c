"""The audit log of a cluster: the table `audit`, which every ClickHouse server has whole."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from everline.access.audit import AuditEntry, in_order
from everline.access.errors import AuditUnavailableError
from everline.errors import EverlineError
from everline.store.cluster_schema import AUDIT
from everline.store.everywhere import WholeServer, insert_into_two, select_from_any
from everline.store.literals import number

TABLE: Final = "everline.audit"


class StoreAudit:
    """
    Entries go to two servers, as those of the failover log do.

    Args:
        servers: Nearest first.
    """

    def __init__(self, servers: Sequence[WholeServer]) -> None:
        self._servers = tuple(servers)

    async def append(self, entries: Sequence[AuditEntry]) -> None:
        """
        Keep entries; again: the same rows.

        Raises:
            AuditUnavailableError: They are not on two servers.
        """
        rows = [asdict(one) for one in entries]
        if not rows:
            return
        try:
            await insert_into_two(self._servers, TABLE, {name: [row[name] for row in rows] for name in AUDIT})
        except EverlineError as fault:
            raise AuditUnavailableError(f"The audit log can't be written now: {fault}") from fault

    async def entries(self, *, before: int | None, limit: int) -> list[AuditEntry]:
        """
        The latest with numbers below one, by number; of one number two only if somebody tampered.

        Raises:
            AuditUnavailableError: No server answers.
        """
        where = "" if before is None else f"WHERE seq < {number(before)} "
        order = f"ORDER BY seq DESC, digest LIMIT 1 BY {', '.join(AUDIT)} LIMIT {number(limit)}"
        sql = f"SELECT {', '.join(AUDIT)} FROM {TABLE} {where}{order}"  # noqa: S608 - numbers and our own names
        try:
            answer = await select_from_any(self._servers, sql)
        except EverlineError as fault:
            raise AuditUnavailableError(f"The audit log can't be read now: {fault}") from fault
        return in_order(AuditEntry(*row) for row in answer.rows(*AUDIT))
