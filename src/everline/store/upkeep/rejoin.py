"""
Bring a server back that has lost its disk.

Keeper still has it as a replica, so that its tables can't be made: it is taken out of Keeper, its tables are made
anew, and its partner gives it all the rows. ClickHouse's own `force_restore_data` is never used: it was seen to leave
a replica empty that called itself healthy.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import Final

from everline.store.cluster_schema import CLUSTER_TABLES, EVERYWHERE, REPLICATED, cluster_statements, replica_path
from everline.store.errors import StoreError
from everline.store.schema import DATABASE
from everline.store.servers import Server
from everline.store.upkeep import questions

log = logging.getLogger(__name__)

LOOK_S: Final = 5.0
AGAIN_S: Final = 0.2
SETTLED_S: Final = 2 * questions.LATE_S
"""What was to be fetched at the beginning is late by then."""


class RejoinError(StoreError):
    """A server can't be brought back now."""


async def rejoin(
    server: Server, partners: Sequence[Server], cluster: str, *, forget: Callable[[str], Awaitable[None]]
) -> list[str]:
    """
    Make the tables that a server lacks; gives their names, none if it has all.

    Args:
        server: Runs, without some or all of its tables.
        partners: The other replicas of its shard.
        cluster: Its name.
        forget: Removes a path and all below it from Keeper.

    Raises:
        RejoinError: No partner has the rows.
        StoreError: A server can't be asked.
    """
    missing = CLUSTER_TABLES - await _tables_of(server)
    if not missing:
        return []
    await _see_that_one_is_whole(server, partners)
    for table in sorted(missing & REPLICATED):
        await forget(_path_in_keeper(server, cluster, table))
    for sql in cluster_statements(cluster, everywhere=False):
        await server.execute(sql, limit_s=LOOK_S)
    log.warning("store.rejoined", extra={"server": server.name, "tables": sorted(missing)})
    return sorted(missing)


async def until_caught_up(server: Server, *, within_s: float) -> bool:
    """Wait until a server has fetched what its partners have, as far as it knows itself; whether it did in time."""
    began_s = monotonic()
    try:
        async with asyncio.timeout(within_s):
            # What is waited for happens in another program.
            while not await _is_caught_up(server, has_waited=monotonic() - began_s > SETTLED_S):  # noqa: ASYNC110
                await asyncio.sleep(AGAIN_S)
    except TimeoutError:
        return False
    return True


async def _is_caught_up(server: Server, *, has_waited: bool) -> bool:
    """Whether it fetches nothing; under load, when that never is, whether no fetch is late that is not without hope."""
    answer = await server.select(questions.replicas(), limit_s=LOOK_S)
    rows = list(answer.rows("table", "readonly", "fetches"))
    if not {table for table, _, _ in rows} >= REPLICATED or any(readonly for _, readonly, _ in rows):
        return False
    if not any(fetches for _, _, fetches in rows):
        return True
    [(late,)] = (await server.select(questions.late_fetches(), limit_s=LOOK_S)).rows("late")
    return has_waited and not late


async def _see_that_one_is_whole(server: Server, partners: Sequence[Server]) -> None:
    why: list[str] = []
    for partner in partners:
        try:
            lacks = REPLICATED - await _tables_of(partner)
        except StoreError as fault:
            why.append(str(fault))
            continue
        if not lacks:
            return
        why.append(f"{partner.name} lacks {', '.join(sorted(lacks))}")
    raise RejoinError(
        f"{server.name} can't be brought back: no other server of shard {server.address.shard} has its rows "
        f"({'; '.join(why)}): start that one first"
    )


async def _tables_of(server: Server) -> set[str]:
    sql = f"SELECT name FROM system.tables WHERE database = '{DATABASE}'"  # noqa: S608 - a name of ours
    return set((await server.select(sql, limit_s=LOOK_S)).column("name"))


def _path_in_keeper(server: Server, cluster: str, table: str) -> str:
    """Where Keeper has this server as a replica of a table."""
    address = server.address
    if table in EVERYWHERE:
        return f"{replica_path(cluster, 'all', table)}/replicas/{address.shard}-{address.replica}"
    return f"{replica_path(cluster, address.shard, table)}/replicas/{address.replica}"
