"""Receives datagrams, and sends each to its owners: batch in, batches out."""

import socket
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from typing import Final

from everline.balance.flood import FloodGate
from everline.balance.keys import UnroutableError, is_raw_sip, key_of, wrapped
from everline.balance.maglev import SLOTS
from everline.balance.mmsg import Arena, Outgoing
from everline.balance.ring import NOBODY, Ring, slot_of
from everline.balance.tally import Tally
from everline.config_sections import KEY_RATE_PER_S

_HEP3: Final = b"HEP3"


class Forwarder:
    """
    Between the sockets on which datagrams come and one for each member.

    Args:
        links: By the name of a member, a socket that is connected to it, and without blocking.
        refused: Called with the name of a member whose host says that nobody listens.

    Attributes:
        owners: Who gets what; replaced as a whole whenever a member comes or goes.
    """

    def __init__(
        self,
        links: Mapping[str, socket.socket],
        ring: Ring,
        *,
        tally: Tally,
        key_rate_per_s: int = KEY_RATE_PER_S,
        refused: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._names = [one.name for one in ring.members]
        self._arena = Arena()
        self._outgoing = [Outgoing(self._arena, links[name]) for name in self._names]
        self._gate = FloodGate(SLOTS, per_s=key_rate_per_s)
        self._tally = tally
        self._refused = refused
        self.owners = ring.owners(self._names)

    def turn(self, sock: socket.socket, now_us: int) -> int:
        """
        Pass on what waits, up to one batch; how many datagrams came.

        Args:
            sock: On which they come: bound, and without blocking.
            now_us: UTC epoch microseconds.

        Raises:
            OSError: The socket on which datagrams come is broken.
        """
        count = self._arena.receive(sock)
        if count:
            self._tally.received += count
            self._gate.at(now_us // 1_000_000)
            batches: list[list[int]] = [[] for _ in self._names]
            raw: list[tuple[int, bytes, int, int]] = []
            for index in range(count):
                self._route(index, batches, raw)
            if raw:
                self._send_wrapped(raw, sock.getsockname()[:2], now_us)
            for member, indexes in enumerate(batches):
                if indexes:
                    self._send(member, indexes)
        return count

    def _route(self, index: int, batches: list[list[int]], raw: list[tuple[int, bytes, int, int]]) -> None:
        """Put a datagram among those of its owners, or with them among those that must be wrapped first."""
        tally, owners = self._tally, self.owners
        data = self._arena.datagram(index)
        try:
            key = key_of(data)
        except UnroutableError as fault:
            tally.rejected[fault.reason] += 1
            return
        slot = slot_of(key or self._arena.sender(index)[0])
        first, second = owners.first[slot], owners.second[slot]
        if first == NOBODY:
            tally.no_member += 1
        elif not self._gate.lets(key, slot):
            tally.flooded += 1
        elif data[:4] != _HEP3 and is_raw_sip(data):
            raw.append((index, data, first, second))
        else:
            tally.routed += 1
            batches[first].append(index)
            if second != NOBODY:
                batches[second].append(index)
        if not key:
            tally.without_key += 1

    def _send(self, member: int, indexes: list[int]) -> None:
        name = self._names[member]
        lengths = self._arena.lengths
        sent, is_refused = self._outgoing[member].send(indexes, [lengths[index] for index in indexes])
        self._tally.sent[name] += sent
        if sent < len(indexes):
            self._tally.unsent[name] += len(indexes) - sent
        if is_refused:
            self._refused(name)

    def _send_wrapped(self, raw: Sequence[tuple[int, bytes, int, int]], local: tuple[str, int], now_us: int) -> None:
        """Send raw SIP as HEP that says whose it is."""
        for index, data, *members in raw:
            address, port = self._arena.sender(index)
            try:
                packet = wrapped(data, (str(ip_address(address)), port), local, now_us)
            except UnroutableError as fault:
                self._tally.rejected[fault.reason] += 1
                continue
            self._tally.routed += 1
            self._tally.wrapped += 1
            for member in members:
                if member != NOBODY:
                    self._send_one(member, packet)

    def _send_one(self, member: int, packet: bytes) -> None:
        name = self._names[member]
        for _ in range(2):  # A refusal is told once, and is of an earlier datagram.
            try:
                self._outgoing[member].sock.send(packet)
            except ConnectionRefusedError:
                self._refused(name)
                continue
            except OSError:
                break
            self._tally.sent[name] += 1
            return
        self._tally.unsent[name] += 1
