"""Whether a lab can be on this machine: who we are, what is installed, how much memory is free."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from everline.lab.errors import UnfitError
from everline.lab.ip import PATH
from everline.lab.layout import Layout
from everline.topology.model import Node, Role

MEGABYTES: Final = {
    Role.CLICKHOUSE: 400, Role.KEEPER: 150, Role.REDIS: 60, Role.SENTINEL: 20, Role.INGEST: 250, Role.APP: 200,
    Role.WITNESS: 120, Role.BALANCER: 150, Role.NGINX: 20, Role.HAPROXY: 30, Role.KEEPALIVED: 10,
}  # fmt: skip
"""What a node takes under the load of a drill, with room."""
PACKAGES: Final = {
    "redis-server": "redis-server", "redis-sentinel": "redis-sentinel", "clickhouse-server": "clickhouse-server",
    "java": "default-jre-headless", "zookeeper.jar": "zookeeper", "slf4j-simple.jar": "libslf4j-java",
    "ip": "iproute2", "tc": "iproute2", "nginx": "nginx", "haproxy": "haproxy", "keepalived": "keepalived",
}  # fmt: skip
"""Debian's packages, by the last part of a program's path."""


def look_at_machine(layout: Layout, nodes: Iterable[Node]) -> None:
    """
    See whether the programs of some nodes can be run here.

    Raises:
        UnfitError: With all that is missing.
    """
    if os.geteuid() != 0:
        raise UnfitError("a lab makes network namespaces, which takes root: run `sudo everline lab up`")
    nodes = tuple(nodes)
    if missing := _missing(layout, nodes):
        raise UnfitError(f"not installed: {', '.join(missing)}; run scripts/install-peers.sh")
    need = sum(MEGABYTES[node.role] for node in nodes)
    have = available_megabytes()
    if have < need:
        raise UnfitError(f"{have} MB of memory are free, this lab needs {need}: take hosts out of cluster.yaml")


def available_megabytes() -> int:
    """What the kernel says can be used without swapping."""
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    raise UnfitError("/proc/meminfo has no MemAvailable: a lab needs Linux 3.14 or later")


def _missing(layout: Layout, nodes: Iterable[Node]) -> list[str]:
    """Each program that can't be run, with the package that has it."""
    wanted = {"ip": None, "tc": None}
    for node in nodes:
        wanted[layout.launch(node).command[0]] = None
        if node.role is Role.KEEPER:
            wanted |= dict.fromkeys(layout.programs.zookeeper_jars.split(":"))
    return [_named(path) for path in wanted if not _is_there(path)]


def _is_there(path: str) -> bool:
    return Path(path).is_file() if path.endswith(".jar") else shutil.which(path, path=PATH) is not None


def _named(path: str) -> str:
    package = PACKAGES.get(Path(path).name)
    return f"{path} (package {package})" if package else path
