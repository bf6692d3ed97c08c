"""What only the leader does: each duty in its own rhythm while this node leads, cancelled the moment it does not."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import time_ns
from typing import Final, Protocol

from everline.cluster.candidacy import Term
from everline.cluster.election import Election, NotLeaderError
from everline.errors import EverlineError

log = logging.getLogger(__name__)

FENCE_S: Final = 2.0
"""How long duties wait for the fences of engines that don't answer; these are tried on, every `FENCE_AGAIN_S`."""
FENCE_AGAIN_S: Final = 1.0


class Fence(Protocol):
    """An engine that refuses what comes with an older token. Implemented for ClickHouse and Redis."""

    @property
    def name(self) -> str:
        """What the log calls it."""
        ...

    async def raise_to(self, term: Term) -> None:
        """From now on refuse tokens below this one's. Raises EverlineError if not every server took it."""
        ...


@dataclass(frozen=True, slots=True)
class Mandate:
    """What a duty acts with."""

    term: Term
    election: Election

    @property
    def token(self) -> int:
        """
        For the write that the duty is about to make; asked anew before each.

        Raises:
            NotLeaderError: This node leads no more, or leads anew with another token.
        """
        if self.election.token() != self.term.token:
            raise NotLeaderError(self.term.node)
        return self.term.token


@dataclass(frozen=True, slots=True)
class Duty:
    """
    Something that only the leader does.

    Args:
        period_s: Between the end of one turn and the next.
        deadline_s: A turn that takes longer is cancelled, logged, and tried again in its time.
        is_urgent: It does not wait for the fences: what it does may be done by two at once.
    """

    name: str
    period_s: float
    deadline_s: float
    act: Callable[[Mandate], Awaitable[None]]
    is_urgent: bool = False


class LeaderDuties:
    """
    Runs the duties while the election says that this node leads.

    Args:
        acting: Called once a term, when the fences are raised and the duties begin.
    """

    def __init__(
        self,
        election: Election,
        duties: Sequence[Duty],
        *,
        fences: Sequence[Fence] = (),
        acting: Callable[[Term, int], None] = lambda _term, _at_us: None,
    ) -> None:
        self._election = election
        self._duties = tuple(duties)
        self._fences = tuple(fences)
        self._acting = acting
        self._idle = asyncio.Event()
        self._idle.set()
        election.before_leaving(self._idle.wait)
        self.failing: dict[str, str] = {}
        """Duties (and fences) whose last turn failed, and why."""

    async def run(self) -> None:
        """For ever."""
        while True:
            version, term = self._election.version, self._election.held
            if term is None:
                await self._election.changed(version)
                continue
            self._idle.clear()
            try:
                async with (
                    asyncio.TaskGroup() as tasks
                ):  # A defect of this frame ends the node, which another replaces.
                    work = tasks.create_task(self._serve(term), name=f"duties of term {term.token}")
                    await self._election.changed(version)
                    work.cancel()
            finally:
                self.failing.clear()
                self._idle.set()

    async def _serve(self, term: Term) -> None:
        mandate = Mandate(term, self._election)
        async with asyncio.TaskGroup() as tasks:
            for duty in self._duties:
                if duty.is_urgent:
                    tasks.create_task(self._repeat(duty, mandate), name=f"duty {duty.name}")
            raising = [
                tasks.create_task(self._raise(fence, mandate), name=f"fence {fence.name}") for fence in self._fences
            ]
            if raising:
                await asyncio.wait(raising, timeout=FENCE_S)
            self._acting(term, time_ns() // 1000)
            for duty in self._duties:
                if not duty.is_urgent:
                    tasks.create_task(self._repeat(duty, mandate), name=f"duty {duty.name}")

    async def _raise(self, fence: Fence, mandate: Mandate) -> None:
        """Raise one fence, however long it takes: an engine that is away now must know the token when it is back."""
        while True:
            if await self._turn(f"fence {fence.name}", FENCE_S, lambda: fence.raise_to(mandate.term)):
                return
            await asyncio.sleep(FENCE_AGAIN_S)

    async def _repeat(self, duty: Duty, mandate: Mandate) -> None:
        while True:
            if self._election.still_valid():
                await self._turn(duty.name, duty.deadline_s, lambda: duty.act(mandate))
            await asyncio.sleep(duty.period_s)

    async def _turn(self, name: str, deadline_s: float, act: Callable[[], Awaitable[None]]) -> bool:
        """One turn; whether it succeeded. A duty that fails stops neither itself for ever nor the others."""
        try:
            async with asyncio.timeout(deadline_s):
                await act()
        except NotLeaderError:
            return False
        except TimeoutError:
            self._note(name, f"not done within {deadline_s:g} s")
            return False
        except EverlineError as fault:
            self._note(name, str(fault))
            return False
        except Exception as fault:
            log.exception("leader.duty_broke", extra={"duty": name})
            self.failing[name] = repr(fault)
            return False
        self.failing.pop(name, None)
        return True

    def _note(self, name: str, why: str) -> None:
        if self.failing.get(name) != why:
            log.warning("leader.duty_failed", extra={"duty": name, "why": why})
        self.failing[name] = why
