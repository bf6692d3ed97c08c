"""The network of a lab: who hears whom, what a cut does, and that nothing of it is left."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.lab.making import (
    IP,
    carries,
    fresh_name,
    hears,
    needs_root,
    remains,
    root_hears,
    small,
    small_topology,
    written,
)

from everline.cluster_file import load_topology
from everline.lab.down import take_down
from everline.lab.errors import LabError, UnfitError
from everline.lab.fabric import Fabric, OneWay, look_for_room
from everline.lab.ip import ip_batch, ip_json, namespaces
from everline.lab.names import namespace_of, namespaces_of, root_link
from everline.topology.model import Topology

pytestmark = [needs_root, pytest.mark.peers(*IP)]


@dataclass(frozen=True)
class Built:
    """A network, and the addresses of its hosts."""

    topology: Topology
    fabric: Fabric

    def hears(self, host: str, other: str) -> bool:
        return hears(self.fabric, host, self.topology.host(other).address)

    def carries(self, host: str, other: str) -> bool:
        return carries(self.fabric, self.topology.host(host), self.topology.host(other))

    def root_hears(self, host: str) -> bool:
        return root_hears(self.topology.host(host).address)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """The network of three hosts."""
    topology = small_topology(tmp_path_factory.mktemp("fabric"))
    fabric = Fabric(topology)
    try:
        fabric.build()
        yield Built(topology, fabric)
    finally:
        take_down(topology.cluster)
    assert remains(topology.cluster) == []


@pytest.fixture(autouse=True)
def _healed(built: Built) -> Iterator[None]:
    yield
    built.fabric.heal()


def test_hosts_hear_each_other_across_racks_and_regions(built: Built) -> None:
    """At their own addresses."""
    assert built.hears("e1", "e2")
    assert built.hears("e1", "w1")
    assert built.hears("w1", "e2")


def test_a_host_reaches_nothing_outside_of_the_lab(built: Built) -> None:
    """It has no way to the machine's own network."""
    assert not hears(built.fabric, "e1", "192.0.2.2")


def test_a_host_that_is_cut_hears_nobody_but_the_machine(built: Built) -> None:
    """And nobody hears it: silence, nothing is refused. The machine still does."""
    built.fabric.cut("e1")

    assert not built.hears("e1", "e2")
    assert not built.hears("w1", "e1")
    assert built.hears("e2", "w1")
    assert built.root_hears("e1")
    assert built.fabric.cuts() == ["e1"]


def test_a_rack_is_cut_with_all_its_hosts(built: Built) -> None:
    """A rack's name stands for its hosts."""
    built.fabric.cut("east-b")

    assert built.fabric.cuts() == ["e2"]
    assert not built.hears("e1", "e2")


def test_a_region_that_is_cut_goes_on_within_itself(built: Built) -> None:
    """Only its trunk is cut."""
    built.fabric.cut("east")

    assert built.hears("e1", "e2")
    assert not built.hears("e1", "w1")
    assert not built.hears("w1", "e2")
    assert built.root_hears("e2")
    assert built.fabric.cuts() == ["east"]


def test_what_is_healed_is_heard_again(built: Built) -> None:
    """One thing, or everything."""
    built.fabric.cut("east", "w1", "e2")
    built.fabric.heal("east")
    assert built.fabric.cuts() == ["e2", "w1"]

    built.fabric.heal()

    assert built.fabric.cuts() == []
    assert built.hears("e1", "w1")


@pytest.mark.parametrize("way", list(OneWay))
def test_a_host_can_be_cut_in_one_direction(built: Built, way: OneWay) -> None:
    """TCP needs both: no connection comes about, and it is over after the heal."""
    built.fabric.cut_one_way("e1", way)
    assert not built.hears("e1", "e2")
    assert built.fabric.cuts() == []
    assert built.fabric.one_way_cuts() == [("e1", way)]
    assert built.root_hears("e1")

    built.fabric.heal("e1")

    assert built.fabric.one_way_cuts() == []
    assert built.hears("e1", "e2")


def test_a_host_that_is_mute_hears_and_one_that_is_deaf_is_heard(built: Built) -> None:
    """The direction that is left carries datagrams."""
    built.fabric.cut_one_way("e1", OneWay.MUTE)
    assert built.carries("w1", "e1")
    assert not built.carries("e1", "w1")
    built.fabric.heal()

    built.fabric.cut_one_way("e1", OneWay.DEAF)
    assert built.carries("e1", "w1")
    assert not built.carries("w1", "e1")


@pytest.mark.parametrize("name", ["east-a", "east", "e3"])
def test_only_hosts_are_cut_in_one_direction(built: Built, name: str) -> None:
    """A rack or region is not a host."""
    with pytest.raises(LabError, match=f"no host has the name '{name}'; there are e1, e2, w1"):
        built.fabric.cut_one_way(name, OneWay.DEAF)


def test_what_shares_a_name_is_not_cut_by_it_and_everything_is_healed_all_the_same(tmp_path: Path) -> None:
    """A rack that is called as its region is allowed in cluster.yaml."""
    values = small(fresh_name(), network="10.95")
    values["regions"][1]["racks"][0]["name"] = "west"  # type: ignore[index]
    topology = load_topology(written(tmp_path, values))
    fabric = Fabric(topology)
    try:
        fabric.build()
        with pytest.raises(LabError, match="'west' is the name of more than one of host, rack and region"):
            fabric.cut("west")
        fabric.cut("w1", "east")

        fabric.heal()

        assert fabric.cuts() == []
        assert hears(fabric, "e1", topology.host("w1").address)
    finally:
        take_down(topology.cluster)


def test_an_unknown_name_is_told_with_those_that_there_are(built: Built) -> None:
    """Nothing is cut."""
    with pytest.raises(LabError, match="'e3'; there are e1, e2, w1, east-a"):
        built.fabric.cut("e1", "e3")

    assert built.fabric.cuts() == []


def test_the_root_namespace_gets_one_link_and_a_route_for_each_host(built: Built) -> None:
    """And nothing else."""
    routes = ip_json("route", "show", "dev", root_link(built.topology.cluster))

    assert [route["dst"] for route in routes] == [host.address for host in built.topology.hosts]


def test_a_second_lab_of_the_name_is_refused(built: Built) -> None:
    """With the command that removes the first."""
    with pytest.raises(UnfitError, match=r"is there already.*lab down --cluster"):
        look_for_room(built.topology)


def test_a_lab_with_addresses_that_are_taken_is_refused(built: Built) -> None:
    """The key of the first is named."""
    other = built.topology.model_copy(update={"cluster": "another"})

    with pytest.raises(UnfitError, match=r"regions\[0\]\.racks\[0\]\.hosts\[0\]\.address .* is taken"):
        look_for_room(other)


def test_a_foreign_namespace_of_the_name_is_refused_and_left_alone(tmp_path: Path) -> None:
    """It may be somebody's."""
    topology = small_topology(tmp_path)
    name = namespace_of(topology.cluster, "e2")
    ip_batch([f"netns add {name}"])
    try:
        with pytest.raises(UnfitError, match=name):
            look_for_room(topology)
        assert name in namespaces()
    finally:
        take_down(topology.cluster)


def test_half_a_network_can_be_taken_down(tmp_path: Path) -> None:
    """Whatever was made of it."""
    topology = small_topology(tmp_path)
    ip_batch([f"netns add {namespace_of(topology.cluster, name)}" for name in ("fabric", "e1")])
    assert len(remains(topology.cluster)) == 2

    assert take_down(topology.cluster).namespaces == 2
    assert take_down(topology.cluster).namespaces == 0
    assert remains(topology.cluster) == []


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        pytest.param("address", "fd00::1", "IPv4 only", id="ipv6"),
        pytest.param("name", "fabric", "needs 'fabric' for itself", id="a-name-of-its-own"),
    ],
)
def test_what_a_lab_cannot_build_is_refused(tmp_path: Path, key: str, value: str, why: str) -> None:
    """With its key path."""
    values = small("unbuilt")
    values["regions"][1]["racks"][0]["hosts"][0][key] = value  # type: ignore[index]

    with pytest.raises(UnfitError, match=rf"regions\[1\].*{why}"):
        Fabric(load_topology(written(tmp_path, values)))


def test_a_cluster_whose_name_begins_like_another_one_keeps_its_namespaces() -> None:
    """`ev-a-b-c` is host c of a-b, if that has bridges."""
    names = ["ev-a-fabric", "ev-a-b-fabric", "ev-a-b-c", "ev-a-x", "ev-ab-c", "other"]

    assert namespaces_of("a", names) == ["ev-a-x", "ev-a-fabric"]
    assert namespaces_of("a-b", names) == ["ev-a-b-c", "ev-a-b-fabric"]
    assert namespaces_of("a", ["ev-a-fabric", "ev-a-b-c"]) == ["ev-a-b-c", "ev-a-fabric"]
