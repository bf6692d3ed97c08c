"""What an app node sees of its cluster, for its pages."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from time import monotonic, time_ns
from typing import Final

from everline.app.cluster_view import Glance, Sighting, strip
from everline.cluster.drain import Drains
from everline.cluster.entry import Entry
from everline.cluster.probe import probe
from everline.cluster.status import view_keeper
from everline.cluster.store_log import StoreLog
from everline.cluster.table import Row
from everline.node.common import Common
from everline.topology.model import RedisOptions, Role, Topology

LOOK_S: Final = 2.0
"""A program that has not answered by then is down."""
FRESH_S: Final = 1.0
"""For so long one look serves all who ask: however many pages are open, programs are asked once a second at most."""


class Sight:
    """
    Looks at every program, for whoever asks.

    Args:
        rows: Gives who is heard.
    """

    def __init__(self, common: Common, rows: Callable[[], Sequence[Row]]) -> None:
        self._common = common
        self._rows = rows
        self._log = StoreLog(common.servers)
        self._drains = Drains(common.keeper, common.topology.cluster)
        self._looking = asyncio.Lock()
        self._seen: Sighting | None = None
        self._seen_s = 0.0

    @property
    def topology(self) -> Topology:
        """What cluster.yaml says."""
        return self._common.topology

    def glance(self) -> list[Glance]:
        """The line of the status strip."""
        topology, primary = self._common.topology, self._common.primary
        servers = {(node.address, node.options_as(RedisOptions).port): node for node in topology.nodes_of(Role.REDIS)}
        node = servers.get(primary.address) if primary.address else None
        fault = "no Redis primary answers" if primary.trouble else ""
        return strip(topology, self._heard(), primary=node.host if node else str(primary.address), bus_fault=fault)

    async def look(self) -> Sighting:
        """Every program, asked now or a moment ago. Takes a little more than `LOOK_S` at most."""
        async with self._looking:
            if self._seen is None or monotonic() - self._seen_s > FRESH_S:
                self._seen = await self._ask()
                self._seen_s = monotonic()
            return self._seen

    async def entries(self, since_us: int, limit: int) -> list[Entry]:
        """
        The failover log.

        Raises:
            EverlineError: No ClickHouse server answers.
        """
        return await self._log.entries(since_us, limit)

    async def drain(self, node: str, *, who: str, reason: str) -> None:
        """
        Take a node out of service.

        Raises:
            KeeperError: It could not be noted, or that could not be confirmed.
        """
        await self._drains.drain(node, who=who, at_us=time_ns() // 1000, reason=reason)
        self._seen = None

    async def undrain(self, node: str) -> None:
        """
        Take it back.

        Raises:
            KeeperError: As above.
        """
        await self._drains.undrain(node)
        self._seen = None

    async def _ask(self) -> Sighting:
        common = self._common
        reports, keeper = await asyncio.gather(
            probe(common.topology, common.secrets, deadline_s=LOOK_S),
            view_keeper(common.topology.cluster, common.keeper),
        )
        told = {one.node: one for one in reports}
        return Sighting(common.topology, time_ns() // 1000, told, self._heard(), keeper.leader, keeper.fault)

    def _heard(self) -> Mapping[str, Row]:
        return {row.member.node: row for row in self._rows()}
