"""One batch to two servers: in order of nearness, past those that fail or hang, by deadline."""

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

from everline.calls.event import EventBatch
from everline.store.circuit import Circuit, CircuitState
from everline.store.errors import StoreClosedError
from everline.store.fault_codes import Act, act_on
from everline.store.routing import Target, candidates
from everline.store.servers import Server

log = logging.getLogger(__name__)

COPIES: Final = 2
"""Servers that have to acknowledge a batch."""


@dataclass(frozen=True, slots=True)
class WriteTimes:
    """
    How long to wait.

    Attributes:
        hedge_s: For a server before another one is asked too.
        insert_s: For a server before it counts as failed.
        patience_s: For a batch, while all servers that could be asked are late, before it goes to the spool.
    """

    hedge_s: float = 0.5
    insert_s: float = 5.0
    patience_s: float = 2.0


@dataclass(slots=True)
class Member:
    """
    A server, and what is known of it.

    Attributes:
        fault: Why it does not take batches; empty while it does.
        acknowledged: Events that it has acknowledged.
    """

    target: Target
    server: Server
    circuit: Circuit = field(default_factory=Circuit)
    fault: str = ""
    acknowledged: int = 0


Acks = MutableMapping[str, int]
"""Servers that have acknowledged a batch, with how often each had failed before: once more, and it counts no longer."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What became of a batch.

    Attributes:
        is_stored: Enough servers have acknowledged it.
        refusal: Why servers that work say that some row can never be stored; none if they don't.
    """

    is_stored: bool
    refusal: Exception | None = None


class Delivery:
    """
    Brings batches to the servers of a cluster. For any number of tasks at once.

    A call that is late goes on after its batch was decided, so that its end tells about the server; a server with such
    a call is given nothing more, so there is one a server at most, for each task.

    Attributes:
        retries: Batches that were given to a server again after its connection broke.
        hedges: Calls that were late, so that another server was asked.
    """

    def __init__(
        self,
        servers: Iterable[tuple[Target, Server]],
        times: WriteTimes,
        *,
        clock: Callable[[], float] = monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.members: Mapping[str, Member] = {target.name: Member(target, server) for target, server in servers}
        self.times = times
        self.retries = 0
        self.hedges = 0
        self.copies = min(COPIES, len(self.members))
        targets = [one.target for one in self.members.values()]
        self.shards = sorted({one.shard for one in targets})
        self._orders = {
            shard: tuple(self.members[one.name] for one in candidates(targets, shard)) for shard in self.shards
        }
        self.clock = clock
        self._chance = chance
        self._calls: set[asyncio.Task[Exception | None]] = set()
        self.is_closed = False

    def states(self) -> dict[str, CircuitState]:
        """Of every server."""
        now_s = self.clock()
        return {name: one.circuit.state(now_s) for name, one in self.members.items()}

    def may_take(self) -> int:
        """How many servers would be given a batch now."""
        return sum(state in {CircuitState.CLOSED, CircuitState.HALF_OPEN} for state in self.states().values())

    async def bring(self, batch: EventBatch, shard: int, acks: Acks | None = None) -> Outcome:
        """
        Give a batch to servers until enough of them have acknowledged it, or no more can be asked.

        Args:
            batch: Events of one shard.
            shard: Its number.
            acks: Of an earlier try with this batch; those of this one are added.
        """
        race = _Race(self, batch, self._orders[shard], {} if acks is None else acks)
        return await race.run()

    def start(self, member: Member, batch: EventBatch) -> "Call":
        """Give a batch to one server."""
        call = Call(member, self.clock(), member.circuit.state(self.clock()) is CircuitState.HALF_OPEN)
        member.circuit.began(self.clock())
        call.task = asyncio.create_task(self._call(call, batch), name=f"insert-{member.target.name}")
        self._calls.add(call.task)
        call.task.add_done_callback(self._calls.discard)
        return call

    async def close(self) -> None:
        """End the calls that are under way, and begin no others."""
        self.is_closed = True
        for one in tuple(self._calls):
            one.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)

    async def _call(self, call: "Call", batch: EventBatch) -> Exception | None:
        """Why the server did not take the batch; none if it did."""
        circuit = call.member.circuit
        late = asyncio.get_running_loop().call_later(self.times.hedge_s, self._is_late, call)
        try:
            fault = await self._try_twice(call.member, batch)
        except BaseException:
            circuit.spared()
            raise
        finally:
            late.cancel()
            if call.is_late:
                circuit.answered()
        self._learn(call.member, fault, len(batch))
        return fault

    def _is_late(self, call: "Call") -> None:
        call.is_late = True
        call.member.circuit.overdue()
        self.hedges += 1

    async def _try_twice(self, member: Member, batch: EventBatch) -> Exception | None:
        until_s = self.clock() + self.times.insert_s
        fault = await _insert(member.server, batch, self.times.insert_s)
        if fault is None or act_on(fault) is not Act.AGAIN:
            return fault
        self.retries += 1
        return await _insert(member.server, batch, max(0.05, until_s - self.clock()))

    def _learn(self, member: Member, fault: Exception | None, events: int) -> None:
        if fault is None:
            member.circuit.succeeded()
            member.acknowledged += events
            if member.fault:
                log.warning("store.server_takes_again", extra={"server": member.target.name})
                member.fault = ""
        elif act_on(fault) in {Act.AGAIN, Act.ELSEWHERE}:
            member.circuit.failed(self.clock(), chance=self._chance())
            if not member.fault:
                log.warning("store.server_refuses", extra={"server": member.target.name, "why": str(fault)})
            member.fault = str(fault)
        else:
            member.circuit.spared()


@dataclass(slots=True, eq=False)
class Call:
    """A batch under way to a server."""

    member: Member
    began_s: float
    is_probe: bool
    """The server has failed before: what it says decides about itself, and a batch does not count on it."""
    is_late: bool = False
    task: "asyncio.Task[Exception | None]" = field(init=False)


class _Race:
    """One batch and the servers that are asked to store it."""

    def __init__(self, delivery: Delivery, batch: EventBatch, order: Sequence[Member], acks: Acks) -> None:
        self._delivery = delivery
        self._batch = batch
        self._order = order
        self._acks = acks
        self._asked: set[str] = set()
        self._running: list[Call] = []
        self._verdicts: Counter[Act] = Counter()
        self._refusal: Exception | None = None
        self._until_s = delivery.clock() + delivery.times.patience_s

    async def run(self) -> Outcome:
        for name in [name for name, failures in self._acks.items() if self._failures(name) != failures]:
            del self._acks[name]
        while True:
            missing = self._delivery.copies - len(self._acks)
            if missing <= 0:
                return Outcome(is_stored=True)
            if self._verdicts[Act.REJECT] >= self._delivery.copies:
                return Outcome(is_stored=False, refusal=self._refusal)
            self._ask(missing)
            wait_s = self._wait_s()
            if wait_s <= 0:
                return Outcome(is_stored=False)
            ended, _ = await asyncio.wait(
                [one.task for one in self._running], timeout=wait_s, return_when=asyncio.FIRST_COMPLETED
            )
            self._note(ended)

    def _ask(self, missing: int) -> None:
        """Ask as many more as are missing; one that may be back is asked besides, and nothing waits for it alone."""
        if self._delivery.is_closed or self._verdicts[Act.SPOOL] >= self._delivery.copies:
            return
        counted_on = sum(not one.is_late and not one.is_probe for one in self._running)
        for member in self._order:
            if counted_on >= missing:
                return
            state = member.circuit.state(self._delivery.clock())
            may_take = state in {CircuitState.CLOSED, CircuitState.HALF_OPEN}
            if not may_take or member.target.name in self._asked or member.target.name in self._acks:
                continue
            call = self._delivery.start(member, self._batch)
            self._asked.add(member.target.name)
            self._running.append(call)
            counted_on += not call.is_probe

    def _wait_s(self) -> float:
        """Until another server can be asked, or it makes no sense to wait any longer."""
        if not self._running:
            return 0
        now_s, hedge_s = self._delivery.clock(), self._delivery.times.hedge_s
        in_time = [one.began_s + hedge_s - now_s for one in self._running if not one.is_late]
        # A call is late a moment after its time.
        return max(0.001, min(in_time)) if in_time else self._until_s - now_s

    def _note(self, ended: Iterable[asyncio.Task[Exception | None]]) -> None:
        for call in [one for one in self._running if one.task in ended]:
            self._running.remove(call)
            fault = StoreClosedError() if call.task.cancelled() else call.task.result()
            if fault is None:
                self._acks[call.member.target.name] = call.member.circuit.failures
            else:
                act = act_on(fault)
                self._verdicts[act] += 1
                if act is Act.REJECT:
                    self._refusal = fault

    def _failures(self, name: str) -> int:
        return self._delivery.members[name].circuit.failures


async def _insert(server: Server, batch: EventBatch, deadline_s: float) -> Exception | None:
    try:
        await server.insert(batch, deadline_s=deadline_s)
    except Exception as fault:
        return fault
    return None
