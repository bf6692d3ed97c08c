"""`everline node`: take a node of a cluster out of service, and take it back."""

import getpass
import socket
import time
from typing import Annotated

import typer

from everline.cli.in_cluster import DEFAULT, FOUND_S, ClusterFile, visit
from everline.cluster.drain import Drains
from everline.cluster.member import MEMBER_ROLES
from everline.cluster.visit import Visit
from everline.errors import EverlineError

app = typer.Typer(help="Take a node out of service, and take it back.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the node.")]


class DrainError(EverlineError):
    """The node can't be drained."""

    exit_code = 2


@app.callback()
def group() -> None:
    """Take a node out of service, and take it back."""


@app.command()
def drain(
    name: Name,
    cluster: ClusterFile = DEFAULT,
    *,
    reason: Annotated[str, typer.Option(help="Why; others see it in `everline cluster status`.")] = "",
) -> None:
    """Take a node out of service: it finishes what it has, is sent nothing new, and does not lead."""

    async def act(ways: Visit) -> bool:
        _check(ways, name)
        await ways.keeper.connected(within_s=FOUND_S)
        return await Drains(ways.keeper, ways.topology.cluster).drain(
            name, who=f"{getpass.getuser()}@{socket.gethostname()}", at_us=time.time_ns() // 1000, reason=reason
        )

    print(f"{name} is drained" if visit(cluster, act) else f"{name} was drained already")


@app.command()
def undrain(name: Name, cluster: ClusterFile = DEFAULT) -> None:
    """Take a node back."""

    async def act(ways: Visit) -> bool:
        _check(ways, name)
        await ways.keeper.connected(within_s=FOUND_S)
        return await Drains(ways.keeper, ways.topology.cluster).undrain(name)

    print(f"{name} is in service" if visit(cluster, act) else f"{name} was in service already")


def _check(ways: Visit, name: str) -> None:
    node = ways.topology.node(name)
    if node.role not in MEMBER_ROLES:
        raise DrainError(f"{name} is {node.role}: only Everline's own nodes ({', '.join(MEMBER_ROLES)}) are drained")
