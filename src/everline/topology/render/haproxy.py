"""HAProxy: where agents that send HEP over TCP or TLS come in, each connection to the ingest node with the fewest."""

from typing import Final

from everline.topology.model import HaproxyOptions, IngestOptions, Node, Role, Topology
from everline.topology.render.files import RenderedFile, listen_at, own_source, render_template

AGENTS_OF_ONE: Final = 1_000
"""Connections that one ingest node is given, by the HAProxy of all regions together: it takes 1,024."""


def render_haproxy(topology: Topology, node: Node) -> dict[str, RenderedFile]:
    """`haproxy.cfg`."""
    members = sorted(topology.nodes_of(Role.INGEST), key=lambda one: one.name)
    doors = len({door.region for door in topology.nodes_of(Role.HAPROXY)})  # Of a region's, one has the VIP.
    most_of_one = AGENTS_OF_ONE // doors
    facts = {
        "node": node, "options": node.options_as(HaproxyOptions), "listen": listen_at(topology, node),
        "members": [(one, one.options_as(IngestOptions)) for one in members], "connect_ms": topology.timers.connect_ms,
        "most_of_one": most_of_one, "most": most_of_one * len(members),
        "source": own_source(node, members),
    }  # fmt: skip
    return {"haproxy.cfg": RenderedFile(render_template("haproxy.cfg", topology, **facts))}
