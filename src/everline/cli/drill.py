"""`everline cluster drill`: say that something is broken on purpose, so that the failover log marks what follows."""

import getpass
import socket
import time
from typing import Annotated

import typer

from everline.cli.in_cluster import DEFAULT, ClusterFile, visit
from everline.cluster.entry import Kind, make_entry
from everline.cluster.store_log import StoreLog
from everline.cluster.visit import Visit

app = typer.Typer(help="Mark what fails meanwhile as a drill.", no_args_is_help=True)

MAX_NAME = 64

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the drill.")]
Reason = Annotated[str, typer.Option(help="What is tried; others see it.")]


@app.callback()
def group() -> None:
    """Mark what fails meanwhile as a drill."""


@app.command()
def start(name: Name, cluster: ClusterFile = DEFAULT, *, reason: Reason = "") -> None:
    """Whatever fails from now on is marked as a drill, for four hours at most."""
    _write(cluster, Kind.DRILL_STARTED, name, reason)
    print(f"drill {name} is held: end it with everline cluster drill end {name}")


@app.command()
def end(name: Name, cluster: ClusterFile = DEFAULT, *, reason: Reason = "") -> None:
    """Whatever fails from now on is no drill."""
    _write(cluster, Kind.DRILL_ENDED, name, reason)
    print(f"drill {name} is over")


def _write(cluster: ClusterFile, kind: Kind, name: str, reason: str) -> None:
    who = f"{getpass.getuser()}@{socket.gethostname()}"
    entry = make_entry(kind, time.time_ns() // 1000, node=name[:MAX_NAME], by=who, reason=reason)

    async def act(ways: Visit) -> None:
        await StoreLog(ways.servers).insert_entries([entry])

    visit(cluster, act)
