"""Which hours to look at, when to mend, and how the whole store is brought back into order."""

import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import time
from typing import Final

from everline.store.errors import StoreError
from everline.store.schema import HOUR_US
from everline.store.servers import Server
from everline.store.upkeep import questions
from everline.store.upkeep.audit import DEADLINE_S, Gap, ShardAuditor
from everline.store.upkeep.questions import Slice

log = logging.getLogger(__name__)

SETTLE_S: Final = 20.0
"""Messages received since then may still be on their way between replicas."""
RECENT_HOURS: Final = 2
HOURS_A_DAY: Final = 24


@dataclass(frozen=True, slots=True)
class Round:
    """
    What one look at some hours found.

    Attributes:
        gaps: What was missing, before it was mended.
        given: How many messages each server was given.
        waiting: Servers that lack something and are still catching up by themselves; they were left alone.
        unasked: Servers that did not answer, and why.
    """

    gaps: tuple[Gap, ...]
    given: Mapping[str, int]
    waiting: frozenset[str]
    unasked: Mapping[str, str]


class Caretaker:
    """
    Looks at the copies of every shard and mends what they lack.

    Args:
        shards: The servers of each.
        clock: Epoch seconds.
    """

    def __init__(self, shards: Mapping[int, Sequence[Server]], *, clock: Callable[[], float] = time) -> None:
        self._servers = {server.name: server for servers in shards.values() for server in servers}
        self._auditors = [ShardAuditor(servers) for servers in shards.values()]
        self._clock = clock
        self._older: AsyncIterator[int] | None = None

    async def recent(self) -> Round:
        """The last two hours; and everything, when they lack something: it need not be all that does."""
        now = self._hour()
        found = await self._look(Slice(now - RECENT_HOURS + 1, now, self._settled_us()))
        if not found.gaps or found.waiting:
            return found
        return _joined([found, await self.everything()])

    async def next_older(self) -> Round:
        """One older hour more, the next one each time, in turn."""
        if self._older is None:
            self._older = self._older_hours()
        try:
            hour = await anext(self._older)
        except StopAsyncIteration:
            self._older = None
            return _joined([])
        return await self._look(Slice(hour, hour, self._settled_us()))

    async def everything(self) -> Round:
        """Every hour of which any server has messages."""
        return _joined([await self._look(Slice(hour, hour, self._settled_us())) async for hour in self._hours()])

    async def _look(self, part: Slice) -> Round:
        rounds = [await self._look_at_shard(auditor, part) for auditor in self._auditors]
        return _joined(rounds)

    async def _look_at_shard(self, auditor: ShardAuditor, part: Slice) -> Round:
        audit = await auditor.look(part)
        waiting = frozenset({name for name in {gap.server for gap in audit.gaps} if await self._is_catching_up(name)})
        mendable = [gap for gap in audit.gaps if gap.server not in waiting]
        # Without an answer from every copy nobody knows what is missing where.
        given = await auditor.mend(mendable, part.settled_us) if mendable and not audit.unasked else {}
        return Round(audit.gaps, given, waiting, audit.unasked)

    async def _is_catching_up(self, name: str) -> bool:
        answer = await self._servers[name].select(questions.replicas(), limit_s=DEADLINE_S)
        return any(readonly or queue for readonly, queue in answer.rows("readonly", "queue"))

    async def _hours(self) -> AsyncIterator[int]:
        for day in await self._days():
            for hour in range(day * HOURS_A_DAY, (day + 1) * HOURS_A_DAY):
                yield hour

    async def _older_hours(self) -> AsyncIterator[int]:
        async for hour in self._hours():
            if hour <= self._hour() - RECENT_HOURS:
                yield hour

    async def _days(self) -> list[int]:
        found: set[int] = set()
        for server in self._servers.values():
            try:
                answer = await server.select(questions.days(), limit_s=DEADLINE_S)
            except StoreError as fault:
                log.info("store.not_audited", extra={"server": server.name, "why": str(fault)})
                continue
            found.update(map(_day_number, answer.column("partition")))
        return sorted(found, reverse=True)

    def _hour(self) -> int:
        return int(self._clock() * 1_000_000) // HOUR_US

    def _settled_us(self) -> int:
        return int((self._clock() - SETTLE_S) * 1_000_000)


def _joined(rounds: Sequence[Round]) -> Round:
    given: dict[str, int] = {}
    unasked: dict[str, str] = {}
    for one in rounds:
        unasked.update(one.unasked)
        for name, events in one.given.items():
            given[name] = given.get(name, 0) + events
    gaps = tuple(gap for one in rounds for gap in one.gaps)
    return Round(gaps, given, frozenset().union(*(one.waiting for one in rounds)), unasked)


def _day_number(partition: str) -> int:
    """Days since the epoch."""
    return (datetime.strptime(partition, "%Y%m%d").replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).days
