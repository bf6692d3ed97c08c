"""
One leader, elected through Keeper, with a fencing token, that stops when it can no longer be sure.

The node looks at Keeper at every poke (watch, change of the connection, tick) and does what follows from what it sees;
it never acts on what it remembers. It leads from the moment it sees the seat held by its own session, until the
connection is suspended (not until the session is lost: then another may lead already), or until no write through
Keeper's majority has succeeded for `session - margin`, by a clock that also runs while the process is stopped.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from time import CLOCK_BOOTTIME, clock_gettime, time_ns
from typing import Final

from everline.cluster.candidacy import (
    Candidate,
    LastTerm,
    Reason,
    Standing,
    Term,
    encode_term,
    parse_candidate,
    parse_last,
    parse_term,
    paths_of,
    patience_s,
    reason_to_leave,
    why_empty,
)
from everline.cluster.keeper import Keeper, KeeperError, Link, Znode
from everline.errors import EverlineError

log = logging.getLogger(__name__)

UNHEALTHY_CHECKS: Final = 3
"""Checks in a row that must fail: one a tick."""
HOLD_DOWN_S: Final = 10.0
"""How long a leader that resigned does not reach for the seat as long as others do."""
SETTLED_S: Final = 10.0
"""How long a leader of a lower class leads before it gives the seat to one of a higher: no to and fro at a restart."""
_QUIET_S: Final = 1.0


class State(StrEnum):
    """What this node is in the election. LOST: it led, or stood, and Keeper is away."""

    CANDIDATE = "candidate"
    FOLLOWER = "follower"
    LEADER = "leader"
    LOST = "lost"


class NotLeaderError(EverlineError):
    """An act of the leader was asked of a node that does not lead, or can no longer be sure that it does."""

    def __init__(self, node: str) -> None:
        super().__init__(f"{node} does not lead (any more): `everline cluster status` says who does")


@dataclass(frozen=True, slots=True)
class Change:
    """
    This node became leader, or is it no longer.

    Args:
        term: The leadership that began or ended.
        is_leader: Which of the two.
        at_us: When it happened, epoch microseconds; of a loss, the last moment in which this node could be sure.
        detected_us: When the cause was seen here.
    """

    term: Term
    is_leader: bool
    reason: Reason
    at_us: int
    detected_us: int


def boot_clock_s() -> float:
    """Seconds that go on while the process is stopped and the machine is suspended."""
    return clock_gettime(CLOCK_BOOTTIME)


class Election:
    """
    One node's part in the election.

    Args:
        health: Asked at every tick: empty if the node is fit to lead, else what it lacks.
        is_drained: Whether the operator has drained this node.
        told: Called in the loop at every change of this node's leadership.
        clock: Seconds; must go on while the process is stopped.
    """

    def __init__(
        self,
        keeper: Keeper,
        cluster: str,
        me: Candidate,
        *,
        health: Callable[[], str] = lambda: "",
        is_drained: Callable[[], bool] = lambda: False,
        told: Callable[[Change], None] = lambda _: None,
        clock: Callable[[], float] = boot_clock_s,
        hold_down_s: float = HOLD_DOWN_S,
        settled_s: float = SETTLED_S,
    ) -> None:
        self._keeper = keeper
        self._paths = paths_of(cluster)
        self._me = me
        self._health = health
        self._is_drained = is_drained
        self._told = told
        self._quiet: Callable[[], Awaitable[object]] | None = None
        self._clock = clock
        self._hold_down_s = hold_down_s
        self._settled_s = settled_s
        self._tick_s = keeper.session_s / 4
        self._margin_s = keeper.session_s / 4
        self._poked = asyncio.Event()
        self._news = asyncio.Event()
        self.version = 0  # Counts the beginnings and ends of this node's leadership.
        self.state = State.LOST
        self.leader: Term | None = None  # As last seen.
        self._term: Term | None = None
        self._ended: Term | None = None
        self._confirmed_s = float("-inf")
        self._led_since_s = 0.0
        self._empty_since_s: float | None = None
        self._empty_us = 0
        self._held_until_s = float("-inf")
        self._is_leaving = False
        self._sick_checks = 0
        self._checked_s = float("-inf")
        self._registered: tuple[int, Standing] | None = None
        self._refused = ""

    @property
    def term(self) -> Term | None:
        """The leadership that this node has, None if it does not lead or can't be sure."""
        return self._term if self.still_valid() else None

    def still_valid(self) -> bool:
        """
        Whether this node leads and can be sure of it, now. Every act of the leader asks this first.

        A write of this session passed Keeper's majority less than `session - margin` ago. The margin, a quarter of the
        session, is more than the half tick by which Keeper's leader may hear of a session late. Between this answer
        and the act time passes all the same; what then comes late is refused by its token.
        """
        if self._term is None or self._keeper.link is not Link.CONNECTED:
            return False
        return self._clock() - self._confirmed_s < self._keeper.session_s - self._margin_s

    def token(self) -> int:
        """
        The token to act with.

        Raises:
            NotLeaderError: It does not lead, or can't be sure.
        """
        term = self.term
        if term is None:
            raise NotLeaderError(self._me.node)
        return term.token

    @property
    def held(self) -> Term | None:
        """The leadership that this node has, as far as the loop has heard; to begin duties, not to act."""
        return self._term

    async def changed(self, since: int) -> None:
        """Return when `version` is no longer this: leadership of this node has begun or ended."""
        while self.version == since:
            await self._news.wait()

    def before_leaving(self, quiet: Callable[[], Awaitable[object]]) -> None:
        """Await this (briefly) when the leader resigns, before the seat is given up: its duties have ended."""
        self._quiet = quiet

    def poke(self) -> None:
        """Something has changed that the election should look at: a drain, health."""
        self._poked.set()

    async def run(self) -> None:
        """Take part, for ever. Cancelled, it gives up the seat."""
        self._keeper.listen(self._link_changed)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._look_often(), name="election")
                tasks.create_task(self._watch_clock(), name="election clock")
        finally:
            await self._leave_for_good()

    async def _look_often(self) -> None:
        while True:
            self._poked.clear()
            wait_s = self._tick_s
            try:
                if self._keeper.link is Link.CONNECTED:
                    wait_s = await self._look()
                self._refused = ""
            except KeeperError as fault:
                if str(fault) != self._refused:
                    log.warning("election.keeper_failed", extra={"why": str(fault)})
                self._refused = str(fault)
            try:
                async with asyncio.timeout(wait_s):
                    await self._poked.wait()
            except TimeoutError:
                continue

    async def _watch_clock(self) -> None:
        """Notice by our own clock what Keeper can't tell us."""
        while True:
            await asyncio.sleep(self._tick_s / 4)
            if self._term is not None and not self.still_valid():
                self._lose(Reason.NOT_CONFIRMED)

    async def _look(self) -> float:
        """Do what follows from what Keeper holds; after how many seconds to look again at the latest."""
        me = replace(self._me, standing=self._standing())
        asked_s, session = self._clock(), self._keeper.session_id
        if self._is_leaving or not session:
            return self._tick_s
        is_written = await self._register(me, session, anyway=self._term is not None)
        seat = await self._keeper.get(self._paths["leader"], watch=self.poke)
        if seat is None:
            return await self._reach(me)
        self._empty_since_s = None
        if seat.owner != session:
            self._follow(seat)
            return self._tick_s
        if not is_written:  # Just taken, or back after a break: reads prove nothing, a server may be cut off too.
            await self._register(me, session, anyway=True)
        if self._keeper.session_id != session or self._is_leaving:
            return 0
        self._confirmed_s = asked_s
        if self._term is None or self._term.token != seat.czxid:
            self._lead(seat)
        await self._consider_leaving(me)
        return self._tick_s

    async def _register(self, me: Candidate, session: int, *, anyway: bool) -> bool:
        """
        Stand as candidate, in a znode of this session; whether it was written.

        The leader writes at every look: that the write passed proves the session, and with it the seat, to be alive.
        """
        path = self._candidate_path(session)
        if self._registered == (session, me.standing) and not anyway:
            return False
        if not await self._keeper.set(path, me.encode()):
            await self._keeper.create(self._paths["last"])
            await self._keeper.create(path, me.encode(), ephemeral=True)
        self._registered = (session, me.standing)
        return True

    def _candidate_path(self, session: int) -> str:
        return f"{self._paths['candidates']}/{self._me.node}-{session:x}"

    async def _reach(self, me: Candidate) -> float:
        """The seat is empty: take it when it is our turn."""
        now_s = self._clock()
        if self._term is not None:
            self._lose(Reason.SESSION_LOST)
        if self._empty_since_s is None:
            self._empty_since_s, self._empty_us = now_s, time_ns() // 1000
        self.state, self.leader = State.CANDIDATE, None
        others = [] if me.standing is Standing.READY else await self._candidates()
        left_s = self._empty_since_s + patience_s(me, others) - now_s
        if left_s > 0:
            return min(left_s, self._tick_s)
        noted = await self._keeper.get(self._paths["last"])
        last = parse_last(noted.data) if noted else None
        term = Term(
            0,
            me.node,
            me.role,
            me.region,
            why_empty(last),
            self._empty_us,
            time_ns() // 1000,
            last.node if last else "",
        )
        note = (self._paths["last"], LastTerm(me.node).encode())
        await self._keeper.take(self._paths["leader"], encode_term(term), note=note)
        return 0

    def _follow(self, seat: Znode) -> None:
        if self._term is not None:
            self._lose(Reason.SESSION_LOST)
        self.state = State.FOLLOWER
        self.leader = parse_term(seat.data, seat.czxid)

    def _lead(self, seat: Znode) -> None:
        term = parse_term(seat.data, seat.czxid)
        if term is None:
            term = Term(seat.czxid, self._me.node, self._me.role, self._me.region, Reason.SESSION_LOST, 0, 0)
        is_back = self._ended is not None and self._ended.token == term.token
        self._term = self.leader = term
        self.state = State.LEADER
        self._led_since_s = self._clock()
        self._held_until_s = float("-inf")
        self._sick_checks = 0
        reason = Reason.RECONNECTED if is_back else Reason(term.reason)
        log.info("election.leads", extra={"node": term.node, "czxid": term.token, "reason": str(reason)})
        self._tell(Change(term, True, reason, time_ns() // 1000, term.detected_us))  # noqa: FBT003 - a field

    def _lose(self, reason: Reason) -> None:
        """Lead no more, from this instruction on."""
        term = self._term
        if term is None:
            return
        self._term, self._ended = None, term
        self.state = State.FOLLOWER if self._keeper.link is Link.CONNECTED else State.LOST
        log.warning("election.leads_no_more", extra={"node": term.node, "czxid": term.token, "reason": str(reason)})
        now_us = time_ns() // 1000
        # A process that was stopped notices late: it led until its last confirmed contact, not until now.
        unsure_us = 0 if self._is_leaving else int((self._clock() - self._confirmed_s) * 1e6)
        self._tell(Change(term, False, reason, now_us - unsure_us, now_us))  # noqa: FBT003 - a field

    def _tell(self, change: Change) -> None:
        self._told(change)
        self.version += 1
        self._news.set()
        self._news = asyncio.Event()

    async def _consider_leaving(self, me: Candidate) -> None:
        is_settled = self._clock() - self._led_since_s >= self._settled_s
        if me.standing is Standing.READY and (me.priority == 0 or not is_settled):
            return
        if reason := reason_to_leave(me, await self._candidates()):
            await self.resign(reason)

    async def _candidates(self) -> list[Candidate]:
        found = await self._keeper.below(self._paths["candidates"])
        return [one for one in (parse_candidate(znode.data) for znode in found) if one]

    async def resign(self, reason: Reason) -> bool:
        """
        Give the seat up: first stop to act, then let others have it. False if this node did not lead.

        Raises:
            KeeperUnavailableError: The seat is still ours as far as Keeper knows; this node acts no more all the same,
                and leads again if nobody else can be reached.
        """
        if self._term is None:
            return False
        self._held_until_s = self._clock() + self._hold_down_s
        self._is_leaving = True
        try:
            self._lose(reason)
            await self._wait_for_quiet()
            note = (self._paths["last"], LastTerm(self._me.node, reason).encode())
            return await self._keeper.leave(self._paths["leader"], note=note)
        finally:
            self._is_leaving = False

    async def _wait_for_quiet(self) -> None:
        if self._quiet is None:
            return
        try:
            async with asyncio.timeout(_QUIET_S):
                await self._quiet()
        except TimeoutError:
            log.warning("election.duties_still_run", extra={"node": self._me.node})

    def _standing(self) -> Standing:
        """How fit this node is now; checks its health once a tick."""
        now_s = self._clock()
        if now_s - self._checked_s >= self._tick_s * 0.9:
            self._checked_s = now_s
            lacks = self._health()
            self._sick_checks = self._sick_checks + 1 if lacks else 0
            if self._sick_checks == UNHEALTHY_CHECKS:
                log.warning("election.unhealthy", extra={"node": self._me.node, "why": lacks})
        if self._is_drained():
            return Standing.DRAINED
        if self._sick_checks >= UNHEALTHY_CHECKS:
            return Standing.UNHEALTHY
        return Standing.HELD_DOWN if now_s < self._held_until_s else Standing.READY

    def _link_changed(self, link: Link) -> None:
        if link is not Link.CONNECTED:
            self._lose(Reason.DISCONNECTED)
            self.state, self.leader, self._empty_since_s = State.LOST, None, None
        self.poke()

    async def _leave_for_good(self) -> None:
        """The node stops: others need not wait for the session to end, nor for one that is no candidate any more."""
        try:
            if self._registered:
                await self._keeper.delete(self._candidate_path(self._registered[0]))
            await self.resign(Reason.STOPPING)
        except KeeperError as fault:
            log.warning("election.seat_kept", extra={"why": str(fault)})
