"""Call flows as the bus sees them, and short words for giving them to one and hearing what it told."""

from collections.abc import Iterable, Sequence
from typing import Final

from everline.bus.live import LiveBus, Position
from everline.bus.transition import ANSWER, CREATE, HANGUP, RINGING, Transition
from everline.calls.event import Event, EventBatch
from everline.calls.facts import facts_of
from everline.calls.record import State, is_challenge, record_of

ANSWERED: Final = "0 A>B INVITE\n1 B>A 180\n5 B>A 200\n5.1 A>B ACK\n60 A>B BYE\n60.1 B>A 200/BYE"
REFUSED: Final = "0 A>B INVITE\n0.1 B>A 100\n1 B>A 180\n9 B>A 486\n9.1 A>B ACK"
CANCELLED: Final = "0 A>B INVITE\n1 B>A 180\n9 A>B CANCEL\n9.1 B>A 200/CANCEL\n9.2 B>A 487"
CHALLENGED: Final = (
    "0 A>P INVITE\n0.1 P>A 407 tag=p\n0.2 A>P ACK tag=p\n0.3 A>P INVITE cseq=2\n1 P>A 180 cseq=2\n"
    "5 P>A 200 cseq=2\n60 B>A BYE"
)
FORKED: Final = (
    "0 A>P INVITE\n0.1 P>B INVITE\n0.1 P>C INVITE\n1 B>P 180\n1.1 P>A 180 tag=b\n3 B>P 486\n"
    "5 C>P 200\n5.1 P>A 200 tag=c\n60 A>C BYE"
)
TIMED_OUT: Final = "0 A>B INVITE\n1 B>A 180\n301 A>B TIMEOUT"
FLOWS: Final = {
    "answered": ANSWERED, "refused": REFUSED, "cancelled": CANCELLED,
    "challenged": CHALLENGED, "forked": FORKED, "timed-out": TIMED_OUT,
}  # fmt: skip


async def give(bus: LiveBus, events: Sequence[Event], *, at_us: int | None = None) -> None:
    """Insert one batch, received when it was captured unless told otherwise."""
    if at_us is not None:
        events = [one._replace(received_us=at_us) for one in events]
    await bus.insert(EventBatch.of(events))


async def transitions(bus: LiveBus, since: Position) -> list[Transition]:
    """All that a bus told after a position."""
    found: list[Transition] = []
    while news := await bus.transitions_after(since):
        found += news
        since = Position(since.epoch, news[-1].stream_id)
    return found


async def told(bus: LiveBus, since: Position, call_id: str = "") -> list[str]:
    """Types of these transitions, or of those of one call, in order."""
    return [one.event_type for one in await transitions(bus, since) if call_id in {"", one.call_id}]


def steps_of(events: Iterable[Event]) -> set[str]:
    """What must be told of a call once all of it was seen."""
    record = record_of("x", facts_of(events))
    steps = {CREATE: True, RINGING: record.ringing_us, ANSWER: record.answered_us}
    steps[HANGUP] = record.state is State.ENDED and not is_challenge(record)
    return {name for name, is_reached in steps.items() if is_reached}
