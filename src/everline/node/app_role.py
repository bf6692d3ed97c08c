"""An app node: pages, API and events over HTTP, and the leader's work."""

from collections.abc import Callable, Sequence

from prometheus_client.registry import Collector
from starlette.types import ASGIApp

from everline.app.services import PacketLedger, Services
from everline.app.web import create_app
from everline.cluster.beat import Health, StoreHealth
from everline.cluster.entry import Entry
from everline.cluster.leader import Duty
from everline.metrics import Measured, NodeCollector
from everline.node.common import Common, Vitals
from everline.node.leading import Leading
from everline.node.sight import Sight


class AppRole:
    """Serves what the cluster has; keeps nothing that another app node does not have too."""

    def __init__(self, common: Common, note: Callable[[Entry], None]) -> None:
        self._common = common
        self._leading = Leading(common, note)

    @property
    def duties(self) -> Sequence[Duty]:
        """The leader's."""
        return self._leading.duties()

    def collectors(self) -> Sequence[Collector]:
        """What it counts."""
        return [NodeCollector(Measured(node=self._common.node.name, ingest=None, bus=self._common.bus))]

    def application(self, vitals: Vitals) -> ASGIApp:
        """Pages and API. Every app node signs sessions with the same key, so that any may answer."""
        secrets = self._common.secrets
        services = Services(
            store=self._leading.store,
            bus=self._common.bus,
            metrics=vitals.metrics,
            ledger=PacketLedger,
            readiness=vitals.unready,
            node=self._common.node.name,
            admin_token=secrets.admin_token,
            session_key=secrets.session_key.encode(),
            cluster=Sight(self._common, vitals.rows),
            closing=vitals.closing,
        )
        return create_app(services)

    def health(self, token: int) -> Health:
        """What its heartbeats say."""
        return Health(store=self._store_health(), bus_ok=not self._common.primary.trouble, leader_token=token)

    def unfit(self) -> str:
        """Why it should not lead now."""
        return self._leading.unfit()

    def unready(self) -> list[str]:
        """Why another node should be asked instead."""
        return [] if self._leading.reaches_store() else ["no ClickHouse server answers"]

    async def start(self) -> None:
        """It listens for nothing but HTTP."""

    async def run(self) -> None:
        """Its work is done request by request; meanwhile it looks whether it could do it."""
        await self._leading.watch()

    async def stop(self) -> None:
        """What is asked is answered by the HTTP server."""

    def _store_health(self) -> StoreHealth:
        if not self._leading.reaches_store():
            return StoreHealth.DOWN
        return StoreHealth.PARTIAL if self._leading.store.partial_since else StoreHealth.OK
