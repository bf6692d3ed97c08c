"""
What all event streams of a node tell alike: its status strip, and what is new in the failover log.

It is looked for once for all of them, and only while one asks. A notice is the state of now, not a step: a stream sends
the latest text if it is another than it sent last, so nothing is queued for a slow reader, and a new stream has all.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import StrEnum
from time import monotonic
from typing import Final

from everline import __version__
from everline.app.call_json import Json, ledger_json
from everline.app.services import Services
from everline.cluster.entry import Entry
from everline.errors import EverlineError

STRIP_EVERY_S: Final = 0.5
FAILOVERS_EVERY_S: Final = 2.0
FAILOVERS_LIMIT_S: Final = 5.0
"""A log that has not answered by then is asked again later."""
LOOK_BACK_S: Final = 600.0
"""Entries are written late: by a leader that had to be elected first."""
MOST_READ: Final = 200
MOST_TOLD: Final = 20


class Topic(StrEnum):
    """What a stream can tell."""

    CALLS = "calls"
    STRIP = "strip"
    FAILOVERS = "failovers"


class Notices:
    """The latest notice of each topic but calls, as text of `text/event-stream`."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._strip = ""
        self._strip_s = float("-inf")
        self._failovers = ""
        self._known: dict[str, Entry] = {}
        self._failovers_s = float("-inf")
        self._looking: asyncio.Task[None] | None = None

    def latest(self, topic: Topic) -> str:
        """The notice of a topic; empty while there is none. Never waits."""
        return _WAYS[topic](self) if topic in _WAYS else ""

    def strip(self) -> str:
        """This node's line of the status strip and its ledger, looked at twice a second at most."""
        if monotonic() - self._strip_s >= STRIP_EVERY_S:
            self._strip = notice("strip", node_json(self._services))
            self._strip_s = monotonic()
        return self._strip

    def failovers(self) -> str:
        """The latest entries of the failover log, read beside the streams every other second at most."""
        is_idle = self._looking is None or self._looking.done()
        if self._services.cluster and is_idle and monotonic() - self._failovers_s >= FAILOVERS_EVERY_S:
            self._failovers_s = monotonic()
            self._looking = asyncio.get_running_loop().create_task(self._look(), name="failover-notices")
        return self._failovers

    async def _look(self) -> None:
        if not self._services.cluster:
            return
        since_us = int((self._services.clock() - LOOK_BACK_S) * 1e6)
        with suppress(EverlineError, TimeoutError):  # The log is away: what is new is told once it is back.
            async with asyncio.timeout(FAILOVERS_LIMIT_S):
                self._tell(await self._services.cluster.entries(since_us, MOST_READ))

    def _tell(self, entries: Sequence[Entry]) -> None:
        fresh = {one.entry_id: one for one in entries if one.entry_id not in self._known}
        if fresh or not self._failovers:
            kept = list((self._known | fresh).items())[-MOST_READ:]
            self._known = dict(kept)
            self._failovers = notice("failovers", {"entries": [_entry_json(*one) for one in kept[-MOST_TOLD:]]})


_WAYS: Final[dict[Topic, Callable[[Notices], str]]] = {
    Topic.STRIP: Notices.strip,
    Topic.FAILOVERS: Notices.failovers,
}


def node_json(services: Services) -> dict[str, Json]:
    """A node: its version, its packet ledger, why it is not ready, and the line of the status strip of a cluster."""
    glances = services.cluster.glance() if services.cluster else ()
    return {
        "node": services.node,
        "version": __version__,
        "ledger": ledger_json(services.ledger()),
        "not_ready": [*services.readiness()],
        "strip": [{"text": one.text, "state": one.state, "sign": one.sign} for one in glances],
    }


def notice(name: str, data: object) -> str:
    """About now: without an id, since it is nothing to resume after."""
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"


def _entry_json(entry_id: str, one: Entry) -> dict[str, Json]:
    return {"entry_id": entry_id, "at_us": one.at_us, "kind": str(one.kind), "node": one.node, "reason": one.reason}
