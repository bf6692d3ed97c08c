"""Small labs for tests: names and addresses of their own, so that they can be beside others on one machine."""

import os
import socket
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import Final

import pytest
import yaml

from everline.cluster_file import load_topology
from everline.lab.fabric import Fabric
from everline.lab.ip import ip_batch, ip_json, namespaces
from everline.lab.lab import Lab
from everline.lab.names import DATA, front_link, namespaces_of, root_link
from everline.topology.model import Host, Topology

needs_root: Final = pytest.mark.skipif(os.geteuid() != 0 and os.environ.get("CI") != "true", reason="takes root")
IP: Final = ("ip", "tc")
ENGINES: Final = (*IP, "redis-server", "redis-sentinel", "clickhouse-server", "java")

_numbers = count()
_SECRETS: Final = ("clickhouse", "redis", "interserver", "session_key", "admin_token")


def fresh_name() -> str:
    """Of a cluster that nobody else has: eleven characters."""
    return f"t{os.getpid():x}x{next(_numbers)}"


def small(name: str, *, third: dict[str, object] | None = None, network: str = "10.98") -> dict[str, object]:
    """cluster.yaml of three hosts in two racks and two regions: `e1` and `e2` in east, `w1` in west."""
    number = os.getpid() % 200
    roles: dict[str, object] = {"redis": {}, "sentinel": {}, "keeper": {}, "ingest": {}, "app": {}}
    first = {**roles, "clickhouse": {"shard": 1, "replica": 1}}
    second = {**roles, "clickhouse": {"shard": 1, "replica": 2}}

    def host(name: str, last: int, roles: dict[str, object]) -> dict[str, object]:
        return {"name": name, "address": f"{network}.{number}.{last}", "roles": roles}

    return {
        "cluster": name,
        "secrets": {one: {"file": f"secrets/{one}"} for one in _SECRETS},
        "regions": [
            {"name": "east", "racks": [
                {"name": "east-a", "hosts": [host("e1", 1, dict(first))]},
                {"name": "east-b", "hosts": [host("e2", 2, third or dict(roles))]},
            ]},
            {"name": "west", "racks": [{"name": "west-a", "hosts": [host("w1", 3, dict(second))]}]},
        ],
    }  # fmt: skip


def written(directory: Path, values: dict[str, object]) -> Path:
    """The file that holds it."""
    path = directory / "cluster.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def small_topology(directory: Path) -> Topology:
    """Of a fresh name."""
    return load_topology(written(directory, small(fresh_name())))


def small_lab(directory: Path) -> tuple[Lab, str]:
    """A lab that is not built yet, and the text of its cluster.yaml."""
    path = written(directory, small(fresh_name()))
    topology = load_topology(path)
    return Lab(directory / "lab" / topology.cluster, topology), path.read_text(encoding="utf-8")


def remains(cluster: str) -> list[str]:
    """What of a lab is in the kernel: namespaces, and the links in the root namespace."""
    ours = {root_link(cluster), front_link(cluster)}
    links = [link["ifname"] for link in ip_json("link", "show") if link["ifname"] in ours]
    return [*namespaces_of(cluster, namespaces()), *links]


_CONNECT: Final = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 9), timeout=0.5)
except ConnectionRefusedError:
    print("heard")
except OSError:
    print("silence")
"""


def hears(fabric: Fabric, host: str, address: str) -> bool:
    """Whether the system of an address answers a host; a refused connection is an answer."""
    done = subprocess.run(
        ["ip", "netns", "exec", fabric.host_namespace(host), sys.executable, "-c", _CONNECT, address],
        capture_output=True, text=True, check=True, timeout=20,
    )  # fmt: skip
    return done.stdout.strip() == "heard"


_SEND: Final = "import socket, sys; socket.socket(type=socket.SOCK_DGRAM).sendto(b'it', (sys.argv[1], 9))"
_LISTEN: Final = """
import socket, sys
listening = socket.socket(type=socket.SOCK_DGRAM)
listening.bind(("", 9))
listening.settimeout(0.3)
print("bound", flush=True)
sys.stdin.readline()
try:
    print(listening.recv(9).decode())
except TimeoutError:
    print("silence")
"""


def carries(fabric: Fabric, host: Host, other: Host) -> bool:
    """Whether a datagram gets from a host to another, which needs nothing of the way back."""
    inside = ("ip", "netns", "exec", fabric.host_namespace(host.name))
    [link] = ip_json("link", "show", "dev", DATA, namespace=fabric.host_namespace(other.name))
    known = f"neighbour replace {other.address} lladdr {link['address']} dev {DATA} nud permanent"
    ip_batch([known], namespace=fabric.host_namespace(host.name))
    with subprocess.Popen(
        ["ip", "netns", "exec", fabric.host_namespace(other.name), sys.executable, "-c", _LISTEN],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as listener:  # fmt: skip
        assert listener.stdout
        assert listener.stdout.readline() == "bound\n"
        subprocess.run([*inside, sys.executable, "-c", _SEND, other.address], check=True, timeout=20)
        said = listener.communicate("look\n", timeout=20)[0]
    ip_batch([f"neighbour delete {other.address} dev {DATA}"], namespace=fabric.host_namespace(host.name))
    return said == "it\n"


def root_hears(address: str) -> bool:
    """The same, from the root namespace."""
    try:
        socket.create_connection((address, 9), timeout=0.5).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return True
