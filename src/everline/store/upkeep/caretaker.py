"""Which hours to look at, when to mend, and how the whole store is brought back into order."""

import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import time
from typing import Any, Final

from everline.store.errors import StoreError
from everline.store.schema import HOUR_US
from everline.store.servers import Server
from everline.store.upkeep import questions
from everline.store.upkeep.audit import DEADLINE_S, Gap, Lack, ShardAuditor
from everline.store.upkeep.questions import Slice

log = logging.getLogger(__name__)

SETTLE_S: Final = 20.0
"""Messages received since then may still be on their way between replicas."""
RECENT_HOURS: Final = 2


@dataclass(frozen=True, slots=True)
class Round:
    """
    What one look at some hours found.

    Attributes:
        gaps: What was missing, before it was mended.
        given: How many messages each server was given.
        waiting: Servers that are catching up by themselves with what they lack; they were left alone.
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
        self._unasked: dict[str, str] = {}
        self._seen: dict[tuple[str, Lack, int], Gap] = {}

    async def recent(self) -> Round:
        """The last two hours; and everything, when they lack something: it need not be all that does."""
        now = self._hour()
        found = await self._look(Slice(now - RECENT_HOURS + 1, now, self._settled_us()))
        if not found.gaps or found.waiting:
            return found
        return _joined([found, await self.everything()])

    async def next_older(self) -> Round:
        """One older hour more, the next one each time, in turn; after the last one the first again."""
        for _ in range(2):
            self._older = self._older or self._older_hours()
            async for hour in self._older:
                return await self._look(Slice(hour, hour, self._settled_us()))
            self._older = None
        return _joined([])

    async def everything(self) -> Round:
        """Every hour of which any server has messages; a server that does not tell of which it has any is unasked."""
        hours, unasked = await self._hours()
        rounds = [await self._look(Slice(hour, hour, self._settled_us())) for hour in hours]
        return _joined([Round((), {}, frozenset(), unasked), *rounds])

    async def _look(self, part: Slice) -> Round:
        rounds = [await self._look_at_shard(auditor, part) for auditor in self._auditors]
        return _joined(rounds)

    async def _look_at_shard(self, auditor: ShardAuditor, part: Slice) -> Round:
        audit = await auditor.look(part)
        self._tell_unasked(auditor, audit.unasked)
        waiting = await self._waiting(audit.gaps)
        self._remember(auditor, part, audit.gaps)
        mendable = [gap for gap in audit.gaps if gap.server not in waiting]
        # Without an answer from every copy nobody knows what is missing where.
        given = await auditor.mend(mendable, part.settled_us) if mendable and not audit.unasked else {}
        return Round(audit.gaps, given, waiting, audit.unasked)

    def _tell_unasked(self, auditor: ShardAuditor, unasked: Mapping[str, str]) -> None:
        """Once for each reason: what can't be compared may lack anything."""
        for name in auditor.servers:
            why = unasked.get(name, "")
            if why and why != self._unasked.get(name):
                log.warning("store.not_audited", extra={"server": name, "why": why})
            self._unasked[name] = why

    async def _waiting(self, gaps: Sequence[Gap]) -> frozenset[str]:
        """
        Servers whose gaps were not there at the last look, or are smaller now, and which have something to fetch.

        Having something to fetch is not enough: under a steady load a server always has, and one that lost its parts
        may wait for ever for some that nobody else has.
        """
        stuck = {gap.server for gap in gaps if (seen := self._seen.get(_where(gap))) and seen.events <= gap.events}
        return frozenset({name for name in {gap.server for gap in gaps} - stuck if await self._is_catching_up(name)})

    def _remember(self, auditor: ShardAuditor, part: Slice, gaps: Sequence[Gap]) -> None:
        for where in [one for one in self._seen if one[0] in auditor.servers and part.low <= one[2] <= part.high]:
            del self._seen[where]
        self._seen.update((_where(gap), gap) for gap in gaps)

    async def _is_catching_up(self, name: str) -> bool:
        answer = await self._servers[name].select(questions.replicas(), limit_s=DEADLINE_S)
        return any(readonly or fetches for readonly, fetches in answer.rows("readonly", "fetches"))

    async def _older_hours(self) -> AsyncIterator[int]:
        hours, _ = await self._hours()
        for hour in hours:
            if hour <= self._hour() - RECENT_HOURS:
                yield hour

    async def _hours(self) -> tuple[list[int], dict[str, str]]:
        """Hours of which any server has messages, the latest day's first; and the servers that did not answer."""
        days, unasked = await self._found(questions.days(), "partition")
        hours: list[int] = []
        for day in sorted(map(_day_number, days), reverse=True):
            found, silent = await self._found(questions.hours_of(day), "hour")
            hours += sorted(found)
            unasked |= silent
        return hours, unasked

    async def _found(self, sql: str, column: str) -> tuple[set[Any], dict[str, str]]:  # whatever the column holds
        """What any server has in a column of its answer; and the servers that did not answer."""
        found, unasked = set[Any](), dict[str, str]()
        for server in self._servers.values():
            try:
                answer = await server.select(sql, limit_s=DEADLINE_S)
            except StoreError as fault:
                log.info("store.not_audited", extra={"server": server.name, "why": str(fault)})
                unasked[server.name] = str(fault)
                continue
            found.update(answer.column(column))
        return found, unasked

    def _hour(self) -> int:
        return int(self._clock() * 1_000_000) // HOUR_US

    def _settled_us(self) -> int:
        return int((self._clock() - SETTLE_S) * 1_000_000)


def _where(gap: Gap) -> tuple[str, Lack, int]:
    return gap.server, gap.lack, gap.hour


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
