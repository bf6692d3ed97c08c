"""Which ingest nodes a call's messages are given to: by the Call-ID, over the nodes that say they are ready."""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from xxhash import xxh3_64_intdigest

POLL_S: Final = 0.2
ANSWER_S: Final = 0.4
"""A node that does not say within this time that it is ready counts as gone."""


@dataclass(frozen=True, slots=True)
class Destination:
    """
    An ingest node as the load sees it.

    Attributes:
        hep_port: Takes HEP over UDP and TCP.
        http_port: Answers `/readyz`.
    """

    name: str
    host: str
    hep_port: int
    http_port: int
    rack: str


def ranked(call_id: str, destinations: Iterable[Destination]) -> list[Destination]:
    """
    The destinations of a call, its owner first.

    Highest random weight (Thaler and Ravishankar): when a node goes, only its own calls move.
    """
    return sorted(destinations, key=lambda one: xxh3_64_intdigest(f"{one.name} {call_id}".encode()), reverse=True)


def owners(call_id: str, destinations: Iterable[Destination], *, copies: int) -> list[Destination]:
    """The owner, and with two copies the first after it that is in another rack; whoever is left if there is none."""
    order = ranked(call_id, destinations)
    if copies == 1 or len(order) < 2:
        return order[:1]
    elsewhere = [one for one in order[1:] if one.rack != order[0].rack]
    return [order[0], (elsewhere or order[1:])[0]]


class Readiness:
    """
    Follows `/readyz` of the destinations, as a balancer's health checks do.

    Args:
        destinations: All of them; each counts as ready until it was asked.
        copies: How many of them get each message, 1 or 2.
    """

    def __init__(self, destinations: Sequence[Destination], *, copies: int = 1) -> None:
        self._all = tuple(destinations)
        self._copies = copies
        self._ready = {one.name for one in self._all}
        self._barred: frozenset[str] = frozenset()

    @property
    def ready(self) -> list[Destination]:
        """Those that get messages now."""
        return [one for one in self._all if one.name in self._ready and one.name not in self._barred]

    def bar(self, names: Iterable[str]) -> None:
        """From now on these get nothing, whatever they answer: nobody else can reach them. Replaces earlier ones."""
        self._barred = frozenset(names)

    def choose(self, call_id: str) -> list[Destination]:
        """Who gets the messages of a call now; all of them when none is ready, so that what fails is seen."""
        return owners(call_id, self.ready or self._all, copies=self._copies)

    async def watch(self) -> None:
        """Ask all of them, again and again."""
        while True:
            answers = await asyncio.gather(*(is_ready(one) for one in self._all))
            self._ready = {one.name for one, answer in zip(self._all, answers, strict=True) if answer}
            await asyncio.sleep(POLL_S)


async def is_ready(destination: Destination) -> bool:
    """Whether a node says in time that it is ready."""
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(ANSWER_S):
            return await _answers_200(destination)
    return False


async def _answers_200(destination: Destination) -> bool:
    """A request by hand: several a second for each node, and a client library costs more than the load itself."""
    reader, writer = await asyncio.open_connection(destination.host, destination.http_port)
    try:
        writer.write(f"GET /readyz HTTP/1.1\r\nHost: {destination.host}\r\nConnection: close\r\n\r\n".encode())
        return b" 200 " in await reader.readline()
    finally:
        writer.close()
