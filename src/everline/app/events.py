"""Live transitions as server-sent events, with ids that resume on this or another node of the same stream."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

from everline.app.call_json import transition_json
from everline.app.services import LiveCalls

HEARTBEAT_S: Final = 5.0
"""Less than the read timeouts of usual proxies, and often enough that a page can call itself stale soon."""

STREAM_S: Final = 3600.0
"""A stream ends after an hour and the client resumes: so drained nodes and old sessions do not hold on."""

MAX_STREAMS: Final = 256

RETRY_MS: Final = 1000

LOST: Final = -1
"""The position of a client that cannot go on from where it was."""

HEARTBEAT: Final = ": heartbeat\nevent: alive\ndata: {}\n\n"
"""The comment keeps proxies from closing; the event, which has no id, shows a page that the stream lives."""


async def event_stream(
    bus: LiveCalls, last_event_id: str, *, heartbeat_s: float = HEARTBEAT_S, stream_s: float = STREAM_S
) -> AsyncIterator[str]:
    """
    Transitions after an id, as lines of `text/event-stream`.

    Args:
        bus: Where they come from.
        last_event_id: `<epoch>:<stream id>` of the last event that the client has seen; empty to begin now.
        heartbeat_s: A heartbeat is sent after so long a silence.
        stream_s: The stream ends after about so long.
    """
    clock = asyncio.get_running_loop().time
    ends_at = clock() + stream_s
    epoch, resumed = bus.epoch, resume_from(bus, last_event_id)
    position = LOST if resumed is None else resumed
    yield f"retry: {RETRY_MS}\n\n"
    while clock() < ends_at:
        news = bus.transitions_after(position) if position != LOST and epoch == bus.epoch else None
        if news is None:
            epoch, position = bus.epoch, bus.last_id
            yield _event(f"{epoch}:{position}", "reset", {"reason": "The stream cannot be resumed: load again."})
            continue
        for one in news:
            position = one.stream_id
            yield _event(f"{epoch}:{position}", one.event_type, transition_json(one))
        if not news:
            yield HEARTBEAT
        await bus.wait(position, heartbeat_s)


def resume_from(bus: LiveCalls, last_event_id: str) -> int | None:
    """The position to go on from; None when the id is of another stream, or none of ours."""
    if not last_event_id:
        return bus.last_id
    epoch, _, position = last_event_id.rpartition(":")
    is_ours = epoch == bus.epoch and position.isascii() and position.isdigit() and len(position) <= 18
    return int(position) if is_ours else None


def stream_position(bus: LiveCalls) -> str:
    """The id of the newest event: what a page drawn now has seen."""
    return f"{bus.epoch}:{bus.last_id}"


class StreamSlots:
    """How many streams are open at once, at most `MAX_STREAMS`."""

    def __init__(self) -> None:
        self.open = 0

    async def held(self, stream: AsyncIterator[str]) -> AsyncGenerator[str, None]:
        """The stream, counted while it is read."""
        self.open += 1
        try:
            async for piece in stream:
                yield piece
        finally:
            self.open -= 1

    @property
    def is_full(self) -> bool:
        """Whether there is no room for one more."""
        return self.open >= MAX_STREAMS


def _event(event_id: str, name: str, data: object) -> str:
    return f"id: {event_id}\nevent: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"
