"""
Asks members over HTTP whether they are ready, beside the question on the way that packets take.

That one decides who lives. This one tells what a node says where only operators and their tools ask: 503 means that it
wants nothing new. A node that takes packets and answers no HTTP stays in, and is told of in the metrics.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import monotonic
from typing import Final

from everline.balance.health import MISSES, PROBE_EVERY_S, Health

ANSWER_S: Final = MISSES * PROBE_EVERY_S
_STATUS: Final = re.compile(rb"HTTP/1\.1 (\d{3})")
_LENGTH: Final = re.compile(rb"content-length: *(\d{1,5})", re.IGNORECASE)


class ReadyProber:
    """
    One connection to each member, kept open; a question every 200 ms.

    Args:
        addresses: Where each member answers HTTP, by its name.
        told: Called when a member changes what it says.
    """

    def __init__(self, addresses: Mapping[str, tuple[str, int]], health: Health, *, told: Callable[[], None]) -> None:
        self._addresses = addresses
        self._health = health
        self._told = told

    async def run(self) -> None:
        """Ask all of them, for ever."""
        async with asyncio.TaskGroup() as tasks:
            for name, address in self._addresses.items():
                tasks.create_task(self._watch(name, address), name=f"ready-{name}")

    async def _watch(self, name: str, address: tuple[str, int]) -> None:
        while True:
            with suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
                async with asyncio.timeout(ANSWER_S):
                    reader, writer = await asyncio.open_connection(*address, limit=1 << 16)
                try:
                    await self._converse(name, address, reader, writer)
                finally:
                    writer.close()
            self._note(name, None)
            await asyncio.sleep(PROBE_EVERY_S)

    async def _converse(
        self, name: str, address: tuple[str, int], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Ask over one connection until it breaks, or an answer is late."""
        question = f"GET /readyz HTTP/1.1\r\nHost: {address[0]}\r\n\r\n".encode()
        while True:
            began_s = monotonic()
            async with asyncio.timeout(ANSWER_S):
                writer.write(question)
                status = await _status(reader)
            self._note(name, status == 200)
            await asyncio.sleep(max(0.0, began_s + PROBE_EVERY_S - monotonic()))

    def _note(self, name: str, is_ready: bool | None) -> None:  # noqa: FBT001 - three values
        member = self._health.members[name]
        if member.is_ready is not is_ready:
            member.is_ready = is_ready
            self._told()


async def _status(reader: asyncio.StreamReader) -> int:
    """
    The status of one answer, which is read to its end.

    Raises:
        ValueError: It is no HTTP with a length.
    """
    head = await reader.readuntil(b"\r\n\r\n")
    status, length = _STATUS.match(head), _LENGTH.search(head)
    if not status or not length:
        raise ValueError("no answer of ours")
    await reader.readexactly(int(length[1]))
    return int(status[1])
