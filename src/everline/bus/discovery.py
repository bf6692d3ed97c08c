"""
Finding the Redis primary, and leaving it in time.

A primary that does not answer within a command's deadline is suspected at once: commands fail fast until it answers
again or the Sentinels name another. Nothing here gives up; whoever asks decides how long to go on.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from time import monotonic
from typing import Any, Final, TypeVar

from redis.asyncio import Redis

from everline.bus.connection import command, connect, in_our_words
from everline.bus.errors import BusAbsentError, BusError, BusLostError, BusPasswordError
from everline.bus.sentinels import Named, Sentinels
from everline.bus.settings import Address, RedisSettings

log = logging.getLogger(__name__)

T = TypeVar("T")

FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 0.3
NEWS_S: Final = 0.1
"""While a primary that is named is slow to answer, the Sentinels are asked so often whether they name another."""


def pause_s(failures: int, random: Random) -> float:
    """How long to wait after so many failures in a row: exponential, with full jitter."""
    return random.uniform(0, min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(failures, 10)))


@dataclass(frozen=True, slots=True)
class PrimaryChange:
    """
    Another Redis is the primary.

    Attributes:
        old: The one before; None when it is the first one found.
        config_epoch: Of the failover that made it the primary.
        gap_s: For how long there was none that answered.
    """

    old: Address | None
    new: Address
    config_epoch: int
    gap_s: float


class RedisPrimary:
    """
    The Redis that may be written to, whoever that is.

    `run` finds it and watches it, and must run for as long as anybody asks.

    Args:
        changed: Called with every change of the primary.
    """

    def __init__(
        self,
        settings: RedisSettings,
        *,
        changed: Callable[[PrimaryChange], None] = lambda _: None,
        random: Random | None = None,
    ) -> None:
        self.settings = settings
        self._sentinels = Sentinels(settings)
        self._listeners = [changed]
        self._random = random or Random()  # noqa: S311 - jitter needs no secrecy
        self._client: Redis | None = None
        self._address: Address | None = None
        self._trouble: BusError | None = BusAbsentError(settings.service, asked=0, answered=0, why="not asked yet")
        self._gone_since_s = monotonic()
        self._doubt = asyncio.Event()
        self._found = asyncio.Event()
        self._config_epoch = 0
        self._slow: frozenset[Address] = frozenset()
        self.generation = 0

    @property
    def address(self) -> Address | None:
        """The primary, or who was it last; None before the first was found."""
        return self._address

    @property
    def trouble(self) -> str:
        """Why there is no primary that answers; empty while there is one."""
        return str(self._trouble or "")

    def listen(self, changed: Callable[[PrimaryChange], None]) -> None:
        """Tell one more of every change."""
        self._listeners.append(changed)

    async def ask(self, question: Callable[[Redis], Awaitable[T]], *, within_s: float | None = None) -> T:
        """
        What the primary answers.

        Args:
            question: Asks a client one thing, once.
            within_s: Another deadline than the one configured.

        Raises:
            BusError: There is none, it gave no answer in time, or it can't now.
        """
        if self._trouble or self._client is None or self._address is None:
            raise self._trouble or BusError("Redis is closed")
        generation, address = self.generation, self._address
        try:
            with in_our_words(address):
                async with asyncio.timeout(within_s or self.settings.command_s):
                    return await question(self._client)
        except BusLostError as fault:
            self.suspect(fault, generation=generation)
            raise

    async def command(self, *words: bytes | str | float) -> Any:  # whatever Redis answers to it
        """Ask the primary one command; see `ask`."""
        return await self.ask(lambda client: command(client, *words))

    def connect(self) -> Redis:
        """
        A client of its own of the present primary, for subscribing and for blocking reads.

        The caller closes it, and sets a deadline for every answer: there is none in it.

        Raises:
            BusError: There is none.
        """
        if self._trouble or self._address is None:
            raise self._trouble or BusError("Redis is closed")
        return connect(self._address, self.settings)

    def suspect(self, fault: BusError, *, generation: int | None = None) -> None:
        """Fail what is asked from now on, until the primary answers again or another is named."""
        if self._trouble is None and generation in {None, self.generation}:
            self._gone_since_s = monotonic()
            self._trouble = fault
            self._found.clear()
            log.warning("bus.primary_suspected", extra={"service": self.settings.service, "why": str(fault)})
        self._doubt.set()

    async def hasten_sentinels(self, down_after_ms: int) -> None:
        """Make the Sentinels look more often, and doubt sooner; one that was started again has forgotten it."""
        slow = await self._sentinels.hasten(down_after_ms)
        for address in slow.keys() - self._slow:
            log.warning("bus.sentinel_slow", extra={"sentinel": str(address), "why": str(slow[address])})
        self._slow = frozenset(slow)

    async def ready(self, within_s: float) -> None:
        """
        Return when there is a primary.

        Raises:
            BusError: There was none in time; it says why.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._found.wait()
        if self._trouble:
            raise self._trouble

    async def run(self) -> None:
        """Find the primary and watch over it, for ever."""
        failures = 0
        try:
            while True:
                self._doubt.clear()
                try:
                    await self._look()
                except BusError as fault:
                    self._still_gone(fault)
                    failures += 1
                    await asyncio.sleep(pause_s(failures, self._random))
                    continue
                failures = 0
                with suppress(TimeoutError):
                    async with asyncio.timeout(self.settings.look_s):
                        await self._doubt.wait()
        finally:
            await self._close()

    async def _look(self) -> None:
        """Ask who the primary is, and whether it is one that answers."""
        named: Named | None = await self._sentinels.primary()
        while named:
            self._reject_older(named)
            if named.address == self._address and self._client is not None and not self._trouble:
                self._config_epoch = named.config_epoch
                await _be_primary(self._client, named.address, self.settings)
                return
            named = await self._try(named)

    async def _try(self, named: Named) -> Named | None:
        """Adopt one that answers as a primary; the other one if the Sentinels name another meanwhile."""
        # A new client even for the same address: the connections of the old one may be dead or stuck.
        client = connect(named.address, self.settings)
        trial = asyncio.create_task(_be_primary(client, named.address, self.settings))
        try:
            other = await self._other_than(named, trial)
        except BaseException:
            await _drop(client)
            raise
        finally:
            trial.cancel()
        if other:
            await _drop(client)
        else:
            await self._adopt(client, named)
        return other

    async def _other_than(self, named: Named, trial: asyncio.Task[None]) -> Named | None:
        """
        Nothing when a trial has shown that the primary answers, or whom the Sentinels name instead meanwhile.

        A dead one would keep us for its whole deadline.

        Raises:
            BusError: It does not answer, or is none.
        """
        while not (await asyncio.wait([trial], timeout=NEWS_S))[0]:
            with suppress(BusAbsentError):
                now = await self._sentinels.primary()
                if now.address != named.address and not trial.done():
                    return now
        await trial
        return None

    def _reject_older(self, named: Named) -> None:
        """Go back to an earlier failover's primary only if most Sentinels say so: they were made anew."""
        if named.config_epoch < self._config_epoch and 2 * named.votes <= len(self.settings.sentinels):
            why = "the Sentinels that answered know only an earlier failover"
            raise BusAbsentError(
                self.settings.service, asked=len(self.settings.sentinels), answered=named.votes, why=why
            )

    async def _adopt(self, client: Redis, named: Named) -> None:
        old_client, old = self._client, self._address
        gap_s = monotonic() - self._gone_since_s if self._trouble else 0.0
        self._client, self._address, self._config_epoch = client, named.address, named.config_epoch
        self._trouble = None
        self.generation += 1
        self._found.set()
        if named.address != old:
            self._tell(PrimaryChange(old, named.address, named.config_epoch, gap_s))
        else:
            log.warning("bus.primary_answers", extra={"primary": str(old), "gap_s": round(gap_s, 3)})
        if old_client:
            await _drop(old_client)

    def _tell(self, change: PrimaryChange) -> None:
        log.warning(
            "bus.primary_changed",
            extra={
                "service": self.settings.service, "old": str(change.old or ""), "new": str(change.new),
                "config_epoch": change.config_epoch, "gap_s": round(change.gap_s, 3),
            },
        )  # fmt: skip
        for listener in self._listeners:
            listener(change)

    def _still_gone(self, fault: BusError) -> None:
        """The Sentinels give no answer, or their primary does not: the one known is only left if it is silent too."""
        if isinstance(fault, BusLostError) and self._trouble is None:
            self.suspect(fault)
        elif self._trouble is not None:
            if isinstance(fault, BusPasswordError) and not isinstance(self._trouble, BusPasswordError):
                log.warning("bus.password_refused", extra={"service": self.settings.service, "why": str(fault)})
            self._trouble = fault

    async def _close(self) -> None:
        self._trouble = BusError("Redis is closed")
        if self._client:
            await _drop(self._client)
        await self._sentinels.close()


async def _be_primary(client: Redis, address: Address, settings: RedisSettings) -> None:
    """
    Return when this Redis says that it is a primary.

    Raises:
        BusError: It is not, or it says nothing in time.
    """
    with in_our_words(address):
        async with asyncio.timeout(settings.command_s):
            role = (await command(client, "ROLE"))[0]
    if role != b"master":
        raise BusLostError(str(address), f"the Sentinels name it, and it is still a {role.decode()}")


async def _drop(client: Redis) -> None:
    """Cut all connections of a client, those in use too: a hung Redis lets nobody go."""
    with suppress(Exception):  # It is being thrown away: nothing that happens here can matter.
        await client.connection_pool.disconnect(inuse_connections=True)
    with suppress(Exception):
        await client.aclose()
