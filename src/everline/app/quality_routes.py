"""How media came through: the page and the API of quality over all calls."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from everline.access.roles import Area, Role
from everline.app.api import services_of
from everline.app.auth import needs
from everline.app.call_json import Json, seconds
from everline.app.problems import ProblemError
from everline.app.quality_view import (
    BANDS,
    QualityQuery,
    listed_json,
    mos_bar,
    narrowed,
    sentence,
    tiles_of,
    totals_json,
)
from everline.app.ranges import DEFAULT
from everline.app.templates import page
from everline.calls.quality import CallQuality
from everline.calls.quality_totals import QualityTotals, qualities_of, totals_of, worst_first
from everline.calls.record import CallRecord
from everline.store.reports import Reports

PAGE_CALLS: Final = 25
GROUP_ROWS: Final = 20

MAX_AT_ONCE: Final = 2
TURN_S: Final = 20.0
"""So long is waited for a turn."""

pages = APIRouter(dependencies=[needs(Role.VIEWER, Area.CALLS)])
api = APIRouter(dependencies=[needs(Role.VIEWER, Area.CALLS)])


def turns() -> asyncio.Semaphore:
    """Lets so many questions at a time hold their reports in memory; the others wait."""
    return asyncio.Semaphore(MAX_AT_ONCE)


@dataclass(frozen=True, slots=True)
class Looked:
    """
    What was found in a range.

    Attributes:
        totals: Over all calls that match.
        matching: How many calls could be listed.
        worst: Those that are, worst first.
        records: What is known of these calls, by Call-ID; nothing where no INVITE was captured.
    """

    since_us: int
    until_us: int
    reports: Reports
    totals: QualityTotals
    matching: int
    worst: Sequence[tuple[str, CallQuality]]
    records: Mapping[str, CallRecord]


@api.get("/quality")
async def quality(request: Request, query: Annotated[QualityQuery, Query()]) -> JSONResponse:
    """
    How the media of calls came through, by the RTCP that was captured in a range (the last hour unless given).

    `calls` lists the worst first: by loss, then by score, then by jitter. `totals` are over all calls that match. At
    most 20,000 reports are read, the newest; `is_cut` tells that there were more, and `reports_since` from when on all
    are there. `partial` is true while a part of the store can't be asked. Ratios are 0..1 and null when unknown;
    `mos` is an estimate (E-model, narrowband codecs only); jitter has milliseconds only where SDP tells the clock rate.
    """
    found = await _look(request, query, limit=query.limit)
    calls: list[Json] = [listed_json(call_id, one, found.records.get(call_id)) for call_id, one in found.worst]
    return JSONResponse(
        {
            "since": seconds(found.since_us),
            "until": seconds(found.until_us),
            "reports": len(found.reports.events),
            "reports_since": seconds(found.reports.since_us),
            "is_cut": found.reports.is_cut,
            "partial": found.reports.partial,
            "totals": totals_json(found.totals),
            "calls": calls,
        }
    )


@pages.get("/quality")
async def quality_page(request: Request, query: Annotated[QualityQuery, Query()]) -> Response:
    """How did calls sound, and where is it worst?"""
    limit = query.limit if "limit" in query.model_fields_set else PAGE_CALLS
    found = await _look(request, query, limit=limit)
    is_last_hour = not (query.since or query.until) and query.last.strip() in {"", DEFAULT}
    return page(
        request,
        "quality.html",
        found=found,
        query=query,
        is_last_hour=is_last_hour,
        said=sentence(found.totals, when="In the last hour" if is_last_hour else "In this range"),
        tiles=tiles_of(found.totals, query),
        bar=mos_bar(found.totals.mos),
        bands=BANDS,
        groups=(
            ("Where streams go to", "network", found.totals.networks[:GROUP_ROWS]),
            ("Who captured the reports", "agent", found.totals.agents[:GROUP_ROWS]),
        ),
    )


async def _look(request: Request, query: QualityQuery, *, limit: int) -> Looked:
    """Read the reports of the range, and the figures out of them."""
    services = services_of(request)
    since_us, until_us = query.bounds_us(services.clock())
    chooses, least_loss = query.chooses(), query.least_loss()
    async with _turn(request.app.state.quality_turns):
        reports = await services.store.reports(since_us, until_us)
        qualities = narrowed(await asyncio.to_thread(qualities_of, reports.events, reports.described), chooses)
        totals = await asyncio.to_thread(totals_of, qualities)
    matching = [(call_id, one) for call_id, one in worst_first(qualities) if _is_listed(one, least_loss)]
    worst = matching[:limit]
    records = await services.store.records([call_id for call_id, _ in worst])
    return Looked(since_us, until_us, reports, totals, len(matching), worst, {one.call_id: one for one in records})


@asynccontextmanager
async def _turn(turns: asyncio.Semaphore) -> AsyncIterator[None]:
    """
    Wait for a turn, and give it back.

    Raises:
        ProblemError: It took too long.
    """
    try:
        async with asyncio.timeout(TURN_S):
            await turns.acquire()
    except TimeoutError as error:
        raise ProblemError(503, "Too many ask this node about media quality at once.", retry_after_s=5) from error
    try:
        yield
    finally:
        turns.release()


def _is_listed(quality: CallQuality, least_loss: float) -> bool:
    return least_loss < 0 or (quality.loss_ratio is not None and quality.loss_ratio > least_loss)
