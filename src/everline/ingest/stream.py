"""TCP and TLS: streams of HEP3 packets or of SIP messages, with backpressure."""

import asyncio
import logging
import ssl
from collections import Counter
from contextlib import suppress
from time import time_ns
from typing import Final, Protocol

from everline.calls.decode import Datagram
from everline.ingest.intake import Intake
from everline.ingest.ledger import Ledger
from everline.ingest.udp import ListenError
from everline.wire.framing import FramingLoss, SipFramer
from everline.wire.hep_framing import GZIP_MAGIC, HEP3_MAGIC, HepFramer

log = logging.getLogger(__name__)

READ_BYTES: Final = 65_536
MAX_CONNECTIONS: Final = 1_024
HANDSHAKE_TIMEOUT_S: Final = 5.0
SEND_WINDOW_EVENTS: Final = 2_048
"""A stream waits while the intake has less room than this: one read gives fewer messages than that."""


class _Framer(Protocol):
    lost_bytes: Counter[FramingLoss]

    def feed(self, data: bytes) -> list[bytes]: ...
    def cut(self) -> None: ...


class StreamListener:
    """Takes connections of capture agents; an agent that sends faster than we decode has to wait."""

    def __init__(self, intake: Intake, ledger: Ledger) -> None:
        self._intake = intake
        self._ledger = ledger
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.refused = 0
        self.port = 0

    async def listen(self, host: str, port: int, *, tls: ssl.SSLContext | None = None) -> None:
        """
        Start to listen.

        Raises:
            ListenError: The address is taken, or not one of this machine.
        """
        try:
            self._server = await asyncio.start_server(
                self._serve,
                host,
                port,
                ssl=tls,
                limit=READ_BYTES,
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S if tls else None,
            )
        except OSError as fault:
            what, option = ("TLS", "--tls") if tls else ("TCP", "--hep")
            raise ListenError(what, host, port, fault, option=option) from fault
        self.port = self._server.sockets[0].getsockname()[1]

    @property
    def connections(self) -> int:
        """Agents that are connected."""
        return len(self._connections)

    async def close(self) -> None:
        """Stop listening and end the connections."""
        if self._server is None:
            return
        self._server.close()
        for task in tuple(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._connections) >= MAX_CONNECTIONS:
            self.refused += 1
            writer.close()
            return
        self._connections.add(task)
        try:
            await self._read(reader, writer)
        except (OSError, ssl.SSLError) as fault:
            log.info("ingest.stream_broke", extra={"why": str(fault)})
        finally:
            self._connections.discard(task)
            writer.close()
            with suppress(OSError, ssl.SSLError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername") or ("", 0)
        first = await reader.read(READ_BYTES)
        while first and len(first) < len(HEP3_MAGIC) and HEP3_MAGIC.startswith(first):
            more = await reader.read(READ_BYTES)
            if not more:
                break
            first += more
        framer: _Framer = HepFramer() if first.startswith((HEP3_MAGIC, GZIP_MAGIC)) else SipFramer()
        data = first
        while data:
            received_us = time_ns() // 1000
            self._intake.offer([Datagram(one, received_us, peer[0], peer[1]) for one in framer.feed(data)])
            self._count_lost(framer)
            if getattr(framer, "broken", False):
                break
            await self._room()
            data = await reader.read(READ_BYTES)
        framer.cut()
        self._count_lost(framer)

    def _count_lost(self, framer: _Framer) -> None:
        if framer.lost_bytes:
            self._ledger.stream_lost_bytes.update({str(reason): count for reason, count in framer.lost_bytes.items()})
            framer.lost_bytes.clear()

    async def _room(self) -> None:
        while self._intake.room < SEND_WINDOW_EVENTS:
            resumed = asyncio.Event()
            self._intake.when_room(resumed.set)
            await resumed.wait()
