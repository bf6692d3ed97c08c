"""Tables that every server of a cluster has whole: rows are written to two servers, and read from any."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from everline.errors import EverlineError
from everline.store.answer import Answer

INSERT_S: Final = 3.0
ANSWER_S: Final = 10.0
_NONE: Final = "no ClickHouse server is configured: cluster.yaml needs the role clickhouse"


class WholeServer(Protocol):
    """One ClickHouse server: `everline.store.servers.Server`."""

    async def insert_columns(self, table: str, columns: Mapping[str, Sequence[Any]], *, deadline_s: float) -> None:
        """Keep rows. Raises EverlineError when it can't now."""
        ...

    async def select(self, sql: str, *, limit_s: float) -> Answer:
        """What it answers. Raises EverlineError when it can't now."""
        ...


async def insert_into_two(
    servers: Sequence[WholeServer], table: str, columns: Mapping[str, Sequence[str | int]]
) -> None:
    """
    Write rows to the first two servers that take them (to one if there is only one): none is lost with one machine.

    Raises:
        EverlineError: Fewer did.
    """
    needed = min(2, len(servers))
    untried = list(servers)
    fault: BaseException | None = None if servers else EverlineError(_NONE)
    while needed and untried:
        now, untried = untried[:needed], untried[needed:]
        asked = [one.insert_columns(table, columns, deadline_s=INSERT_S) for one in now]
        for answer in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(answer, BaseException):
                fault = answer
            else:
                needed -= 1
    if fault and (needed or not servers):
        raise fault


async def select_from_any(servers: Sequence[WholeServer], sql: str) -> Answer:
    """
    What the first server that answers says.

    Raises:
        EverlineError: None did.
    """
    fault = EverlineError(_NONE)
    for server in servers:
        try:
            return await server.select(sql, limit_s=ANSWER_S)
        except EverlineError as refusal:
            fault = refusal
    raise fault


def storable(value: str | int) -> str | int:
    """A text that UTF-8 can hold: the output of a hook, or what somebody typed, may be anything."""
    return value if isinstance(value, int) else value.encode(errors="backslashreplace").decode()
