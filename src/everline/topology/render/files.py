"""One rendered file, and the templates that files are made from."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from everline.errors import EverlineError
from everline.topology.model import Node, Topology

PLAIN: Final = 0o644
SECRET: Final = 0o600


class RenderError(EverlineError):
    """What was asked for can't be made from the cluster."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class RenderedFile:
    """The text of a file, and who may read it: mode 0600 when it holds a secret or its hash, else 0644."""

    text: str
    mode: int = PLAIN


def sha256_hex(secret: str) -> str:
    """What Redis and ClickHouse keep of a password."""
    return sha256(secret.encode()).hexdigest()


def bracketed(address: str) -> str:
    """An address as it stands before `:port`."""
    return f"[{address}]" if ":" in address else address


def listen_at(topology: Topology, node: Node) -> str:
    """
    Where a program listens, as it stands before `:port`: at its own address, or at all if a VIP may come.

    An address that is on no interface yet can't be listened at, and no program would notice when it comes.
    """
    if topology.vip_of(node) is None:
        return bracketed(node.address)
    return "[::]" if ":" in node.address else "0.0.0.0"  # noqa: S104 - the VIP is one of them, sometimes


def own_source(node: Node, others: Iterable[Node]) -> str:
    """
    The address from which a node connects to others, as a VIP would do as well for the kernel; they know it by this.

    Empty if some have an address of the other family, which can't be reached from it.
    """
    is_ipv6 = ":" in node.address
    return node.address if all((":" in other.address) == is_ipv6 for other in others) else ""


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("everline.topology.render"),
        autoescape=select_autoescape(enabled_extensions=("xml.j2",), default_for_string=False, default=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["sha256_hex"] = sha256_hex
    made.filters["bracketed"] = bracketed
    return made


_TEMPLATES: Final = _environment()


def render_template(name: str, topology: Topology, **facts: object) -> str:
    """The text that `templates/<name>.j2` makes of the facts; a fact that it names and that is missing is an error."""
    header = f"rendered from {topology.cluster} — change cluster.yaml, not this file"
    return _TEMPLATES.get_template(f"{name}.j2").render(facts, topology=topology, header=header)
