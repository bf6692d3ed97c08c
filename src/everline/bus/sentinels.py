"""What the Sentinels say: all of them are asked at once, and the latest failover that any of them knows counts."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from everline.bus.connection import command, connect, in_our_words
from everline.bus.errors import BusAbsentError, BusError, BusPasswordError
from everline.bus.settings import Address, RedisSettings

STRAGGLERS_S: Final = 0.15
"""Once most Sentinels have answered, the others have so long: one on a host that is cut off holds up nobody."""

PERIODS_MS: Final = (("PING-PERIOD", 250), ("ASK-PERIOD", 250), ("INFO-PERIOD", 1_000))
"""
How often a Sentinel looks at Redis (and connects to it), asks the others whether they see it too, and asks a replica
what it is. By itself 1,000, 1,000 and 10,000 ms; the last is 1,000 ms once the primary is down, counted from that
moment, which makes every failover wait a whole one.

No line of its configuration can say this, only `SENTINEL DEBUG` (Redis 7.0 and later), until it is started again.
"""


@dataclass(frozen=True, slots=True)
class Named:
    """
    A primary as Sentinels name it.

    Attributes:
        config_epoch: Number of the failover that made it one; the highest is the latest.
        votes: How many Sentinels say so.
    """

    address: Address
    config_epoch: int
    votes: int = 1


def latest(answers: Sequence[Named]) -> Named | None:
    """
    The primary of the highest config epoch; among equals the one that most Sentinels name, then the lower address.

    A Sentinel that was cut off still names the old one: its epoch is lower.
    """
    votes = [(one.address, one.config_epoch) for one in answers]
    ranked = sorted({(-epoch, -votes.count((address, epoch)), address) for address, epoch in votes})
    return Named(ranked[0][2], -ranked[0][0], -ranked[0][1]) if ranked else None


class Sentinels:
    """All Sentinels of a service, asked over connections that are kept."""

    def __init__(self, settings: RedisSettings) -> None:
        self._settings = settings
        self._clients = {address: connect(address, settings) for address in settings.sentinels}

    async def primary(self) -> Named:
        """
        Who is the primary now.

        Raises:
            BusPasswordError: A Sentinel refused the password, and none gave an answer.
            BusAbsentError: None gave an answer for another reason.
        """
        answers = await self._answers()
        named = latest([one for one in answers if isinstance(one, Named)])
        if named:
            return named
        raise self._nobody([one for one in answers if isinstance(one, BaseException)])

    async def hasten(self, down_after_ms: int) -> dict[Address, BusError]:
        """
        Make all Sentinels look more often, so that they may doubt a primary sooner.

        Returns:
            Those that do not, and why: they are away, or too old. They are as safe, and slower.
        """
        faults = await asyncio.gather(*(self._hasten(*one, down_after_ms) for one in self._clients.items()))
        return {address: fault for address, fault in zip(self._clients, faults, strict=True) if fault}

    async def close(self) -> None:
        """Let the connections go."""
        for client in self._clients.values():
            await client.aclose()

    async def _answers(self) -> list[Named | BaseException]:
        """What they say, or why they don't; of those that are late once most have answered, nothing."""
        asking = [asyncio.create_task(self._ask(*one)) for one in self._clients.items()]
        late = set(asking)
        try:
            while late and 2 * sum(map(_has_answered, asking)) <= len(asking):
                _, late = await asyncio.wait(late, return_when=asyncio.FIRST_COMPLETED)
            if late:
                await asyncio.wait(late, timeout=STRAGGLERS_S)
            return [one.exception() or one.result() for one in asking if one.done()]
        finally:
            for one in asking:
                one.cancel()

    async def _ask(self, address: Address, client: Redis) -> Named:
        with in_our_words(address):
            async with asyncio.timeout(self._settings.connect_s + self._settings.command_s):
                return _named(await command(client, "SENTINEL", "MASTER", self._settings.service))

    async def _hasten(self, address: Address, client: Redis, down_after_ms: int) -> BusError | None:
        try:
            with in_our_words(address):
                async with asyncio.timeout(self._settings.connect_s + self._settings.command_s):
                    await self._set_pace(client, down_after_ms)
        except BusError as fault:
            return fault
        except ResponseError as fault:
            return BusError(f"Sentinel {address} looks at its own pace ({fault}): Redis 7.0 and later can be told")
        return None

    async def _set_pace(self, client: Redis, down_after_ms: int) -> None:
        """First the pace, then the doubt that is safe with it; that is written to a file, so only if it is another."""
        service = self._settings.service
        await command(client, "SENTINEL", "DEBUG", *(word for period in PERIODS_MS for word in period))
        known = _told(await command(client, "SENTINEL", "MASTER", service))
        if known["down-after-milliseconds"] != str(down_after_ms):
            await command(client, "SENTINEL", "SET", service, "down-after-milliseconds", down_after_ms)

    def _nobody(self, faults: Sequence[BaseException]) -> BaseException:
        for fault in faults:
            if not isinstance(fault, Exception) or isinstance(fault, BusPasswordError):
                return fault
        lost = sum(isinstance(one, BusError) for one in faults)
        why = str(faults[0]) if faults else "none is configured"
        asked = len(self._clients)
        return BusAbsentError(self._settings.service, asked=asked, answered=asked - lost, why=why)


def _has_answered(asking: asyncio.Task[Named]) -> bool:
    return asking.done() and not asking.cancelled() and asking.exception() is None


def _told(said: Any) -> dict[str, str]:
    """What a Sentinel said, whichever shape the driver gave it."""
    if not isinstance(said, dict):
        said = dict(zip(said[::2], said[1::2], strict=True))
    return {_text(name): _text(value) for name, value in said.items()}


def _named(said: Any) -> Named:
    told = _told(said)
    return Named(Address(told["ip"], int(told["port"])), int(told["config-epoch"]))


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
