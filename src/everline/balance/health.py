"""
Whether members live, from what probes and the kernel say of them. Pure: time is given.

A member that comes and goes is let in later each time, so that its calls do not move at every turn. When most members
seem dead, it is rather the balancer that is cut off: then all are used that may be there.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

PROBE_EVERY_S: Final = 0.2
MISSES: Final = 3
"""After so many probes in a row without an answer it is out."""
HITS: Final = 2
"""After so many answers in a row it is let in again."""
FIRST_HOLD_S: Final = 1.0
LONGEST_HOLD_S: Final = 64.0
CALM_S: Final = 60.0
"""A member that has lived for so long since it was let in has no past any more."""
PANIC_SHARE: Final = 0.5


class Standing(StrEnum):
    """What is known of a member."""

    IN = "in"
    SILENT = "silent"
    """It does not answer: dead, hung, or out of reach."""
    REFUSING = "refusing"
    """Its host says that nobody listens: certainly dead."""
    HELD = "held"
    """It answers again, and has come and gone too often to be believed yet."""


class MemberHealth:
    """
    One member. It counts as alive until shown otherwise: a balancer that starts must not wait to send.

    Attributes:
        changes: How often it went out or came in, ever.
        is_draining: It says itself that it should get nothing more.
        is_ready: What it says over HTTP; None if nothing.
    """

    def __init__(self) -> None:
        self.changes = 0
        self.is_draining = False
        self.is_ready: bool | None = None
        self._is_in = True
        self._is_refusing = False
        self._misses = 0
        self._hits = 0
        self._hold_s = 0.0
        self._held_until_s = 0.0
        self._in_since_s: float | None = None

    @property
    def wants_nothing(self) -> bool:
        """It says itself that others should be sent what comes, in either way."""
        return self.is_draining or self.is_ready is False

    def standing(self, now_s: float) -> Standing:
        """What is known of it now; `now_s` is monotonic."""
        if self._is_in:
            return Standing.IN
        if self._is_refusing:
            return Standing.REFUSING
        return Standing.HELD if self._hits >= HITS and now_s < self._held_until_s else Standing.SILENT

    def answered(self, now_s: float, *, is_draining: bool = False) -> None:
        """A probe was answered."""
        self.is_draining = is_draining
        self._misses, self._is_refusing = 0, False
        self._hits += 1
        if not self._is_in and self._hits >= HITS and now_s >= self._held_until_s:
            self._is_in, self._in_since_s = True, now_s
            self.changes += 1

    def missed(self, now_s: float) -> None:
        """A probe was not answered in time."""
        self._hits = 0
        self._misses += 1
        if self._misses >= MISSES:
            self._go_out(now_s)

    def refused(self, now_s: float) -> None:
        """The kernel says that nobody listens there (ICMP port unreachable)."""
        self._hits = 0
        self._is_refusing = True
        self._go_out(now_s)

    def _go_out(self, now_s: float) -> None:
        if not self._is_in:
            return
        self._is_in = False
        self.changes += 1
        is_calm = self._in_since_s is None or now_s - self._in_since_s >= CALM_S
        self._hold_s = 0.0 if is_calm else min(LONGEST_HOLD_S, self._hold_s * 2 or FIRST_HOLD_S)
        self._held_until_s = now_s + self._hold_s


class Health:
    """All members by name."""

    def __init__(self, names: Iterable[str]) -> None:
        self.members = {name: MemberHealth() for name in names}

    def usable(self, now_s: float) -> frozenset[str]:
        """
        Whom datagrams may be sent to.

        Those that live and want something. When these are less than half of all that want something, everyone of these
        who is not certainly dead: then it is the probes that can't be trusted. When all want nothing, those that live.
        """
        standing = {name: one.standing(now_s) for name, one in self.members.items()}
        wanted = {name for name, one in self.members.items() if not one.wants_nothing} or set(self.members)
        alive = {name for name in wanted if standing[name] is Standing.IN}
        if len(alive) >= PANIC_SHARE * len(wanted):
            return frozenset(alive)
        return frozenset({name for name in wanted if standing[name] is not Standing.REFUSING})

    def is_panicking(self, now_s: float) -> bool:
        """Whether members are used that do not seem to live."""
        return any(self.members[name].standing(now_s) is not Standing.IN for name in self.usable(now_s))
