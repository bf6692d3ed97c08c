"""
How the parts of a lab are called in the kernel: everything can be found, and removed, by its name alone.

Namespaces are `ev-<cluster>-<host>`, the one of the bridges `ev-<cluster>-fabric`. In it hosts and regions are numbered
in the order of cluster.yaml: names of interfaces have 15 characters at most, those of hosts up to 40.
"""

from collections.abc import Iterable
from hashlib import sha256
from typing import Final

PREFIX: Final = "ev-"
FABRIC: Final = "fabric"
DATA: Final = "data"
"""Interface of a host: what it shares with the others, and what faults cut."""
MANAGEMENT: Final = "mgmt"
"""Interface of a host: only the root namespace is at its other end, and nothing cuts it."""


def namespace_of(cluster: str, host: str) -> str:
    """Of a host."""
    return f"{PREFIX}{cluster}-{host}"


def fabric_of(cluster: str) -> str:
    """Of the bridges."""
    return namespace_of(cluster, FABRIC)


def root_link(cluster: str) -> str:
    """The interface of a lab in the root namespace that reaches each host, whatever is cut."""
    return f"evm{sha256(cluster.encode()).hexdigest()[:10]}"


def front_link(cluster: str) -> str:
    """The other one, of a lab with VIPs: what comes from outside goes over it."""
    return f"evf{sha256(cluster.encode()).hexdigest()[:10]}"


def root_address(cluster: str) -> str:
    """Where the root namespace is, as hosts see it: link-local, so that no network of the machine can have it."""
    return _link_local(sha256(cluster.encode()).digest()[:2])


def front_address(cluster: str) -> str:
    """Where those outside are, who know no host but only VIPs."""
    return _link_local(sha256(cluster.encode()).digest()[2:4])


def _link_local(two_bytes: bytes) -> str:
    number = int.from_bytes(two_bytes, "big") % (254 * 254)
    return f"169.254.{1 + number // 254}.{1 + number % 254}"


def clusters_in(names: Iterable[str]) -> list[str]:
    """The clusters of labs whose bridges are among the namespaces."""
    end = f"-{FABRIC}"
    return sorted(name[len(PREFIX) : -len(end)] for name in names if name.startswith(PREFIX) and name.endswith(end))


def namespaces_of(cluster: str, names: Iterable[str]) -> list[str]:
    """
    The namespaces of a lab, its bridges last.

    `ev-a-b-c` may be host `b-c` of `a`, or host `c` of `a-b`: it is of the longest cluster that has bridges.
    """
    names = list(names)
    longer = [other for other in clusters_in(names) if other.startswith(f"{cluster}-")]
    found = [
        name
        for name in names
        if name.startswith(namespace_of(cluster, ""))
        and not name.startswith(tuple(f"{PREFIX}{one}-" for one in longer))
    ]
    return sorted(found, key=lambda name: (name == fabric_of(cluster), name))
