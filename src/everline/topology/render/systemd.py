"""One systemd unit for every program of a host: restarted always, with nothing that it does not need."""

import re
from dataclasses import dataclass, replace
from math import ceil
from typing import Final

from everline.topology.model import Host, Node, Role, SecretRef, SecretRefs, Topology
from everline.topology.render.files import RenderedFile, render_template
from everline.topology.render.launch import Copy, Launch, clickhouse_keeper, launch_of, nginx_stream
from everline.topology.render.places import Places

ENGINE_ROLES: Final = (Role.REDIS, Role.SENTINEL, Role.CLICKHOUSE, Role.KEEPER)

_KEEPERS: Final = ("everline-zookeeper.service", "everline-clickhouse-keeper.service")
_CLICKHOUSE_CAPABILITIES: Final = "CAP_IPC_LOCK CAP_NET_ADMIN CAP_SYS_NICE"
"""Marked on the program file by ClickHouse's own packages; the kernel refuses to start it where they are out of bounds.
It does not get them: NoNewPrivileges."""


_VRRP: Final = "CAP_NET_ADMIN CAP_NET_RAW CAP_SETGID"
"""
What it takes to speak VRRP and ARP, and to give an interface an address.

And to start a check with no groups: keepalived asks for that even as a plain user, and else complains each second.
"""
_HANG_UP: Final = "/bin/kill -HUP $MAINPID"
_MADE_BY_SYSTEMD: Final = ("/var/lib/", "/var/log/", "/run/")
_NEEDS_NO_QUOTES: Final = re.compile(r"[A-Za-z0-9_./:=+,@%$-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What a unit says, as systemd writes it; times in seconds."""

    name: str
    description: str
    command: str
    before: tuple[str, ...] = ()
    reload: str = ""
    """What makes it read its files anew."""
    type: str = "exec"
    after: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    restart_s: int = 2
    stop_s: int = 30
    final_exits: str = ""
    good_exits: str = ""
    open_files: int = 65_536
    credentials: tuple[str, ...] = ()
    environment_file: str = ""
    state: tuple[str, ...] = ()
    logs: tuple[str, ...] = ()
    runtime: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    capabilities: str = ""
    ambient: str = ""
    families: str = ""
    """Of addresses, besides IP and Unix."""
    calls: str = ""
    """System calls that others are refused."""
    makes_code: bool = False
    """It writes machine code at run time, or starts programs that may."""


def render_units(topology: Topology, host: Host, places: Places) -> dict[str, RenderedFile]:
    """The units of a host, by file name."""
    return {
        unit.name: RenderedFile(
            render_template("unit.service", topology, node=node, unit=unit, user=places.user)
        )
        for node in host.nodes
        for unit in _units(topology, host, node, places)
    }  # fmt: skip


def unit_names(role: Role) -> tuple[str, ...]:
    """The units that a role may run as."""
    if role == Role.KEEPER:
        return _KEEPERS
    return (f"everline-{role}.service",)


def _units(topology: Topology, host: Host, node: Node, places: Places) -> tuple[Unit, ...]:
    match node.role:
        case Role.REDIS | Role.SENTINEL:
            return (_redis(node, places),)
        case Role.CLICKHOUSE:
            return (_clickhouse(topology, host, node, places),)
        case Role.KEEPER:
            return (_zookeeper(node, places), _clickhouse_keeper(node, places))
        case Role.INGEST | Role.APP | Role.WITNESS:
            return (_everline(topology, host, node, places),)
        case Role.BALANCER:
            return _balancer(topology, host, node, places)
        case Role.HAPROXY | Role.NGINX | Role.KEEPALIVED:
            return (_door(node, places),)


def _redis(node: Node, places: Places) -> Unit:
    return replace(_unit(node, node.role, launch_of(node, places)), type="notify")


def _clickhouse(topology: Topology, host: Host, node: Node, places: Places) -> Unit:
    """
    Restarted only after its session at the keepers has ended.

    A server that is back earlier finds its own old session, and stays read-only for ten seconds more.
    """
    return replace(
        _unit(node, node.role, launch_of(node, places)),
        after=_units_beside(host, Role.KEEPER),
        restart_s=ceil(topology.timers.clickhouse_session_ms / 1000) + 1,
        stop_s=120,
        open_files=262_144,
        capabilities=_CLICKHOUSE_CAPABILITIES,
        makes_code=True,
    )


def _zookeeper(node: Node, places: Places) -> Unit:
    """143 is how Java says that SIGTERM ended it."""
    unit = _unit(node, "zookeeper", launch_of(node, places))
    return replace(unit, conflicts=(_KEEPERS[1],), good_exits="143", makes_code=True)


def _clickhouse_keeper(node: Node, places: Places) -> Unit:
    unit = _unit(node, "clickhouse-keeper", clickhouse_keeper(node, places))
    return replace(unit, conflicts=(_KEEPERS[0],), capabilities=_CLICKHOUSE_CAPABILITIES, makes_code=True)


def _everline(topology: Topology, host: Host, node: Node, places: Places) -> Unit:
    """Stopped with time to drain; a hook's command runs in the same sandbox, and may be a program of any kind."""
    low = _for_low_ports(node)
    references = _references(topology.secrets)
    return replace(
        _unit(node, node.role, launch_of(node, places)),
        after=_units_beside(host, *ENGINE_ROLES),
        stop_s=ceil(topology.ingest.drain_s) + 20,
        final_exits="2",
        credentials=tuple(
            f"{name}:{_absolute(reference.file, places)}" for name, reference in references.items() if reference.file
        ),
        environment_file=f"{places.config_root}/secrets.env" if any(one.env for one in references.values()) else "",
        capabilities=low,
        ambient=low,
        makes_code=any(hook.command for hook in topology.hooks),
    )


def _balancer(topology: Topology, host: Host, node: Node, places: Places) -> tuple[Unit, ...]:
    """Everline's own, or NGINX in its place, never both: each wants the port."""
    own, stock = _everline(topology, host, node, places), _unit(node, "nginx-stream", nginx_stream(node, places))
    return (replace(own, conflicts=(stock.name,)), _low(replace(stock, conflicts=(own.name,)), node))


def _door(node: Node, places: Places) -> Unit:
    """HAProxy, NGINX, keepalived."""
    if node.role == Role.KEEPALIVED:
        unit = _unit(node, node.role, launch_of(node, places))
        return replace(unit, capabilities=_VRRP, ambient=_VRRP, families="AF_NETLINK AF_PACKET", calls="@setuid")
    unit = _low(_unit(node, node.role, launch_of(node, places)), node)
    return replace(unit, reload=_HANG_UP) if node.role == Role.NGINX else unit


def _low(unit: Unit, node: Node) -> Unit:
    """With the right to open ports below 1024, if the node has any."""
    low = _for_low_ports(node)
    return replace(unit, capabilities=low, ambient=low)


def _for_low_ports(node: Node) -> str:
    return "CAP_NET_BIND_SERVICE" if any(listening.port < 1024 for listening in node.options.ports()) else ""


def _unit(node: Node, what: str, launch: Launch) -> Unit:
    """What every unit says of a program: systemd makes the directories below /var/lib, /var/log and /run itself."""
    return Unit(
        name=f"everline-{what}.service",
        description=f"Everline: {what} {node.name}",
        command=_line(launch.command),
        before=tuple(map(_copying, launch.copies)),
        state=_below("/var/lib/", launch.directories),
        logs=_below("/var/log/", launch.directories),
        runtime=_below("/run/", launch.directories),
        writable=tuple(one for one in launch.directories if not one.startswith(_MADE_BY_SYSTEMD)),
    )


def _below(root: str, directories: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(one.removeprefix(root) for one in directories if one.startswith(root))


def _units_beside(host: Host, *roles: Role) -> tuple[str, ...]:
    return tuple(name for node in host.nodes if node.role in roles for name in unit_names(node.role))


def _copying(copy: Copy) -> str:
    if not copy.once:
        return _line(("/usr/bin/install", "-m", "0600", copy.source, copy.target))
    script = 'test -e "$2" || install -m 0600 "$1" "$2"'
    return _line(("/bin/sh", "-c", script, "sh", copy.source, copy.target))


def _references(references: SecretRefs) -> dict[str, SecretRef]:
    named = {name: getattr(references, name) for name in SecretRefs.model_fields}
    return {name: reference for name, reference in named.items() if reference is not None}


def _absolute(file: str, places: Places) -> str:
    return file if file.startswith("/") else f"{places.config_root}/{file}"


def _line(words: tuple[str, ...]) -> str:
    """A command as systemd reads it: nothing is expanded, and quotes stand where a word needs them."""
    return " ".join(map(_word, words))


def _word(word: str) -> str:
    plain = word.replace("%", "%%").replace("$", "$$")
    if _NEEDS_NO_QUOTES.fullmatch(plain):
        return plain
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'
