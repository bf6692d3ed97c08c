"""What to search for, and the shape of an answer."""

from dataclasses import dataclass
from typing import NamedTuple, Self

from everline.calls.record import CallRecord, Outcome, State


class PageKey(NamedTuple):
    """Where a page ended; the next one begins with older calls. Calls of one start are ordered by Call-ID."""

    start_us: int
    call_id: str

    def text(self) -> str:
        """The key as one text, for a URL or a file."""
        return f"{self.start_us}:{self.call_id}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Read what `text` gave.

        Raises:
            ValueError: It is no such text.
        """
        start, colon, call_id = text.partition(":")
        if not (colon and call_id and start.isascii() and start.isdigit() and len(start) < 20):
            raise ValueError(f"{text[:80]!r} is not <microseconds>:<Call-ID>")
        return cls(int(start), call_id)


@dataclass(frozen=True, slots=True)
class CallFilter:
    """
    Which calls to show; what is None does not narrow.

    Attributes:
        since_us: Least start of the call, epoch microseconds.
        until_us: The start must be before this.
        number: Caller or callee; `*` in front or at the end stands for any text.
        caller: As `number`, for the caller alone.
        callee: As `number`, for the callee alone.
        call_id: The exact Call-ID.
        status: Final response.
        ip: Source or destination of the first INVITE that was seen.
        user_agent: Part of the caller's or callee's user agent, whatever the case.
    """

    since_us: int | None = None
    until_us: int | None = None
    number: str | None = None
    caller: str | None = None
    callee: str | None = None
    call_id: str | None = None
    state: State | None = None
    outcome: Outcome | None = None
    status: int | None = None
    ip: str | None = None
    user_agent: str | None = None


@dataclass(frozen=True, slots=True)
class CallPage:
    """
    Calls, newest first.

    Attributes:
        records: At most as many as were asked for; fewer, even none, when what was searched for is so rare
            that looking further would take too long. Only `next` tells whether there is more.
        next: Give it to get what follows; None at the end.
        partial: A part of the store could not be asked; calls may be missing, or lack what is known there.
    """

    records: tuple[CallRecord, ...] = ()
    next: PageKey | None = None
    partial: bool = False


class FailedTarget(NamedTuple):
    """A destination that calls failed to reach: how often, with which final response."""

    callee: str
    status: int
    calls: int
