"""A balancer of a cluster, in front of its ingest nodes."""

from tests.node.cluster.traffic import RECEIVED, Calls
from tests.rigs.cluster import ClusterRig, until

BALANCER = "h3-balancer"
INGEST = ("h1-ingest", "h2-ingest")


def share(rig: ClusterRig, node: str) -> float:
    """What part of all packets an ingest node gets."""
    return rig.metric(BALANCER, f'everline_balance_share{{member="{node}"}}')


def test_calls_come_to_two_owners_and_are_one_record_each(rig: ClusterRig) -> None:
    """The default is to mirror: with two ingest nodes each gets everything."""
    before = [rig.metric(node, RECEIVED) for node in INGEST]
    calls = Calls(30)
    calls.balance(rig, BALANCER)

    calls.until_known(rig, "h1-app")
    assert [rig.metric(node, RECEIVED) for node in INGEST] == [one + len(calls.messages) for one in before]


def test_a_node_that_is_drained_gets_nothing_until_it_is_taken_back(rig: ClusterRig) -> None:
    """It says so itself to the balancer's questions; nobody needs Redis for that."""
    assert rig.everline("node", "drain", "h1-ingest").returncode == 0
    until(lambda: not share(rig, "h1-ingest"), "the balancer sends it nothing")
    before = rig.metric("h1-ingest", RECEIVED)
    calls = Calls(5)
    calls.balance(rig, BALANCER)
    calls.until_known(rig, "h2-app")
    assert rig.metric("h1-ingest", RECEIVED) == before

    assert rig.everline("node", "undrain", "h1-ingest").returncode == 0
    until(lambda: share(rig, "h1-ingest") == 1, "the balancer sends it packets again")


def test_a_node_that_is_told_to_stop_is_left_before_it_closes_its_socket(rig: ClusterRig) -> None:
    """Nothing is refused on the way: what the balancer sends it, it takes."""
    refused = f'everline_balance_unsent_total{{member="{INGEST[0]}"}}'
    before = rig.metric(BALANCER, refused)
    calls = Calls(200)
    assert rig.stop("h1-ingest") == 0
    assert not share(rig, "h1-ingest")
    calls.balance(rig, BALANCER)

    assert rig.metric(BALANCER, refused) == before
    calls.until_known(rig, "h1-app")


def test_status_tells_the_shares_of_the_ring(rig: ClusterRig) -> None:
    """As each balancer says them in its heartbeats."""
    status = until(lambda: rig.status(code=0), "all nodes are heard")
    [health] = [one["health"] for one in status["nodes"] if one["node"] == BALANCER]
    assert health["shares"] == {"h1-ingest": 1.0, "h2-ingest": 1.0}


def test_told_to_stop_a_balancer_says_that_it_is_not_ready_and_passes_on_what_comes(rig: ClusterRig) -> None:
    """The VIP has time to move."""
    calls = Calls(5)
    calls.balance(rig, BALANCER)
    assert rig.stop(BALANCER) == 0
    calls.until_known(rig, "h2-app")
