"""A lab that is there: its programs and its links, to be killed, hung, cut and brought back."""

import os
import re
import shutil
import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from everline.cluster_file import Secrets, load_topology, resolve_secrets
from everline.lab.errors import LabError
from everline.lab.fabric import Fabric, OneWay
from everline.lab.ip import namespaces
from everline.lab.layout import Layout
from everline.lab.processes import ProcessState, pid_of, send, start, state_of, until_ended
from everline.topology.model import Node, Topology
from everline.topology.render import Programs
from everline.topology.render.launch import CLUSTER_FILE

STOP_S = 12.0
"""How long a program may take for its end, until it is killed."""
_TAIL_BYTES: Final = 8192
_OF_STACK_TRACE: Final = re.compile(r"\d+\. /")


@dataclass(frozen=True, slots=True)
class NodeState:
    """The program of a node as the kernel has it; `pid` while it runs."""

    node: Node
    process: ProcessState
    pid: int | None


class Lab:
    """
    One lab. Everything here blocks for milliseconds, unless it says that it waits.

    Args:
        directory: `var/lab/<cluster>`.
        programs: Where they are; Debian's places unless given.
    """

    def __init__(self, directory: Path, topology: Topology, *, programs: Programs | None = None) -> None:
        self.topology = topology
        self.layout = Layout(directory, topology, programs=programs)
        self.fabric = Fabric(topology)

    @classmethod
    def open(cls, directory: Path) -> "Lab":
        """
        A lab that was made before.

        Raises:
            LabError: There is none.
            TopologyError: Its cluster.yaml is damaged.
        """
        if not (directory / CLUSTER_FILE).exists():
            raise LabError(f"no lab in {directory}: run `everline lab up`, or name another by --cluster or --dir")
        return cls(directory, load_topology(directory / CLUSTER_FILE))

    def secrets(self) -> Secrets:
        """
        The secrets of the lab, from its own directory.

        Raises:
            TopologyError: One can't be read.
        """
        return resolve_secrets(self.topology, self.layout.directory, os.environ)

    @property
    def is_up(self) -> bool:
        """Whether its network is there."""
        return self.fabric.namespace in namespaces()

    # --- programs ---

    def state(self, node: Node) -> ProcessState:
        """How the program of a node is."""
        return state_of(self.layout.record(node))

    def states(self) -> list[NodeState]:
        """Of every node, in the order of the file."""
        return [NodeState(node, self.state(node), pid_of(self.layout.record(node))) for node in self.topology.nodes]

    def start(self, nodes: Iterable[Node]) -> list[Node]:
        """Start what does not run, without waiting for it."""
        started = []
        for node in nodes:
            if self.state(node) in {ProcessState.ENDED, ProcessState.ABSENT}:
                launch = self.layout.launch(node)
                self.layout.prepare(node, launch)
                start(self.layout.spawn(node, launch))
                started.append(node)
        return started

    def kill(self, nodes: Iterable[Node]) -> None:
        """
        SIGKILL, one right after another; waits until all are gone.

        Raises:
            LabError: One is still there after 10 s.
        """
        self._signal_and_wait(nodes, signal.SIGKILL)

    def stop(self, nodes: Iterable[Node]) -> None:
        """SIGTERM; waits for their end, and kills those that take longer than `STOP_S`."""
        nodes = tuple(nodes)
        records = self._records(nodes)
        send(records, signal.SIGTERM)
        if until_ended(records, within_s=STOP_S):
            self.kill(nodes)

    def pause(self, nodes: Iterable[Node]) -> None:
        """SIGSTOP: connections stay open, and nothing answers."""
        send(self._records(nodes), signal.SIGSTOP)

    def resume(self, nodes: Iterable[Node]) -> None:
        """SIGCONT."""
        send(self._records(nodes), signal.SIGCONT)

    def restart(self, nodes: Iterable[Node]) -> None:
        """Stop, then start."""
        nodes = tuple(nodes)
        self.stop(nodes)
        self.start(nodes)

    def wipe(self, node: Node) -> None:
        """
        Lose the disk of a node that does not run.

        Raises:
            LabError: It runs.
        """
        if self.state(node) in {ProcessState.RUNNING, ProcessState.PAUSED}:
            raise LabError(f"{node.name} runs: kill it before its data is removed")
        shutil.rmtree(self.layout.data(node), ignore_errors=True)

    def namespace(self, node: Node) -> str:
        """Where its program runs; `ip netns exec` takes other programs there."""
        return self.fabric.host_namespace(node.host)

    def last_words(self, node: Node, *, lines: int = 8) -> list[str]:
        """The last lines of a node's log; for ClickHouse of its error log too, without the stack traces."""
        own = self.layout.log(node)
        paths = [own, own.parent / node.name / "clickhouse-server.err.log"]
        return [line for path in paths if path.exists() for line in _tail(path, lines)]

    def _signal_and_wait(self, nodes: Iterable[Node], number: signal.Signals) -> None:
        records = self._records(nodes)
        send(records, number)
        if left := until_ended(records):
            raise LabError(f"{', '.join(path.stem for path in left)} can't be killed; look with ps")

    def _records(self, nodes: Iterable[Node]) -> list[Path]:
        return [self.layout.record(node) for node in nodes]

    # --- links ---

    def cut(self, names: Sequence[str]) -> None:
        """Cut hosts, racks or regions: see `Fabric.cut`."""
        self.fabric.cut(*names)

    def cut_one_way(self, hosts: Sequence[str], way: OneWay) -> None:
        """Make hosts deaf or mute: see `Fabric.cut_one_way`."""
        for host in hosts:
            self.fabric.cut_one_way(host, way)

    def heal(self, names: Sequence[str] = ()) -> None:
        """Heal them, or everything."""
        self.fabric.heal(*names)


def _tail(path: Path, lines: int) -> list[str]:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        text = file.read().decode("utf-8", "replace")
    kept = [line for line in text.splitlines() if line.strip() and not _OF_STACK_TRACE.match(line)]
    return kept[-lines:]
