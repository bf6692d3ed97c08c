"""A program of a rendered cluster on loopback that stands in front of nodes which the test has started itself."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.running_node import until
from tests.topology.rendered import SECRETS

from everline.topology.model import Node, Topology
from everline.topology.render import Launch, Places, launch_of, render
from everline.topology.render.places import Programs

START_S = 15.0


def cluster_of(
    *hosts: dict[str, Any],
    address: str = "127.0.0.1",
    **settings: Any,  # roles with their options, and more keys
) -> Topology:
    """Hosts at one address, each in a rack of its own, unchecked."""
    racks = [
        {"name": f"r{number}", "hosts": [{"name": f"h{number}", "address": address, "roles": roles}]}
        for number, roles in enumerate(hosts, start=1)
    ]
    return Topology.model_validate({"cluster": "calls-1", "regions": [{"name": "here", "racks": racks}], **settings})


def places_in(root: Path, **programs: str) -> Places:
    """All of it below one directory; the programs run as whoever runs the test."""
    return Places(
        config_root=f"{root}/etc", data_root=f"{root}/data", log_root=f"{root}/log", run_root=f"{root}/run",
        user="root" if os.geteuid() == 0 else "everline", programs=replace(Programs(), **programs),
    )  # fmt: skip


def written(topology: Topology, places: Places) -> None:
    """Write every file of the cluster; its hosts share one directory, as their nodes have names of their own."""
    for path, file in render(topology, SECRETS, places).items():
        target = Path(places.config_root) / path.partition("/")[2]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(file.text, encoding="utf-8")
        target.chmod(file.mode)


@contextmanager
def started(node: Node, places: Places, *, launch: Launch | None = None) -> Iterator["subprocess.Popen[bytes]"]:
    """Its program as a host would start it; ended with SIGTERM, which it must heed."""
    launch = launch or launch_of(node, places)
    for directory in launch.directories:
        Path(directory).mkdir(mode=0o700, parents=True, exist_ok=True)
    log = Path(places.config_root).parent / f"{node.name}.out"
    with log.open("ab") as out:
        process = subprocess.Popen(
            launch.command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, umask=0o077, start_new_session=True
        )
    try:
        yield process
        assert process.poll() is None, log.read_text(errors="replace")
    finally:
        process.terminate()
        try:
            process.wait(START_S)
        finally:
            process.kill()


def until_so(condition: Any, what: str) -> Any:  # whatever a condition gives
    """Wait for what a program does once it serves; an error of the network means not yet."""

    def tried() -> Any:
        try:
            return condition()
        except OSError:
            return None

    return until(tried, within_s=START_S, what=what)
