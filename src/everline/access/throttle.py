"""How often somebody may try: counted where all app nodes count, so that asking another node gains nothing."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final, Protocol

from everline.bus.discovery import RedisPrimary
from everline.bus.scripts import Script


@dataclass(frozen=True, slots=True)
class Limit:
    """So many tries within so long, counted from the first."""

    tries: int
    window_s: int


PER_CLIENT: Final = Limit(5, 60)
"""Failed sign-ins from one address."""
PER_USER: Final = Limit(20, 900)
"""Failed sign-ins to one account, from wherever: guessing takes years, and who is locked out waits minutes."""
PER_ADMIN: Final = Limit(60, 60)
"""Changes to users and tokens by one admin: a stolen session can't rewrite all before anybody looks."""


class Throttle(Protocol):
    """In the memory of a node that is alone, or in Redis. Raises BusError while it can't count: nobody may try then."""

    async def wait_s(self, who: str, limit: Limit) -> int:
        """Count a try; seconds until the next may come, 0 if this one may."""
        ...

    async def forgive(self, who: str) -> None:
        """Forget the tries of somebody who was right."""
        ...


class MemoryThrottle:
    """
    Remembers the newest `SUBJECTS` only.

    Args:
        clock: Monotonic seconds.
    """

    SUBJECTS: Final = 10_000

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._tries: OrderedDict[str, tuple[int, float]] = OrderedDict()

    async def wait_s(self, who: str, limit: Limit) -> int:
        """Count a try."""
        now = self._clock()
        tries, since = self._tries.pop(who, (0, now))
        if now - since >= limit.window_s:
            tries, since = 0, now
        self._tries[who] = (tries + 1, since)
        while len(self._tries) > self.SUBJECTS:
            self._tries.popitem(last=False)
        return int(since + limit.window_s - now) + 1 if tries >= limit.tries else 0

    async def forgive(self, who: str) -> None:
        """Forget."""
        self._tries.pop(who, None)

    def __len__(self) -> int:
        return len(self._tries)


# A count without an end would lock somebody out for ever: both are made in the same moment.
_COUNT: Final = Script("""
local tries = redis.call('INCR', ARGV[1])
if tries == 1 then redis.call('EXPIRE', ARGV[1], ARGV[2]) end
return {tries, redis.call('TTL', ARGV[1])}
""")
_KEY: Final = "everline:tries:"


class RedisThrottle:
    """Counts in Redis; the failover of Redis may forget a few tries."""

    def __init__(self, primary: RedisPrimary) -> None:
        self._primary = primary

    async def wait_s(self, who: str, limit: Limit) -> int:
        """
        Count a try.

        Raises:
            BusError: Redis can't be asked.
        """
        tries, left_s = await self._primary.ask(lambda client: _COUNT.run(client, _key(who), limit.window_s))
        return max(int(left_s), 1) if tries > limit.tries else 0

    async def forgive(self, who: str) -> None:
        """
        Forget.

        Raises:
            BusError: Redis can't be asked.
        """
        await self._primary.command("DEL", _key(who))


def _key(who: str) -> str:
    """Whatever somebody typed makes a key of one length."""
    return _KEY + hashlib.sha256(who.encode("utf-8", "surrogatepass")).hexdigest()[:32]
