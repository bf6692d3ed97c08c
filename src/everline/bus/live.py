"""What every bus can do: live calls, and their transitions as a stream that another node can go on with."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, Self

from everline.bus.transition import Transition
from everline.calls.event import EventBatch
from everline.calls.record import CallRecord

_POSITION: Final = re.compile(r"([0-9a-zA-Z]{1,40}):([0-9]{1,18}(?:-[0-9]{1,18})?)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Position:
    """
    A place in a stream of transitions, in text `<epoch>:<stream id>`.

    Attributes:
        epoch: Changes when stream ids start again.
        stream_id: The last transition before this place: a number in memory, `<ms>-<number>` in Redis.
    """

    epoch: str
    stream_id: str

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The position that a text names; None if it names none."""
        found = _POSITION.fullmatch(text)
        return cls(*found.groups()) if found else None

    def __str__(self) -> str:
        return f"{self.epoch}:{self.stream_id}"


@dataclass(frozen=True, slots=True)
class LiveCounts:
    """
    What a bus has counted, without asking anybody.

    Attributes:
        in_progress: Calls in progress, when they were counted last.
        transitions: Transitions published by this process.
        evicted: Calls forgotten by this process for lack of room.
    """

    in_progress: int = 0
    transitions: int = 0
    evicted: int = 0


class LiveBus(Protocol):
    """
    Live calls and their transitions: in memory in one process, in Redis in a cluster.

    All that asks somebody raises BusError when there is no answer in time.
    """

    @property
    def counts(self) -> LiveCounts:
        """What was counted so far."""
        ...

    async def insert(self, batch: EventBatch) -> None:
        """Merge a batch into live state and publish what it changed; giving it twice changes nothing more."""
        ...

    async def live(self, limit: int = 1000) -> Sequence[CallRecord]:
        """Calls in progress, newest first, at most `limit`."""
        ...

    async def in_progress(self) -> int:
        """How many calls are in progress."""
        ...

    async def position(self) -> Position:
        """Where the stream is now: what comes after it is news."""
        ...

    async def transitions_after(self, position: Position) -> Sequence[Transition] | None:
        """
        Transitions that came after a position, oldest first.

        Returns:
            None when some of them are no longer kept, or the position is of another epoch or none at all. There may be
            more than were given: ask again from the last of them.
        """
        ...

    async def wait(self, after: Position, timeout_s: float) -> None:
        """Return when there is a transition after a position, or when time is up."""
        ...

    async def close(self) -> None:
        """Let go of everything; waiting ends."""
        ...
