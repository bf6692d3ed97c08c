"""The examples are right, and survive what they say: computed from the model, for every host, rack, region."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from everline.cluster_file import load_topology
from everline.topology.faults import warnings_of
from everline.topology.model import AppOptions, Node, Role, Topology

EXAMPLES: Final = Path(__file__).parents[2] / "examples"
SINGLE: Final = load_topology(EXAMPLES / "single-site.yaml")
DOUBLE: Final = load_topology(EXAMPLES / "two-regions-and-witness.yaml")


def losses() -> Iterator[object]:
    """Every cluster with every part of it that must be able to go away."""
    for title, cluster in (("single", SINGLE), ("double", DOUBLE)):
        kinds = {"host", "rack"} | ({"region"} if cluster is DOUBLE else set())
        for kind in sorted(kinds):
            for place in dict.fromkeys(getattr(node, kind) for node in cluster.nodes):
                gone = [node for node in cluster.nodes if getattr(node, kind) == place]
                yield pytest.param(cluster, gone, id=f"{title}-without-{kind}-{place}")


@pytest.mark.parametrize(("cluster", "gone"), list(losses()))
def test_everything_goes_on_without_any_one(cluster: Topology, gone: list[Node]) -> None:
    """Majorities, a copy of every shard, and one of everything else are left."""
    left = [node for node in cluster.nodes if node not in gone]
    count = {role: sum(node.role == role for node in left) for role in Role}

    assert count[Role.KEEPER] >= cluster.majority(Role.KEEPER)
    assert count[Role.SENTINEL] >= cluster.majority(Role.SENTINEL)
    for servers in cluster.shards.values():
        assert any(node in left for node in servers)
    for role in (Role.INGEST, Role.APP, Role.REDIS, Role.BALANCER, Role.NGINX):
        assert count[role] >= 1, role


@pytest.mark.parametrize("cluster", [SINGLE, DOUBLE], ids=["single", "double"])
def test_the_examples_have_no_warning(cluster: Topology) -> None:
    """They are what people copy."""
    assert warnings_of(cluster) == ()


def test_two_regions_are_as_large_as_they_need_to_be() -> None:
    """Shards across regions, five Sentinels with three outside any Redis host, a backup app node."""
    count = {role: len(DOUBLE.nodes_of(role)) for role in Role}

    assert count == {
        Role.BALANCER: 4, Role.HAPROXY: 0, Role.INGEST: 4, Role.APP: 3, Role.NGINX: 4, Role.REDIS: 3, Role.SENTINEL: 5,
        Role.CLICKHOUSE: 4, Role.KEEPER: 3, Role.WITNESS: 1, Role.KEEPALIVED: 4,
    }  # fmt: skip
    assert all({node.region for node in servers} == {"east", "west"} for servers in DOUBLE.shards.values())
    for redis in DOUBLE.nodes_of(Role.REDIS):
        assert sum(node.host != redis.host for node in DOUBLE.nodes_of(Role.SENTINEL)) >= 3
    backups = [node for node in DOUBLE.nodes_of(Role.APP) if node.options_as(AppOptions).backup]
    assert len(backups) == 1
    assert backups[0].rack not in {node.rack for node in DOUBLE.nodes_of(Role.APP) if node not in backups}


@pytest.mark.parametrize("cluster", [SINGLE, DOUBLE], ids=["single", "double"])
def test_each_data_region_has_its_vips_in_two_racks(cluster: Topology) -> None:
    """So that no host and no rack takes the door of a region with it."""
    assert {(vip.region, vip.role) for vip in cluster.vips} == {
        (region, role) for region in cluster.data_regions for role in (Role.BALANCER, Role.NGINX)
    }
    assert all(len({node.rack for node in vip.nodes}) == 2 for vip in cluster.vips)
    assert {node.host for vip in cluster.vips for node in vip.nodes} == {
        node.host for node in cluster.nodes_of(Role.KEEPALIVED)
    }


def test_ingest_nodes_stand_in_four_racks() -> None:
    """A lost rack takes a quarter of them."""
    assert len({node.rack for node in DOUBLE.nodes_of(Role.INGEST)}) == 4


def test_the_first_primary_stands_apart_from_keeper() -> None:
    """One host, one loss: a drill of one is no drill of the other."""
    first = DOUBLE.nodes_of(Role.REDIS)[0]

    assert Role.KEEPER not in DOUBLE.host(first.host).roles
