"""HAProxy: where agents that send HEP over TCP or TLS come in, each connection to the ingest node with the fewest."""

from typing import Final

from everline.topology.model import HaproxyOptions, IngestOptions, Node, Role, Topology
from everline.topology.render.files import RenderedFile, listen_at, own_source, render_template

AGENTS_OF_ONE: Final = 1_000
"""Connections that one ingest node is given: it takes 1,024, and health checks are among them."""


def render_haproxy(topology: Topology, node: Node) -> dict[str, RenderedFile]:
    """`haproxy.cfg`."""
    members = sorted(topology.nodes_of(Role.INGEST), key=lambda one: one.name)
    facts = {
        "node": node, "options": node.options_as(HaproxyOptions), "listen": listen_at(topology, node),
        "members": [(one, one.options_as(IngestOptions)) for one in members], "connect_ms": topology.timers.connect_ms,
        "most_of_one": AGENTS_OF_ONE, "most": AGENTS_OF_ONE * len(members),
        "source": own_source(node, members),
    }  # fmt: skip
    return {"haproxy.cfg": RenderedFile(render_template("haproxy.cfg", topology, **facts))}
