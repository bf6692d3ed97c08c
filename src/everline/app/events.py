"""
Live transitions as server-sent events, with ids that resume on this or another node of the same stream.

A stream has no queue of its own. It takes transitions from the bus, which keeps so many for all; a reader who is slower
than that is told `reset`. Of notices it has only what it sent last.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterator
from functools import lru_cache
from typing import Final

from everline.app.call_json import transition_json
from everline.app.notices import Notices, Topic, notice
from everline.app.problems import ProblemError
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


def topics_of(text: str) -> frozenset[Topic]:
    """
    The topics that a list names, separated by commas.

    Raises:
        ProblemError: It names another one, or none.
    """
    names = [one.strip() for one in text.split(",") if one.strip()]
    unknown = [name for name in names if name not in list(Topic)]
    if unknown or not names:
        said = f"topics={unknown[0][:40]!r} is unknown" if unknown else "topics names none"
        raise ProblemError(400, said, next_step=f"Give some of {', '.join(Topic)}, separated by commas.")
    return frozenset(map(Topic, names))


async def event_stream(
    bus: LiveBus,
    last_event_id: str,
    *,
    node: str = "",
    topics: Collection[Topic] = (Topic.CALLS,),
    notices: Notices | None = None,
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
        topics: What it tells; without calls the bus is not asked.
        notices: Where the other topics come from; each is told at once, and when it has changed.
        closing: Once set, the stream ends within a heartbeat: the client resumes at another node.
        heartbeat_s: A heartbeat is sent after so long a silence.
        stream_s: The stream ends after about so long.
    """
    clock = asyncio.get_running_loop().time
    ends_at = clock() + stream_s
    position, is_new = Position.parse(last_event_id), not last_event_id
    told: dict[Topic, str] = {}
    yield f"retry: {RETRY_MS}\n\n"
    yield notice("hello", {"node": node})
    while clock() < ends_at and not (closing and closing.is_set()):
        for text in _untold(told, notices, topics):
            yield text
        if Topic.CALLS not in topics:
            yield HEARTBEAT
            await asyncio.sleep(heartbeat_s)
            continue
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
            yield notice("unsure", {"why": str(fault)})
            await asyncio.sleep(ASK_AGAIN_S)


def _untold(told: dict[Topic, str], notices: Notices | None, topics: Collection[Topic]) -> Iterator[str]:
    """Notices that are other than they were told last; they are marked as told."""
    if notices is None:
        return
    for topic in (one for one in Topic if one in topics):
        text = notices.latest(topic)
        if text and text != told.get(topic):
            told[topic] = text
            yield text


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


@lru_cache(SHARED)
def _told(epoch: str, one: Transition) -> str:
    """The text follows from all of the transition: one with masked numbers has another."""
    return _event(Position(epoch, one.stream_id), one.event_type, transition_json(one))


def _event(position: Position, name: str, data: object) -> str:
    return f"id: {position}\nevent: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"
