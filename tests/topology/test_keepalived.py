"""What keepalived is told of VIPs, that it accepts it, and what its check says of a server."""

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest
from tests.rigs.ports import free_ports
from tests.topology.clusters import roles, values
from tests.topology.doors import places_in, written

from everline.topology.model import Role, Topology
from everline.topology.render.keepalived import instances_of, router_ids
from everline.topology.render.launch import launch_of

BASH: Final = "/bin/bash"


def with_vips(*, interface: str = "eth0", **vips: str) -> Topology:
    """Three hosts of a region, each with all that has a VIP."""
    whole = values({"here": {rack: {f"{rack}1": roles("balancer", "haproxy", "nginx")} for rack in "abc"}})
    whole["regions"][0]["vips"] = vips
    for rack in whole["regions"][0]["racks"]:
        rack["hosts"][0]["interface"] = interface
    return Topology.model_validate(whole)


def test_each_host_speaks_to_all_others_and_has_checks_of_its_own() -> None:
    """Unicast: no other VRRP of the network is disturbed; HAProxy counts less than the balancer beside it."""
    cluster = with_vips(balancer="10.0.0.100", nginx="10.0.0.101")
    found = instances_of(cluster, cluster.host("b1"))

    assert [(one.vip.role, one.peers, one.prefix) for one in found] == [
        (Role.BALANCER, ("10.0.0.1", "10.0.0.3"), 32), (Role.NGINX, ("10.0.0.1", "10.0.0.3"), 32),
    ]  # fmt: skip
    assert [[(check.name, check.port, check.path, check.weight) for check in one.checks] for one in found] == [
        [("balancer", 9081, "/readyz", -60), ("haproxy", 9082, "/livez", -20)], [("nginx", 80, "/livez", -60)],
    ]  # fmt: skip


def test_the_router_id_of_a_vip_stays_and_no_two_of_a_segment_share_one() -> None:
    """It is made from the address; all 255 can be used."""
    addresses = [f"10.0.{number}.100" for number in range(255)]
    some = router_ids(addresses[:2])

    assert router_ids(["10.0.0.100"]) == {"10.0.0.100": some["10.0.0.100"]}
    assert sorted(router_ids(addresses).values()) == list(range(1, 256))
    assert router_ids(addresses) == router_ids(addresses[::-1])


def test_a_host_takes_late_datagrams_for_balancers_alone(tmp_path: Path) -> None:
    """A connection of NGINX's VIP belongs to the host that has it; a rule for UDP answers no ARP."""
    both, alone = (places_in(tmp_path / name) for name in ("both", "alone"))
    written(with_vips(balancer="fd00::100", nginx="10.0.0.101"), both)
    written(with_vips(nginx="10.0.0.101"), alone)
    taken, plain = (Path(one.config_root, "a1-keepalived", "keepalived.conf").read_text() for one in (both, alone))

    assert "local fd00::100/128 dev lo scope host table 9060" in taken
    assert [line.strip() for line in taken.splitlines() if "ipproto" in line] == [
        "to fd00::100/128 ipproto udp lookup 9060 priority 9060"
    ]
    assert "static_r" not in plain


@pytest.mark.peers("keepalived")
@pytest.mark.parametrize(
    "vips", [{"balancer": "10.0.0.100"}, {"nginx": "10.0.0.101"}, {"balancer": "10.0.0.100", "nginx": "10.0.0.101"}]
)
def test_keepalived_accepts_what_is_rendered(vips: dict[str, str], tmp_path: Path) -> None:
    """By its own test of a configuration; it says what it does not know, and goes on: so nothing may be said."""
    [interface, *_] = [name for _, name in socket.if_nameindex() if name != "lo"]  # It looks whether it is there.
    cluster, places = with_vips(interface=interface, **vips), places_in(tmp_path)
    written(cluster, places)
    launch = launch_of(cluster.node("a1-keepalived"), places)
    done = subprocess.run([*launch.command, "--config-test"], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


class Answering(BaseHTTPRequestHandler):
    """Says how it is, on connections that stay open."""

    protocol_version = "HTTP/1.1"
    status = 200

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(self.status)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"ok\n")

    def log_message(self, *_: Any) -> None:  # whatever it would log
        """Nothing."""


@contextmanager
def serving(status: int) -> Iterator[ThreadingHTTPServer]:
    """A server that answers so."""
    handler = type("Answering", (Answering,), {"status": status})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def check(tmp_path: Path) -> str:
    """The rendered script."""
    places = places_in(tmp_path)
    written(with_vips(nginx="10.0.0.101"), places)
    return f"{places.config_root}/a1-keepalived/check.sh"


def says(check: str, port: int) -> int:
    """Its exit code."""
    return subprocess.run([BASH, check, "127.0.0.1", str(port), "/livez"], check=False, timeout=30).returncode


@pytest.mark.parametrize(("status", "is_well"), [(200, True), (503, False), (404, False)])
def test_only_200_is_well(status: int, is_well: bool, check: str) -> None:  # noqa: FBT001 - a table
    """Whatever the body says."""
    with serving(status) as server:
        assert (says(check, server.server_port) == 0) is is_well


def test_nobody_and_silence_are_not_well(check: str) -> None:
    """A port where nobody listens, and one where a connection is taken and nothing is said."""
    assert says(check, free_ports(1)[0]) == 1
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert says(check, silent.getsockname()[1]) == 1


def test_an_end_between_two_questions_is_seen(check: str) -> None:
    """The connection ends with the server, and then nobody is there to be asked again."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        asking = subprocess.Popen([BASH, check, "127.0.0.1", str(server.getsockname()[1]), "/livez"])
        connection, _ = server.accept()
        server.close()
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n")
        connection.close()

        assert asking.wait(30) == 1
