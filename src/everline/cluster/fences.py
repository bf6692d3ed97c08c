"""
Fences: each engine keeps the highest token that it was told, and refuses the writes of an older leader by itself.

A leader that was stopped between its last check and its write does not know that it is late; the engine does.
"""

import asyncio
from collections.abc import Mapping, Sequence
from time import time_ns
from typing import Any, Final, Protocol

from redis.exceptions import ResponseError

from everline.bus.discovery import RedisPrimary
from everline.cluster.candidacy import Term
from everline.cluster.leader import FENCE_S
from everline.errors import EverlineError
from everline.store.literals import number, text

DUTY: Final = "leader"
FENCES: Final = "everline.fences"
REDIS_FENCE: Final = "everline:fence"
FENCED: Final = "FENCED"
_RAISE: Final = """
local known = tonumber(redis.call('GET', KEYS[1]) or '0')
if tonumber(ARGV[1]) > known then redis.call('SET', KEYS[1], ARGV[1]) end
return 1
"""
_GUARDED: Final = """
if tonumber(ARGV[1]) < tonumber(redis.call('GET', KEYS[1]) or '0') then
  return redis.error_reply('FENCED by a newer leader')
end
redis.call('SET', KEYS[1], ARGV[1])
return redis.call(unpack(ARGV, 2))
"""


class FencedError(EverlineError):
    """An engine refused a write: there is a newer leader."""

    def __init__(self, token: int) -> None:
        super().__init__(f"the write was refused: the token {token} is not the newest, another node leads")
        self.token = token


class FencedServer(Protocol):
    """One ClickHouse server: `everline.store.servers.Server`, and what tests put in its place."""

    async def insert_columns(self, table: str, columns: Mapping[str, Sequence[Any]], *, deadline_s: float) -> None:
        """Keep rows. Raises EverlineError when it can't now."""
        ...


class ClickHouseFence:
    """On each server by itself: what one was told reaches the others by replication, later."""

    name = "clickhouse"

    def __init__(self, servers: Sequence[FencedServer], *, node: str) -> None:
        self._servers = tuple(servers)
        self._node = node

    async def raise_to(self, term: Term) -> None:
        """
        Write the token on every server that answers.

        Raises:
            EverlineError: Some did not; those that did refuse older tokens all the same.
        """
        row: dict[str, list[str | int]] = {
            "duty": [DUTY],
            "token": [term.token],
            "node": [self._node],
            "at_us": [time_ns() // 1000],
        }
        asked = [one.insert_columns(FENCES, row, deadline_s=FENCE_S) for one in self._servers]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer


def not_fenced(token: int) -> str:
    """
    A condition for the leader's `INSERT … SELECT … WHERE`: the server has not been told of a newer leader.

    A fenced insert writes no row and gives no error.
    """
    return f"toUInt64({number(token)}) >= (SELECT max(token) FROM {FENCES} WHERE duty = {text(DUTY)})"  # noqa: S608


class RedisFence:
    """In Redis, and with it the leader's writes: checked and done in one script."""

    name = "redis"

    def __init__(self, primary: RedisPrimary) -> None:
        self._primary = primary

    async def raise_to(self, term: Term) -> None:
        """
        Keep the token if it is the highest.

        Raises:
            BusError: Redis can't now.
        """
        await self._primary.command("EVAL", _RAISE, 1, REDIS_FENCE, term.token)

    async def command(self, token: int, *words: bytes | str | float) -> object:
        """
        One command, refused if there is a newer leader; what Redis answers to it.

        A Redis that was rebuilt empty learns the token by the first command that comes with one.

        Raises:
            FencedError: There is a newer leader.
            BusError: Redis can't now.
        """
        try:
            return await self._primary.command("EVAL", _GUARDED, 1, REDIS_FENCE, token, *words)
        except ResponseError as fault:
            if str(fault).startswith(FENCED):
                raise FencedError(token) from fault
            raise
