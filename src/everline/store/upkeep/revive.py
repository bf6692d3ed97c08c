"""Wake tables that stay read-only after trouble with Keeper: by itself a server looks again only every ten seconds."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final, NamedTuple

from everline.store.cluster_schema import LOCAL, REPLICATED
from everline.store.errors import StoreError
from everline.store.servers import Server
from everline.store.upkeep import questions

log = logging.getLogger(__name__)

AGAIN_AFTER_S: Final = 3.0
"""A table that was woken is left in peace for so long."""
DEADLINE_S: Final = 5.0


class Woken(NamedTuple):
    """A table that was told to open its session with Keeper anew."""

    server: str
    table: str


class Reviver:
    """Looks at every server and wakes what sleeps; the same table not twice within `AGAIN_AFTER_S`."""

    def __init__(self, servers: Sequence[Server], *, clock: Callable[[], float] = monotonic) -> None:
        self._servers = servers
        self._clock = clock
        self._woken_s: dict[Woken, float] = {}

    async def revive(self) -> list[Woken]:
        """Wake every read-only table of every server that answers; gives those that took it."""
        found = await asyncio.gather(*map(self._revive, self._servers))
        return [one for woken in found for one in woken]

    async def _revive(self, server: Server) -> list[Woken]:
        woken: list[Woken] = []
        try:
            found = dict((await server.select(questions.replicas(), limit_s=DEADLINE_S)).rows("table", "readonly"))
            # What packets wait for comes first.
            tables = sorted(found, key=lambda table: not table.endswith(LOCAL))
            asleep = [Woken(server.name, table) for table in tables if found[table]]
            due = [one for one in asleep if self._is_due(one)]
            if due:
                # Without its own session the server would lose a table that it is told to restart.
                await server.select(questions.keeper_answers(), limit_s=DEADLINE_S)
            async with asyncio.TaskGroup() as waking:
                for one in due:
                    waking.create_task(self._wake(server, one, woken))
            await self._attach(server, REPLICATED - found.keys() if found else frozenset())
        except StoreError as fault:
            log.info("store.not_revived", extra={"server": server.name, "why": str(fault)})
        if woken:
            log.warning("store.revived", extra={"server": server.name, "tables": [one.table for one in woken]})
        return woken

    async def _wake(self, server: Server, one: Woken, woken: list[Woken]) -> None:
        self._woken_s[one] = self._clock()
        try:
            await server.execute(questions.restart_replica(one.table), limit_s=DEADLINE_S)
        except StoreError as fault:
            log.info("store.not_revived", extra={"server": server.name, "table": one.table, "why": str(fault)})
        else:
            woken.append(one)

    async def _attach(self, server: Server, missing: frozenset[str]) -> None:
        """Bring tables back that are on the disk and not in the server: it lost Keeper while they were restarted."""
        for table in sorted(missing):
            await server.execute(questions.attach(table), limit_s=DEADLINE_S)
            log.warning("store.attached", extra={"server": server.name, "table": table})

    def _is_due(self, one: Woken) -> bool:
        return self._clock() - self._woken_s.get(one, -AGAIN_AFTER_S) >= AGAIN_AFTER_S
