"""The steps that a call comes through, and what must change for it to come further: the same for every bus."""

from heapq import nlargest, nsmallest
from typing import Any, Final

from xxhash import xxh3_64_hexdigest

from everline.bus.transition import ANSWER, CREATE, HANGUP, RINGING
from everline.calls.facts import FACTS, Law, index_of
from everline.calls.record import CallRecord, is_challenge

LINGER_US: Final = 120 * 1_000_000
"""How long an ended call stays known: late and repeated messages of it must not look like a new call."""
STRAY_US: Final = 32 * 1_000_000
"""How long messages without an INVITE stay known: no SIP transaction lasts longer (RFC 3261 s.17: timers B, F)."""
MAX_MEMBERS: Final = 1_000
"""Members kept of a fact that is a set: some devices ping for ever with one Call-ID. The store counts them all."""

PROGRESS_SINGLE: Final = ("who", "ringing_us", "answer", "bye", "timeout_us", "attempt")
PROGRESS_SETS: Final = ("failures", "cancels")
"""The facts that decide about steps; besides, a call speaks again when it has messages after its timeout."""

WHO: Final = index_of("who")
KEYS: Final = index_of("event_keys")
LAST: Final = index_of("last_us")
TIMEOUT: Final = index_of("timeout_us")
_SINGLE: Final = tuple(map(index_of, PROGRESS_SINGLE))
_SETS: Final = tuple(map(index_of, PROGRESS_SETS))
_CANCELS: Final = index_of("cancels")
_UNIONS: Final = tuple(index for index, fact in enumerate(FACTS) if fact.law is Law.UNION)


def progress(values: list[Any]) -> tuple[Any, ...]:
    """What must change for a call to come a step further; the record is made anew only then."""
    is_revived = (values[LAST] or 0) >= (values[TIMEOUT] or 0)
    return (*[values[index] for index in _SINGLE], *[len(values[index] or ()) for index in _SETS], is_revived)


def bound(values: list[Any]) -> None:
    """Keep a call small that has more messages than a call can have; its first cancel and its last failures stay."""
    if len(values[KEYS] or ()) <= MAX_MEMBERS:
        return
    for index in _UNIONS:
        if len(values[index] or ()) > MAX_MEMBERS:
            values[index] = set(kept(index, values[index]))


def kept(index: int, members: set[Any]) -> list[Any]:
    """The members that stay when there are too many of one fact."""
    keep = nsmallest if index == _CANCELS else nlargest
    return keep(MAX_MEMBERS, members)


def steps(record: CallRecord) -> list[tuple[str, int]]:
    """The steps that a call has come through, with the time of each."""
    found = [(CREATE, record.start_us)]
    if record.ringing_us:
        found.append((RINGING, record.ringing_us))
    if record.answered_us:
        found.append((ANSWER, record.answered_us))
    if record.ended_us and not is_challenge(record):
        found.append((HANGUP, record.ended_us))
    return found


def event_id(call_id: str, event_type: str) -> str:
    """The same for one step of one call, whoever tells it."""
    return xxh3_64_hexdigest(f"{call_id}\n{event_type}".encode(errors="surrogatepass"))
