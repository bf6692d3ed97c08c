"""`everline run`: one node of a cluster in this process."""

import os
from pathlib import Path
from typing import Annotated

import typer

from everline.cluster_file import load_topology, resolve_secrets
from everline.log import configure_logging


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="run")(command)


def command(
    *,
    cluster: Annotated[Path, typer.Option(metavar="CLUSTER.YAML", help="The file that describes the cluster.")],
    node: Annotated[str, typer.Option(metavar="NAME", help="Which of its nodes this is.")],
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep everything here, not in the node's data_dir.")
    ] = None,
) -> None:
    """Run one node of a cluster: ingest, app or witness. Ctrl-C stops it in order."""
    topology = load_topology(cluster)
    secrets = resolve_secrets(topology, cluster.parent, os.environ)
    configure_logging(log_format=topology.log.format, level=topology.log.level)
    from everline.node.clustered import run  # noqa: PLC0415 - drivers take half a second to load

    run(topology, node, secrets, data=data)
