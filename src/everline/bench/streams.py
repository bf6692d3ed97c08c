"""Many readers of one node's events: how long until the last of them has heard of a call."""

import asyncio
import json
import socket
import time
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from everline.bench.machine import BenchError

OPEN_S: Final = 60.0
EVENT_S: Final = 10.0
AT_ONCE: Final = 50
"""Streams that are opened at the same time."""


@dataclass
class Readers:
    """Streams of events, and who has heard of which call."""

    url: str
    token: str
    wanted: int
    _heard: dict[str, int] = field(default_factory=dict)
    _all_heard: dict[str, asyncio.Event] = field(default_factory=dict)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _open: int = 0

    async def open(self) -> None:
        """
        Connect all.

        Raises:
            BenchError: Some could not be opened.
        """
        for start in range(0, self.wanted, AT_ONCE):
            self._tasks += [asyncio.create_task(self._read()) for _ in range(min(AT_ONCE, self.wanted - start))]
            await self._until_open(len(self._tasks))

    async def heard_s(self, call_id: str, tell: bytes, to: tuple[str, int]) -> float:
        """
        Seconds from a datagram's sending until every reader has heard of its call.

        Raises:
            BenchError: Not all did.
        """
        done = self._all_heard[call_id] = asyncio.Event()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sent = time.monotonic()
            sender.sendto(tell, to)
        try:
            async with asyncio.timeout(EVENT_S):
                await done.wait()
        except TimeoutError as error:
            raise BenchError(f"{self._heard.get(call_id, 0)} of {self.wanted} readers heard of a call") from error
        return time.monotonic() - sent

    async def close(self) -> None:
        """Hang up."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _until_open(self, wanted: int) -> None:
        deadline = time.monotonic() + OPEN_S
        while self._open < wanted:
            ended = next((one for one in self._tasks if one.done()), None)
            if ended or time.monotonic() > deadline:
                why = ended.exception() if ended else "no answer"
                raise BenchError(f"{self._open} of {wanted} streams could be opened: {why}")
            await asyncio.sleep(0.01)

    async def _read(self) -> None:
        where = urlsplit(self.url)
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        request = f"GET /api/v1/events HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {self.token}\r\n\r\n"
        try:
            writer.write(request.encode())
            status = await reader.readline()
            if b" 200 " not in status:
                raise BenchError(status.decode(errors="replace").strip())
            while b"event: hello" not in await reader.readline():
                pass
            self._open += 1
            while line := await reader.readline():
                if line.startswith(b"data: {") and b'"call_id"' in line:
                    self._hear(json.loads(line[6:])["call_id"])
        finally:
            writer.close()

    def _hear(self, call_id: str) -> None:
        self._heard[call_id] = self._heard.get(call_id, 0) + 1
        if self._heard[call_id] == self.wanted and call_id in self._all_heard:
            self._all_heard[call_id].set()
