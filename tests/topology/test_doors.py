"""HAProxy and NGINX as they are rendered, in front of whole nodes: what agents and browsers meet."""

import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

import pytest
from tests.ingest.making import sip
from tests.rigs.ports import free_ports
from tests.running_node import RunningNode, running_node, until
from tests.topology.doors import cluster_of, places_in, started, until_so, written
from tests.topology.rendered import SECRETS

from everline.cluster.probe import Standing, probe
from everline.topology.model import Node, Topology
from everline.topology.render import Places, Programs, launch_of

ASK_S: Final = 5.0
AGENT: Final = "127.0.0.9"
"""Whom the node must see, though HAProxy is at 127.0.0.1."""


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RunningNode]]:
    """Two nodes that serve pages and take packets in, and believe what HAProxy says at 127.0.0.1."""
    root = tmp_path_factory.mktemp("nodes")
    rules = root / "everline.toml"
    rules.write_text("[ingest]\nproxies = ['127.0.0.1']\n")
    with (
        running_node(root / "one", "--config", str(rules)) as one,
        running_node(root / "two", "--config", str(rules)) as two,
    ):
        yield [one, two]


def port_of(url: str) -> int:
    """Of http://127.0.0.1:PORT."""
    return int(url.rpartition(":")[2])


def behind(nodes: list[RunningNode], door: dict[str, object], **options: dict[str, object]) -> Topology:
    """A cluster of these nodes with one host more, which has the door."""
    hosts = [
        {
            "ingest": {"hep_port": node.hep[1], "http_port": port_of(node.url)},
            "app": {"http_port": port_of(node.url), **options.get(f"app_{number}", {})},
        }
        for number, node in enumerate(nodes, start=1)
    ]
    return cluster_of(*hosts, door)


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost and its key, in one file."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key", folder / "certificate"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out",
         str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    both = folder / "hep.pem"
    both.write_text(certificate.read_text() + key.read_text())
    return both


@pytest.fixture(scope="module")
def haproxy(
    nodes: list[RunningNode], pem: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Topology, Node]]:
    """HAProxy in front of both, ready."""
    hep, tls, http = free_ports(3)
    door: dict[str, object] = {"hep_port": hep, "tls_port": tls, "http_port": http, "tls_pem": str(pem)}
    topology, places = behind(nodes, {"haproxy": door}), places_in(tmp_path_factory.mktemp("haproxy"))
    written(topology, places)
    node = topology.node("h3-haproxy")
    with started(node, places):
        until_so(lambda: status(http, "/readyz") == 200, "HAProxy has an ingest node")
        yield topology, node


def status(port: int, path: str) -> int:
    """What a server answers to a GET."""
    return asked(port, path)[0]


def asked(port: int, path: str) -> tuple[int, str]:
    """The same with the body."""
    connection = HTTPConnection("127.0.0.1", port, timeout=ASK_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.mark.peers("haproxy", "openssl")
@pytest.mark.parametrize("way", ["tcp", "tls"])
def test_an_agent_behind_haproxy_keeps_its_address(
    way: str, haproxy: tuple[Topology, Node], nodes: list[RunningNode], pem: Path
) -> None:
    """Over TLS that HAProxy ends and the agent has verified, and over TCP: the node names the agent as the sender."""
    options = haproxy[1].options.model_dump()
    port = options[f"{'hep' if way == 'tcp' else 'tls'}_port"]
    with ExitStack() as stack:
        agent = stack.enter_context(socket.create_connection(("127.0.0.1", port), ASK_S, (AGENT, 0)))
        if way == "tls":
            trust = ssl.create_default_context(cafile=str(pem))
            agent = stack.enter_context(trust.wrap_socket(agent, server_hostname="localhost"))
        agent.sendall(sip(f"behind-{way}", "INVITE"))
        until(
            lambda: any(calls_from_agent(node, f"behind-{way}") for node in nodes), within_s=ASK_S * 3,
            what="the call is stored, with the address of its agent",
        )  # fmt: skip


def calls_from_agent(node: RunningNode, call_id: str) -> list[str]:
    """The senders of a call's messages, if the agent is among them."""
    if not any(call["call_id"] == call_id for call in node.calls()):
        return []
    sources = [one["src_ip"] for one in node.get(f"messages/{call_id}").json()]
    assert sources == [AGENT]
    return sources


@pytest.mark.peers("haproxy", "openssl")
def test_connections_are_spread_and_no_health_check_counts_as_one(
    haproxy: tuple[Topology, Node], nodes: list[RunningNode]
) -> None:
    """Twenty agents, ten for each node; nothing is lost on the way, and checks leave no garbage behind."""
    before = [node.ledger()["received"] for node in nodes]
    port = haproxy[1].options.model_dump()["hep_port"]
    agents = [socket.create_connection(("127.0.0.1", port), timeout=ASK_S) for _ in range(20)]
    try:
        for number, agent in enumerate(agents):
            agent.sendall(sip(f"spread-{number}"))
        until(
            lambda: sum(node.ledger()["received"] for node in nodes) == sum(before) + 20, within_s=ASK_S * 3,
            what="all are received",
        )  # fmt: skip
    finally:
        for agent in agents:
            agent.close()

    taken = [node.ledger()["received"] - had for node, had in zip(nodes, before, strict=True)]
    assert min(taken) >= 8, taken
    for node in nodes:
        metrics = asked(port_of(node.url), "/metrics")[1]
        assert "everline_ingest_stream_lost_bytes_total{" not in metrics


@pytest.mark.peers("haproxy", "openssl")
async def test_haproxy_tells_how_it_is(haproxy: tuple[Topology, Node]) -> None:
    """To the probe of `everline cluster status`, and to Prometheus with its own metrics."""
    topology, node = haproxy
    [report] = await probe(topology, SECRETS, deadline_s=ASK_S, nodes=[node])
    http = node.options.model_dump()["http_port"]

    assert (report.standing, report.faults) == (Standing.READY, ())
    assert asked(http, "/livez") == (200, "alive\n")
    assert 'haproxy_server_status{proxy="ingest",server="h1-ingest",state="UP"} 1' in asked(http, "/metrics")[1]


@pytest.mark.peers("haproxy")
def test_haproxy_without_any_ingest_node_is_not_ready(tmp_path: Path) -> None:
    """And says so where a VIP or an operator looks."""
    ports = iter(free_ports(5))
    ingest = {"hep_port": next(ports), "http_port": next(ports)}
    door = {"hep_port": next(ports), "tls_port": next(ports), "http_port": next(ports)}
    topology, places = cluster_of({"ingest": ingest}, {"haproxy": door}), places_in(tmp_path)
    written(topology, places)
    with started(topology.node("h2-haproxy"), places):
        until_so(lambda: status(door["http_port"], "/readyz") == 503, "HAProxy misses its ingest nodes")


@pytest.mark.peers("nginx")
async def test_requests_survive_the_kill_of_an_app_node(tmp_path: Path) -> None:
    """Whole nodes behind NGINX: after SIGKILL of one no request fails; the backup is asked only when it is alone."""
    [http] = free_ports(1)
    with (
        running_node(tmp_path / "one") as one,
        running_node(tmp_path / "two") as two,
        running_node(tmp_path / "spare") as spare,
    ):
        topology = behind([one, two, spare], {"nginx": {"http_port": http}}, app_3={"backup": True})
        places = places_in(tmp_path)
        written(topology, places)
        with started(topology.node("h4-nginx"), places):
            until_so(lambda: status(http, "/readyz") == 200, "NGINX passes requests on")
            [report] = await probe(topology, SECRETS, deadline_s=ASK_S, nodes=[topology.node("h4-nginx")])
            assert report.standing is Standing.READY
            assert [status(http, "/readyz") for _ in range(20)] == [200] * 20
            assert served(spare) == 0
            for killed in (one, two):
                killed.process.kill()
                assert [status(http, "/readyz") for _ in range(20)] == [200] * 20
            assert served(spare) > 0
            assert status(http, "/metrics") == 404


def served(node: RunningNode) -> int:
    """Whether a node was ever connected to but by this question: how many sockets of others it has."""
    port = f":{port_of(node.url):04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text("ascii").splitlines()]
    return sum(row[1].endswith(port) and row[3] == "01" for row in rows)


@pytest.mark.peers("nginx")
def test_events_are_not_held_back(tmp_path: Path, nodes: list[RunningNode]) -> None:
    """The first lines of an endless answer arrive though NGINX could wait for more; the id to resume at passes."""
    [http] = free_ports(1)
    topology, places = behind(nodes[:1], {"nginx": {"http_port": http}}), places_in(tmp_path)
    written(topology, places)
    with started(topology.node("h2-nginx"), places):
        until_so(lambda: status(http, "/readyz") == 200, "NGINX passes requests on")
        connection = HTTPConnection("127.0.0.1", http, timeout=ASK_S)
        headers = {"Authorization": f"Bearer {nodes[0].token}", "Last-Event-ID": "elsewhere:1"}
        connection.request("GET", "/api/v1/events", headers=headers)
        answer = connection.getresponse()
        lines = [answer.readline().decode() for _ in range(7)]
        connection.close()

    assert answer.status == 200
    assert any(line.startswith("event: reset") for line in lines), lines


@pytest.mark.peers("nginx", "haproxy")
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_the_programs_accept_what_is_rendered(address: str, tmp_path: Path) -> None:
    """Each by its own test of a configuration, with both kinds of addresses."""
    topology = cluster_of({"ingest": {}, "app": {}}, {"app": {"backup": True}, "nginx": {}, "haproxy": {}},
                          address=address)  # fmt: skip
    places = places_in(tmp_path)
    written(topology, places)
    for directory in launch_of(topology.node("h2-nginx"), places).directories:
        Path(directory).mkdir(parents=True)
    for words in accepting(places):
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "warn" not in done.stderr.lower(), done.stderr


def accepting(places: Places) -> list[list[str]]:
    """The test of each program."""
    programs = Programs()
    return [
        [programs.nginx, "-e", "stderr", "-t", "-c", f"{places.config_root}/h2-nginx/nginx.conf"],
        [programs.haproxy, "-c", "-f", f"{places.config_root}/h2-haproxy/haproxy.cfg"],
    ]
