"""A small cluster on loopback: engines and Everline's own nodes, started as they are rendered, on free ports."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx2
import yaml
from clickhouse_driver import Client
from clickhouse_driver.errors import Error as DriverError
from redis import Redis
from redis.exceptions import RedisError
from tests.rigs.clickhouse import SERVER
from tests.rigs.ports import free_ports
from tests.rigs.zookeeper import ZOOKEEPER
from tests.topology.rendered import SECRETS, Cluster, rendered

from everline.bus.scripts import EVENTS as STREAM
from everline.topology.model import ClickHouseOptions, RedisOptions, Role, Topology
from everline.topology.render import Programs

T = TypeVar("T")

ENGINES: Final = (SERVER, ZOOKEEPER, "java", "redis-server", "redis-sentinel")
"""For `@pytest.mark.peers(*ENGINES)`."""
ENGINE_ROLES: Final = (Role.KEEPER, Role.REDIS, Role.SENTINEL, Role.CLICKHOUSE)
OWN_ROLES: Final = (Role.BALANCER, Role.INGEST, Role.APP, Role.WITNESS)
SECRET_NAMES: Final = ("clickhouse", "redis", "interserver", "session_key", "admin_token")
WITHIN_S: Final = 60.0
"""Everything that is waited for comes far sooner, except on a machine that has a lot else to do."""
STOP_S: Final = 30.0
_ROOT: Final = Path(__file__).parents[2]
_NOT_YET: Final = (OSError, EOFError, DriverError, RedisError, httpx2.HTTPError)


def until(condition: Callable[[], T | None], what: str) -> T:
    """The first true value of a condition; an engine or a node that gives no answer means not yet."""
    deadline = time.monotonic() + WITHIN_S
    while True:
        try:
            if value := condition():
                return value
        except _NOT_YET:
            pass
        assert time.monotonic() < deadline, f"not within {WITHIN_S:g} s: {what}"
        time.sleep(0.1)


def values() -> dict[str, Any]:
    """cluster.yaml: one shard of two replicas, two each of Redis, ingest and app, a witness; three that vote."""
    ports = iter(free_ports(40))

    def with_ports(*keys: str) -> dict[str, int]:
        return {key: next(ports) for key in keys}

    racks = []
    for number in (1, 2, 3):
        roles: dict[str, dict[str, int]] = {
            "sentinel": with_ports("port"),
            "keeper": with_ports("client_port", "peer_port", "election_port"),
        }
        if number < 3:
            servers = with_ports("tcp_port", "http_port", "interserver_port")
            roles["clickhouse"] = {"shard": 1, "replica": number} | servers
            roles["redis"] = with_ports("port")
            roles["ingest"] = with_ports("hep_port", "http_port", "tls_port")
            roles["app"] = with_ports("http_port")
        else:
            roles["witness"] = with_ports("http_port")
            roles["balancer"] = with_ports("hep_port", "http_port")
        racks.append({"name": f"r{number}", "hosts": [{"name": f"h{number}", "address": "127.0.0.1", "roles": roles}]})
    return {
        "cluster": "rig",
        "secrets": {name: {"file": f"secrets/{name}"} for name in SECRET_NAMES},
        "ingest": {"drain_s": 2},
        "regions": [{"name": "here", "racks": racks}],
    }


def write_cluster_file(directory: Path, content: dict[str, Any], **other_secrets: str) -> Path:
    """cluster.yaml with its secrets, some of them other than the engines have."""
    (directory / "secrets").mkdir(parents=True)
    for name in SECRET_NAMES:
        path = directory / "secrets" / name
        path.write_text(other_secrets.get(name, getattr(SECRETS, name)) + "\n", "utf-8")
        path.chmod(0o600)
    path = directory / "cluster.yaml"
    path.write_text(yaml.safe_dump(content), "utf-8")
    return path


@dataclass(frozen=True)
class ClusterRig:
    """
    The programs of the cluster, by the names of their nodes.

    Attributes:
        content: What cluster.yaml holds.
        program: Runs `everline` as the nodes do.
    """

    cluster: Cluster
    content: dict[str, Any]
    program: Path
    http: httpx2.Client

    # --- programs ---

    def names(self, *roles: Role) -> list[str]:
        """Nodes of some roles, in the order of these."""
        return [node.name for role in roles for node in self.cluster.topology.nodes_of(role)]

    def running(self, *roles: Role) -> list[str]:
        """Those of them whose process lives."""
        processes = self.cluster.processes
        return [name for name in self.names(*roles) if name in processes and processes[name].poll() is None]

    def start(self, *names: str) -> None:
        """Start nodes, without waiting until they serve."""
        for name in names:
            self.cluster.start(name)

    def kill(self, *names: str) -> None:
        """End nodes without a word."""
        for name in names:
            self.cluster.kill(name)

    def stop(self, name: str) -> int:
        """Tell a node to stop; its exit code."""
        process = self.cluster.processes[name]
        process.send_signal(signal.SIGTERM)
        code = process.wait(STOP_S)
        del self.cluster.processes[name]
        return code

    def said(self, name: str) -> str:
        """All that a node has written to stdout and stderr."""
        return (self.cluster.root / f"{name}.out").read_text(errors="replace")

    def data(self, name: str) -> Path:
        """Where a node keeps what it keeps."""
        return self.cluster.root / "data" / name

    def everline(
        self, *words: str, file: Path | None = None, within_s: float = WITHIN_S
    ) -> "subprocess.CompletedProcess[str]":
        """One command of an operator, in a process of its own."""
        return subprocess.run(
            [str(self.program), *words, "--cluster", str(file or self.cluster.root / "etc" / "cluster.yaml")],
            capture_output=True, text=True, timeout=within_s, check=False,
        )  # fmt: skip

    # --- nodes ---

    def port(self, name: str, key: str) -> int:
        """A port of a node, by its key in cluster.yaml."""
        return int(getattr(self.cluster.topology.node(name).options, key))

    def get(self, name: str, path: str, **query: str | int) -> httpx2.Response:
        """What a node answers over HTTP."""
        return self.http.get(f"http://127.0.0.1:{self.port(name, 'http_port')}/{path}", params=query)

    def readiness(self, name: str) -> str:
        """`ready`, or why a node is not."""
        return self.get(name, "readyz").text.strip()

    def until_ready(self, *names: str) -> None:
        """Wait until nodes are."""
        for name in names:
            what = f"{name} is ready\n{self.cluster.said(name)}"
            until(lambda name=name: self.readiness(name) == "ready", what)  # type: ignore[misc]

    def metric(self, name: str, metric: str) -> float:
        """One figure of a node, by its name and labels."""
        found = re.search(rf"^{re.escape(metric)} (\S+)$", self.get(name, "metrics").text, re.MULTILINE)
        assert found, f"{name} has no metric {metric}"
        return float(found.group(1))

    def token(self, name: str) -> int:
        """Of a node that leads; 0 of another."""
        return int(self.metric(name, "everline_leader_token"))

    def leaders(self) -> dict[str, int]:
        """Nodes that say they lead, with their tokens."""
        tokens = {name: self.token(name) for name in self.running(Role.APP, Role.WITNESS)}
        return {name: token for name, token in tokens.items() if token}

    def api(self, name: str, path: str, **query: str | int) -> Any:  # whatever JSON it is
        """What an app node's API answers."""
        answer = self.get(name, f"api/v1/{path}", **query)
        answer.raise_for_status()
        return answer.json()

    def calls(self, name: str) -> dict[str, dict[str, Any]]:
        """All calls that an app node finds, by Call-ID."""
        page = self.api(name, "calls", limit=500)
        assert page["next"] is None
        return {one["call_id"]: one for one in page["calls"]}

    def status(self, *, code: int) -> dict[str, Any] | None:
        """What `everline cluster status --json` says, if it ends with this exit code and has heard every node."""
        said = self.everline("cluster", "status", "--json")
        view: dict[str, Any] = json.loads(said.stdout)
        heard = {one["presence"] for one in view["nodes"]} == {"alive"}
        return view if said.returncode == code and heard and not said.stderr else None

    def history(self) -> list[dict[str, Any]]:
        """What `everline cluster history --json` says."""
        said = self.everline("cluster", "history", "--json")
        assert said.returncode == 0, said.stderr
        return [json.loads(line) for line in said.stdout.splitlines()]

    # --- engines ---

    def ask(self, name: str, sql: str) -> list[tuple[Any, ...]]:
        """What one ClickHouse server answers."""
        options = self.cluster.topology.node(name).options_as(ClickHouseOptions)
        client = Client(
            "127.0.0.1", port=options.tcp_port, user="everline", password=SECRETS.clickhouse, connect_timeout=2,
            send_receive_timeout=20,
        )  # fmt: skip
        try:
            rows: list[tuple[Any, ...]] = client.execute(sql)
            return rows
        finally:
            client.disconnect()

    def redis(self, name: str, *words: str) -> Any:  # whatever Redis answers
        """What one Redis answers."""
        port = self.cluster.topology.node(name).options_as(RedisOptions).port
        with Redis(port=port, password=SECRETS.redis, socket_timeout=5, decode_responses=True) as client:
            return client.execute_command(*words)

    def primary(self) -> str:
        """The Redis that is written to."""
        return until(
            lambda: next((one for one in self.running(Role.REDIS) if self.redis(one, "ROLE")[0] == "master"), ""),
            "a Redis is the primary",
        )

    def last_event(self) -> str:
        """Position of the last transition that was told."""
        entries = self.redis(self.primary(), "XREVRANGE", STREAM, "+", "-", "COUNT", "1")
        return str(entries[0][0]) if entries else "0-0"

    def wipe(self, name: str) -> None:
        """A program that does not run loses its disk."""
        assert name not in self.cluster.processes
        shutil.rmtree(self.data(name))

    def forget_calls(self, name: str) -> None:
        """A Redis that does not run loses all it held, but not whom it follows."""
        assert name not in self.cluster.processes
        for path in self.data(name).iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != "live.conf":
                path.unlink()


@contextmanager
def cluster_rig(root: Path) -> Iterator[ClusterRig]:
    """Everything written, nothing started; whatever runs is ended at the end."""
    program = root / "everline"
    script = _ROOT / "tests" / "rigs" / "unchecked.py"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P "{script}" "$@"\n', "utf-8")
    program.chmod(0o700)
    content = values()
    authorized = {"Authorization": f"Bearer {SECRETS.admin_token}"}
    with (
        rendered(root, Topology.model_validate(content), Programs(everline=str(program))) as cluster,
        httpx2.Client(headers=authorized, timeout=20) as http,
    ):
        write_cluster_file(root / "etc", content)
        yield ClusterRig(cluster, content, program, http)
