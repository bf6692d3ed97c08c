"""The HTTP API under /api/v1."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Header, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from everline.access.roles import Area, Need, Role
from everline.app import export
from everline.app.auth import Requires, actor_of, admitted, needs
from everline.app.call_json import (
    Json,
    call_json,
    ladder_json,
    message_json,
    not_a_call_json,
    seconds,
)
from everline.app.events import StreamSlots, event_stream, topics_of
from everline.app.figures import figures_json
from everline.app.masked import MaskedBus, MaskedStore
from everline.app.notices import Topic, node_json
from everline.app.problems import ProblemError
from everline.app.quality_view import quality_json
from everline.app.query import MAX_PAGE, CallQuery, FilterQuery, encode_page_key
from everline.app.ranges import Range
from everline.app.render_ladder import ladder_document, ladder_text
from everline.app.services import Services, raw_services_of
from everline.calls.agreed import described_by
from everline.calls.event import Event
from everline.calls.ladder import ladder_of
from everline.calls.quality import CallQuality, quality_of
from everline.wire.packet import CapturedPacket
from everline.wire.pcap import write_pcap

NOT_FOUND_STEP = "Check the Call-ID (it is case-sensitive), or search at /calls."

router = APIRouter(dependencies=[needs(Role.VIEWER, Area.CALLS)])


def services_of(request: Request) -> Services:
    """What `create_app` was given, as its caller may see it: numbers are masked for those who may not see them."""
    services = raw_services_of(request)
    return services if actor_of(request).sees_numbers else as_masked(services)


def as_masked(services: Services) -> Services:
    """The same without numbers."""
    return replace(services, store=MaskedStore(services.store), bus=MaskedBus(services.bus))


async def known_messages(services: Services, call_id: str) -> list[Event]:
    """
    The messages of a Call-ID.

    Raises:
        ProblemError: There are none.
    """
    events = await services.store.messages(call_id)
    if not events:
        raise ProblemError(404, f"No message with Call-ID {call_id[:200]!r} is known.", next_step=NOT_FOUND_STEP)
    return events


async def quality_in_thread(events: list[Event]) -> CallQuality | None:
    """The media quality of a call, read beside the event loop: a call may have thousands of reports."""
    return await asyncio.to_thread(lambda: quality_of(events, described_by(events)))


@router.get("/calls")
async def calls(request: Request, query: Annotated[CallQuery, Query()]) -> JSONResponse:
    """
    Calls that match every filter given, newest first; `next` is the `after` of the page behind.

    `partial` is true while a part of the store can't be asked: calls may be missing.
    """
    services = services_of(request)
    wanted = query.call_filter(services.clock())
    found = await services.store.search(wanted, limit=query.limit, after=query.page_key())
    return JSONResponse(
        {
            "calls": [call_json(one) for one in found.records],
            "next": encode_page_key(found.next),
            "partial": found.partial,
        }
    )


@router.get("/calls.csv")
async def calls_csv(request: Request, query: Annotated[FilterQuery, Query()]) -> StreamingResponse:
    """Every call that matches, as CSV."""
    services = services_of(request)
    rows = export.csv_export(services.store, query.call_filter(services.clock()))
    return StreamingResponse(rows, media_type="text/csv; charset=utf-8", headers=attachment("calls.csv"))


@router.get("/calls.jsonl")
async def calls_jsonl(request: Request, query: Annotated[FilterQuery, Query()]) -> StreamingResponse:
    """Every call that matches, as JSON lines."""
    services = services_of(request)
    rows = export.jsonl_export(services.store, query.call_filter(services.clock()))
    return StreamingResponse(rows, media_type="application/jsonl", headers=attachment("calls.jsonl"))


@router.get("/calls/{call_id:path}")
async def call(request: Request, call_id: str) -> JSONResponse:
    """
    One call with its ladder, the nodes that saw it and the quality of its media.

    For a Call-ID without an INVITE `state` is null, for one without RTCP `quality` is.
    """
    services = services_of(request)
    events, record = await asyncio.gather(known_messages(services, call_id), services.store.call(call_id))
    answer: dict[str, Json] = call_json(record) if record else not_a_call_json(call_id, events)
    answer["ladder"] = ladder_json(ladder_of(events))
    answer["nodes"] = [*sorted({one.node for one in events if one.node})]
    answer["quality"] = quality_json(await quality_in_thread(events))
    return JSONResponse(answer)


@router.get("/messages/{call_id:path}")
async def messages(request: Request, call_id: str) -> JSONResponse:
    """The messages of a Call-ID by capture time."""
    events = await known_messages(services_of(request), call_id)
    return JSONResponse([message_json(one) for one in events])


@router.get("/ladder/{call_id:path}")
async def ladder(request: Request, call_id: str, format: str = "text") -> Response:  # noqa: A002 - query parameter
    """The ladder to take along: `format=text` or `format=svg`."""
    drawn = ladder_of(await known_messages(services_of(request), call_id))
    if format == "text":
        return PlainTextResponse(ladder_text(drawn))
    if format != "svg":
        raise ProblemError(400, f"format={format[:40]!r} is unknown", next_step="Give text or svg.")
    return Response(ladder_document(drawn), media_type="image/svg+xml", headers=attachment(f"{call_id}.svg"))


@router.get("/pcap/{call_id:path}", dependencies=[needs(Role.OPERATOR, Area.CALLS)])
async def pcap(request: Request, call_id: str) -> StreamingResponse:
    """The messages of a Call-ID as a capture file."""
    events = await known_messages(services_of(request), call_id)
    pieces = write_pcap(_packets(events))
    kind = "application/vnd.tcpdump.pcap"
    return StreamingResponse(pieces, media_type=kind, headers=attachment(f"{call_id}.pcap"))


@router.get("/live")
async def live(request: Request, limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100) -> JSONResponse:
    """
    Calls in progress, newest first, the stream position from which `events` goes on, and the time here.

    By `now`, epoch seconds, durations are right whatever the reader's clock says.
    """
    bus = services_of(request).bus
    position = await bus.position()  # Before the calls: an event told twice does no harm, a lost one would.
    calls = [call_json(one) for one in await bus.live(limit)]
    return JSONResponse({"calls": calls, "position": str(position), "now": services_of(request).clock()})


@router.get("/kpis")
async def kpis(request: Request, span: Annotated[Range, Query()]) -> JSONResponse:
    """The figures of the calls that began in a range; the last hour unless given."""
    services = services_of(request)
    since_us, until_us = span.bounds_us(services.clock())
    figures = await services.store.kpis(since_us, until_us)
    return JSONResponse({"since": seconds(since_us), "until": seconds(until_us), **figures_json(figures)})


@router.get("/series")
async def series(request: Request, span: Annotated[Range, Query()]) -> JSONResponse:
    """The same figures step by step; at most 2,000 steps."""
    services = services_of(request)
    since_us, until_us = span.bounds_us(services.clock())
    step_s = span.step_of(since_us, until_us)
    buckets = await services.store.series(since_us, until_us, step_s)
    shape: dict[str, Any] = {"since": seconds(since_us), "until": seconds(until_us), "step_s": step_s}
    return JSONResponse(shape | {"buckets": [figures_json(one) for one in buckets]})


@router.get("/events")
async def events(
    request: Request,
    last_event_id: Annotated[str, Header(max_length=200)] = "",
    since: Annotated[str, Query(max_length=200, description="Like Last-Event-ID, for a first connection.")] = "",
    topics: Annotated[str, Query(max_length=100, description="Some of calls, strip, failovers.")] = Topic.CALLS,
) -> StreamingResponse:
    """
    Server-sent events: `calls`, live transitions; `strip`, what `/node` says; `failovers`, the latest of that log.

    `hello` names the node, `alive` comes twice a second, `unsure` while live state can't be asked. Only transitions
    have ids: `reset` says that some were missed and all must be loaded again. The others are told at once, and when
    they change.
    """
    slots: StreamSlots = request.app.state.streams
    if slots.is_full:
        raise ProblemError(503, "Too many event streams are open on this node.", retry_after_s=5)
    services = services_of(request)
    wanted = await _topics_for(request, services, topics)
    stream = slots.held(
        event_stream(
            services.bus, last_event_id or since, node=services.node, topics=wanted,
            notices=request.app.state.notices, closing=services.closing,
        ),
        lambda: admitted(request, services.gate) is not None,
    )  # fmt: skip
    # X-Accel-Buffering: NGINX would hold events back otherwise.
    return StreamingResponse(stream, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


async def _topics_for(request: Request, services: Services, text: str) -> frozenset[Topic]:
    """
    The topics that a list names, all of which its reader may have.

    Raises:
        ProblemError: 400, 403 or 404.
    """
    wanted = topics_of(text)
    if Topic.FAILOVERS in wanted:
        await Requires(Need(Role.VIEWER, Area.CLUSTER))(request)
        if services.cluster is None:
            raise ProblemError(404, "This node runs alone: it has no failover log.", next_step="Leave failovers out.")
    return wanted


@router.get("/node")
async def node(request: Request) -> JSONResponse:
    """This node: its version, its packet ledger, why it is not ready, and the line of the status strip of a cluster."""
    return JSONResponse(node_json(services_of(request)))


def _packets(events: list[Event]) -> Iterator[CapturedPacket]:
    for one in events:
        if one.payload and one.src_ip and one.dst_ip:
            ends = (one.src_ip, one.src_port, one.dst_ip, one.dst_port)
            yield CapturedPacket(one.captured_us, one.ip_proto, *ends, one.payload)


def attachment(name: str) -> dict[str, str]:
    """A file name made safe for a header and for any file system (RFC 6266, RFC 8187)."""
    plain = "".join(char if char.isascii() and (char.isalnum() or char in "._-") else "_" for char in name[-120:])
    return {"Content-Disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(plain)}"}
