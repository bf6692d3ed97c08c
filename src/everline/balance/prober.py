"""
Asks members whether they take packets, on the way that packets take.

The question goes out of the socket that packets for the member go out of, and stands in the same queue there. It is
asked every 200 ms; what has not been answered when the next is due counts as missed.
"""

import asyncio
import secrets
import socket
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Final

from everline.balance.health import PROBE_EVERY_S, Health
from everline.wire.keepalive import FRAME_BYTES, NONCE_BYTES, ask, read_answer

_READS: Final = 64
"""Answers that are read at a time; more were not asked for."""


class Prober:
    """
    One for all members.

    Args:
        links: By the name of a member, a socket that is connected to it, and without blocking.
        health: Told of every answer, and of every one that did not come.
        key: Shared with the members.
        told: Called after each round, and at once when somebody refuses or begins to drain.

    Attributes:
        spurious: What came from a member's address and was no answer to a question of ours.
    """

    def __init__(
        self, links: Mapping[str, socket.socket], health: Health, *, key: bytes, told: Callable[[], None]
    ) -> None:
        self._links = links
        self._health = health
        self._key = key
        self._told = told
        self._asked: dict[str, bytes] = {}
        self.spurious = 0

    async def run(self) -> None:
        """Ask and listen, for ever."""
        loop = asyncio.get_running_loop()
        for name, link in self._links.items():
            loop.add_reader(link, self._listen, name, link)
        try:
            due_s = monotonic()
            while True:
                self._round()
                self._told()
                due_s = max(due_s + PROBE_EVERY_S, monotonic())
                await asyncio.sleep(due_s - monotonic())
        finally:
            for link in self._links.values():
                if link.fileno() >= 0:
                    loop.remove_reader(link)

    def refused(self, name: str) -> None:
        """The kernel says that nobody listens at a member."""
        self._asked.pop(name, None)
        self._health.members[name].refused(monotonic())
        self._told()

    def _round(self) -> None:
        for name, link in self._links.items():
            if self._asked.pop(name, None):
                self._health.members[name].missed(monotonic())
            nonce = secrets.token_bytes(NONCE_BYTES)
            self._asked[name] = nonce
            try:
                link.send(ask(nonce, self._key))
            except ConnectionRefusedError:
                self.refused(name)
            except OSError:
                pass  # It is not asked, and so does not answer.

    def _listen(self, name: str, link: socket.socket) -> None:
        for _ in range(_READS):
            try:
                data = link.recv(FRAME_BYTES + 1)
            except BlockingIOError:
                return
            except OSError:
                self.refused(name)
                return
            said = read_answer(data, self._key)
            if said is None or said.nonce != self._asked.get(name):
                self.spurious += 1
                continue
            del self._asked[name]
            member = self._health.members[name]
            is_other = said.is_draining != member.is_draining
            member.answered(monotonic(), is_draining=said.is_draining)
            if is_other:
                self._told()
