"""The bus of a single process: live calls merged in memory, their transitions in a bounded stream."""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from heapq import nlargest
from typing import Any, Final
from uuid import uuid4

from everline.bus.live import LiveCounts, Position
from everline.bus.steps import LINGER_US, STRAY_US, WHO, bound, event_id, progress, steps
from everline.bus.transition import Transition
from everline.calls.event import EventBatch
from everline.calls.facts import NOTHING, absorb, freeze, is_call_event
from everline.calls.record import CallRecord, State, record_of

SWEEP_EVERY_US: Final = 5 * 1_000_000


@dataclass(slots=True)
class _LiveCall:
    """One call as far as it is known here, and which of its steps were told."""

    values: list[Any] = field(default_factory=lambda: list(NOTHING))
    touched_us: int = 0
    told: set[str] = field(default_factory=set)
    progress: tuple[Any, ...] = ()
    record: CallRecord | None = None


class MemoryBus:
    """
    Live state and its transitions, in this process.

    Bounded: beyond `max_calls` the calls longest without a message are forgotten (counted in `evicted`), ended ones
    first; beyond `max_transitions` the oldest transitions are. The store has them all.
    """

    def __init__(self, *, max_calls: int = 50_000, max_transitions: int = 10_000) -> None:
        self._epoch = uuid4().hex[:12]
        self._last_id = 0
        self._evicted = 0
        self._max_calls = max_calls
        self._calls: dict[str, _LiveCall] = {}
        self._transitions: deque[Transition] = deque(maxlen=max_transitions)
        self._news = asyncio.Event()
        self._swept_us = 0

    @property
    def counts(self) -> LiveCounts:
        """What was counted so far."""
        return LiveCounts(sum(map(_is_live, self._calls.values())), self._last_id, self._evicted)

    async def insert(self, batch: EventBatch) -> None:
        """Merge a batch into live state and publish what it changed; giving it twice changes nothing more."""
        touched: dict[str, _LiveCall] = {}
        now_us = self._swept_us
        for event in batch.events():
            if not is_call_event(event):
                continue
            call = self._calls.get(event.call_id)
            if call is None:
                call = self._calls[event.call_id] = _LiveCall()
            absorb(call.values, event)
            call.touched_us = now_us = event.received_us
            touched[event.call_id] = call
        before = self._last_id
        for call_id, call in touched.items():
            bound(call.values)
            self._tell(call_id, call)
        if self._last_id > before:
            self._wake()
        if now_us - self._swept_us >= SWEEP_EVERY_US or len(self._calls) > self._max_calls:
            self._sweep(now_us)

    async def live(self, limit: int = 1000) -> list[CallRecord]:
        """Calls in progress, newest first, at most `limit`."""
        going_on = [
            (call.record.start_us, call_id) for call_id, call in self._calls.items() if call.record and _is_live(call)
        ]
        newest = nlargest(limit, going_on)
        return [record_of(call_id, freeze(self._calls[call_id].values)) for _, call_id in newest]

    async def in_progress(self) -> int:
        """How many calls are in progress."""
        return self.counts.in_progress

    async def position(self) -> Position:
        """Where the stream is now."""
        return Position(self._epoch, str(self._last_id))

    async def transitions_after(self, position: Position) -> list[Transition] | None:
        """Transitions that came after one position, oldest first; None if some of them are no longer kept."""
        if not self._has_been_at(position):
            return None
        missing = self._last_id - int(position.stream_id)
        if missing > len(self._transitions):
            return None
        return list(self._transitions)[len(self._transitions) - missing :]

    async def wait(self, after: Position, timeout_s: float) -> None:
        """Return when there is a transition after a position, or when time is up."""
        if not self._has_been_at(after) or self._last_id > int(after.stream_id):
            return
        try:
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        except TimeoutError:
            return

    async def close(self) -> None:
        """Wake who waits."""
        self._wake()

    def _has_been_at(self, position: Position) -> bool:
        is_ours = position.epoch == self._epoch and position.stream_id.isdigit()
        return is_ours and int(position.stream_id) <= self._last_id

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    def _tell(self, call_id: str, call: _LiveCall) -> None:
        reached = progress(call.values)
        if reached == call.progress or call.values[WHO] is None:
            return
        call.progress = reached
        record = call.record = record_of(call_id, freeze(call.values))
        for event_type, at_us in steps(record):
            if event_type not in call.told:
                call.told.add(event_type)
                self._last_id += 1
                told = Transition(str(self._last_id), event_type, event_id(call_id, event_type), at_us / 1e6, record)
                self._transitions.append(told)

    def _sweep(self, now_us: int) -> None:
        self._swept_us = now_us
        for call_id in [key for key, call in self._calls.items() if now_us - call.touched_us > _keep_us(call)]:
            del self._calls[call_id]
        surplus = len(self._calls) - self._max_calls
        if surplus > 0:
            by_age = sorted(self._calls, key=lambda key: (_is_live(self._calls[key]), self._calls[key].touched_us))
            # A tenth more than needed, so that a flood does not sort all calls for every batch.
            for call_id in by_age[: surplus + self._max_calls // 10]:
                del self._calls[call_id]
                self._evicted += 1


def _is_live(call: _LiveCall) -> bool:
    return call.record is not None and call.record.state is not State.ENDED


def _keep_us(call: _LiveCall) -> float:
    if call.record is None:
        return STRAY_US
    return LINGER_US if call.record.state is State.ENDED else float("inf")
