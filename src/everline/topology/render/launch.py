"""How each program of a cluster is started: the same for systemd and for a lab."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from everline.topology.model import Node, Role
from everline.topology.render.places import Places

CLUSTER_FILE: Final = "cluster.yaml"


@dataclass(frozen=True, slots=True)
class Copy:
    """A rendered file that the program wants in its data directory."""

    source: str
    target: str
    once: bool
    """True: only if the target is not there, because the program writes it anew later."""


@dataclass(frozen=True, slots=True)
class Launch:
    """
    One program of a node.

    Before each start: make `directories` (mode 0700), carry out `copies` (mode 0600), and set the umask to 0077,
    since Redis and Sentinel write their passwords into the files that they keep.
    """

    command: tuple[str, ...]
    directories: tuple[str, ...] = ()
    copies: tuple[Copy, ...] = ()


def launch_of(node: Node, places: Places) -> Launch:
    """How the program of a node is started. For a keeper it is ZooKeeper; `clickhouse_keeper` tells the other one."""
    return _WAYS[node.role](node, places)


def clickhouse_keeper(node: Node, places: Places) -> Launch:
    """A keeper as ClickHouse Keeper instead of ZooKeeper."""
    data = places.data_dir(node)
    return Launch(
        (places.programs.clickhouse_keeper, f"--config-file={places.config_dir(node)}/keeper.xml"),
        (data, f"{data}/log", f"{data}/snapshots"),
    )


def nginx_stream(node: Node, places: Places) -> Launch:
    """A balancer as NGINX instead of Everline's own."""
    return _nginx(node, places, "nginx-stream.conf", places.run_dir(node))


def _redis(node: Node, places: Places, program: str, rules: str) -> Launch:
    """
    The server owns `live.conf`, in which it writes what a failover decided; the rendered rules come after it.

    An option on the command line is read after the file, so `--include` makes the rendered rules win at each start,
    and `live.conf` keep only what they don't name: whom a server follows, which servers a Sentinel knows.
    """
    config, data = places.config_dir(node), places.data_dir(node)
    live = f"{data}/live.conf"
    return Launch(
        (program, live, "--include", f"{config}/{rules}"), (data,), (Copy(f"{config}/first.conf", live, once=True),)
    )


def _clickhouse(node: Node, places: Places) -> Launch:
    config = f"{places.config_dir(node)}/config.xml"
    directories = (places.data_dir(node), places.log_dir(node))
    return Launch((places.programs.clickhouse_server, f"--config-file={config}"), directories)


def _zookeeper(node: Node, places: Places) -> Launch:
    """Java itself, without zkServer.sh: that script leaves the choice of log and pid files to /etc/zookeeper."""
    config, data, programs = places.config_dir(node), places.data_dir(node), places.programs
    command = (
        programs.java, *places.jvm_flags, "-XX:+ExitOnOutOfMemoryError", "-Dzookeeper.jmx.log4j.disable=true",
        "-cp", f"{config}:{programs.zookeeper_jars}", "org.apache.zookeeper.server.quorum.QuorumPeerMain",
        f"{config}/zoo.cfg",
    )  # fmt: skip
    return Launch(command, (data,), (Copy(f"{config}/myid", f"{data}/myid", once=False),))


def _haproxy(node: Node, places: Places) -> Launch:
    return Launch((places.programs.haproxy, "-W", "-db", "-f", f"{places.config_dir(node)}/haproxy.cfg"))


def _keepalived(node: Node, places: Places) -> Launch:
    """VRRP only; its files of process ids are its own, as there may be another one in another namespace."""
    run = places.run_dir(node)
    command = (
        places.programs.keepalived, "--dont-fork", "--log-console", "--vrrp",
        f"--use-file={places.config_dir(node)}/keepalived.conf", f"--pid={run}/keepalived.pid",
        f"--vrrp_pid={run}/vrrp.pid",
    )  # fmt: skip
    return Launch(command, (run,))


def _nginx(node: Node, places: Places, file: str, *directories: str) -> Launch:
    """Without `-e` it would open the log file that its package has built in, before it reads any other place."""
    command = (places.programs.nginx, "-e", "stderr", "-c", f"{places.config_dir(node)}/{file}")
    return Launch(command, directories)


def _everline(node: Node, places: Places) -> Launch:
    file = f"{places.config_root}/{CLUSTER_FILE}"
    elsewhere = () if places.data_root is None else ("--data", places.data_dir(node))
    command = (places.programs.everline, "run", "--cluster", file, "--node", node.name, *elsewhere)
    return Launch(command, (places.data_dir(node),))


_WAYS: Final[Mapping[Role, Callable[[Node, Places], Launch]]] = {
    Role.BALANCER: _everline,
    Role.HAPROXY: _haproxy,
    Role.INGEST: _everline,
    Role.APP: _everline,
    Role.NGINX: lambda node, places: _nginx(node, places, "nginx.conf", places.run_dir(node), places.log_dir(node)),
    Role.REDIS: lambda node, places: _redis(node, places, places.programs.redis_server, "redis.conf"),
    Role.SENTINEL: lambda node, places: _redis(node, places, places.programs.redis_sentinel, "sentinel.conf"),
    Role.CLICKHOUSE: _clickhouse,
    Role.KEEPER: _zookeeper,
    Role.WITNESS: _everline,
    Role.KEEPALIVED: _keepalived,
}
