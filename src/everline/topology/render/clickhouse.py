"""ClickHouse: shards of replicas, coordinated by the keepers."""

from typing import Final

from everline.topology.model import ClickHouseOptions, Node, Role, Topology
from everline.topology.render.files import SECRET, RenderedFile, render_template
from everline.topology.render.places import Places
from everline.topology.secrets import EngineSecrets

CLICKHOUSE_USER: Final = "everline"
LOOPBACK: Final = ("127.0.0.1", "::1")


def render_clickhouse(
    topology: Topology, node: Node, secrets: EngineSecrets, places: Places
) -> dict[str, RenderedFile]:
    """`config.xml` of the server and `users.xml`."""
    facts = {
        "node": node, "options": node.options_as(ClickHouseOptions), "secrets": secrets,
        "user": CLICKHOUSE_USER, "config_dir": places.config_dir(node), "data_dir": places.data_dir(node),
        "log_dir": places.log_dir(node), "shards": _nearest_first(topology, node),
        "keepers": sorted(topology.nodes_of(Role.KEEPER), key=node.distance_to),
        "networks": _networks(topology, places), "power_safe": places.power_safe,
    }  # fmt: skip
    return {
        "config.xml": RenderedFile(render_template("config.xml", topology, **facts), SECRET),
        "users.xml": RenderedFile(render_template("users.xml", topology, **facts), SECRET),
    }


def _nearest_first(topology: Topology, node: Node) -> dict[int, list[Node]]:
    """Each shard's servers as this one should ask them; `load_balancing` is `in_order`."""
    return {shard: sorted(servers, key=node.distance_to) for shard, servers in topology.shards.items()}


def _networks(topology: Topology, places: Places) -> list[str]:
    """From where the user is let in: each once, in file order."""
    return list(dict.fromkeys((*LOOPBACK, *(host.address for host in topology.hosts), *places.trusted_networks)))
