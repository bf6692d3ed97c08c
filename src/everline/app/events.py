"""Live transitions as server-sent events, with ids that resume on this or another node of the same stream."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from functools import lru_cache
from typing import Final

from everline.app.call_json import transition_json
from everline.bus.errors import BusError
from everline.bus.live import LiveBus, Position
from everline.bus.transition import Transition

HEARTBEAT_S: Final = 0.5
"""
A node that hangs is known by its silence: NGINX leaves it after four of them (`proxy_read_timeout` of its events), a
page a little later.
"""

STREAM_S: Final = 3600.0
"""A stream ends after an hour and the client resumes: so drained nodes and old sessions do not hold on."""

MAX_STREAMS: Final = 1_000
"""
On one node. Each takes some 40 KiB and, for its heartbeats, 0.01 % of a core (docs/performance.md): beyond this many
readers the node would be busy with them before any call comes. More are told to ask another node.
"""

RETRY_MS: Final = 1000

ASK_AGAIN_S: Final = 0.5
"""How soon a stream asks a bus again that could not be asked."""

AT_ONCE: Final = 100
"""Transitions sent in one piece: that costs little more than sending one. Some 80 KiB, and a reader may be slow."""

SHARED: Final = 1_024
"""Texts of transitions that are kept, so that they are made once and not for each of the streams."""

HEARTBEAT: Final = ": heartbeat\nevent: alive\ndata: {}\n\n"
"""The comment keeps proxies from closing; the event, which has no id, shows a page that the stream lives."""


async def event_stream(
    bus: LiveBus,
    last_event_id: str,
    *,
    node: str = "",
    closing: asyncio.Event | None = None,
    heartbeat_s: float = HEARTBEAT_S,
    stream_s: float = STREAM_S,
) -> AsyncIterator[str]:
    """
    Transitions after an id, as lines of `text/event-stream`; before them `hello`, which names the node.

    While the bus cannot be asked, the stream says `unsure` and why, so that a page knows both: the node is there, and
    what the page shows grows old.

    Args:
        bus: Where they come from.
        last_event_id: `<epoch>:<stream id>` of the last event that the client has seen; empty to begin now.
        node: Who serves it.
        closing: Once set, the stream ends within a heartbeat: the client resumes at another node.
        heartbeat_s: A heartbeat is sent after so long a silence.
        stream_s: The stream ends after about so long.
    """
    clock = asyncio.get_running_loop().time
    ends_at = clock() + stream_s
    position, is_new = Position.parse(last_event_id), not last_event_id
    yield f"retry: {RETRY_MS}\n\n"
    yield _notice("hello", {"node": node})
    while clock() < ends_at and not (closing and closing.is_set()):
        try:
            news = await bus.transitions_after(position) if position else None
            if news is None or position is None:
                position = await bus.position()
                if not is_new:
                    yield _event(position, "reset", {"reason": "The stream cannot be resumed: load again."})
                is_new = False
                continue
            for start in range(0, len(news), AT_ONCE):
                yield "".join(_told(position.epoch, one) for one in news[start : start + AT_ONCE])
            if news:
                position = Position(position.epoch, news[-1].stream_id)
            else:
                yield HEARTBEAT
            await bus.wait(position, heartbeat_s)
        except BusError as fault:
            yield _notice("unsure", {"why": str(fault)})
            await asyncio.sleep(ASK_AGAIN_S)


class StreamSlots:
    """How many streams are open at once, at most `MAX_STREAMS`."""

    def __init__(self) -> None:
        self.open = 0

    async def held(
        self, stream: AsyncIterator[str], is_welcome: Callable[[], bool] = lambda: True
    ) -> AsyncGenerator[str, None]:
        """The stream, counted while it is read; it ends once its reader is signed out."""
        self.open += 1
        try:
            async for piece in stream:
                if not is_welcome():
                    break
                yield piece
        finally:
            self.open -= 1

    @property
    def is_full(self) -> bool:
        """Whether there is no room for one more."""
        return self.open >= MAX_STREAMS


def _notice(name: str, data: object) -> str:
    """About the stream itself: without an id, since it is nothing to resume after."""
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"


@lru_cache(SHARED)
def _told(epoch: str, one: Transition) -> str:
    """The text follows from all of the transition: one with masked numbers has another."""
    return _event(Position(epoch, one.stream_id), one.event_type, transition_json(one))


def _event(position: Position, name: str, data: object) -> str:
    return f"id: {position}\nevent: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"
