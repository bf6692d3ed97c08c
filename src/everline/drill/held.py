"""What a store holds of a run, read through the same queries that the pages use."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from everline.calls.event import SYNTHETIC, Event
from everline.calls.record import CallRecord
from everline.drill.traffic import run_prefix
from everline.store.filters import CallFilter, PageKey
from everline.store.literals import number, pattern, text
from everline.store.rows import events_of
from everline.store.schema import DATABASE
from everline.store.search import MAX_PAGE, Ask, Search

MESSAGES: Final = f"{DATABASE}.messages"
OWN_MESSAGES: Final = f"{DATABASE}.messages_local"
"""What one server of a cluster has itself: can be asked whoever else is away."""

Key = tuple[str, int]
"""Call-ID and event key: what makes two rows one event."""


@dataclass(frozen=True, slots=True)
class Held:
    """
    What is there of a run.

    Attributes:
        times: The capture times under which each event is kept, after merging: more than one is a double.
        synthetic: Events that Everline made itself, for calls that it gave up.
        records: The call records, by Call-ID.
    """

    times: Mapping[Key, frozenset[int]]
    synthetic: tuple[Event, ...]
    records: Mapping[str, CallRecord]


async def read_times(ask: Ask, run: str) -> dict[Key, frozenset[int]]:
    """Every captured event of a run that is stored, each with its capture times."""
    answer = await ask(
        f"SELECT DISTINCT call_id, event_key, captured_us FROM {MESSAGES} "  # noqa: S608 - `literals` makes the values
        f"WHERE {_of(run)} AND protocol != {SYNTHETIC}"
    )
    found: defaultdict[Key, set[int]] = defaultdict(set)
    for call_id, event_key, captured_us in answer.rows("call_id", "event_key", "captured_us"):
        found[call_id, event_key].add(captured_us)
    return {key: frozenset(times) for key, times in found.items()}


async def read_held(ask: Ask, run: str, *, since_us: int) -> Held:
    """
    All that is there of a run.

    Args:
        ask: Runs one SELECT.
        run: The run's name.
        since_us: When its first call began, or before.
    """
    times = await read_times(ask, run)
    fields = ", ".join(Event._fields)
    own = f"SELECT {fields} FROM {MESSAGES} WHERE {_of(run)} AND protocol = {SYNTHETIC}"  # noqa: S608 - as above
    synthetic = {(one.call_id, one.event_key): one for one in events_of(await ask(own))}
    return Held(times, tuple(synthetic.values()), await _records(ask, run, since_us))


async def stored_since(ask: Ask, run: str, moment_us: int, *, table: str = MESSAGES) -> dict[str, int]:
    """How many events captured after a moment are stored, by the ingest node that took them."""
    answer = await ask(
        f"SELECT node, count() AS events FROM {table} "  # noqa: S608 - as above
        f"WHERE {_of(run)} AND captured_us > {number(moment_us)} AND protocol != {SYNTHETIC} GROUP BY node"
    )
    return dict(answer.rows("node", "events"))


def _of(run: str) -> str:
    return f"call_id LIKE {text(pattern(run_prefix(run)) + '%')}"


async def _records(ask: Ask, run: str, since_us: int) -> dict[str, CallRecord]:
    """Every call of the run, page by page as a person would."""
    search, found, after = Search(ask, CallFilter(since_us=since_us)), dict[str, CallRecord](), None
    while True:
        page = await search.page(MAX_PAGE, after)
        found.update({one.call_id: one for one in page.records if one.call_id.startswith(run_prefix(run))})
        after = _moved(after, page.next)
        if after is None:
            return found


def _moved(before: PageKey | None, after: PageKey | None) -> PageKey | None:
    """Where to go on; a page that leads to itself would be read for ever."""
    if after is not None and after == before:
        raise ValueError(f"the search does not move on from {after.text()}")
    return after
