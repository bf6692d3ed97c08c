"""What commands that visit a cluster have in common: which cluster, and how long they may take."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer

from everline.cluster.visit import Visit, visiting
from everline.cluster_file import load_topology, resolve_secrets
from everline.log import configure_logging

T = TypeVar("T")

FOUND_S: Final = 3.0
"""Longest wait for Redis, Keeper and ClickHouse to be found, each."""

ClusterFile = Annotated[
    Path,
    typer.Option("--cluster", metavar="CLUSTER.YAML", envvar="EVERLINE_CLUSTER", help="Which cluster."),
]
DEFAULT: Final = Path("cluster.yaml")


def visit(cluster: Path, act: Callable[[Visit], Awaitable[T]]) -> T:
    """
    What `act` gives, inside the cluster that a file describes.

    Raises:
        TopologyError: The file or a secret is faulty.
        EverlineError: What `act` raises.
    """
    configure_logging(log_format="text", level="error")
    topology = load_topology(cluster)
    secrets = resolve_secrets(topology, cluster.parent, os.environ)

    async def inside() -> T:
        async with visiting(topology, secrets) as ways:
            return await act(ways)

    return asyncio.run(inside())
