"""Traffic sent to ingest nodes at a steady rate, with a ledger of all of it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Final

from everline.drill.destinations import Destination, Readiness
from everline.drill.flows import mean_messages
from everline.drill.ledger import SendLedger, Sent
from everline.drill.traffic import Message, traffic
from everline.drill.ways import UdpWay, Way, ways_to

TICK_S: Final = 0.01
"""Messages are sent in small bursts so far apart: waking up costs more than sending."""
MOST_BEHIND_S: Final = 0.25
"""Lost time beyond this is not made up for: a burst would be another load than the one asked for."""


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """
    What to send.

    Attributes:
        run: Names the run in its Call-IDs; must be new for each.
        seed: Same seed, same calls.
        rate_per_s: Messages a second.
        copies: To how many nodes, in different racks, each message goes: 1 or 2.
    """

    run: str
    seed: int = 1
    rate_per_s: float = 300.0
    copies: int = 1

    def messages(self) -> Iterator[Message]:
        """The traffic: as many calls begin in a second as give that rate."""
        return traffic(self.run, seed=self.seed, calls_per_s=self.rate_per_s / mean_messages())


class Load:
    """
    Sends messages in order, the n-th at n divided by the rate.

    Args:
        choose: Gives the destinations of a Call-ID at this moment.
        ways: The way to every destination that `choose` can give, by name.
    """

    def __init__(
        self,
        messages: Iterator[Message],
        choose: Callable[[str], Sequence[Destination]],
        ways: Mapping[str, Way],
        ledger: SendLedger,
        *,
        rate_per_s: float,
    ) -> None:
        self._messages = messages
        self._choose = choose
        self._ways = ways
        self._ledger = ledger
        self._rate_per_s = rate_per_s
        self._stopped = False
        self.skipped_s = 0.0

    def stop(self) -> None:
        """Send nothing more; `run` ends."""
        self._stopped = True

    async def run(self) -> None:
        """Send until stopped."""
        start, sent = time.monotonic(), 0
        while not self._stopped:
            behind = (time.monotonic() - start) * self._rate_per_s - sent
            most = MOST_BEHIND_S * self._rate_per_s
            if behind > most:
                self.skipped_s += (behind - most) / self._rate_per_s
                start += (behind - most) / self._rate_per_s
                behind = most
            for message in islice(self._messages, int(behind)):
                await self._send(message)
                sent += 1
            await asyncio.sleep(TICK_S)
        for way in self._ways.values():
            way.close()

    async def _send(self, message: Message) -> None:
        now_us = time.time_ns() // 1000
        event = Sent(message.call_id, message.key(now_us), now_us, message.datagram(now_us))
        self._ledger.sent.append(event)
        for destination in self._choose(message.call_id):
            await self._ways[destination.name].give(event)


@dataclass(frozen=True, slots=True)
class RunningLoad:
    """A load that is being sent; its ledger grows until the block it was started in ends, or until it is stopped."""

    ledger: SendLedger
    readiness: Readiness
    load: Load
    task: "asyncio.Task[None]"

    async def stop(self) -> SendLedger:
        """Send nothing more; the whole ledger."""
        self.load.stop()
        await self.task
        return self.ledger


@asynccontextmanager
async def running_load(
    plan: LoadPlan,
    destinations: Sequence[Destination],
    *,
    make_way: Callable[..., Way] = UdpWay,
    choose: Callable[[str], Sequence[Destination]] | None = None,
) -> AsyncIterator[RunningLoad]:
    """Send until the block ends: each call to the destinations that own it and are ready, or as `choose` says."""
    ledger = SendLedger(plan.run)
    readiness = Readiness(destinations, copies=plan.copies)
    ways = ways_to(destinations, ledger.refuse, make=make_way)
    load = Load(plan.messages(), choose or readiness.choose, ways, ledger, rate_per_s=plan.rate_per_s)
    watching = asyncio.create_task(readiness.watch(), name="readiness")
    sending = asyncio.create_task(load.run(), name="load")
    try:
        yield RunningLoad(ledger, readiness, load, sending)
    finally:
        load.stop()
        watching.cancel()
        await asyncio.wait([watching, sending])
    sending.result()
