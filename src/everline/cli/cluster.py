"""`everline cluster`: how a cluster does, and what happened to it."""

import asyncio
import json
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Final

import typer

from everline.cli import drill
from everline.cli.in_cluster import DEFAULT, FOUND_S, ClusterFile, visit
from everline.cli.table import print_table
from everline.cli.text import at_text
from everline.cluster.entry import Entry, Episode, episodes
from everline.cluster.member import members_of
from everline.cluster.probe import NodeReport, Standing, probe
from everline.cluster.redis_beats import RedisBeatChannel
from everline.cluster.status import ClusterView, view_cluster
from everline.cluster.store_log import StoreLog
from everline.cluster.table import Row
from everline.cluster.visit import Visit
from everline.topology.model import Topology

app = typer.Typer(help="See how a cluster does.", no_args_is_help=True)
app.add_typer(drill.app, name="drill")

MAX_ENTRIES: Final = 10_000


@app.callback()
def group() -> None:
    """See how a cluster does."""


@app.command()
def status(
    cluster: ClusterFile = DEFAULT,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Who leads, how every program answers, which nodes are heard; exit code 1 when something is down."""
    topology, reports, view = visit(cluster, _look)
    if as_json:
        print(json.dumps({**view.as_json(), "programs": [one.as_json() for one in reports]}))
    else:
        _print_view(topology, view, reports)
    if any(one.standing in {Standing.DOWN, Standing.UNREADY} for one in reports):
        raise typer.Exit(1)


@app.command()
def history(
    cluster: ClusterFile = DEFAULT,
    *,
    hours: Annotated[float, typer.Option(min=0.01, max=24 * 366, help="How far back.")] = 24,
    limit: Annotated[int, typer.Option(min=1, max=MAX_ENTRIES, help="Most entries, the latest.")] = 200,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """The failover log: what happened when, what it did to whom, and how long it took."""
    since_us = int((time.time() - timedelta(hours=hours).total_seconds()) * 1e6)

    async def read(ways: Visit) -> list[Entry]:
        return await StoreLog(ways.servers).entries(since_us, limit)

    entries = visit(cluster, read)
    if as_json:
        for entry in entries:
            print(json.dumps(entry.as_json()))
        return
    _print_entries(entries)
    _print_episodes(episodes(entries))


async def _look(ways: Visit) -> tuple[Topology, list[NodeReport], ClusterView]:
    topology = ways.topology
    reports, view = await asyncio.gather(
        probe(topology, ways.secrets, deadline_s=FOUND_S),
        view_cluster(
            topology.cluster,
            ways.keeper,
            RedisBeatChannel(ways.primary, ready_s=FOUND_S),
            members_of(topology),
            heartbeat_ms=topology.timers.heartbeat_ms,
        ),
    )
    return topology, reports, view


def _print_view(topology: Topology, view: ClusterView, reports: Sequence[NodeReport]) -> None:
    leader = view.keeper.leader
    if leader:
        since = at_text(leader.since_us / 1e6)
        print(f"leader    {leader.node} ({leader.region}), token {leader.token}, since {since} ({leader.reason})")
    else:
        print(f"leader    none{f': {view.keeper.fault}' if view.keeper.fault else ''}")
    if view.beats.fault:
        print(f"bus       {view.beats.fault}")
    for drain in view.keeper.drains:
        print(f"drained   {drain.node}, by {drain.who or 'nobody knows whom'}: {drain.reason or 'no reason given'}")
    for line in _ring(view.beats.rows):
        print(f"ring      {line}")
    heard = {row.member.node: str(row.presence) for row in view.beats.rows}
    print()
    print_table(
        ("REGION", "RACK", "NODE", "STATE", "HEARD", "SAYS"),
        [
            (node.region, node.rack, node.name, str(one.standing), heard.get(node.name, ""), _said(one))
            for node, one in zip(topology.nodes, reports, strict=True)
        ],
    )


def _ring(rows: Sequence[Row]) -> list[str]:
    """What part of all packets each ingest node gets, and from which balancers: one line if they agree."""
    seen: dict[str, list[str]] = {}
    for row in rows:
        if row.beat and row.beat.health.shares:
            shares = ", ".join(f"{name} {share:.0%}" for name, share in sorted(row.beat.health.shares.items()))
            seen.setdefault(shares, []).append(row.member.node)
    return [f"{shares} ({', '.join(balancers)})" for shares, balancers in seen.items()]


def _said(report: NodeReport) -> str:
    return "; ".join([*([report.said] if report.said else []), *report.faults])


def _print_entries(entries: Sequence[Entry]) -> None:
    if not entries:
        print("nothing happened")
        return
    print_table(
        ("AT", "WHAT", "WHO", "WHY", "TOKEN"),
        [(at_text(one.at_us / 1e6), str(one.kind), one.node, one.reason, str(one.token or "")) for one in entries],
    )


def _print_episodes(found: Sequence[Episode]) -> None:
    rows = [
        (at_text(one.began_us / 1e6), str(one.kind), one.node, *map(_span, (one.detect_s, one.elect_s, one.recover_s)))
        for one in found
    ]
    if rows:
        print()
        print_table(("BEGAN", "WHAT", "WHO", "DETECTED", "ACTED", "RECOVERED"), rows)


def _span(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.2f} s"
