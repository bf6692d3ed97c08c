"""Duties of the leader: in their rhythm while it leads, cancelled when it does not, each by itself."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from tests.cluster.conftest import keeper_of
from tests.cluster.test_heart import until
from tests.rigs.zookeeper import Ensemble

from everline.cluster.candidacy import Candidate, Reason, Term
from everline.cluster.election import Election, NotLeaderError
from everline.cluster.leader import Duty, Fence, LeaderDuties, Mandate
from everline.errors import EverlineError


class Field:
    """A node that leads, and what its duties did."""

    def __init__(self, election: Election, duties: LeaderDuties) -> None:
        self.election, self.duties = election, duties
        self.acting: list[int] = []


@asynccontextmanager
async def leading(ensemble: Ensemble, duties: Sequence[Duty], fences: Sequence[Fence] = ()) -> AsyncIterator[Field]:
    """A node alone in its cluster; it is elected, and leads anew at once whenever it resigns."""
    async with keeper_of(ensemble) as keeper:
        election = Election(keeper, f"c{os.urandom(4).hex()}", Candidate("a", "app", "north"), hold_down_s=0)
        frame = LeaderDuties(election, duties, fences=fences, acting=lambda term, _: field.acting.append(term.token))
        field = Field(election, frame)
        tasks = [asyncio.create_task(frame.run()), asyncio.create_task(election.run())]
        try:
            yield field
        finally:
            for task in tasks[::-1]:
                task.cancel()
                await asyncio.wait([task])


class Turns:
    """A duty that counts, and does what it is told to."""

    def __init__(self, fault: BaseException | None = None, *, hangs: bool = False) -> None:
        self.tokens: list[int] = []
        self.cancelled = 0
        self._fault, self._hangs = fault, hangs

    async def act(self, mandate: Mandate) -> None:
        """One turn."""
        self.tokens.append(mandate.token)
        if self._fault:
            raise self._fault
        if self._hangs:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise

    def duty(self, name: str, *, deadline_s: float = 60) -> Duty:
        """As the frame takes it."""
        return Duty(name, 0.02, deadline_s, self.act)


async def test_a_duty_that_fails_or_hangs_is_tried_again_and_the_others_go_on(ensemble: Ensemble) -> None:
    """What fails is said, by name."""
    well, refused, broken, hung = Turns(), Turns(EverlineError("no store")), Turns(KeyError("x")), Turns(hangs=True)
    duties = [well.duty("well"), refused.duty("refused"), broken.duty("broken"), hung.duty("hung", deadline_s=0.05)]
    async with leading(ensemble, duties) as field:
        await until(lambda: all(len(one.tokens) > 3 for one in (well, refused, broken, hung)))

        assert field.duties.failing.keys() == {"refused", "broken", "hung"}
        assert field.duties.failing["refused"] == "no store"
        assert field.duties.failing["hung"] == "not done within 0.05 s"


async def test_duties_are_cancelled_before_the_seat_is_given_up(ensemble: Ensemble) -> None:
    """In the middle of a turn; the next term has another token."""
    hung = Turns(hangs=True)
    async with leading(ensemble, [hung.duty("hung")]) as field:
        await until(lambda: hung.tokens)
        assert await field.election.resign(Reason.DRAINED)
        assert hung.cancelled == 1
        await until(lambda: len(hung.tokens) == 2)

        assert hung.tokens[1] > hung.tokens[0]
        assert field.acting == hung.tokens
    assert hung.cancelled == 2


async def test_a_mandate_ends_with_its_term(ensemble: Ensemble) -> None:
    """Though the same node leads again, what was begun under the old token must not go on under the new."""
    kept: list[Mandate] = []

    async def keep(mandate: Mandate) -> None:
        kept.append(mandate)

    async with leading(ensemble, [Duty("keep", 0.02, 1, keep)]) as field:
        await until(lambda: kept)
        first = kept[0]
        await field.election.resign(Reason.DRAINED)
        await until(lambda: kept[-1].term != first.term)

        with pytest.raises(NotLeaderError):
            _ = first.token
        assert kept[-1].token > first.term.token


class SlowFence:
    """An engine that is away twice."""

    name = "slow"

    def __init__(self) -> None:
        self.asked: list[int] = []

    async def raise_to(self, term: Term) -> None:
        """Refuse at first."""
        self.asked.append(term.token)
        if len(self.asked) < 3:
            raise EverlineError("no answer")


async def test_a_fence_that_is_away_is_raised_later_and_does_not_keep_the_leader_from_acting(
    ensemble: Ensemble, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that answers is raised before any duty begins."""
    monkeypatch.setattr("everline.cluster.leader.FENCE_S", 0.2)
    monkeypatch.setattr("everline.cluster.leader.FENCE_AGAIN_S", 0.15)
    fence, turns = SlowFence(), Turns()
    async with leading(ensemble, [turns.duty("well")], [fence]) as field:
        await until(lambda: turns.tokens)
        assert "fence slow" in field.duties.failing
        await until(lambda: len(fence.asked) == 3)
        await until(lambda: "fence slow" not in field.duties.failing)

    assert set(fence.asked) == set(turns.tokens) == set(field.acting)


async def test_who_does_not_lead_has_no_token(ensemble: Ensemble) -> None:
    """The error says where to look."""
    async with keeper_of(ensemble) as keeper:
        election = Election(keeper, "nobody", Candidate("a", "app", "north"))
        with pytest.raises(NotLeaderError, match="everline cluster status"):
            election.token()
