"""The UDP socket: read as many datagrams as there are and as there is room for, count what the kernel dropped."""

import asyncio
import logging
import socket
from contextlib import suppress
from time import time_ns
from typing import Any, Final

from everline.calls.decode import Datagram
from everline.errors import EverlineError
from everline.ingest.intake import Intake
from everline.ingest.keepalives import Keepalives
from everline.ingest.ledger import Ledger
from everline.udp_socket import bound_udp, inode_of, kernel_drops
from everline.wire.keepalive import FRAME_BYTES, is_keepalive

log = logging.getLogger(__name__)

READS_PER_TURN: Final = 512
"""Datagrams read before others get their turn (some 0.5 ms)."""
_MAX_DATAGRAM: Final = 65_535
_PORT_TRIES: Final = 20
_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - addresses to send to, not to bind


class ListenError(EverlineError):
    """An address cannot be listened on."""

    exit_code = 3

    def __init__(self, what: str, host: str, port: int, why: OSError, *, option: str) -> None:
        super().__init__(
            f"cannot listen on {what} {host}:{port}: {why.strerror or why}; "
            f"free the port or choose another with {option} (in cluster.yaml {option.removeprefix('--')}_port)"
        )


class UdpListener:
    """
    Reads datagrams into the intake for as long as there is room; waits in the kernel's buffer when there is none.

    A balancer's keepalives stand in the same queue, so that an answer says that packets are taken; they are no messages
    and are not in the ledger.
    """

    def __init__(
        self,
        host: str,
        port: int,
        intake: Intake,
        ledger: Ledger,
        *,
        buffer_bytes: int,
        keepalives: Keepalives | None = None,
    ) -> None:
        self._keepalives = keepalives or Keepalives()
        self._intake = intake
        self._ledger = ledger
        self._loop = asyncio.get_running_loop()
        self._socket = _bound_socket(host, port, buffer_bytes)
        self.host, self.port = self._socket.getsockname()[:2]
        self.buffer_bytes = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        self._inode = inode_of(self._socket)
        self._closed = False
        self._resume()

    def count_kernel_drops(self) -> None:
        """Read the kernel's count for this socket into the ledger."""
        if self._closed:
            return
        self._ledger.kernel_drops = max(self._ledger.kernel_drops, kernel_drops(self._inode))

    async def drain(self) -> None:
        """Take nothing new, read what the kernel still holds as there is room for it, then close."""
        self._refuse_more()
        while self._read():
            if self._intake.room > 0:
                await asyncio.sleep(0)
            else:
                await self._intake.has_room()
        self.close()

    def close(self) -> None:
        """Stop listening; what the kernel still holds counts as dropped by it."""
        if not self._closed:
            self.count_kernel_drops()
            self._count_left()
            self._closed = True
            self._loop.remove_reader(self._socket)
            self._socket.close()

    def _refuse_more(self) -> None:
        """Connect the socket to itself: from then on the kernel refuses everybody else, and says so to them."""
        with suppress(OSError):
            self._socket.connect((_ANY.get(self.host, self.host), self.port))

    def _count_left(self) -> None:
        self._refuse_more()
        with suppress(OSError):
            while True:
                self._socket.recv(1)
                self._ledger.kernel_drops += 1

    def _resume(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._socket, self._read)

    def _read(self) -> bool:
        """Read one turn's worth; whether there may be more."""
        room = self._intake.room
        if room <= 0:
            self._loop.remove_reader(self._socket)
            self._intake.when_room(self._resume)
            return True
        received_us = time_ns() // 1000
        datagrams: list[Datagram] = []
        receive, taken = self._socket.recvfrom, 0
        try:
            for _ in range(min(room, READS_PER_TURN)):
                data, peer = receive(_MAX_DATAGRAM)
                taken += 1
                if len(data) == FRAME_BYTES and is_keepalive(data):
                    self._answer(data, peer)
                    continue
                datagrams.append(Datagram(data, received_us, peer[0], peer[1]))
        except BlockingIOError:
            pass  # Nothing more waits.
        except OSError as fault:
            log.warning("ingest.udp_read_failed", extra={"why": str(fault)})
        self._intake.offer(datagrams)
        return taken > 0

    def _answer(self, question: bytes, peer: Any) -> None:  # the kernel's address of either family
        if said := self._keepalives.answer(question):
            with suppress(OSError):  # Whoever asks will ask again.
                self._socket.sendto(said, peer)


def _bound_socket(host: str, port: int, buffer_bytes: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        for tries in range(1, _PORT_TRIES + 1):
            sock = bound_udp(family, address, buffer_bytes=buffer_bytes)
            if port or tries == _PORT_TRIES or _is_free_for_tcp(sock):
                break
            sock.close()
    except OSError as fault:
        raise ListenError("UDP", host, port, fault, option="--hep") from fault
    return sock


def _is_free_for_tcp(sock: socket.socket) -> bool:
    """Whether the port that the system chose can be had for TCP too, where the same packets are taken."""
    with socket.socket(sock.family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(sock.getsockname())
            probe.listen(1)
        except OSError:
            return False
    return True
