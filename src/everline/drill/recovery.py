"""How long something took to come back, and what an ingest node that is killed may take with it."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from everline.drill.held import MESSAGES, OWN_MESSAGES, stored_since
from everline.errors import EverlineError
from everline.store.errors import StoreError
from everline.store.search import Ask

LOOK_EVERY_S: Final = 0.1
PATIENCE: Final = 3.0
"""So many deadlines: what is late is told with its time, and what never comes ends the waiting."""

Probe = Callable[[], Awaitable[bool]]
"""Whether what was waited for has come."""


class NotRecoveredError(EverlineError):
    """What should have come back did not."""

    def __init__(self, what: str, within_s: float) -> None:
        super().__init__(f"not within {within_s:g} s: {what}; look at the logs of the lab's processes")
        self.what = what


@dataclass(frozen=True, slots=True)
class Recovery:
    """
    What came back, and when.

    Attributes:
        what: The first act that shows it.
        rto_s: From the fault (or from its end, where `what` says so) to that act; as exact as it was looked for.
        within_s: Its deadline.
    """

    what: str
    rto_s: float
    within_s: float

    @property
    def is_in_time(self) -> bool:
        """Whether it came within the deadline."""
        return self.rto_s <= self.within_s


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant on both clocks: durations are taken from the monotonic one, events are stamped by the other."""

    epoch_us: int
    monotonic_s: float

    @classmethod
    def now(cls) -> "Moment":
        """This instant."""
        return cls(time.time_ns() // 1000, time.monotonic())


async def until_recovered(
    what: str, probe: Probe, *, since: Moment, within_s: float, every_s: float = LOOK_EVERY_S
) -> Recovery:
    """
    Look again and again until something has come back, and say how late it is if it is late.

    Args:
        what: For the report.
        probe: Looks once.
        since: When the fault was, or ended.
        within_s: The deadline from then; after `PATIENCE` of these the waiting ends.
        every_s: Pause between two looks.

    Raises:
        NotRecoveredError: It had not come by then.
    """
    while not await probe():
        if time.monotonic() - since.monotonic_s > PATIENCE * within_s:
            raise NotRecoveredError(what, PATIENCE * within_s)
        await asyncio.sleep(every_s)
    return Recovery(what, round(time.monotonic() - since.monotonic_s, 2), within_s)


def stored_again(ask: Ask, run: str, since: Moment, *, nodes: frozenset[str] = frozenset()) -> Probe:
    """Whether an event that was sent after a moment is stored, of each of some ingest nodes where any are named."""
    return stored_anywhere([ask], run, since, nodes=nodes, table=MESSAGES)


def stored_anywhere(
    asks: Sequence[Ask], run: str, since: Moment, *, nodes: frozenset[str] = frozenset(), table: str = OWN_MESSAGES
) -> Probe:
    """The same, looking at each server's own messages: a server that can't be asked stops nobody."""

    async def taken_by(ask: Ask) -> frozenset[str]:
        try:
            return frozenset(await stored_since(ask, run, since.epoch_us, table=table))
        except StoreError:
            return frozenset()

    async def probe() -> bool:
        found = frozenset[str]().union(*await asyncio.gather(*map(taken_by, asks)))
        return bool(found) and nodes <= found

    return probe


def most_lost(*, rate_per_s: float, batch_ms: float, insert_ms: float, in_kernel: int = 0) -> int:
    """
    How many events an ingest node that is killed may take with it, where they went to it alone.

    What it had received and not yet had acknowledged: a batch that was being filled, one that was being inserted
    or written to the spool, and what it had not yet read from its sockets.

    Args:
        rate_per_s: Events a second that this node was given.
        batch_ms: `ingest.batch_ms`.
        insert_ms: The longest that an insert took until it was acknowledged or in the spool.
        in_kernel: Datagrams in the buffers of its sockets.
    """
    return math.ceil(rate_per_s * (batch_ms + insert_ms) / 1000) + in_kernel
