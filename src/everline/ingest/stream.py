"""TCP and TLS: streams of HEP3 packets or of SIP messages, with backpressure."""

import asyncio
import logging
import socket
import ssl
from contextlib import suppress
from time import time_ns
from typing import Final

from everline.calls.decode import Datagram
from everline.ingest.intake import Intake
from everline.ingest.ledger import Drop, Ledger
from everline.ingest.proxies import KnownProxies, Peer, after_proxy_header
from everline.ingest.udp import ListenError
from everline.wire.framing import START_LINE, SipFramer
from everline.wire.hep_framing import GZIP_MAGIC, HEP3_MAGIC, HepFramer
from everline.wire.proxy_protocol import ProxyHeaderError

log = logging.getLogger(__name__)

READ_BYTES: Final = 65_536
MAX_CONNECTIONS: Final = 1_024
BACKLOG: Final = 512
HANDSHAKE_TIMEOUT_S: Final = 5.0
TLS_GOODBYE_S: Final = 1.0
QUIET_S: Final = 0.05
"""When streams gave nothing for so long, what was sent before the stop has been read."""
BAD_PROXY_HEADER: Final = "bad-proxy-header"
"""Reason of bytes that a proxy sent instead of its header."""
LAST_READS_S: Final = 1.0
"""An agent that goes on sending is read no longer than this after the stop, unless told otherwise."""
_KEEPALIVE: Final = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 20), (socket.TCP_KEEPCNT, 3))
"""A peer that vanished without a word is found out after two minutes; its place is free again then."""


class StreamListener:
    """
    Takes connections of capture agents; an agent that sends faster than we decode has to wait.

    Args:
        proxies: Whose connections begin with a PROXY header, which tells the agent's address.
    """

    def __init__(self, intake: Intake, ledger: Ledger, *, proxies: KnownProxies | None = None) -> None:
        self._intake = intake
        self._ledger = ledger
        self._proxies = proxies or KnownProxies(())
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._reading: set[asyncio.Task[None]] = set()
        self._bytes = 0
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
                sock=_bound_socket(host, port),
                backlog=BACKLOG,
                ssl=tls,
                limit=READ_BYTES,
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S if tls else None,
                ssl_shutdown_timeout=TLS_GOODBYE_S if tls else None,
            )
        except OSError as fault:
            what, option = ("TLS", "--tls") if tls else ("TCP", "--hep")
            raise ListenError(what, host, port, fault, option=option) from fault
        self.port = self._server.sockets[0].getsockname()[1]

    @property
    def connections(self) -> int:
        """Agents that are connected."""
        return len(self._connections)

    async def close(self, last_reads_s: float = LAST_READS_S) -> None:
        """Stop listening, read what was sent until now, and end the connections."""
        if self._server is None:
            return
        try:
            await asyncio.sleep(min(QUIET_S, last_reads_s))  # Who has just connected is accepted, and read.
            self._server.close()
            await self._silence(last_reads_s)
        finally:
            self._server.close()
            for reading in self._reading:
                reading.cancel()
        await asyncio.gather(*self._connections)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._connections) >= MAX_CONNECTIONS:
            self.refused += 1
            writer.close()
            return
        self._connections.add(task)
        _keep_alive(writer)
        # A task of its own: asyncio logs a traceback for every callback of a stream that is cancelled itself.
        reading = asyncio.create_task(self._read(reader, writer), name="read-stream")
        self._reading.add(reading)
        try:
            await asyncio.wait([reading])
            if not reading.cancelled():
                reading.result()
        except (OSError, ssl.SSLError) as fault:
            log.info("ingest.stream_broke", extra={"why": str(fault)})
        finally:
            reading.cancel()
            self._reading.discard(reading)
            self._connections.discard(task)
            writer.close()
            with suppress(OSError, ssl.SSLError):
                await writer.wait_closed()

    async def _silence(self, limit_s: float) -> None:
        """Return when no stream has given anything for a moment, or when that takes too long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                before = -1
                while self._connections and self._bytes > before:
                    before = self._bytes
                    await self._intake.has_room()
                    await asyncio.sleep(QUIET_S)

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(*(writer.get_extra_info("peername") or ("", 0))[:2])
        data = b""
        if peer.ip in self._proxies:
            try:
                peer, data = await after_proxy_header(reader, peer)
            except ProxyHeaderError as fault:
                self._refuse(peer, fault)
                return
        data = await _first_bytes(reader, data)
        framer = _framer_of(data)
        try:
            while data:
                self._bytes += len(data)
                received_us = time_ns() // 1000
                await self._offer([Datagram(one, received_us, *peer) for one in framer.feed(data)])
                self._count_lost(framer)
                if isinstance(framer, HepFramer) and framer.broken:
                    break
                await self._intake.has_room()
                data = await reader.read(READ_BYTES)
        finally:
            framer.cut()
            self._count_lost(framer)

    def _refuse(self, peer: Peer, fault: ProxyHeaderError) -> None:
        """What a proxy sent without a header can't be told from an attempt to look like somebody else."""
        self._ledger.stream_lost_bytes[BAD_PROXY_HEADER] += fault.seen_bytes
        log.warning("ingest.proxy_refused", extra={"proxy": peer.ip, "reason": str(fault.reason)})

    async def _offer(self, datagrams: list[Datagram]) -> None:
        """Give the intake as many at a time as it has room for: nothing of a stream is lost for lack of it."""
        try:
            while datagrams:
                await self._intake.has_room()
                room = self._intake.room
                now, datagrams = datagrams[:room], datagrams[room:]
                self._intake.offer(now)
        except asyncio.CancelledError:
            self._ledger.received += len(datagrams)
            self._ledger.dropped[Drop.DRAIN_TIMEOUT] += len(datagrams)
            raise

    def _count_lost(self, framer: HepFramer | SipFramer) -> None:
        if framer.lost_bytes:
            self._ledger.stream_lost_bytes.update({str(reason): count for reason, count in framer.lost_bytes.items()})
            framer.lost_bytes.clear()


async def _first_bytes(reader: asyncio.StreamReader, first: bytes) -> bytes:
    """The first bytes of a stream of which some may be here, enough to tell what it is; fewer when it ends."""
    first = first or await reader.read(READ_BYTES)
    while first and any(magic.startswith(first) and magic != first for magic in (HEP3_MAGIC, GZIP_MAGIC)):
        more = await reader.read(READ_BYTES)
        if not more:
            break
        first += more
    return first


def _framer_of(first: bytes) -> HepFramer | SipFramer:
    """HEP or SIP; a stream that begins with neither is HEP if there is a HEP packet behind the garbage."""
    if first.startswith((HEP3_MAGIC, GZIP_MAGIC)):
        return HepFramer()
    if HEP3_MAGIC in first and not START_LINE.match(first.lstrip(b"\r\n")):
        return HepFramer()
    return SipFramer()


def _keep_alive(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    with suppress(OSError):  # It may have ended already.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)


def _bound_socket(host: str, port: int) -> socket.socket:
    """Like the UDP socket: `::` takes IPv4 too."""
    family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    bound = socket.socket(family, kind, proto)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(BACKLOG)  # Only then it is known whether the port is free.
    except OSError:
        bound.close()
        raise
    return bound
