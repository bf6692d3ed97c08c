"""What every store does, and the questions about calls, which stand once over any engine that answers SELECT."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any, Final

from everline.calls.event import Event, EventBatch
from everline.calls.kpi import KpiBucket, KpiCounts, Kpis, kpis_of
from everline.calls.record import CallRecord, Outcome, State
from everline.calls.timeout import Patience
from everline.store import queries
from everline.store.answer import Answer
from everline.store.filters import CallFilter, CallPage, FailedTarget, PageKey
from everline.store.reports import MAX_REPORTS, Reports, described, newest_reports
from everline.store.rows import events_of
from everline.store.search import MAX_PAGE, Ask, Search

DEADLINE_S: Final = 10.0
MAX_MESSAGES: Final = 10_000
MAX_STEPS: Final = 5_000


class Store(ABC):
    """
    Where calls and messages are kept. All methods are for the event loop.

    Every question is bounded: in time for each SELECT it takes, and in what it gives back.

    A page and figures say whether a part of the store could not be asked for them; of all else
    `partial_since` tells.
    """

    @abstractmethod
    async def ask(self, sql: str) -> Answer:
        """
        Run one SELECT.

        Raises:
            StoreError: There is no answer, or not in time.
        """

    @abstractmethod
    async def insert(self, batch: EventBatch) -> None:
        """
        Keep events; giving them again changes nothing.

        Raises:
            StoreError: They are not kept, or it is not known; give them again.
        """

    @abstractmethod
    async def drop_before(self, day: date) -> int:
        """Delete all that was captured before a day (UTC); gives how many partitions went."""

    @abstractmethod
    async def close(self) -> None:
        """Wait for what is under way, and let go of all."""

    @property
    def partial_since(self) -> float | None:
        """Since when answers may lack something (epoch seconds); None while they are whole."""
        return None

    async def search(self, wanted: CallFilter, *, limit: int = 100, after: PageKey | None = None) -> CallPage:
        """One page of calls, newest first; at most 1,000."""
        asked = _Asked(self.ask)
        page = await Search(asked, wanted).page(min(max(limit, 1), MAX_PAGE), after)
        return replace(page, partial=asked.partial)

    async def call(self, call_id: str) -> CallRecord | None:
        """The record of one call; None for a Call-ID that has no INVITE."""
        return await Search(self.ask, CallFilter()).record(call_id)

    async def records(self, call_ids: Sequence[str]) -> list[CallRecord]:
        """The records of some calls, newest first; Call-IDs without an INVITE have none."""
        return await Search(self.ask, CallFilter()).records(call_ids)

    async def messages(self, call_id: str, *, limit: int = MAX_MESSAGES) -> list[Event]:
        """The first messages with a Call-ID by capture time, each once, of whatever method and protocol."""
        return events_of(await self.ask(queries.messages(call_id, limit=min(max(limit, 1), MAX_MESSAGES))))

    async def reports(self, since_us: int, until_us: int, *, limit: int = MAX_REPORTS) -> Reports:
        """The newest RTCP of a range over all calls, and what is known of these calls; at most 20,000 packets."""
        asked = _Asked(self.ask)
        found, all_since_us = await newest_reports(asked, since_us, until_us, limit=min(max(limit, 1), MAX_REPORTS))
        about = await described(asked, sorted({one.call_id for one in found}))
        return Reports(found, about, all_since_us, all_since_us > since_us, asked.partial)

    async def kpis(self, since_us: int, until_us: int) -> Kpis:
        """The figures of the calls that began in a range."""
        found = await self._figures(since_us, until_us, step_us=max(until_us - since_us, 1))
        return replace(kpis_of(found.steps.get(0, KpiCounts())), partial=found.partial)

    async def series(self, since_us: int, until_us: int, step_s: int) -> list[KpiBucket]:
        """
        The figures of a range step by step, steps without a call included.

        Raises:
            ValueError: The step is not positive, or there would be more than 5,000 steps.
        """
        step_us = step_s * 1_000_000
        if step_us <= 0 or (until_us - since_us) / step_us > MAX_STEPS:
            raise ValueError(f"a range of {(until_us - since_us) / 1e6:g} s cannot be given in steps of {step_s} s")
        found = await self._figures(since_us, until_us, step_us=step_us)
        figures = (kpis_of(found.steps.get(step, KpiCounts())) for step in range(_steps(since_us, until_us, step_us)))
        return [
            KpiBucket(since_us + step * step_us, replace(one, partial=found.partial))
            for step, one in enumerate(figures)
        ]

    async def top_failures(self, since_us: int, until_us: int, *, limit: int = 10) -> list[FailedTarget]:
        """Destinations that calls of a range failed to reach, most often first."""
        answer = await self.ask(queries.top_failures(since_us, until_us, limit=min(max(limit, 1), MAX_PAGE)))
        return [FailedTarget(*row) for row in answer.rows("callee", "status", "calls")]

    async def stale(self, patience: Patience, *, since_us: int, now_us: int, limit: int = MAX_PAGE) -> list[CallRecord]:
        """
        Calls that began at `since_us` or later, have not ended, and whose patience is over; longest silent first.

        What is newer is read as well, so keep `since_us` recent.
        """
        answer = await self.ask(queries.open_calls(patience, since_us, now_us, limit=min(max(limit, 1), MAX_PAGE)))
        found = {one.call_id: one for one in await self.records(answer.column("call_id"))}
        silent = (found[call_id] for call_id in answer.column("call_id") if call_id in found)
        return [one for one in silent if one.state is not State.ENDED and patience.deadline_us(one) <= now_us]

    async def _figures(self, since_us: int, until_us: int, *, step_us: int) -> "_Figures":
        if until_us <= since_us:
            return _Figures()
        answer = await self.ask(queries.figures(since_us, until_us, step_us=step_us))
        return _Figures({row["step"]: _counts(row) for row in answer.named()}, answer.partial)


def is_over(partition: str, day: date) -> bool:
    """Whether all of a partition lies before a day; a look-up lives until its whole week is over."""
    last = date.fromisoformat(partition) + timedelta(days=0 if partition.isdigit() else 6)
    return last < day


@dataclass
class _Asked:
    """Asks, and remembers whether any answer was partial."""

    ask: Ask
    partial: bool = False

    async def __call__(self, sql: str) -> Answer:
        answer = await self.ask(sql)
        self.partial = self.partial or answer.partial
        return answer


@dataclass(frozen=True, slots=True)
class _Figures:
    steps: Mapping[int, KpiCounts] = field(default_factory=dict)
    partial: bool = False


def _steps(since_us: int, until_us: int, step_us: int) -> int:
    return math.ceil((until_us - since_us) / step_us)


def _counts(row: Mapping[str, Any]) -> KpiCounts:  # a row of queries.figures
    codes, calls = row["statuses"]
    pdd, srd = (_seconds(row[name], of=row[f"with_{name}"]) for name in ("pdd", "srd"))
    return KpiCounts(
        attempts=row["attempts"],
        answered=row["with_answer"],
        challenged=row["challenged"],
        abandoned_ringing=row["abandoned_ringing"],
        outcomes={outcome.value: row[outcome] for outcome in Outcome if row[outcome]},
        statuses=dict(zip(codes, calls, strict=True)),
        talks=row["talks"],
        talk_s=row["all_talk_us"] / 1e6,
        pdd_p50_s=pdd[0],
        pdd_p95_s=pdd[1],
        srd_p50_s=srd[0],
        srd_p95_s=srd[1],
    )


def _seconds(quantiles_us: Sequence[float], *, of: int) -> list[float | None]:
    """Of no calls the engines give zeros."""
    return [one / 1e6 if of else None for one in quantiles_us]
