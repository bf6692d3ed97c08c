"""How the RTCP of a range is looked up, over all calls: the newest first, and never more than so many packets."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from everline.calls.agreed import Described
from everline.calls.event import Event
from everline.store import queries
from everline.store.rows import events_of
from everline.store.schema import DAY_US
from everline.store.search import Ask

MAX_REPORTS: Final = 20_000
PAGE: Final = 5000
"""So many packets are read at a time: each has up to 8 KiB."""
MAX_BYTES: Final = 16 << 20
"""With so much read no more is: real reports have a few hundred bytes."""
CHUNK: Final = 2000
"""So many calls are asked about at a time."""
PATIENCE_S: Final = 2.0
"""After that long no older packets are looked for."""


@dataclass(frozen=True, slots=True)
class Reports:
    """
    RTCP of a range, and what is known of the calls that it belongs to.

    Attributes:
        events: Newest first.
        described: By Call-ID, what session descriptions of the call say.
        since_us: From when on all reports are there, epoch microseconds.
        is_cut: That is later than was asked for: there are more, or looking further would have taken too long.
        partial: A part of the store could not be asked.
    """

    events: Sequence[Event] = ()
    described: Mapping[str, Sequence[Described]] = field(default_factory=dict)
    since_us: int = 0
    is_cut: bool = False
    partial: bool = False


async def newest_reports(ask: Ask, since_us: int, until_us: int, *, limit: int) -> tuple[list[Event], int]:
    """
    The newest reports of a range, newest first, and from when on they are all there.

    No more than `limit`, nor much more than `MAX_BYTES`, nor what takes longer than `PATIENCE_S` to find.
    """
    found: list[Event] = []
    patient_until = time.monotonic() + PATIENCE_S
    for low_us, high_us in _spans(since_us, until_us):
        from_us = high_us
        while from_us > low_us:
            if len(found) >= limit:
                return found, from_us
            events, reached_us = await _page(ask, low_us, from_us, limit=min(limit - len(found), PAGE))
            found += events
            # One moment may hold more than a page: the rest of it is left out.
            if reached_us == from_us or _bytes(found) > MAX_BYTES or time.monotonic() > patient_until:
                return found, reached_us
            from_us = reached_us
    return found, since_us


async def _page(ask: Ask, low_us: int, high_us: int, *, limit: int) -> tuple[list[Event], int]:
    """The newest reports before a time, and from when on they are all there."""
    [(count, first_us)] = (await ask(queries.newest_reports(low_us, high_us, limit=limit + 1))).rows()
    from_us = low_us if count <= limit else first_us + 1
    if not count:
        return [], low_us
    # Twice as many: a packet may be there more than once until the engine has merged its parts.
    rows = await ask(queries.reports(min(from_us, high_us - 1), high_us, limit=2 * limit))
    return events_of(rows)[:limit], from_us


async def described(ask: Ask, call_ids: Sequence[str]) -> dict[str, list[Described]]:
    """What is known of some calls."""
    found: dict[str, list[Described]] = {}
    for start in range(0, len(call_ids), CHUNK):
        rows = await ask(queries.described(call_ids[start : start + CHUNK]))
        for call_id, *values in rows.rows("call_id", "status", "codecs"):
            found.setdefault(call_id, []).append(Described(*values))
    return found


def _bytes(events: Sequence[Event]) -> int:
    return sum(len(one.payload) for one in events)


def _spans(since_us: int, until_us: int) -> Iterator[tuple[int, int]]:
    """A range in parts, newest first: a day, two days, four … so that a long one has few."""
    high_us, span_us = until_us, DAY_US
    while high_us > since_us:
        low_us = max(high_us - span_us, since_us)
        yield low_us, high_us
        high_us, span_us = low_us, span_us * 2
