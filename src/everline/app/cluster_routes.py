"""The cluster and what happened to it: pages, and the API behind them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Final

from fastapi import APIRouter, Form, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from everline.access.roles import Area, Role
from everline.app.api import attachment, services_of
from everline.app.auth import caller_of, needs
from everline.app.cluster_view import Sighting, cluster_map, facts_of, map_json, pill_of
from everline.app.failover_query import MAX_ENTRIES, FailoverQuery, entries_csv, entries_json, entries_jsonl
from everline.app.failover_view import BAR_WIDTH, episode_json, told
from everline.app.loss_view import aftermath, aftermath_json
from everline.app.notices import MOST_TOLD
from everline.app.problems import ProblemError
from everline.app.services import ClusterSight, desk_of
from everline.app.templates import page
from everline.cluster.beat import Activity
from everline.cluster.entry import Entry, Kind, drill_spans, episodes
from everline.cluster.keeper import KeeperError
from everline.cluster.member import MEMBER_ROLES
from everline.topology.errors import TopologyError
from everline.topology.loss import Loss, LossKind
from everline.topology.model import Node
from everline.topology.model import Role as NodeRole

DAY_H: Final = 24.0
KNOWN: Final = 3 * MOST_TOLD
"""So many entries a page knows: more than its stream tells at once."""
WILL: Final[Mapping[NodeRole, str]] = {
    NodeRole.INGEST: "Balancers send its packets to others at once; it stores what it has, and goes on to answer.",
    NodeRole.BALANCER: "Its VIP goes to the other balancer; it passes on what still comes.",
    NodeRole.APP: "NGINX sends requests to the others, open pages go on there; if it leads, another one leads.",
    NodeRole.WITNESS: "It does not lead. Its vote for quorums stays: that is of Keeper and Sentinel beside it.",
}
"""What a drain does, before it is done."""

Reason = Annotated[str, Form(max_length=256, description="Why; others see it.")]
PartName = Annotated[str, Query(max_length=200, description="Name of the part that is thought away.")]
IfDies = Annotated[str, Query(alias="if", max_length=200, description="kind:name of a part that is thought away.")]

pages = APIRouter(dependencies=[needs(Role.VIEWER, Area.CLUSTER)])
api = APIRouter(dependencies=[needs(Role.VIEWER, Area.CLUSTER)])
TO_ACT: Final = [needs(Role.OPERATOR, Area.CLUSTER)]


def sight_of(request: Request) -> ClusterSight:
    """
    What this node sees of its cluster.

    Raises:
        ProblemError: It is alone.
    """
    sight = services_of(request).cluster
    if sight is None:
        step = "Describe a cluster in cluster.yaml, and start nodes by `everline run`."
        raise ProblemError(404, "This node runs alone: there is no cluster to look at.", next_step=step)
    return sight


@pages.get("/cluster")
async def cluster_page(request: Request, if_dies: IfDies = "") -> Response:
    """Is it well, what runs where, and what would stop if a part of it died?"""
    seen = await sight_of(request).look()
    with _unknown_part():
        told = aftermath(seen, Loss.parse(if_dies)) if if_dies else None
    return page(request, "cluster.html", seen=seen, map=cluster_map(seen), told=told)


@pages.get("/failovers")
async def failovers_page(request: Request, query: Annotated[FailoverQuery, Query()]) -> Response:
    """What failed, and did it heal?"""
    log = await _log(request, query)
    now_us = int(services_of(request).clock() * 1e6)
    return page(
        request, "failovers.html", query=query, kinds=list(Kind), bar_width=BAR_WIDTH,
        episodes=told(query.episodes(episodes(log)), now_us=now_us), entries=query.entries(log)[::-1],
        known=[one.entry_id for one in log[-KNOWN:]],
    )  # fmt: skip


@pages.get("/nodes/{name}")
async def node_page(request: Request, name: str) -> Response:
    """What one node does, and the button that takes it out of service."""
    node = _node(request, name)
    sight = sight_of(request)
    seen = await sight.look()
    entries = [one for one in await _entries(request, DAY_H, MAX_ENTRIES) if one.node == name]
    return page(
        request, "node.html", seen=seen, name=name, pill=pill_of(seen, node), facts=facts_of(seen, node),
        entries=entries[::-1], will=WILL[node.role], is_drained=_is_drained(seen, name),
    )  # fmt: skip


@pages.post("/nodes/{name}/drain", dependencies=TO_ACT)
async def drain_by_page(request: Request, name: str, reason: Reason = "") -> Response:
    """Take a node out of service, and show it."""
    await _drain(request, name, reason)
    return RedirectResponse(f"/nodes/{name}", 303)


@pages.post("/nodes/{name}/undrain", dependencies=TO_ACT)
async def undrain_by_page(request: Request, name: str) -> Response:
    """Take it back, and show it."""
    await _undrain(request, name)
    return RedirectResponse(f"/nodes/{name}", 303)


@api.post("/nodes/{name}/drain", dependencies=TO_ACT)
async def drain(request: Request, name: str, reason: Reason = "") -> JSONResponse:
    """Take a node out of service: it finishes what it has, is sent nothing new, and does not lead. Again: no change."""
    await _drain(request, name, reason)
    return JSONResponse({"node": name, "drained": True})


@api.post("/nodes/{name}/undrain", dependencies=TO_ACT)
async def undrain(request: Request, name: str) -> JSONResponse:
    """Take it back. Again: no change."""
    await _undrain(request, name)
    return JSONResponse({"node": name, "drained": False})


@api.get("/cluster")
async def cluster(request: Request) -> JSONResponse:
    """Every program as it answers this node now, who leads, and what follows from what is not well."""
    return JSONResponse(map_json(await sight_of(request).look()))


@api.get("/cluster/if")
async def cluster_if(
    request: Request, host: PartName = "", rack: PartName = "", region: PartName = "", node: PartName = ""
) -> JSONResponse:
    """What would stop if a host, a rack, a region or one program died now, and what would go on."""
    named = {LossKind.HOST: host, LossKind.RACK: rack, LossKind.REGION: region, LossKind.NODE: node}
    losses = [Loss(kind, name) for kind, name in named.items() if name]
    if len(losses) != 1:
        step = "Give exactly one of host, rack, region and node, such as ?host=NAME; /api/v1/cluster has their names."
        raise ProblemError(400, f"{len(losses)} parts of the cluster are named.", next_step=step)
    seen = await sight_of(request).look()
    with _unknown_part():
        return JSONResponse(aftermath_json(seen, aftermath(seen, losses[0])))


@api.get("/failovers")
async def failovers(request: Request, query: Annotated[FailoverQuery, Query()]) -> JSONResponse:
    """The failover log of some hours, oldest first: its entries, and the episodes that they tell."""
    log = await _log(request, query)
    return JSONResponse(
        {
            "episodes": [episode_json(one) for one in query.episodes(episodes(log))],
            "entries": entries_json(query.entries(log), drill_spans(log)),
        }
    )


@api.get("/failovers.csv")
async def failovers_csv(request: Request, query: Annotated[FailoverQuery, Query()]) -> Response:
    """The entries that match, as CSV."""
    log = await _log(request, query)
    text = entries_csv(query.entries(log), drill_spans(log))
    return Response(text, media_type="text/csv; charset=utf-8", headers=attachment("failovers.csv"))


@api.get("/failovers.jsonl")
async def failovers_jsonl(request: Request, query: Annotated[FailoverQuery, Query()]) -> Response:
    """The entries that match, as JSON lines."""
    log = await _log(request, query)
    text = entries_jsonl(query.entries(log), drill_spans(log))
    return Response(text, media_type="application/jsonl", headers=attachment("failovers.jsonl"))


def _node(request: Request, name: str) -> Node:
    """
    A node that can be drained.

    Raises:
        ProblemError: There is none of that name, or it is no process of Everline.
    """
    topology = sight_of(request).topology
    node = next((one for one in topology.nodes if one.name == name), None)
    if node is None:
        raise ProblemError(404, f"No node has the name {name[:80]!r}.", next_step="See /cluster for their names.")
    if node.role not in MEMBER_ROLES:
        step = f"Only Everline's own nodes are drained: {', '.join(MEMBER_ROLES)}."
        raise ProblemError(409, f"{name} is {node.role}.", next_step=step)
    return node


async def _drain(request: Request, name: str, reason: str) -> None:
    node = _node(request, name)
    caller = caller_of(request)
    who = f"{caller.actor.name} at {caller.client}, through {services_of(request).node}"
    await desk_of(request).note_drain(caller, node.name, drained=True, reason=reason)
    with _in_our_words():
        await sight_of(request).drain(node.name, who=who, reason=reason)


async def _undrain(request: Request, name: str) -> None:
    node = _node(request, name)
    await desk_of(request).note_drain(caller_of(request), node.name, drained=False)
    with _in_our_words():
        await sight_of(request).undrain(node.name)


@contextmanager
def _unknown_part() -> Iterator[None]:
    """
    A part that the cluster has not, as an answer.

    Raises:
        ProblemError: 404.
    """
    try:
        yield
    except TopologyError as fault:
        said = "; ".join(one.problem for one in fault.faults)
        raise ProblemError(404, f"{said}.", next_step="Begin at /cluster: each part has its link there.") from fault


@contextmanager
def _in_our_words() -> Iterator[None]:
    """
    What Keeper can't do now, as an answer.

    Raises:
        ProblemError: 503.
    """
    try:
        yield
    except KeeperError as fault:
        step = "Look at /cluster whether it was done, and try again once Keeper has a majority."
        raise ProblemError(503, str(fault), next_step=step, retry_after_s=5) from fault


def _is_drained(seen: Sighting, name: str) -> bool:
    row = seen.rows.get(name)
    return bool(row and row.beat and row.beat.activity is Activity.DRAINED)


async def _log(request: Request, query: FailoverQuery) -> list[Entry]:
    query.check()
    return await _entries(request, query.hours, query.limit)


async def _entries(request: Request, hours: float, limit: int) -> list[Entry]:
    since_us = int((services_of(request).clock() - hours * 3600) * 1e6)
    return await sight_of(request).entries(since_us, limit)
