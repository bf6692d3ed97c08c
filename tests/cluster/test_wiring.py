"""What cluster.yaml says, as parts of one node are told."""

from ipaddress import ip_network

from tests.topology.clusters import one_site, topology

from everline.cluster.wiring import ingest_config
from everline.cluster_file import Secrets

SECRETS = Secrets(clickhouse="c", redis="r", interserver="i", session_key="s", admin_token="t")


def test_an_ingest_node_believes_the_haproxy_of_its_cluster_and_whom_it_is_told() -> None:
    """Nobody has to list what the cluster's file says already; without HAProxy nobody is believed."""
    places = one_site()
    plain = topology(places)
    places["home"]["a"]["a1"]["haproxy"] = {}
    with_haproxy = topology(places, ingest={"proxies": ["192.0.2.0/24"]})

    assert ingest_config(plain, plain.node("a2-ingest"), SECRETS).proxies == ()
    assert ingest_config(with_haproxy, with_haproxy.node("a2-ingest"), SECRETS).proxies == (
        ip_network("192.0.2.0/24"), ip_network("10.0.0.1"),
    )  # fmt: skip
