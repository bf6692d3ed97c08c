"""What `everline lab status` tells: process, link and answer of every node."""

import asyncio
from dataclasses import dataclass
from typing import Final

from everline.cluster.probe import NodeReport, probe
from everline.lab.fabric import Fabric
from everline.lab.lab import Lab
from everline.lab.processes import ProcessState
from everline.topology.model import Node

ASK_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class NodeView:
    """
    One node.

    Attributes:
        process: As the kernel has it.
        link: `up`; `cut` if its host is, `region cut` if its region is, `deaf` or `mute` if its host is.
        report: What it answers, asked over the link that faults never cut.
    """

    process: ProcessState
    pid: int | None
    link: str
    report: NodeReport

    def as_json(self) -> dict[str, object]:
        """As `--json` prints it."""
        own = {"process": str(self.process), "pid": self.pid, "link": self.link}
        return self.report.as_json() | own


async def view(lab: Lab) -> list[NodeView]:
    """
    Every node, in the order of the file. Takes `ASK_S` at most.

    Raises:
        TopologyError: A secret of the lab can't be read.
    """
    reports, cuts = await asyncio.gather(
        probe(lab.topology, lab.secrets(), deadline_s=ASK_S), asyncio.to_thread(_links_cut, lab.fabric)
    )
    return [
        NodeView(state.process, state.pid, _link(state.node, *cuts), report)
        for state, report in zip(lab.states(), reports, strict=True)
    ]


def _links_cut(fabric: Fabric) -> tuple[list[str], dict[str, str]]:
    """Hosts and regions that are cut; how hosts are that hear or say nothing."""
    ways: dict[str, str] = {}
    for host, way in fabric.one_way_cuts():
        ways[host] = f"{ways[host]}, {way}" if host in ways else str(way)
    return fabric.cuts(), ways


def _link(node: Node, cuts: list[str], ways: dict[str, str]) -> str:
    if node.host in cuts:
        return "cut"
    return "region cut" if node.region in cuts else ways.get(node.host, "up")
