"""How a datagram gets to an ingest node: UDP, which says little of what is lost, or TCP, which slows the load down."""

import asyncio
import errno
import socket
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from everline.drill.destinations import Destination
from everline.drill.ledger import Sent

_TRIES: Final = 3
"""A send may first be told what became of the one before."""
_CONNECT_S: Final = 1.0
_CONNECT_AGAIN_S: Final = 0.5
_DRAIN_S: Final = 5.0

Refuse = Callable[[str, str, Sent | None], None]
"""Told node, reason and event when a node did not take it: `SendLedger.refuse`."""


class Way(Protocol):
    """The way to one node: `UdpWay` and `TcpWay`."""

    async def give(self, event: Sent) -> None:
        """Send an event; on success the node is added to its `to`, else the ledger is told."""
        ...

    def close(self) -> None:
        """Nothing more will be sent."""
        ...


class UdpWay:
    """One datagram an event. That nobody listens is known from ICMP, for some of the datagrams and at the next send."""

    def __init__(self, destination: Destination, refuse: Refuse) -> None:
        self._name = destination.name
        self._refuse = refuse
        self._before: Sent | None = None
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.settimeout(0)
        self._socket.connect((destination.host, destination.hep_port))

    async def give(self, event: Sent) -> None:
        """Send it; a refusal of the one before is noted first."""
        for _ in range(_TRIES):
            try:
                self._socket.send(event.datagram)
            except ConnectionRefusedError:
                self._refuse(self._name, "refused", self._before)
                self._before = None
            except OSError as fault:
                self._refuse(self._name, errno.errorcode.get(fault.errno or 0, "unknown"), event)
                return
            else:
                event.to.append(self._name)
                self._before = event
                return
        self._refuse(self._name, "refused", event)

    def close(self) -> None:
        """Ask the kernel once more what became of the last."""
        if self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._refuse(self._name, "refused", self._before)
        self._socket.close()


class TcpWay:
    """HEP packets one after another; a node that is slow slows the load down, one that is gone is tried again."""

    def __init__(self, destination: Destination, refuse: Refuse) -> None:
        self._name = destination.name
        self._address = (destination.host, destination.hep_port)
        self._refuse = refuse
        self._writer: asyncio.StreamWriter | None = None
        self._try_at = 0.0

    async def give(self, event: Sent) -> None:
        """Send it, waiting while the node is busy."""
        try:
            writer = self._writer or await self._connected()
            writer.write(event.datagram)
            async with asyncio.timeout(_DRAIN_S):
                await writer.drain()
        except OSError as fault:  # TimeoutError is one
            self.close()
            reason = "timeout" if isinstance(fault, TimeoutError) else errno.errorcode.get(fault.errno or 0, "unknown")
            self._refuse(self._name, reason, event)
        else:
            event.to.append(self._name)

    async def _connected(self) -> asyncio.StreamWriter:
        if time.monotonic() < self._try_at:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "not tried again yet")
        self._try_at = time.monotonic() + _CONNECT_AGAIN_S
        async with asyncio.timeout(_CONNECT_S):
            _, self._writer = await asyncio.open_connection(*self._address)
        return self._writer

    def close(self) -> None:
        """End the stream; what is buffered still leaves."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def ways_to(
    destinations: Sequence[Destination], refuse: Refuse, *, make: Callable[[Destination, Refuse], Way] = UdpWay
) -> dict[str, Way]:
    """The way to each destination by its name."""
    return {one.name: make(one, refuse) for one in destinations}
