"""Nodes that the operator has taken out of service, in Keeper: it holds whoever leads, and while nobody does."""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Final

from everline.cluster.candidacy import paths_of
from everline.cluster.keeper import Keeper, KeeperError, KeeperRefusedError, Link

log = logging.getLogger(__name__)

LOOK_AGAIN_S: Final = 5.0
"""A watch tells at once; this is for a watch that was lost."""
_MAX_TEXT: Final = 256


@dataclass(frozen=True, slots=True)
class Drain:
    """Who has drained a node, when (epoch microseconds), and why."""

    node: str
    who: str
    at_us: int
    reason: str = ""

    def encode(self) -> bytes:
        """As Keeper holds it."""
        return json.dumps(asdict(self)).encode()


def parse_drain(node: str, data: bytes) -> Drain:
    """What is known of a drain: a node with a znode is drained, whatever is in it."""
    try:
        read = json.loads(data)
        return Drain(node, str(read["who"]), int(read["at_us"]), str(read["reason"]))
    except (ValueError, KeyError, TypeError):
        return Drain(node, "", 0)


class Drains:
    """
    All of them. To change one, `drain` and `undrain`; to hear of them, `run`.

    Args:
        told: Called in the loop with all drains whenever one has changed.
    """

    def __init__(
        self, keeper: Keeper, cluster: str, *, told: Callable[[Mapping[str, Drain]], None] = lambda _: None
    ) -> None:
        self._keeper = keeper
        self._path = paths_of(cluster)["drain"]
        self._told = told
        self._poked = asyncio.Event()
        self._is_refused = False
        self.present: dict[str, Drain] = {}
        """As last seen; while Keeper is away, what it said before holds."""

    async def drain(self, node: str, *, who: str, at_us: int, reason: str = "") -> bool:
        """
        Take a node out of service; False if it was.

        Raises:
            KeeperUnavailableError: It could not be noted (or that could not be confirmed).
        """
        noted = Drain(node, who[:_MAX_TEXT], at_us, reason[:_MAX_TEXT])
        return await self._keeper.create(f"{self._path}/{node}", noted.encode())

    async def undrain(self, node: str) -> bool:
        """
        Take it back; False if it was in service.

        Raises:
            KeeperUnavailableError: As above.
        """
        return await self._keeper.delete(f"{self._path}/{node}")

    async def read(self) -> dict[str, Drain]:
        """
        All of them, now.

        Raises:
            KeeperUnavailableError: Nobody knows.
        """
        await self._keeper.create(self._path)  # Only a znode that is there can be watched for what comes below it.
        found = await self._keeper.below(self._path, watch=self._poked.set)
        drains = [parse_drain(one.path.rpartition("/")[2], one.data) for one in found]
        return {one.node: one for one in drains}

    async def run(self) -> None:
        """Keep `present` up to date, for ever."""
        self._keeper.listen(lambda _: self._poked.set())
        while True:
            self._poked.clear()
            if self._keeper.link is Link.CONNECTED:
                await self._look()
            try:
                async with asyncio.timeout(LOOK_AGAIN_S):
                    await self._poked.wait()
            except TimeoutError:
                continue

    async def _look(self) -> None:
        try:
            found = await self.read()
        except KeeperError as fault:
            is_refused = isinstance(fault, KeeperRefusedError)
            level = logging.WARNING if is_refused and not self._is_refused else logging.DEBUG
            self._is_refused = self._is_refused or is_refused
            log.log(level, "drains.unknown", extra={"why": str(fault)})
            return
        self._is_refused = False
        if found != self.present:
            self.present = found
            self._told(found)
