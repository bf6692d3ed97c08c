"""What somebody has to do regularly: close silent calls, drop old days. In a single process, the process itself."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from itertools import count
from time import time_ns
from typing import Final

from everline.calls.event import EventBatch
from everline.calls.timeout import Patience, timeout_event
from everline.errors import EverlineError
from everline.ingest.lane import EventSink
from everline.store.store import Store

log = logging.getLogger(__name__)

STALE_EVERY_S: Final = 30.0
RETENTION_EVERY_S: Final = 3600.0
LOOK_BACK_US: Final = 8 * 86_400 * 1_000_000
"""Calls that began longer ago are not looked for: the longest patience that can be configured is seven days."""
RECENT_US: Final = 2 * 3600 * 1_000_000
RECENT_TIMES: Final = 20
"""So often only calls that began lately are looked at, then once all: to read days of calls takes seconds."""


def look_back_us(turn: int) -> int:
    """How far silent calls are looked for, the how manieth time."""
    return RECENT_US if turn % RECENT_TIMES else LOOK_BACK_US


async def close_silent_calls(
    store: Store, bus: EventSink, patience: Patience, *, node: str, back_us: int = LOOK_BACK_US
) -> int:
    """Give up the calls that were silent for too long; how many."""
    now_us = time_ns() // 1000
    silent = await store.stale(patience, since_us=now_us - back_us, now_us=now_us)
    made = (timeout_event(record, patience, now_us=now_us, node=node) for record in silent)
    if events := [event for event in made if event]:
        batch = EventBatch.of(events)
        await store.insert(batch)
        await bus.insert(batch)
        log.info("calls.closed_silent", extra={"calls": len(events)})
    return len(events)


async def drop_old_days(store: Store, *, retention_days: int) -> int:
    """Delete what is older than the retention; how many partitions went."""
    dropped = await store.drop_before((datetime.now(UTC) - timedelta(days=retention_days)).date())
    if dropped:
        log.info("store.dropped_old_days", extra={"partitions": dropped})
    return dropped


async def repeat_duties(store: Store, bus: EventSink, patience: Patience, *, retention_days: int, node: str) -> None:
    """Do both for ever, each in its own rhythm; a duty that fails is tried again the next time."""
    next_retention_s = 0.0
    for turn in count():
        try:
            await close_silent_calls(store, bus, patience, node=node, back_us=look_back_us(turn))
            if asyncio.get_running_loop().time() >= next_retention_s:
                await drop_old_days(store, retention_days=retention_days)
                next_retention_s = asyncio.get_running_loop().time() + RETENTION_EVERY_S
        except EverlineError as fault:
            log.warning("duties.failed", extra={"why": str(fault)})
        await asyncio.sleep(STALE_EVERY_S)
