"""The pages about calls: those in progress, those that match, and one of them."""

import ipaddress
from asyncio import gather, to_thread
from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from everline.access.roles import Area, Role
from everline.app.api import known_messages, quality_in_thread, services_of
from everline.app.auth import caller_of, needs
from everline.app.quality_view import told_streams
from everline.app.query import CallQuery, encode_page_key
from everline.app.render_ladder import first_rows, ladder_head_svg, ladder_svg, ladder_text, notes
from everline.app.render_message import message_text
from everline.app.revealing import give_reveal, is_revealed
from everline.app.services import Services, desk_of, raw_services_of
from everline.app.templates import call_path, page
from everline.app.words import headline
from everline.calls.ladder import ladder_of
from everline.calls.record import Outcome, State

LIVE_ROWS: Final = 200
CALL_ROWS: Final = 300
"""Messages drawn on a call's page unless all are asked for."""
ALL_ROWS: Final = 5_000
PAGE_ROWS: Final = 50

Reason = Annotated[str, Form(min_length=3, max_length=256, description="Why; it is written down.")]

router = APIRouter(dependencies=[needs(Role.VIEWER, Area.CALLS)])


@router.get("/live")
async def live(request: Request) -> Response:
    """The calls in progress."""
    bus = services_of(request).bus
    position = await bus.position()  # Before the calls: an event told twice does no harm, a lost one would.
    return page(request, "live.html", calls=await bus.live(LIVE_ROWS), limit=LIVE_ROWS, position=position)


@router.get("/calls")
async def calls(request: Request, query: Annotated[CallQuery, Query()]) -> Response:
    """Search for calls; the filters are the address of the page."""
    limit = query.limit if "limit" in query.model_fields_set else PAGE_ROWS
    services = services_of(request)
    wanted = query.call_filter(services.clock())
    found = await services.store.search(wanted, limit=limit, after=query.page_key())
    chosen = query.chosen()
    next_query = urlencode({**chosen, "limit": limit, "after": encode_page_key(found.next)}) if found.next else ""
    return page(
        request,
        "calls.html",
        calls=found.records,
        query=query,
        chips=query.chips(),
        filters=urlencode(chosen),
        next_query=next_query,
        states=list(State),
        results=list(Outcome),
    )


@router.get("/calls/{call_id:path}")
async def call(request: Request, call_id: str, rows: str = "") -> Response:
    """What happened on one call."""
    services = raw_services_of(request) if is_revealed(request, call_id) else services_of(request)
    events, record = await gather(known_messages(services, call_id), services.store.call(call_id))
    ladder = ladder_of(events)
    quality = await quality_in_thread(events)

    def drawn() -> Response:
        first = first_rows(ladder, ALL_ROWS if rows == "all" else CALL_ROWS)
        return page(
            request,
            "call.html",
            call_id=call_id,
            record=record,
            headline=headline(record) if record else "These messages belong to no call: no INVITE was seen.",
            ladder=ladder,
            rows=rows,
            most=ALL_ROWS,
            shown=[(row, notes(row), message_text(row.event.payload)) for row in first.rows],
            head_svg=ladder_head_svg(first),
            body_svg=ladder_svg(first),
            text=ladder_text(first),
            nodes=sorted({one.node for one in events if one.node}),
            events=events,
            is_masked=not is_revealed(request, call_id),
            quality=quality,
            streams=told_streams(quality, record),
        )

    return await to_thread(drawn)  # Thousands of messages take a second: streams of events must not fall silent.


@router.post("/reveal/{call_id:path}")
async def reveal(request: Request, call_id: str, reason: Reason) -> Response:
    """Show the numbers of a call for a while. Who asked, and why, is in the audit log first."""
    await known_messages(services_of(request), call_id)
    await desk_of(request).reveal(caller_of(request), call_id, reason)
    response = RedirectResponse(call_path(call_id), 303)
    give_reveal(request, response, call_id)
    return response


@router.get("/search")
async def search(request: Request, q: Annotated[str, Query(max_length=512)] = "") -> Response:
    """Guess what was meant, and show it as a filter that can be taken away."""
    return RedirectResponse(await _understood(services_of(request), q.strip()), 303)


async def _understood(services: Services, text: str) -> str:
    """The page that answers a search: a status, an address, a Call-ID or a number, in this order."""
    if not text:
        return "/calls"
    if text.isascii() and text.isdigit() and len(text) == 3 and 100 <= int(text) <= 699:
        return f"/calls?{urlencode({'status': text})}"
    try:
        return f"/calls?{urlencode({'ip': ipaddress.ip_address(text.strip('[]'))})}"
    except ValueError:
        pass
    if not text.lstrip("+").isdigit() and await services.store.messages(text):
        return call_path(text)
    number = text.removeprefix("sips:").removeprefix("sip:").partition("@")[0]
    return f"/calls?{urlencode({'number': number})}"
