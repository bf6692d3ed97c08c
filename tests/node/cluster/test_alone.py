"""A node of a cluster while nothing else of it runs."""

from tests.node.cluster.conftest import Alone
from tests.rigs.cluster import ClusterRig


def test_a_node_that_is_alone_says_what_it_lacks(alone: Alone) -> None:
    """An ingest node can take packets, and a balancer pass them on; an app node can answer nobody."""
    assert alone.readiness == {
        "h1-ingest": "ready",
        "h2-ingest": "ready",
        "h1-app": "no ClickHouse server answers",
        "h3-witness": "ready",
        "h3-balancer": "ready",
    }
    assert alone.reached == {"keeper": 0, "redis": 0}


def test_told_to_stop_while_it_is_alone_it_stops(alone: Alone) -> None:
    """As it always does, with what it took on its disk."""
    assert alone.exit_code == 0


def test_killed_while_it_is_alone_it_has_its_spool_again(alone: Alone) -> None:
    """Every batch of it."""
    first, second = alone.spooled
    assert second == first > 0


def test_what_was_taken_alone_is_delivered_when_the_engines_come(rig: ClusterRig, alone: Alone) -> None:
    """Of the node that was killed, and of the one that was told to stop; every app node shows it."""
    for app in ("h1-app", "h2-app"):
        alone.killed.until_known(rig, app)
        alone.stopped.until_known(rig, app)
