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
CHUNK: Final = 2000
"""So many calls are asked about at a time."""
PATIENCE_S: Final = 2.0
"""After that long no older days are looked at."""


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
    """The newest reports of a range, newest first, and from when on they are all there."""
    found: list[Event] = []
    patient_until = time.monotonic() + PATIENCE_S
    for low_us, high_us in _spans(since_us, until_us):
        wanted = limit - len(found)
        [(count, first_us)] = (await ask(queries.newest_reports(low_us, high_us, limit=wanted + 1))).rows()
        is_full = count > wanted
        if count:
            # Twice as many: a packet may be there more than once until the engine has merged its parts.
            rows = await ask(queries.reports(first_us if is_full else low_us, high_us, limit=2 * wanted + 2))
            found += events_of(rows)[: wanted + 1]
        if len(found) > limit:
            return found[:limit], found[limit].captured_us + 1
        if is_full or time.monotonic() > patient_until:
            return found, first_us if is_full else low_us
    return found, since_us


async def described(ask: Ask, call_ids: Sequence[str]) -> dict[str, list[Described]]:
    """What is known of some calls."""
    found: dict[str, list[Described]] = {}
    for start in range(0, len(call_ids), CHUNK):
        rows = await ask(queries.described(call_ids[start : start + CHUNK]))
        for call_id, *values in rows.rows("call_id", "status", "codecs", "from_user", "to_user"):
            found.setdefault(call_id, []).append(Described(*values))
    return found


def _spans(since_us: int, until_us: int) -> Iterator[tuple[int, int]]:
    """A range in parts, newest first: a day, two days, four … so that a long one has few."""
    high_us, span_us = until_us, DAY_US
    while high_us > since_us:
        low_us = max(high_us - span_us, since_us)
        yield low_us, high_us
        high_us, span_us = low_us, span_us * 2
