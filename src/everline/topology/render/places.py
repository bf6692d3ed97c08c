"""Where things are on a host: what differs between a host of its own and a lab that has all hosts on one machine."""

from dataclasses import dataclass
from typing import Final

from everline.topology.model import Node

JVM_FLAGS: Final = ("-Xms256m", "-Xmx512m", "-XX:+UseSerialGC")
"""ZooKeeper keeps a few thousand small nodes for Everline; a collector with threads of its own would be a waste."""


@dataclass(frozen=True, slots=True)
class Programs:
    """Paths of what is started, as Debian has them."""

    everline: str = "/usr/local/bin/everline"
    redis_server: str = "/usr/bin/redis-server"
    redis_sentinel: str = "/usr/bin/redis-sentinel"
    clickhouse_server: str = "/usr/sbin/clickhouse-server"
    clickhouse_keeper: str = "/usr/bin/clickhouse-keeper"
    java: str = "/usr/bin/java"
    zookeeper_jars: str = "/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-simple.jar"
    nginx: str = "/usr/sbin/nginx"
    nginx_modules: str = "/usr/lib/nginx/modules"
    haproxy: str = "/usr/sbin/haproxy"
    keepalived: str = "/usr/sbin/keepalived"


@dataclass(frozen=True, slots=True)
class Places:
    """Directories, programs and what a lab may do otherwise. The defaults are those of production."""

    config_root: str = "/etc/everline"
    """A node's files are in `<config_root>/<node>/`, cluster.yaml beside them."""
    data_root: str | None = None
    """None: each node has its own `data_dir`. A directory: `<data_root>/<node>/` instead of it."""
    log_root: str = "/var/log/everline"
    """Of ClickHouse, and of NGINX's requests; all others write to stdout or stderr."""
    run_root: str = "/run/everline"
    """Where programs keep what is of no use after their end: process ids, bodies of requests on their way."""
    user: str = "everline"
    """Whom systemd starts the programs as."""
    interface: str | None = None
    """None: each host has its own. A name: that of every host's, where VIPs come to."""
    programs: Programs = Programs()
    jvm_flags: tuple[str, ...] = JVM_FLAGS
    power_safe: bool = True
    """False is for labs: ZooKeeper does not wait for its disk, and ClickHouse removes merged parts at once."""
    trusted_networks: tuple[str, ...] = ()
    """Addresses or networks besides the cluster's hosts from which ClickHouse lets its user in."""

    def config_dir(self, node: Node) -> str:
        """Where the node's rendered files are."""
        return f"{self.config_root}/{node.name}"

    def data_dir(self, node: Node) -> str:
        """
        What the node keeps.

        Raises:
            ValueError: Its role keeps nothing.
        """
        own = getattr(node.options, "data_dir", None)
        if own is None:
            raise ValueError(f"{node.name}: the role {node.role} keeps nothing")
        return f"{self.data_root}/{node.name}" if self.data_root is not None else str(own)

    def run_dir(self, node: Node) -> str:
        """What the node needs while it runs."""
        return f"{self.run_root}/{node.name}"

    def log_dir(self, node: Node) -> str:
        """Where the node writes its log."""
        return f"{self.log_root}/{node.name}"
