"""One cluster for all tests of this directory: its nodes began alone, and before each test all of it is whole."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tests.conftest import require_programs
from tests.node.cluster.traffic import Calls
from tests.rigs.cluster import ENGINE_ROLES, ENGINES, OWN_ROLES, ClusterRig, cluster_rig, until

from everline.store.cluster_schema import REPLICATED
from everline.topology.model import Role


@dataclass(frozen=True)
class Alone:
    """
    What nodes did while nothing else of the cluster ran.

    Attributes:
        readiness: What /readyz said, by node.
        spooled: Batches in the spool of the ingest node that was killed then, and in that of the next process.
        reached: Whether the node said that it reaches an engine.
        killed: Calls that were sent to that node before it was killed.
        stopped: Calls that were sent to another one, which was then told to stop.
        exit_code: Of that one.
    """

    readiness: dict[str, str]
    spooled: tuple[float, float]
    reached: dict[str, float]
    killed: Calls
    stopped: Calls
    exit_code: int


@pytest.fixture(scope="session")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ClusterRig, Alone]]:
    """Some nodes first, then the engines, then all other nodes."""
    require_programs(*ENGINES)
    with cluster_rig(tmp_path_factory.mktemp("cluster")) as rig:
        alone = began_alone(rig)
        rig.start(*rig.names(*ENGINE_ROLES))
        yield rig, alone


@pytest.fixture
def alone(begun: tuple[ClusterRig, Alone]) -> Alone:
    """What was seen before the engines came."""
    return begun[1]


@pytest.fixture
def rig(begun: tuple[ClusterRig, Alone]) -> ClusterRig:
    """The cluster, whole: every program runs and serves, one node leads, every spool is empty."""
    rig = begun[0]
    for name, process in list(rig.cluster.processes.items()):
        if process.poll() is not None:
            rig.kill(name)
    rig.start(*(name for name in rig.names(*ENGINE_ROLES, *OWN_ROLES) if name not in rig.cluster.processes))
    rig.until_ready(*rig.names(*OWN_ROLES))
    until(lambda: len(rig.leaders()) == 1, "one node leads")
    for name in rig.names(Role.CLICKHOUSE):
        until(lambda name=name: can_write(rig, name), f"{name} has its tables\n{rig.cluster.said(name)}")  # type: ignore[misc]
    for name in rig.names(Role.INGEST):
        until(lambda name=name: not rig.metric(name, "everline_spool_records"), f"{name} has delivered all")  # type: ignore[misc]
    return rig


def can_write(rig: ClusterRig, name: str) -> bool:
    """Whether a server has all tables, none of them asleep."""
    sql = "SELECT count(), countIf(is_readonly OR is_session_expired) FROM system.replicas WHERE database = 'everline'"
    return rig.ask(name, sql) == [(len(REPLICATED), 0)]


def began_alone(rig: ClusterRig) -> Alone:
    """Five nodes without any engine: one is killed and started again, one told to stop, three only asked."""
    killed, stopped = Calls(3), Calls(3)
    names = ("h1-ingest", "h2-ingest", "h1-app", "h3-witness", "h3-balancer")
    rig.start(*names)
    for name in names:
        until(lambda name=name: rig.readiness(name), f"{name} answers\n{rig.cluster.said(name)}")  # type: ignore[misc]
    killed.send(rig, "h1-ingest")
    stopped.send(rig, "h2-ingest")
    unready = until(lambda: rig.readiness("h1-app").removeprefix("ready"), "the app node misses the store")
    first = until_kept(rig, "h1-ingest")
    readiness = {name: rig.readiness(name) for name in names} | {"h1-app": unready}
    reached = {
        engine: rig.metric("h1-ingest", f'everline_engine_reached{{engine="{engine}"}}')
        for engine in ("keeper", "redis")
    }
    rig.kill("h1-ingest")
    rig.start("h1-ingest")
    code = rig.stop("h2-ingest")
    second = until(lambda: rig.metric("h1-ingest", "everline_spool_records"), "the next process has the spool")
    return Alone(readiness, (first, second), reached, killed, stopped, code)


def until_kept(rig: ClusterRig, name: str) -> float:
    """Batches in the spool of an ingest node, once nothing that it has received is anywhere else."""
    until(lambda: not rig.metric(name, "everline_ingest_pending"), f"{name} has kept all")
    return rig.metric(name, "everline_spool_records")
