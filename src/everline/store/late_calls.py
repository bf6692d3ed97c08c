"""The facts of late calls, out of their messages: what live state is rebuilt from when Redis has lost it."""

# ruff: noqa: S608 - SQL is made here; values become text in `literals` alone.

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from typing import Final

from everline.calls.event import Event
from everline.calls.facts import Facts, facts_of
from everline.store import queries
from everline.store.literals import texts
from everline.store.rows import events_of
from everline.store.schema import DATABASE, IS_CALL_EVENT
from everline.store.search import Ask

CALLS_AT_ONCE: Final = 200
MESSAGES_A_CALL: Final = 200
"""Of a call with more, the first ones; its next message brings the rest of what matters."""


async def late_calls(ask: Ask, since_us: int, *, ended_since_us: int, limit: int) -> AsyncIterator[tuple[str, Facts]]:
    """
    Calls that began at `since_us` or later and go on or ended late: Call-ID and facts, longest silent first.

    Raises:
        StoreError: The store can't be asked.
    """
    answer = await ask(queries.late_calls(since_us, ended_since_us, limit=limit))
    call_ids = answer.column("call_id")
    for start in range(0, len(call_ids), CALLS_AT_ONCE):
        for one in await _facts(ask, call_ids[start : start + CALLS_AT_ONCE]):
            yield one


async def _facts(ask: Ask, call_ids: Sequence[str]) -> list[tuple[str, Facts]]:
    answer = await ask(
        f"SELECT {', '.join(Event._fields)} FROM {DATABASE}.messages WHERE call_id IN {texts(call_ids)} "
        f"AND {IS_CALL_EVENT} ORDER BY call_id, captured_us, event_key LIMIT {MESSAGES_A_CALL} BY call_id"
    )
    by_call: defaultdict[str, list[Event]] = defaultdict(list)
    for event in events_of(answer):
        by_call[event.call_id].append(event)
    return [(call_id, facts_of(events)) for call_id, events in by_call.items()]
