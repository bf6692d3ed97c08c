"""What a cluster's description becomes, checked or not."""

import pytest
from tests.topology.clusters import one_site, roles, server, topology, two_sites, values

from everline.topology.errors import TopologyError
from everline.topology.model import ClickHouseOptions, IngestOptions, RedisOptions, Role, Topology


def test_every_role_of_every_host_is_a_node_that_knows_its_place() -> None:
    """Hosts in file order, named after host and role."""
    nodes = topology(two_sites()).nodes

    assert [node.name for node in nodes][:4] == ["e1-balancer", "e1-app", "e1-nginx", "e2-ingest"]
    first = nodes[0]
    assert (first.host, first.address, first.rack, first.region) == ("e1", "10.0.0.1", "ea", "east")
    assert first.path == "regions[0].racks[0].hosts[0].roles.balancer"


def test_a_role_without_a_value_has_its_defaults_and_may_have_a_name() -> None:
    """`ingest:` is enough."""
    cluster = topology({"r": {"k": {"h": {"ingest": None, "redis": {"name": "big-one", "port": 7000}}}}})

    assert cluster.node("h-ingest").options == IngestOptions()
    assert cluster.node("big-one").options_as(RedisOptions).port == 7000


def test_options_are_asked_for_by_their_role() -> None:
    """Whoever mixes them up is told at once."""
    node = topology(one_site()).nodes_of(Role.CLICKHOUSE)[1]

    assert node.options_as(ClickHouseOptions).replica == 2
    with pytest.raises(TypeError, match="b3-clickhouse is no ingest"):
        node.options_as(IngestOptions)


def test_shards_and_replicas_are_in_the_order_of_their_numbers() -> None:
    """Not in that of the file."""
    hosts = {"h1": server(2, 2), "h2": server(1, 2), "h3": server(2, 1), "h4": server(1, 1)}
    cluster = topology({"r": {"k": hosts}})

    assert {shard: [node.host for node in nodes] for shard, nodes in cluster.shards.items()} == {
        1: ["h4", "h2"], 2: ["h3", "h1"],
    }  # fmt: skip
    assert list(cluster.shards) == [1, 2]


def test_distance_sorts_the_nearest_first() -> None:
    """Same host, same rack, same region, elsewhere."""
    places = {
        "x": {"x1": {"h1": roles("ingest", "redis"), "h2": roles("redis")}, "x2": {"h3": roles("redis")}},
        "y": {"y1": {"h4": roles("redis")}},
    }
    cluster = topology(places)
    ingest = cluster.node("h1-ingest")

    assert [ingest.distance_to(node) for node in cluster.nodes_of(Role.REDIS)] == [0, 1, 2, 3]


@pytest.mark.parametrize(("count", "majority"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)])
def test_a_majority_is_more_than_half(count: int, majority: int) -> None:
    """Of those that are described, not of those that are up."""
    hosts = {f"h{number}": roles("keeper") for number in range(count)}

    assert topology({"r": {"k": hosts}}).majority(Role.KEEPER) == majority


def test_a_region_with_a_witness_is_no_data_region() -> None:
    """The role tells it."""
    cluster = topology(two_sites())

    assert cluster.data_regions == ("east", "west")
    assert cluster.witness_regions == {"third"}


@pytest.mark.parametrize(
    ("name", "hint"),
    [("e2-ingset", "did you mean e2-ingest"), ("zzz", "there are e1-balancer, e1-app")],
)
def test_an_unknown_node_is_told_with_those_that_are_near(name: str, hint: str) -> None:
    """`--node` is typed by people."""
    with pytest.raises(TopologyError, match=hint):
        topology(two_sites()).node(name)


def test_an_unknown_host_is_told_too() -> None:
    """So that a lab command names what it can't find."""
    cluster = topology(two_sites())

    assert cluster.host("t1").roles == {Role.SENTINEL, Role.KEEPER, Role.WITNESS}
    with pytest.raises(TopologyError, match="no host has the name 't9'; did you mean t1"):
        cluster.host("t9")


@pytest.mark.parametrize(
    ("role", "ports"),
    [
        ("ingest", ["9060/udp", "9060/tcp", "9061/tcp", "9080/tcp"]),
        ("balancer", ["9060/udp", "9081/tcp"]),
        ("app", ["5173/tcp"]),
        ("nginx", ["80/tcp"]),
        ("witness", ["9083/tcp"]),
        ("redis", ["6379/tcp"]),
        ("sentinel", ["26379/tcp"]),
        ("keeper", ["2181/tcp", "2888/tcp", "3888/tcp", "9234/tcp"]),
        ("clickhouse", ["9000/tcp", "8123/tcp", "9009/tcp"]),
    ],
)
def test_every_role_tells_the_ports_it_opens(role: str, ports: list[str]) -> None:
    """The whole list of defaults."""
    its = server(1, 1) if role == "clickhouse" else roles(role)
    [node] = topology({"r": {"k": {"h": its}}}).nodes

    assert [f"{one.port}/{one.protocol}" for one in node.options.ports()] == ports


def test_the_port_of_https_is_opened_with_a_certificate_only() -> None:
    """Until then another role may have it."""
    plain: dict[str, object] = {}
    secure = {"https_port": 8443, "tls_certificate": "/etc/web.pem", "tls_key": "/etc/web.key"}
    nodes = topology({"r": {"k": {"h1": {"nginx": plain}, "h2": {"nginx": secure}}}}).nodes

    assert [[one.port for one in node.options.ports()] for node in nodes] == [[80], [80, 8443]]


def test_a_rig_may_put_all_hosts_at_one_address() -> None:
    """The model alone takes what the check refuses, so that tests run clusters on loopback."""
    hosts = [{"name": f"h{n}", "address": "127.0.0.1", "roles": {"redis": {"port": 7000 + n}}} for n in range(3)]
    cluster = Topology.model_validate(
        {"cluster": "rig", "regions": [{"name": "r", "racks": [{"name": "k", "hosts": hosts}]}]}
    )

    assert [node.options_as(RedisOptions).port for node in cluster.nodes] == [7000, 7001, 7002]


def test_a_vip_is_of_the_nodes_of_its_region_and_brings_keepalived_to_their_hosts() -> None:
    """HAProxy beside a balancer has its VIP; what is elsewhere, or has another role, has none."""
    places = {
        "east": {
            "a": {"a1": roles("balancer", "haproxy", "app")},
            "b": {"b1": roles("balancer"), "b2": roles("haproxy")},
        },
        "west": {"c": {"c1": roles("balancer")}},
    }  # fmt: skip
    whole = values(places)
    whole["regions"][0]["vips"] = {"balancer": "10.0.0.100"}
    cluster = Topology.model_validate(whole)

    assert [(vip.role, vip.address, [node.host for node in vip.nodes]) for vip in cluster.vips] == [
        (Role.BALANCER, "10.0.0.100", ["a1", "b1"])
    ]
    assert [node.name for node in cluster.nodes_of(Role.KEEPALIVED)] == ["a1-keepalived", "b1-keepalived"]
    has_it = {node.name for node in cluster.nodes if cluster.vip_of(node)}
    assert has_it == {"a1-balancer", "a1-haproxy", "b1-balancer"}
    assert {host.interface for host in cluster.hosts} == {"eth0"}
