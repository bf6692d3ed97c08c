"""Coordination: one quorum, as ZooKeeper (Debian's) or as ClickHouse Keeper (with current ClickHouse)."""

from everline.topology.model import KeeperOptions, Node, Role, Topology
from everline.topology.render.files import RenderedFile, render_template
from everline.topology.render.places import Places


def render_keeper(topology: Topology, node: Node, places: Places) -> dict[str, RenderedFile]:
    """ZooKeeper's `zoo.cfg`, `myid` and `simplelogger.properties`; `keeper.xml` of ClickHouse Keeper."""
    members = dict(enumerate(topology.nodes_of(Role.KEEPER), start=1))
    number = next(number for number, member in members.items() if member.name == node.name)
    facts = {
        "node": node, "options": node.options_as(KeeperOptions), "members": members,
        "number": number, "data_dir": places.data_dir(node), "timers": topology.timers,
        "fsync": places.power_safe,
    }  # fmt: skip
    return {
        "zoo.cfg": RenderedFile(render_template("zoo.cfg", topology, **facts)),
        "myid": RenderedFile(f"{number}\n"),
        "simplelogger.properties": RenderedFile(render_template("simplelogger.properties", topology, **facts)),
        "keeper.xml": RenderedFile(render_template("keeper.xml", topology, **facts)),
    }
