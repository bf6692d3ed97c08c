"""A small cluster on loopback, rendered and started: what `everline render` makes, read by the programs themselves."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from redis.exceptions import RedisError
from tests.rigs.ports import free_ports

from everline.cluster_file import Secrets
from everline.topology.model import Topology
from everline.topology.render import Places, Programs, launch_of, render

SECRETS: Final = Secrets(
    clickhouse="clickhouse-#1-secret",
    redis="#redis-$1-secret;%n",
    interserver="interserver-{{1}}-secret",
    session_key="session-key-of-the-test",
    admin_token="admin-token-of-the-test",
)
START_S: Final = 60.0


def loopback_cluster(address: str) -> Topology:
    """
    Three hosts at one address: three of Redis, Sentinel and Keeper, two replicas of one shard.

    `parse_topology` refuses hosts with one address; the model alone does not. ClickHouse needs it: ON CLUSTER looks for
    the own address on an interface, and the aliases of loopback are on none.
    """
    ports = iter(free_ports(3 * 5 + 2 * 3))
    hosts = []
    for number in (1, 2, 3):
        roles: dict[str, dict[str, int]] = {
            "redis": {"port": next(ports)},
            "sentinel": {"port": next(ports)},
            "keeper": {"client_port": next(ports), "peer_port": next(ports), "election_port": next(ports)},
        }
        if number < 3:
            servers = {"tcp_port": next(ports), "http_port": next(ports), "interserver_port": next(ports)}
            roles["clickhouse"] = {"shard": 1, "replica": number} | servers
        hosts.append({"name": f"h{number}", "address": address, "roles": roles})
    racks = [{"name": f"r{number}", "hosts": [host]} for number, host in enumerate(hosts, start=1)]
    return Topology.model_validate({"cluster": "calls-1", "regions": [{"name": "here", "racks": racks}]})


@dataclass
class Cluster:
    """The programs of a cluster, each started and ended by its node's name."""

    topology: Topology
    places: Places
    root: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str) -> None:
        """Start a node as a host would, without waiting until it serves."""
        launch = launch_of(self.topology.node(name), self.places)
        for directory in launch.directories:
            Path(directory).mkdir(mode=0o700, parents=True, exist_ok=True)
        for copy in launch.copies:
            if not (copy.once and Path(copy.target).exists()):
                shutil.copyfile(copy.source, copy.target)
                Path(copy.target).chmod(0o600)
        with (self.root / f"{name}.out").open("ab") as out:
            self.processes[name] = subprocess.Popen(
                launch.command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, umask=0o077, start_new_session=True
            )

    def kill(self, name: str) -> None:
        """End a node without a word."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def said(self, name: str) -> str:
        """The end of what a node has printed."""
        return (self.root / f"{name}.out").read_text(errors="replace")[-3000:]

    def until(self, name: str, is_so: Callable[[], bool]) -> None:
        """Wait until something is so; an error of the network means not yet."""
        deadline = time.monotonic() + START_S
        while True:
            try:
                if is_so():
                    return
            except (OSError, EOFError, RedisError):
                pass
            assert time.monotonic() < deadline, f"{name}: not in {START_S} s\n{self.said(name)}"
            time.sleep(0.05)


@contextmanager
def rendered_cluster(root: Path, *, address: str = "127.0.0.1") -> Iterator[Cluster]:
    """A cluster whose files are written and whose programs are not started yet; they are ended at the end."""
    with rendered(root, loopback_cluster(address)) as cluster:
        yield cluster


@contextmanager
def rendered(root: Path, topology: Topology, programs: Programs | None = None) -> Iterator[Cluster]:
    """The same of any topology, with an `everline` of the test's if it has one."""
    places = Places(
        config_root=str(root / "etc"), data_root=str(root / "data"), log_root=str(root / "log"),
        jvm_flags=("-Xms64m", "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xss256k"),
        power_safe=False, programs=programs or Programs(),
    )  # fmt: skip
    for path, file in render(topology, SECRETS, places).items():
        target = root / "etc" / path.partition("/")[2]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(file.text, encoding="utf-8")
        os.chmod(target, file.mode)  # noqa: PTH101
    cluster = Cluster(topology, places, root)
    try:
        yield cluster
    finally:
        for name in list(cluster.processes):
            cluster.kill(name)
