"""Redis: one primary, the others follow it, Sentinel decides who is who."""

from typing import Final

from everline.topology.model import Node, RedisOptions, Role, Topology
from everline.topology.render.files import SECRET, RenderedFile, render_template
from everline.topology.render.places import Places
from everline.topology.secrets import EngineSecrets

REPLICA_USER: Final = "replica"
SENTINEL_USER: Final = "sentinel"

_CALL_BYTES: Final = 8 << 10
"""What Redis takes for one call in progress, with room: hash, expiry and its part of the indexes."""
UNTOLD_DOWN_AFTER_MS: Final = 1_250
"""
Least silence after which a Sentinel may doubt that nobody has told to look more often.

It connects at most once in 1,000 ms: sooner it would doubt each new primary before it has asked it, and replace it too.
"""
_BASE_BYTES: Final = 256 << 20
"""The stream of transitions, copy-on-write while the append-only file is written anew, buffers."""


def render_redis(topology: Topology, node: Node, secrets: EngineSecrets, places: Places) -> dict[str, RenderedFile]:
    """`redis.conf`, `users.acl`, and `first.conf`: whom the server follows until Sentinel says otherwise."""
    password = secrets.redis
    facts = {
        "node": node, "options": node.options_as(RedisOptions), "password": password,
        "config_dir": places.config_dir(node), "data_dir": places.data_dir(node), "replica_user": REPLICA_USER,
        "primary": initial_primary(topology), "maxmemory": _BASE_BYTES + topology.live.max_calls * _CALL_BYTES,
    }  # fmt: skip
    users = {"replica": REPLICA_USER, "sentinel": SENTINEL_USER}
    return {
        "redis.conf": RenderedFile(render_template("redis.conf", topology, **facts), SECRET),
        "users.acl": RenderedFile(render_template("users.acl", topology, users=users, password=password), SECRET),
        "first.conf": RenderedFile(render_template("redis-first.conf", topology, **facts)),
    }


def render_sentinel(topology: Topology, node: Node, secrets: EngineSecrets, places: Places) -> dict[str, RenderedFile]:
    """`sentinel.conf`, and `first.conf`: the server that is the primary until Sentinel finds another one."""
    facts = {
        "node": node, "password": secrets.redis,
        "data_dir": places.data_dir(node), "sentinel_user": SENTINEL_USER, "primary": initial_primary(topology),
        "quorum": topology.majority(Role.SENTINEL), "timers": topology.timers,
        "down_after_ms": max(topology.timers.redis_down_after_ms, UNTOLD_DOWN_AFTER_MS),
    }  # fmt: skip
    return {
        "sentinel.conf": RenderedFile(render_template("sentinel.conf", topology, **facts), SECRET),
        "first.conf": RenderedFile(render_template("sentinel-first.conf", topology, **facts)),
    }


def initial_primary(topology: Topology) -> Node:
    """The Redis server that is the primary when the cluster is first started: the first in the file."""
    return topology.nodes_of(Role.REDIS)[0]
