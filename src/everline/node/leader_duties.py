"""What the leader of a cluster does: tables, silent calls, old days, replicas that sleep or lack rows, live state."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from time import time_ns
from typing import Final

from everline.calls.event import Event, EventBatch
from everline.calls.facts import Facts
from everline.calls.timeout import Patience, timeout_event
from everline.cluster.entry import Entry, Kind, make_entry
from everline.cluster.fences import not_fenced
from everline.cluster.leader import Duty, Mandate
from everline.duties import RETENTION_EVERY_S, STALE_EVERY_S, look_back_us
from everline.node.common import Common
from everline.store.errors import StoreError
from everline.store.fenced import MAX_EVENTS, insert_if
from everline.store.late_calls import late_calls
from everline.store.migrations import Migrator
from everline.store.servers import by_shard
from everline.store.store import Store
from everline.store.upkeep.caretaker import Caretaker, Round
from everline.store.upkeep.revive import Reviver

log = logging.getLogger(__name__)

COPIES: Final = 2
WRITE_S: Final = 5.0
TABLES_EVERY_S: Final = 10.0
REVIVE_EVERY_S: Final = 1.0
AUDIT_EVERY_S: Final = 15.0
LIVE_EVERY_S: Final = 1.0
SENTINELS_EVERY_S: Final = 2.0
OPEN_LOOK_BACK_US: Final = 86_400 * 1_000_000
"""Live state is rebuilt from the calls of a day: longer ones are rare, and come back with their next message."""
ENDED_LOOK_BACK_US: Final = 60 * 1_000_000
"""
And from those that ended since: if their end was lost with a primary, it is told. Longer than a failover takes, and
shorter than Redis keeps what is over (`LINGER_US`), else ends would be told again.
"""


Act = Callable[[Mandate], Awaitable[None]]


class LeaderWork:
    """
    The duties of one node, should it lead.

    Args:
        store: Asks all shards.
        note: Takes entries for the failover log.
    """

    def __init__(self, common: Common, store: Store, *, note: Callable[[Entry], None]) -> None:
        calls = common.topology.calls
        self._common = common
        self._store = store
        self._note = note
        self._patience = Patience(
            ringing_us=calls.stale_ringing_s * 1_000_000, answered_us=calls.stale_answered_s * 1_000_000
        )
        self._caretaker = Caretaker(by_shard(common.servers))
        self._reviver = Reviver(common.servers)
        self._tables = asyncio.Event()
        self._turns = count()

    def duties(self) -> list[Duty]:
        """All of them, with their rhythm."""
        return [
            Duty("tables", TABLES_EVERY_S, 120, self._make_tables),
            Duty("sleeping tables", REVIVE_EVERY_S, 15, self._with_tables(self._revive), is_urgent=True),
            Duty("Sentinels", SENTINELS_EVERY_S, 15, self._hasten_sentinels, is_urgent=True),
            Duty("live state", LIVE_EVERY_S, 60, self._with_tables(self._keep_live_state)),
            Duty("silent calls", STALE_EVERY_S, 60, self._with_tables(self._close_silent_calls)),
            Duty("old days", RETENTION_EVERY_S, 300, self._with_tables(self._drop_old_days)),
            Duty("audit", AUDIT_EVERY_S, 600, self._with_tables(self._audit)),
        ]

    def _with_tables(self, act: Act) -> Act:
        """The same, once the tables were seen to be there: before that a duty could only fail."""

        async def turn(mandate: Mandate) -> None:
            await self._tables.wait()
            await act(mandate)

        return turn

    async def _make_tables(self, mandate: Mandate) -> None:
        common = self._common
        still = not_fenced(mandate.token)
        await Migrator(common.servers, common.topology.cluster, node=common.node.name, still=still).migrate()
        self._tables.set()

    async def _revive(self, _: Mandate) -> None:
        await self._reviver.revive()

    async def _hasten_sentinels(self, _: Mandate) -> None:
        await self._common.primary.hasten_sentinels(self._common.topology.timers.redis_down_after_ms)

    async def _drop_old_days(self, _: Mandate) -> None:
        day = (datetime.now(UTC) - timedelta(days=self._common.topology.store.retention_days)).date()
        if dropped := await self._store.drop_before(day):
            log.info("store.dropped_old_days", extra={"partitions": dropped})

    async def _keep_live_state(self, mandate: Mandate) -> None:
        bus = self._common.bus
        await bus.retell()
        if await bus.needs_rebuild():
            calls = await bus.rebuild(self._late_calls())
            log.warning("bus.rebuilt", extra={"calls": calls})
            self._say(Kind.BUS_REBUILT, mandate, node=str(self._common.primary.address), calls=calls)

    def _late_calls(self) -> AsyncIterator[tuple[str, Facts]]:
        now_us, most = time_ns() // 1000, self._common.topology.live.max_calls
        return late_calls(
            self._store.ask, now_us - OPEN_LOOK_BACK_US, ended_since_us=now_us - ENDED_LOOK_BACK_US, limit=most
        )

    async def _close_silent_calls(self, mandate: Mandate) -> None:
        now_us, back_us = time_ns() // 1000, look_back_us(next(self._turns))
        records = await self._store.stale(self._patience, since_us=now_us - back_us, now_us=now_us)
        name = self._common.node.name
        events = [
            event for record in records if (event := timeout_event(record, self._patience, now_us=now_us, node=name))
        ]
        for start in range(0, len(events), MAX_EVENTS):
            await self._write(events[start : start + MAX_EVENTS], mandate)
        if events:
            await self._common.bus.insert(EventBatch.of(events))
            log.info("calls.closed_silent", extra={"calls": len(events)})

    async def _write(self, events: Sequence[Event], mandate: Mandate) -> None:
        """Bring events of the leader to two servers, which refuse them if another one leads. Any shard will do."""
        sql = insert_if(events, not_fenced(mandate.token))
        copies, faults = 0, list[str]()
        for server in self._common.servers:
            try:
                await server.execute(sql, limit_s=WRITE_S)
            except StoreError as fault:
                faults.append(str(fault))
                continue
            copies += 1
            if copies == COPIES:
                return
        raise StoreError(f"{copies} of {COPIES} servers closed silent calls ({'; '.join(faults)}): tried again")

    async def _audit(self, mandate: Mandate) -> None:
        for look in (self._caretaker.recent, self._caretaker.next_older):
            self._tell_mended(await look(), mandate)

    def _tell_mended(self, found: Round, mandate: Mandate) -> None:
        for name in sorted({gap.server for gap in found.gaps} - found.waiting):
            lacked = sorted({str(gap.lack) for gap in found.gaps if gap.server == name})
            self._say(
                Kind.STORE_REPAIRED, mandate, node=name, reason=f"the auditor found that it lacks {', '.join(lacked)}",
                events=found.given.get(name, 0),
            )  # fmt: skip

    def _say(self, kind: Kind, mandate: Mandate, *, node: str, reason: str = "", **details: object) -> None:
        now_us = time_ns() // 1000
        me = self._common.node
        entry = make_entry(
            kind, now_us, node=node, by=me.name, region=me.region, reason=reason, token=mandate.term.token,
            details=details,
        )  # fmt: skip
        self._note(entry)
