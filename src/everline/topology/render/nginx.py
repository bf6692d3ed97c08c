"""NGINX: in front of the app nodes, and in place of a balancer where only stock software may run."""

from typing import Final

from everline.topology.model import AppOptions, BalancerOptions, IngestOptions, NginxOptions, Node, Role, Topology
from everline.topology.render.files import RenderedFile, listen_at, own_source, render_template
from everline.topology.render.places import Places

EVENTS_PATH: Final = "/api/v1/events"
"""Server-sent events: answers without end."""


def render_nginx(topology: Topology, node: Node, places: Places) -> dict[str, RenderedFile]:
    """`nginx.conf`."""
    members = topology.nodes_of(Role.APP)
    facts = {
        "node": node, "options": node.options_as(NginxOptions), "listen": listen_at(topology, node),
        "members": [(one, one.options_as(AppOptions)) for one in members], "source": own_source(node, members),
        "run_dir": places.run_dir(node), "user": places.user, "connect_ms": topology.timers.connect_ms,
        "events_path": EVENTS_PATH,
    }  # fmt: skip
    return {"nginx.conf": RenderedFile(render_template("nginx.conf", topology, **facts))}


def render_nginx_stream(topology: Topology, node: Node, places: Places) -> dict[str, RenderedFile]:
    """`nginx-stream.conf` and the `call_id.js` that it imports: what a balancer does, as far as NGINX can."""
    members = sorted(topology.nodes_of(Role.INGEST), key=lambda one: one.name)
    facts = {
        "node": node, "options": node.options_as(BalancerOptions), "listen": listen_at(topology, node),
        "members": [(one, one.options_as(IngestOptions)) for one in members], "config_dir": places.config_dir(node),
        "run_dir": places.run_dir(node), "user": places.user, "modules": places.programs.nginx_modules,
        "receive_buffer_bytes": topology.ingest.receive_buffer_bytes,
    }  # fmt: skip
    names = ("nginx-stream.conf", "call_id.js")
    return {name: RenderedFile(render_template(name, topology, **facts)) for name in names}
