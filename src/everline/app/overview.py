"""The first page: how are we doing, what fails, was anything lost?"""

import asyncio
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from everline.access.roles import Area, Need, Role
from everline.app.api import services_of
from everline.app.auth import actor_of, needs
from everline.app.course import course_of, top_codes
from everline.app.failover_view import Told, told
from everline.app.figures import Basis, figures_of
from everline.app.masked import MaskedStore
from everline.app.ranges import DAY_US, Range, day_before
from everline.app.services import CallStore, ClusterSight
from everline.app.templates import page
from everline.bus.errors import BusError
from everline.bus.live import LiveBus
from everline.calls.kpi import Kpis
from everline.cluster.entry import episodes
from everline.errors import EverlineError

TOP_TARGETS: Final = 6
LOG_DAYS: Final = 30
LOG_ENTRIES: Final = 200
_SEES_CLUSTER: Final = Need(Role.VIEWER, Area.CLUSTER)

router = APIRouter(dependencies=[needs(Role.VIEWER, Area.CALLS)])


@dataclass(frozen=True, slots=True)
class LastFailover:
    """
    What failed last, and what it did to calls.

    Attributes:
        episode: None if nothing failed, or `fault` says why nobody knows.
        meanwhile: The figures of the calls that began before it was over; None while it is not.
    """

    episode: Told | None = None
    meanwhile: Kpis | None = None
    fault: str = ""


@router.get("/")
async def overview(request: Request, span: Annotated[Range, Query()]) -> Response:
    """How are we doing: the key figures, what fails, and whether anything was lost."""
    services = services_of(request)
    store = services.store
    cluster = services.cluster if actor_of(request).meets(_SEES_CLUSTER) else None
    since_us, until_us = span.bounds_us(services.clock())
    step_s = span.step_of(since_us, until_us)
    kpis, before, series, targets, in_progress, failover = await asyncio.gather(
        store.kpis(since_us, until_us),
        _day_before(store, since_us, until_us),
        store.series(since_us, until_us, step_s),
        store.top_failures(since_us, until_us, limit=TOP_TARGETS),
        _in_progress(services.bus),
        _last_failover(cluster, store, services.clock()),
    )
    figures = Basis(kpis, series, before, (until_us - since_us) / 1e6)
    return page(
        request, "overview.html", figures=figures_of(figures, concurrent=in_progress), kpis=kpis,
        course=course_of(series, until_us=until_us, step_s=step_s), codes=top_codes(kpis), targets=targets,
        failover=failover, are_masked=isinstance(store, MaskedStore), since_us=since_us, until_us=until_us,
        is_until_now=not span.until,
    )  # fmt: skip


async def _day_before(store: CallStore, since_us: int, until_us: int) -> Kpis | None:
    """What a range is compared with; None if it is with nothing."""
    ends = day_before(since_us, until_us)
    return await store.kpis(*ends) if ends else None


async def _in_progress(bus: LiveBus) -> int | None:
    """How many calls are in progress; None while the bus cannot be asked, since the store's figures are there."""
    try:
        return await bus.in_progress()
    except BusError:
        return None


async def _last_failover(sight: ClusterSight | None, store: CallStore, now: float) -> LastFailover | None:
    """The latest episode of the failover log; None without a cluster."""
    if sight is None:
        return None
    now_us = round(now * 1e6)
    try:
        entries = await sight.entries(now_us - LOG_DAYS * DAY_US, LOG_ENTRIES)
    except EverlineError as fault:
        return LastFailover(fault=str(fault))
    last = next(iter(told(episodes(entries), now_us=now_us)), None)
    if last is None or last.over_us is None or last.over_us <= last.began_us:
        return LastFailover(last)
    return LastFailover(last, await store.kpis(last.began_us, last.over_us))
