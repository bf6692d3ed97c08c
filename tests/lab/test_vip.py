"""A VIP on a lab: keepalived between two hosts, NGINX as what must be well, and the root namespace as those outside."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final

import pytest
import yaml
from tests.lab.making import IP, fresh_name, needs_root, remains

from everline.cluster.probe import Standing, probe
from everline.lab.down import end_recorded, take_down
from everline.lab.errors import UnfitError
from everline.lab.fabric import look_for_room
from everline.lab.ip import ip_json
from everline.lab.lab import Lab
from everline.lab.names import DATA, front_link
from everline.topology.model import Node, Role, Topology
from everline.topology.render import Places, launch_of
from everline.topology.render.keepalived import render_keepalived

pytestmark = [needs_root, pytest.mark.peers(*IP, "nginx", "keepalived", "setpriv")]

WITHIN_S: Final = 15.0
ASK_S: Final = 0.1
ONCE_S: Final = 3.0
HOSTS: Final = ("e1", "e2")


def two_hosts() -> dict[str, object]:
    """Two hosts in two racks that share a VIP, and a third in another region."""
    network = f"10.97.{os.getpid() % 200}"

    def rack(host: str, last: int, *roles: str) -> dict[str, object]:
        its = {"name": host, "address": f"{network}.{last}", "roles": {role: {} for role in roles}}
        return {"name": f"rack-{host}", "hosts": [its]}

    names = ("clickhouse", "redis", "interserver", "session_key", "admin_token")
    return {
        "cluster": fresh_name(),
        "secrets": {name: {"file": f"secrets/{name}"} for name in names},
        "regions": [
            {"name": "east", "vips": {"nginx": f"{network}.100"}, "racks": [rack("e1", 1, "nginx"),
                                                                           rack("e2", 2, "nginx")]},
            {"name": "west", "racks": [rack("w1", 3, "app")]},
        ],
    }  # fmt: skip


class Pair:
    """The lab, and what is asked and done in it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.vip = lab.topology.vips[0].address

    def node(self, host: str, role: Role) -> Node:
        """Of a host."""
        return self.lab.topology.node(f"{host}-{role}")

    def has_vip(self, host: str) -> bool:
        """Whether the kernel of a host takes the VIP for its own."""
        [data] = ip_json("address", "show", "dev", DATA, namespace=self.lab.fabric.host_namespace(host))
        return any(one.get("local") == self.vip for one in data["addr_info"])

    def holders(self) -> list[str]:
        """The hosts that have it now."""
        return [host for host in HOSTS if self.has_vip(host)]

    def holder(self) -> str:
        """The one that has it, once there is one."""
        self.until(lambda: len(self.holders()) == 1 and self.answers(), "one host has the VIP, and serves")
        return self.holders()[0]

    def other(self, host: str) -> str:
        """Of the two."""
        return next(one for one in HOSTS if one != host)

    def answers(self) -> bool:
        """Whether NGINX answers at the VIP, to who stands outside and knows no host."""
        connection = HTTPConnection(self.vip, 80, timeout=ASK_S)
        try:
            connection.request("GET", "/livez")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    def heard_of(self) -> str:
        """The host to which those outside send what is for the VIP: what its ARP has told them."""
        [entry] = ip_json("neighbour", "show", self.vip, "dev", front_link(self.lab.topology.cluster))
        return next((host for host in HOSTS if self._lladdr(host) == entry.get("lladdr")), "")

    def back_after(self, fault: Callable[[], None], what: str) -> float:
        """Do harm; the seconds from then until the VIP answers again, having been silent."""
        fault()
        began = time.monotonic()
        self.until(self.answers, f"the VIP answers again after {what}")
        took_s = time.monotonic() - began
        print(f"{what}: the VIP answers again after {took_s:.2f} s")
        return took_s

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait; outside of the lab nothing tells when it is so."""
        deadline = time.monotonic() + WITHIN_S
        while not condition():
            assert time.monotonic() < deadline, f"{what}: {self.words()}"
            time.sleep(0.01)

    def words(self) -> list[str]:
        """What the keepalived of both said last."""
        nodes = self.lab.topology.nodes_of(Role.KEEPALIVED)
        return [f"{node.name}: {line}" for node in nodes for line in self.lab.last_words(node)]

    def _lladdr(self, host: str) -> str:
        [link] = ip_json("link", "show", "dev", DATA, namespace=self.lab.fabric.host_namespace(host))
        return str(link["address"])


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """Both hosts with NGINX and keepalived, well; nothing of it may be left."""
    values = two_hosts()
    topology = Topology.model_validate(values)
    lab = Lab(tmp_path / "lab" / topology.cluster, topology)
    lab.layout.write_configuration(lab.layout.take_over(yaml.safe_dump(values)))
    look_for_room(topology)
    try:
        lab.fabric.build()
        lab.start([*topology.nodes_of(Role.NGINX), *topology.nodes_of(Role.KEEPALIVED)])
        one = Pair(lab)
        one.holder()
        for host in HOSTS:
            until_well(one, host)
        yield one
    finally:
        end_recorded(lab.layout.directory)
        take_down(topology.cluster)
    assert remains(topology.cluster) == []


def until_well(pair: Pair, host: str) -> None:
    """Once the keepalived of a host has seen its NGINX answer, since it was last told otherwise."""
    log = pair.lab.layout.log(pair.node(host, Role.KEEPALIVED))

    def is_well() -> bool:
        said = [line for line in log.read_text(encoding="utf-8").splitlines() if "VRRP_Script(nginx)" in line]
        return bool(said) and "succeeded" in said[-1]

    pair.until(is_well, f"keepalived of {host} finds NGINX well")


async def test_a_vip_is_had_by_one_host_and_whoever_returns_leaves_it_there(pair: Pair) -> None:
    """NGINX of the holder is killed: the other host takes the VIP; the first is well again, and nothing moves."""
    first = pair.holder()
    second = pair.other(first)
    nodes = pair.lab.topology.nodes_of(Role.KEEPALIVED)
    [report, _] = await probe(pair.lab.topology, pair.lab.secrets(), deadline_s=ONCE_S, nodes=nodes)
    assert (report.standing, report.said) == (Standing.READY, f"nginx at {pair.vip}")

    pair.back_after(lambda: pair.lab.kill([pair.node(first, Role.NGINX)]), "kill -9 of NGINX")

    assert pair.heard_of() == second
    pair.until(lambda: pair.holders() == [second], "the first gives it up")
    pair.lab.start([pair.node(first, Role.NGINX)])
    until_well(pair, first)
    assert (pair.holders(), pair.heard_of()) == ([second], second)
    pair.back_after(lambda: pair.lab.kill([pair.node(second, Role.NGINX)]), "kill -9 of the other NGINX")
    assert pair.heard_of() == first


def test_a_vip_moves_when_keepalived_is_killed(pair: Pair) -> None:
    """Nobody takes the address from the first host then; those outside are told of the second all the same."""
    first = pair.holder()
    second = pair.other(first)

    pair.lab.kill([pair.node(first, Role.KEEPALIVED)])
    pair.until(lambda: pair.has_vip(second), "the second host takes it")
    pair.until(lambda: pair.heard_of() == second and pair.answers(), "those outside hear of it")
    pair.lab.start([pair.node(first, Role.KEEPALIVED)])
    pair.until(lambda: pair.holders() == [second], "the first host gives up what it had kept")


def test_a_vip_leaves_a_host_that_is_cut_off_or_whose_nginx_hangs(pair: Pair) -> None:
    """Silence as well as an end; a host that is heard again does not take it back."""
    first = pair.holder()
    second = pair.other(first)

    pair.back_after(lambda: pair.lab.cut([first]), "the cut of its host")
    assert pair.has_vip(second)
    pair.lab.heal([first])
    pair.until(lambda: len(pair.holders()) == 1 and pair.answers(), "one of both gives it up")
    holder = pair.holders()[0]
    until_well(pair, pair.other(holder))
    pair.back_after(lambda: pair.lab.pause([pair.node(holder, Role.NGINX)]), "SIGSTOP of NGINX")
    assert pair.heard_of() == pair.other(holder)


def test_while_none_is_well_the_vip_stays_and_serves_with_the_first_that_is(pair: Pair) -> None:
    """It is not given up for want of somebody better."""
    nginx = pair.lab.topology.nodes_of(Role.NGINX)
    pair.lab.kill(nginx)
    pair.until(lambda: len(pair.holders()) == 1, "one host has it")
    back = pair.other(pair.holders()[0])

    pair.lab.start([pair.node(back, Role.NGINX)])

    pair.until(lambda: pair.holders() == [back] and pair.answers(), "the one that is well takes it")


def test_keepalived_needs_no_more_rights_than_its_unit_gives(pair: Pair) -> None:
    """As a plain user with three capabilities it takes the VIP, and its check runs without a complaint."""
    node = pair.node("e1", Role.KEEPALIVED)
    pair.lab.kill(pair.lab.topology.nodes_of(Role.KEEPALIVED))
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        root = Path(name)
        root.chmod(0o755)
        places = Places(config_root=f"{root}/etc", run_root=f"{root}/run", user="nobody", interface=DATA)
        for path, file in render_keepalived(pair.lab.topology, node, places).items():
            target = Path(places.config_dir(node)) / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(file.text, encoding="utf-8")
        launch = launch_of(node, places)
        for directory in launch.directories:
            Path(directory).mkdir(parents=True)
            shutil.chown(directory, "nobody", "nogroup")
        rights = "-all,+net_admin,+net_raw,+setgid"
        command = [
            "ip", "netns", "exec", pair.lab.namespace(node), "setpriv", "--reuid=nobody", "--regid=nogroup",
            "--clear-groups", "--no-new-privs", f"--bounding-set={rights}", f"--inh-caps={rights}",
            f"--ambient-caps={rights}", *launch.command,
        ]  # fmt: skip
        log = root / "log"
        with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
            try:
                pair.until(lambda: "VRRP_Script(nginx) succeeded" in log.read_text(), "its check finds NGINX well")
                pair.until(lambda: pair.has_vip("e1"), "it takes the VIP")
            finally:
                process.terminate()
        assert "setgroups" not in log.read_text()


async def test_nobody_at_a_vip_is_told(pair: Pair) -> None:
    """With what to look at."""
    pair.lab.stop(pair.lab.topology.nodes_of(Role.KEEPALIVED))
    pair.until(lambda: not pair.holders(), "nobody has it")
    nodes = pair.lab.topology.nodes_of(Role.KEEPALIVED)[:1]
    [report] = await probe(pair.lab.topology, pair.lab.secrets(), deadline_s=ONCE_S, nodes=nodes)

    assert report.standing is Standing.UNREADY
    assert report.faults == (
        f"nobody answers at {pair.vip}, the VIP of nginx in east: do keepalived and nginx run?",
    )  # fmt: skip


def test_a_vip_that_is_taken_on_this_machine_is_told_before_anything_is_touched(pair: Pair) -> None:
    """As an address of a host is."""
    values = two_hosts()
    values["regions"][0]["vips"] = {"nginx": pair.vip}  # type: ignore[index]
    for region in values["regions"]:  # type: ignore[attr-defined]
        for rack in region["racks"]:
            rack["hosts"][0]["address"] = rack["hosts"][0]["address"].replace("10.97.", "10.96.")

    with pytest.raises(UnfitError, match=rf"regions\[0\]\.vips\.nginx {pair.vip} is taken on this machine"):
        look_for_room(Topology.model_validate(values))
    assert socket.if_nametoindex(front_link(pair.lab.topology.cluster))
