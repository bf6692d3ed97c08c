"""All files of a cluster, or of one of its hosts."""

from collections.abc import Callable, Mapping
from typing import Final

from everline.topology.model import Host, Node, Role, Topology
from everline.topology.render.clickhouse import render_clickhouse
from everline.topology.render.files import RenderedFile
from everline.topology.render.haproxy import render_haproxy
from everline.topology.render.keepalived import render_keepalived
from everline.topology.render.keeper import render_keeper
from everline.topology.render.nginx import render_nginx, render_nginx_stream
from everline.topology.render.places import Places
from everline.topology.render.redis import render_redis, render_sentinel
from everline.topology.render.systemd import render_units
from everline.topology.secrets import EngineSecrets


def render(topology: Topology, secrets: EngineSecrets, places: Places) -> dict[str, RenderedFile]:
    """
    Every file of every host.

    Returns:
        Files by path `<host>/<node>/<file>`, in the order of cluster.yaml. What is below `<host>/` belongs into
        `places.config_root` of that host; units, `<host>/systemd/<unit>`, into /etc/systemd/system too.
    """
    return {
        f"{host.name}/{path}": file
        for host in topology.hosts
        for path, file in render_host(topology, host, secrets, places).items()
    }


def render_host(topology: Topology, host: Host, secrets: EngineSecrets, places: Places) -> dict[str, RenderedFile]:
    """The files of one host, by path `<node>/<file>`, and its units as `systemd/<unit>`."""
    files = {
        f"{node.name}/{name}": file
        for node in host.nodes
        for name, file in _files_of(topology, node, secrets, places).items()
    }
    return files | {f"systemd/{name}": unit for name, unit in render_units(topology, host, places).items()}


def _files_of(topology: Topology, node: Node, secrets: EngineSecrets, places: Places) -> dict[str, RenderedFile]:
    make = _FILES.get(node.role)
    return make(topology, node, secrets, places) if make else {}


_FILES: Final[Mapping[Role, Callable[[Topology, Node, EngineSecrets, Places], dict[str, RenderedFile]]]] = {
    Role.REDIS: render_redis,
    Role.SENTINEL: render_sentinel,
    Role.CLICKHOUSE: render_clickhouse,
    Role.KEEPER: lambda topology, node, _, places: render_keeper(topology, node, places),
    Role.BALANCER: lambda topology, node, _, places: render_nginx_stream(topology, node, places),
    Role.HAPROXY: lambda topology, node, _, __: render_haproxy(topology, node),
    Role.NGINX: lambda topology, node, _, places: render_nginx(topology, node, places),
    Role.KEEPALIVED: lambda topology, node, _, places: render_keepalived(topology, node, places),
}
"""Everline's own processes read cluster.yaml itself; what a balancer has is for NGINX in its place."""
