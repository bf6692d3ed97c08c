"""Clusters that tests change: one that is right, as the values that YAML gives, and short ways to it."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from everline.topology.errors import TopologyFault
from everline.topology.model import Topology

Values = dict[str, Any]  # what YAML can hold
Places = Mapping[str, Mapping[str, Mapping[str, Values]]]
"""Region → rack → host → roles with their options."""

SECRETS: Final = ("clickhouse", "redis", "interserver", "session_key", "admin_token")

CORE: Final = ("redis", "sentinel", "keeper")
FRONT: Final = ("balancer", "nginx", "app")


def roles(*names: str, **options: Values) -> Values:
    """Roles with their defaults, then those with options."""
    return {**{name: {} for name in names}, **options}


def server(shard: int, replica: int, **options: Any) -> Values:  # whatever the options are
    """A host of one ClickHouse server."""
    return {"clickhouse": {"shard": shard, "replica": replica, **options}}


def one_site() -> dict[str, dict[str, dict[str, Values]]]:
    """A region of three racks in which nothing is wrong."""
    return {
        "home": {
            "a": {"a1": roles(*FRONT), "a2": roles("ingest", *CORE), "a3": server(1, 1)},
            "b": {"b1": roles(*FRONT), "b2": roles("ingest", *CORE), "b3": server(1, 2)},
            "c": {"c1": roles("ingest", *CORE)},
        }
    }


def two_sites() -> dict[str, dict[str, dict[str, Values]]]:
    """Two regions of one rack and a witness, in which nothing is wrong."""
    return {
        "east": {"ea": {"e1": roles(*FRONT), "e2": roles("ingest", *CORE), "e3": server(1, 1)}},
        "west": {"wa": {"w1": roles(*FRONT), "w2": roles("ingest", *CORE), "w3": server(1, 2)}},
        "third": {"ta": {"t1": roles("sentinel", "keeper", "witness")}},
    }


def values(places: Places, **settings: Any) -> Values:  # whatever the settings are
    """What cluster.yaml of such a cluster holds; hosts are numbered 10.0.0.1 and on."""
    number = iter(range(1, 255))
    return {
        "cluster": "test",
        "secrets": {name: {"env": name.upper()} for name in SECRETS},
        "regions": [
            {"name": region, "racks": [{"name": rack, "hosts": _hosts(hosts, number)} for rack, hosts in racks.items()]}
            for region, racks in places.items()
        ],
        **settings,
    }


def _hosts(hosts: Mapping[str, Values], number: Iterable[int]) -> list[Values]:
    return [
        {"name": name, "address": f"10.0.0.{one}", "roles": its}
        for (name, its), one in zip(hosts.items(), number, strict=False)
    ]


def topology(places: Places, **settings: Any) -> Topology:  # whatever the settings are
    """The cluster, unchecked."""
    return Topology.model_validate(values(places, **settings))


def sentences(faults: Iterable[TopologyFault]) -> list[str]:
    """Faults as `path: problem`."""
    return [str(one) for one in faults]
