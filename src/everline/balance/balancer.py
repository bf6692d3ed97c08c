"""A balancer: a socket at each of its addresses, one to each member, and who lives decides where datagrams go."""

import asyncio
import logging
import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from time import monotonic, time_ns
from typing import Final

from everline.balance.forward import Forwarder
from everline.balance.health import Health, Standing
from everline.balance.prober import Prober
from everline.balance.ready_prober import ReadyProber
from everline.balance.ring import Member, Ring
from everline.balance.tally import Tally
from everline.config_sections import KEY_RATE_PER_S
from everline.udp_socket import bound_udp, inode_of, kernel_drops

log = logging.getLogger(__name__)

TURNS: Final = 8
"""Batches that are passed on before answers of members get their turn: some 10 ms."""
_SEND_BUFFER_BYTES: Final = 4 << 20


class Balancer:
    """
    Passes datagrams on until it is stopped. Made inside a running loop.

    Args:
        socks: Bound, one or more; their datagrams are taken from now on.
        targets: Of each member the address and port that it takes packets on.
        key: Shared with the members; empty for none.
        ready: Where members answer `/readyz`, as far as that is known.
        mirror: 1, or 2 for a second owner of each call.

    Raises:
        OSError: A member's address can't be sent to.
        ValueError: The members are no ring.

    Attributes:
        generation: How often who gets what has changed.
    """

    def __init__(
        self,
        socks: Sequence[socket.socket],
        targets: Mapping[Member, tuple[str, int]],
        *,
        key: bytes = b"",
        ready: Mapping[str, tuple[str, int]] | None = None,
        mirror: int = 1,
        key_rate_per_s: int = KEY_RATE_PER_S,
    ) -> None:
        self.tally = Tally()
        self.generation = 0
        self._loop = asyncio.get_running_loop()
        self._stack = ExitStack()
        self._sockets = [self._stack.enter_context(sock) for sock in socks]
        self._inodes = [inode_of(sock) for sock in socks]
        self._links = {one.name: self._stack.enter_context(_link(address)) for one, address in targets.items()}
        self.ring = Ring(tuple(targets), mirror=mirror)
        self.health = Health(self._links)
        self._usable = frozenset(self._links)
        self._prober = Prober(self._links, self.health, key=key, told=self._look)
        self._ready_prober = ReadyProber(ready or {}, self.health, told=self._look)
        self._forwarder = Forwarder(
            self._links, self.ring, tally=self.tally, key_rate_per_s=key_rate_per_s,
            refused=self._prober.refused,
        )  # fmt: skip
        for sock in socks:
            self._loop.add_reader(sock, self._pass_on, sock)

    @property
    def local(self) -> tuple[str, int]:
        """Where it listens first of all."""
        host, port = self._sockets[0].getsockname()[:2]
        return str(host), int(port)

    async def run(self) -> None:
        """Watch over the members, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._prober.run(), name="keepalives")
            tasks.create_task(self._ready_prober.run(), name="readiness")

    def standings(self) -> dict[str, Standing]:
        """What is known of each member."""
        now_s = monotonic()
        return {name: one.standing(now_s) for name, one in self.health.members.items()}

    def shares(self) -> dict[str, float]:
        """Of each member the part of all datagrams that it gets now; with mirroring they add up to two."""
        shares = self._forwarder.owners.shares(len(self.ring.members))
        return dict(zip((one.name for one in self.ring.members), shares, strict=True))

    def unready(self) -> Sequence[str]:
        """Why nothing should be sent here now."""
        return () if self._usable else ("no ingest node takes packets",)

    def kernel_drops(self) -> int:
        """Datagrams that the kernel dropped because a socket's buffer was full."""
        return sum(map(kernel_drops, self._inodes))

    @property
    def spurious(self) -> int:
        """What came from members' addresses and was no answer to a question of ours."""
        return self._prober.spurious

    def stop(self) -> None:
        """Pass on what the kernel still holds, as far as it goes at once, and close. Again: nothing more."""
        for sock in self._sockets:
            if sock.fileno() < 0:
                return
            self._loop.remove_reader(sock)
            with suppress(OSError):
                while self._forwarder.turn(sock, time_ns() // 1000):
                    pass
        self._stack.close()

    def _pass_on(self, sock: socket.socket) -> None:
        try:
            for _ in range(TURNS):
                if not self._forwarder.turn(sock, time_ns() // 1000):
                    return
        except OSError as fault:
            log.warning("balance.receive_failed", extra={"why": str(fault)})

    def _look(self) -> None:
        """Give datagrams to others when somebody has come or gone."""
        usable = self.health.usable(monotonic())
        if usable != self._usable:
            log.warning(
                "balance.members_changed",
                extra={"left": sorted(self._usable - usable), "came": sorted(usable - self._usable)},
            )
            self._usable = usable
            self.generation += 1
            self._forwarder.owners = self.ring.owners(usable)


def bound(host: str, port: int, *, buffer_bytes: int, is_moving: bool = False) -> socket.socket:
    """
    A socket to listen on; `is_moving` if the address may be at another host now.

    Raises:
        OSError: The address can't be had.
    """
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    return bound_udp(family, address, buffer_bytes=buffer_bytes, is_moving=is_moving)


def _link(address: tuple[str, int]) -> socket.socket:
    family, kind, proto, _, target = socket.getaddrinfo(*address, type=socket.SOCK_DGRAM)[0]
    sock = socket.socket(family, kind, proto)
    sock.settimeout(0)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
    sock.connect(target)
    return sock
