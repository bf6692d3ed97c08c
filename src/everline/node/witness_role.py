"""The witness: a member of the cluster at a third site, which leads when no app node can."""

from collections.abc import Callable, Sequence

from prometheus_client.registry import Collector
from starlette.types import ASGIApp

from everline.app.vitals import create_vitals_app
from everline.cluster.beat import Health, StoreHealth
from everline.cluster.entry import Entry
from everline.cluster.leader import Duty
from everline.metrics import Measured, NodeCollector
from everline.node.common import Common, Vitals
from everline.node.leading import Leading


class WitnessRole:
    """Beats, listens, and stands by for election."""

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
        """What machines ask."""
        return create_vitals_app(vitals.unready, vitals.metrics)

    def health(self, token: int) -> Health:
        """What its heartbeats say."""
        return Health(store=StoreHealth.NONE, bus_ok=not self._common.primary.trouble, leader_token=token)

    def unfit(self) -> str:
        """Why it should not lead now."""
        return self._leading.unfit()

    def unready(self) -> list[str]:
        """It gets no requests that it could not answer."""
        return []

    async def start(self) -> None:
        """It listens for nothing but HTTP."""

    async def run(self) -> None:
        """Its duties are its membership's; it looks whether it could do them."""
        await self._leading.watch()

    async def stop(self) -> None:
        """There is nothing to bring to an end."""
