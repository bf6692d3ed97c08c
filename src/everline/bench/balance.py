"""How fast one core balances: datagrams that wait in a socket are received, routed and sent on."""

import json
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from statistics import median
from typing import Final

from everline.balance.forward import Forwarder
from everline.balance.mmsg import Arena, Outgoing
from everline.balance.ring import Member, Ring
from everline.balance.tally import Tally
from everline.bench.corpus import datagrams
from everline.bench.machine import BenchError, this_machine
from everline.bench.stock_balancer import is_installed, room, stock_balancer
from everline.udp_socket import set_receive_buffer

MEMBERS: Final = 4
WAITING: Final = 4_096
"""Datagrams that are put into the socket before a pass begins, if they fit."""
_COST_BYTES: Final = 4_096
"""What the kernel counts for one of them at most."""
CALLS: Final = 1_024
BUFFER_BYTES: Final = 64 << 20
GOAL_PER_S: Final = 150_000
MIRRORED_GOAL_PER_S: Final = 80_000


@dataclass(frozen=True, slots=True)
class Rate:
    """
    What was measured in one way.

    Attributes:
        datagrams_per_s: Received, and sent once or twice; the median of all passes, of wall clock.
        best_per_s: The best pass.
    """

    datagrams_per_s: int
    best_per_s: int
    passes: int


def run(*, as_json: bool, seconds: float = 10.0) -> None:
    """
    Measure for some seconds: passing on without a look, to one owner, to two, and NGINX if it is here; print all.

    Raises:
        BenchError: A datagram was lost on the way: the figure would mean nothing.
    """
    with ExitStack() as stack:
        ends = _Ends(stack)
        traffic = _traffic(ends.room)
        raw = _measure(ends, traffic, _raw(ends), seconds / 4, copies=1)
        single, mirrored = (
            _measure(ends, traffic, _routed(ends, mirror), seconds / 4, copies=mirror) for mirror in (1, 2)
        )
        stock = _stock(ends, traffic, seconds / 4) if is_installed() else None
    mean_bytes = round(sum(map(len, traffic)) / len(traffic))
    machine = this_machine()
    if as_json:
        figures = {
            "bench": "balance", "datagrams_per_s": single.datagrams_per_s, "goal_per_s": GOAL_PER_S,
            "mirrored_per_s": mirrored.datagrams_per_s, "mirrored_goal_per_s": MIRRORED_GOAL_PER_S,
            "raw_per_s": raw.datagrams_per_s, "mean_bytes": mean_bytes, "single": asdict(single),
            "mirrored": asdict(mirrored), "raw": asdict(raw), "stock": asdict(stock) if stock else None,
            "machine": machine.as_json(),
        }  # fmt: skip
        sys.stdout.write(json.dumps(figures) + "\n")
        return
    lines = [
        f"balance   {_words(single)} to one owner; goal {GOAL_PER_S:,}",
        f"mirrored  {_words(mirrored)} to two owners; goal {MIRRORED_GOAL_PER_S:,}",
        f"stock     {f'{_words(stock)} by NGINX stream with njs, one process' if stock else 'NGINX is not installed'}",
        f"raw       {_words(raw)} received and sent on without a look",
        f"traffic   HEP3 of {mean_bytes} bytes on average, {CALLS:,} calls, {MEMBERS} members; "
        f"{len(traffic):,} of them wait in the socket when a pass begins, which is of wall clock",
        *machine.lines(),
    ]
    sys.stdout.write("\n".join(lines) + "\n")


def _words(rate: Rate) -> str:
    return (
        f"{rate.datagrams_per_s:,} datagrams/s on one core (median of {rate.passes} passes, best {rate.best_per_s:,})"
    )


def _traffic(count: int) -> Sequence[bytes]:
    made = datagrams(range(CALLS), time.time_ns() // 1000)
    return [next(made) for _ in range(count)]


class _Ends:
    """
    Where datagrams come, a connected socket to each member, and the members, which keep what they get until emptied.

    Attributes:
        room: Datagrams that surely fit into a socket.
    """

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.entry = self._socket()
        self.links = {f"node-{number}": self._socket() for number in range(MEMBERS)}
        self._members = [self._socket() for _ in self.links]
        for link, member in zip(self.links.values(), self._members, strict=True):
            link.connect(member.getsockname())
        self._sender = self._socket()
        self._sender.connect(self.entry.getsockname())
        self.room = min(WAITING, self.entry.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // _COST_BYTES)

    @property
    def ports(self) -> list[int]:
        """Of the members."""
        return [int(one.getsockname()[1]) for one in self._members]

    def fill(self, traffic: Sequence[bytes]) -> None:
        """Put datagrams where they come in."""
        for data in traffic:
            self._sender.send(data)

    def empty(self) -> int:
        """How many datagrams the members have got since the last time."""
        count = 0
        for member in self._members:
            with suppress(BlockingIOError):
                while True:
                    member.recv(1)
                    count += 1
        return count

    def _socket(self) -> socket.socket:
        sock = self._stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        set_receive_buffer(sock, BUFFER_BYTES)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        sock.settimeout(0)
        sock.bind(("127.0.0.1", 0))
        return sock


def _raw(ends: _Ends) -> Callable[[], int]:
    """One batch from socket to socket: what there is to gain at most."""
    arena = Arena()
    outgoing = Outgoing(arena, next(iter(ends.links.values())))

    def turn() -> int:
        count = arena.receive(ends.entry)
        outgoing.send(list(range(count)), arena.lengths)
        return count

    return turn


def _routed(ends: _Ends, mirror: int) -> Callable[[], int]:
    members = [Member(name, rack=name, region=str(number % 2)) for number, name in enumerate(ends.links)]
    forwarder = Forwarder(ends.links, Ring(members, mirror=mirror), tally=Tally(), key_rate_per_s=1 << 40)
    return lambda: forwarder.turn(ends.entry, time.time_ns() // 1000)


def _stock(ends: _Ends, traffic: Sequence[bytes], seconds: float) -> Rate:
    rates: list[float] = []
    some = traffic[: room(_COST_BYTES)]
    with stock_balancer(ends.ports) as nginx:
        until = time.monotonic() + seconds
        while not rates or time.monotonic() < until:
            rates.append(nginx.passes_on(some, ends.empty))
    return Rate(round(median(rates)), round(max(rates)), len(rates))


def _measure(ends: _Ends, traffic: Sequence[bytes], turn: Callable[[], int], seconds: float, *, copies: int) -> Rate:
    rates: list[float] = []
    until = time.monotonic() + seconds
    while not rates or time.monotonic() < until:
        ends.fill(traffic)
        passed, began = 0, time.perf_counter()
        while count := turn():
            passed += count
        took_s = time.perf_counter() - began
        if passed != len(traffic) or ends.empty() != copies * len(traffic):
            raise BenchError("datagrams were lost between two sockets of this machine: raise net.core.rmem_max")
        rates.append(passed / took_s)
    return Rate(round(median(rates)), round(max(rates)), len(rates))
