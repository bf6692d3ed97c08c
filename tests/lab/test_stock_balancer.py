"""NGINX in place of the balancers on a lab: agents send to the VIP, and go on when the one that has it is killed."""

import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import pytest
import yaml
from tests.ingest.making import hep
from tests.lab.making import IP, fresh_name, needs_root, remains
from tests.lab.test_vip import two_hosts
from tests.running_node import until

from everline.lab.down import end_recorded, take_down
from everline.lab.ip import ip_json
from everline.lab.lab import Lab
from everline.lab.names import DATA
from everline.lab.processes import start
from everline.topology.model import Node, Role, Topology
from everline.topology.render.launch import nginx_stream

pytestmark = [
    needs_root,
    pytest.mark.peers(*IP, "nginx", "keepalived", "/usr/lib/nginx/modules/ngx_stream_js_module.so"),
]

WITHIN_S: Final = 15.0
EVERY_S: Final = 0.02
_LISTEN: Final = """
import socket, sys
listening = socket.socket(type=socket.SOCK_DGRAM)
listening.bind((sys.argv[1], 9060))
print("bound", flush=True)
while True:
    print(listening.recv(65536).split(b"Call-ID: ")[1].split(b"\\r")[0].decode(), flush=True)
"""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Two hosts with a VIP for balancers, as NGINX, and an ingest host; nothing of it may be left."""
    text = yaml.safe_dump(two_hosts() | {"cluster": fresh_name()}).replace("nginx", "balancer").replace("app", "ingest")
    topology = Topology.model_validate(yaml.safe_load(text))
    lab = Lab(tmp_path / "lab" / topology.cluster, topology)
    lab.layout.write_configuration(lab.layout.take_over(text))
    try:
        lab.fabric.build()
        for node in topology.nodes_of(Role.BALANCER):
            launch = nginx_stream(node, lab.layout.places(node.host))
            lab.layout.prepare(node, launch)
            start(lab.layout.spawn(node, launch))
        lab.start(topology.nodes_of(Role.KEEPALIVED))
        yield lab
    finally:
        end_recorded(lab.layout.directory)
        take_down(topology.cluster)
    assert remains(topology.cluster) == []


def test_agents_send_to_the_vip_and_go_on_when_its_nginx_is_killed(lab: Lab) -> None:
    """What is sent meanwhile is lost, as UDP has no answer; after that all arrives again, at the same address."""
    [ingest] = lab.topology.nodes_of(Role.INGEST)
    [vip] = lab.topology.vips
    with listening_at(lab, ingest) as arriving, socket.socket(type=socket.SOCK_DGRAM) as agent:
        numbers = send_until(agent, vip.address, arriving, after=0)
        killed = [node for node in vip.nodes if has(lab, node, vip.address)]
        assert len(killed) == 1

        lab.kill(killed)
        began = time.monotonic()
        send_until(agent, vip.address, arriving, after=numbers)
        print(f"kill -9 of NGINX: datagrams to the VIP arrive again after {time.monotonic() - began:.2f} s")

        # What was on its way when it was killed arrives too: the move is seen by itself.
        until(
            lambda: [node for node in vip.nodes if has(lab, node, vip.address)] != killed,
            within_s=WITHIN_S, what="another host has the VIP",
        )  # fmt: skip


def has(lab: Lab, node: Node, address: str) -> bool:
    """Whether the kernel of a node's host takes an address for its own."""
    [data] = ip_json("address", "show", "dev", DATA, namespace=lab.namespace(node))
    return any(one.get("local") == address for one in data["addr_info"])


class Arriving:
    """The numbers of the calls that arrive at the ingest host."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self.last = 0

    def look(self) -> None:
        """Take what has come."""
        while select.select([self._out], [], [], 0)[0]:
            self.last = int(self._out.readline())


@contextmanager
def listening_at(lab: Lab, node: Node) -> Iterator[Arriving]:
    """A socket where the ingest node would listen."""
    with subprocess.Popen(
        ["ip", "netns", "exec", lab.namespace(node), sys.executable, "-u", "-c", _LISTEN, node.address],
        stdout=subprocess.PIPE, bufsize=0,
    ) as process:  # fmt: skip
        assert process.stdout
        assert process.stdout.readline() == b"bound\n"
        try:
            yield Arriving(process.stdout)
        finally:
            process.kill()


def send_until(agent: socket.socket, vip: str, arriving: Arriving, *, after: int) -> int:
    """Send a call every so often until one arrives that was sent from now on; its number."""
    deadline = time.monotonic() + WITHIN_S
    number = after
    while arriving.last <= after:
        assert time.monotonic() < deadline, "nothing arrives"
        number += 1
        agent.sendto(hep(str(number)), (vip, 9060))
        time.sleep(EVERY_S)
        arriving.look()
    return number
