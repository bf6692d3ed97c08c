"""Questions to a cluster: the nearest server that answers asks the others; what can't be asked is told."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

from everline.store.answer import Answer
from everline.store.errors import StoreDeadlineError, StoreError
from everline.store.schema import DATABASE
from everline.store.servers import NETWORK, TIMED_OUT, Server, ServerError, ServerLostError

log = logging.getLogger(__name__)

PULSE_S: Final = 1.0
"""While a server works on a question it is pinged this often: one that hangs is left, one that works is waited for."""
FIRST_LOOK_S: Final = 0.25
LAST_LOOK_S: Final = 4.0
"""A server that was left is looked for after such waits, each twice the one before."""
PROBE: Final = f"SELECT count() AS calls FROM {DATABASE}.calls WHERE in_call = 2"  # noqa: S608 - of our own names
"""Asks every shard and reads nothing."""

_SHARD_LOST: Final = frozenset({32, 101, NETWORK, TIMED_OUT, 279})
"""What a server says that can't reach a replica of another shard: hung up, unexpected packet, …, all tries failed."""
_ELSEWHERE: Final = _SHARD_LOST | {60, 81, 192, 193, 194, 202, 516}
"""Another server may answer: no such table or database (yet), a login that it refuses, too many questions at once."""
_LATE: Final = frozenset({159, 160, 241})
_SKIP: Final[Mapping[str, Any]] = {"skip_unavailable_shards": 1}


class NoServerError(StoreError):
    """No server of the cluster answered a question."""

    def __init__(self, faults: Sequence[StoreError]) -> None:
        said = "; ".join(str(fault) for fault in faults)
        super().__init__(
            f"no ClickHouse server answered ({len(faults)} asked: {said}): "
            "see `everline cluster status`, and roles.clickhouse of cluster.yaml",
            code=faults[-1].code if faults else NETWORK,
        )


class Reader:
    """
    Asks one question after the other, each of the nearest server that is known to answer.

    A server that is dead, hangs or hangs up is left for the next one, and asked again once it answers pings. When a
    whole shard is gone, what is there is given as partial, until every shard was seen to answer again.

    Args:
        servers: Nearest first.
        query_s: What one SELECT may take, over all servers that are tried.
        clock: UTC epoch seconds.
    """

    def __init__(
        self, servers: Sequence[Server], *, query_s: float = 10.0, clock: Callable[[], float] = time.time
    ) -> None:
        self._servers = tuple(servers)
        self._query_s = query_s
        self._clock = clock
        self._left: dict[str, asyncio.Task[None]] = {}
        self._probing: asyncio.Task[None] | None = None
        self._partial_since: float | None = None

    @property
    def partial_since(self) -> float | None:
        """Since when a shard is gone, epoch seconds; None while all are there."""
        return self._partial_since

    @property
    def left(self) -> frozenset[str]:
        """Names of the servers that are not asked now."""
        return frozenset(self._left)

    async def ask(self, sql: str) -> Answer:
        """
        Run one SELECT.

        Raises:
            StoreDeadlineError: It takes too long, or too much memory.
            NoServerError: No server answers.
            ServerError: The SELECT was refused.
        """
        until = time.monotonic() + self._query_s
        faults: list[StoreError] = []
        for server in sorted(self._servers, key=lambda one: one.name in self._left):
            try:
                return await self._ask(server, sql, until)
            except ServerLostError as fault:
                self._leave(server, fault)
                faults.append(fault)
            except ServerError as fault:
                if fault.code not in _ELSEWHERE:
                    raise
                faults.append(fault)
            if time.monotonic() >= until:
                break
        raise NoServerError(faults)

    async def close(self) -> None:
        """Look for nothing any more. The servers are left as they are."""
        tasks = [*self._left.values(), *([self._probing] if self._probing else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, server: Server, sql: str, until: float) -> Answer:
        for _ in range(2):
            # Twice: a server that lost a replica under a question turns to the next one with the next question.
            if self._partial_since is not None:
                break
            try:
                return await self._select(server, sql, until)
            except ServerError as fault:
                if isinstance(fault, ServerLostError) or fault.code not in _SHARD_LOST:
                    raise
                lost = fault
        else:
            self._become_partial(lost)
        answer = await self._select(server, sql, until, _SKIP)
        answer.partial = True
        return answer

    async def _select(
        self, server: Server, sql: str, until: float, settings: Mapping[str, Any] | None = None
    ) -> Answer:
        """One question to one server, which is left as soon as it does not answer pings beside it."""
        limit_s = max(until - time.monotonic(), 0.1)
        asking = asyncio.ensure_future(server.select(sql, limit_s=limit_s, settings=settings))
        try:
            while not (await asyncio.wait({asking}, timeout=PULSE_S))[0]:
                await server.ping(deadline_s=PULSE_S)
            return asking.result()
        except ServerError as fault:
            is_late = time.monotonic() >= until and fault.code == TIMED_OUT  # It answered pings all the time.
            if is_late or fault.code in _LATE:
                raise StoreDeadlineError(self._query_s, code=fault.code) from fault
            raise
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    def _leave(self, server: Server, fault: ServerError) -> None:
        if server.name not in self._left:
            log.warning("store.server_left", extra={"server": server.name, "why": str(fault)})
            self._left[server.name] = asyncio.create_task(self._return(server), name=f"return-{server.name}")

    async def _return(self, server: Server) -> None:
        async def pinged() -> None:
            await server.ping(deadline_s=PULSE_S)

        await _until_done(pinged)
        del self._left[server.name]
        log.info("store.server_back", extra={"server": server.name})

    def _become_partial(self, fault: ServerError) -> None:
        if self._partial_since is None:
            self._partial_since = self._clock()
            log.warning("store.partial", extra={"why": str(fault)})
            self._probing = asyncio.create_task(self._become_whole(), name="store-probe")

    async def _become_whole(self) -> None:
        async def answered() -> None:
            there = [one for one in self._servers if one.name not in self._left] or self._servers
            await there[0].select(PROBE, limit_s=self._query_s)

        await _until_done(answered)
        self._partial_since = None
        log.info("store.whole")


async def _until_done(attempt: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Try until the store does not refuse, with growing waits; a part of each is left to chance."""
    wait_s = FIRST_LOOK_S
    while True:
        await asyncio.sleep(wait_s * random.uniform(0.5, 1.0))  # noqa: S311 - only spreads the load
        try:
            await attempt()
        except StoreError as fault:
            log.debug("store.still_away", extra={"why": str(fault)})
            wait_s = min(wait_s * 2, LAST_LOOK_S)
        else:
            return
