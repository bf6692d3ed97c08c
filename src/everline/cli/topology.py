"""`everline topology`: look at a cluster before anything is made of it."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from everline.cluster_file import load_topology
from everline.topology.errors import TopologyError
from everline.topology.faults import warnings_of
from everline.topology.model import AppOptions, ClickHouseOptions, Node, Topology

app = typer.Typer(help="Check a cluster before it is rendered or run.", no_args_is_help=True)

ClusterFile = Annotated[Path, typer.Argument(metavar="CLUSTER.YAML", help="The file that describes the cluster.")]

HEAD = ("REGION", "RACK", "HOST", "ADDRESS", "ROLES")


@app.callback()
def group() -> None:
    """Check a cluster before it is rendered or run."""


@app.command()
def check(cluster: ClusterFile) -> None:
    """List every fault of a cluster file with its key path and line, exit code 2; or show the cluster and warnings."""
    try:
        topology = load_topology(cluster)
    except TopologyError as error:
        for fault in error.faults:
            print(f"everline: {error.source}: {fault}", file=sys.stderr)
        raise typer.Exit(error.exit_code) from error
    print("\n".join([*table_of(topology), *vips_of(topology)]))
    warnings = warnings_of(topology)
    for warning in warnings:
        print(f"warning: {warning}")
    print(summary_of(topology, len(warnings)))


def table_of(topology: Topology) -> list[str]:
    """One line a host under a heading, columns aligned; region and rack are said once."""
    rows = [HEAD]
    before = ("", "")
    for host in topology.hosts:
        region = host.region if host.region != before[0] else ""
        rack = host.rack if (host.region, host.rack) != before else ""
        rows.append((region, rack, host.name, host.address, ", ".join(map(role_text, host.nodes))))
        before = (host.region, host.rack)
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD) - 1)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]) for row in rows
    ]


def vips_of(topology: Topology) -> list[str]:
    """One line a VIP, with the hosts that it may come to."""
    return [
        f"vip of {vip.role} in {vip.region}: {vip.address} on {' or '.join(node.host for node in vip.nodes)}"
        for vip in topology.vips
    ]


def role_text(node: Node) -> str:
    """A role with what tells it from others of its kind: `clickhouse 1/2` is shard 1, replica 2."""
    if isinstance(node.options, ClickHouseOptions):
        return f"{node.role} {node.options.shard}/{node.options.replica}"
    if isinstance(node.options, AppOptions) and node.options.backup:
        return f"{node.role} (backup)"
    return str(node.role)


def summary_of(topology: Topology, warnings: int) -> str:
    """The last line: how much there is, and that nothing is wrong with it."""
    racks = sum(len(region.racks) for region in topology.regions)
    counts = (
        (len(topology.regions), "region"), (racks, "rack"), (len(topology.hosts), "host"), (len(topology.nodes), "node")
    )  # fmt: skip
    said = ", ".join(f"{count} {noun}{'' if count == 1 else 's'}" for count, noun in counts)
    ending = f", {warnings} warning{'' if warnings == 1 else 's'}" if warnings else ""
    return f"cluster {topology.cluster}: {said}; no fault found{ending}"
