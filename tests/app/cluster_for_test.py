"""A cluster as an application sees it: which programs answer, what is heard, what its failover log says."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from fastapi.testclient import TestClient
from tests.app.calls_for_test import NOW, TOKEN, answered_call, services_with
from tests.topology.clusters import one_site, topology

from everline.app.cluster_view import Glance, Sighting
from everline.app.services import Services
from everline.app.web import create_app
from everline.cluster.candidacy import Term
from everline.cluster.entry import Entry
from everline.cluster.probe import NodeReport, Standing
from everline.topology.model import Topology

SITE = topology(one_site())


def sighting(
    site: Topology = SITE, *, down: Iterable[str] = (), primary: str = "a2-redis", leader: str = "a1-app"
) -> Sighting:
    """A cluster in which all is well but what is down."""
    gone = set(down)
    reports = {
        node.name: NodeReport(
            node.name, node.role, node.host, node.address,
            Standing.DOWN if node.name in gone else Standing.READY,
            "primary, 2 replicas" if node.name == primary and node.name not in gone else "",
        )
        for node in site.nodes
    }  # fmt: skip
    term = Term(7, leader, "app", "home", "first", 1, 2) if leader else None
    return Sighting(site, round(NOW * 1e6), reports, {}, term)


@dataclass
class ListSight:
    """What there is to see, in a list."""

    seen: Sighting = field(default_factory=sighting)
    log: list[Entry] = field(default_factory=list)
    glances: list[Glance] = field(default_factory=lambda: [Glance("Ingest 3/3", "")])
    asked: int = 0

    @property
    def topology(self) -> Topology:
        """Of what is seen."""
        return self.seen.topology

    def glance(self) -> list[Glance]:
        """As it was given."""
        return list(self.glances)

    async def look(self) -> Sighting:
        """As it was given."""
        return self.seen

    async def entries(self, since_us: int, limit: int) -> list[Entry]:
        """The latest, newest last."""
        self.asked += 1
        return [one for one in self.log if one.at_us >= since_us][-limit:]

    async def drain(self, node: str, *, who: str, reason: str) -> None:
        """Nobody is drained in these tests."""
        raise NotImplementedError

    async def undrain(self, node: str) -> None:
        """Nor taken back."""
        raise NotImplementedError


def clustered(sight: ListSight) -> Services:
    """Services of a node that is not alone."""
    return replace(services_with(answered_call()), cluster=sight)


def client_of(sight: ListSight) -> TestClient:
    """Signed in by token."""
    return TestClient(create_app(clustered(sight)), headers={"Authorization": f"Bearer {TOKEN}"})
