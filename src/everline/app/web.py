"""The web application: routes, and what every answer passes on its way."""

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.staticfiles import StaticFiles

from everline import __version__
from everline.access.errors import AccessError
from everline.app import (
    access_api,
    admin_pages,
    api,
    cluster_routes,
    login,
    oidc_login,
    overview,
    pages,
    quality_routes,
)
from everline.app.access_problems import on_access_error
from everline.app.auth import RequireAuth, check_needs
from everline.app.events import StreamSlots
from everline.app.notices import Notices
from everline.app.problems import (
    ProblemError,
    on_bus_error,
    on_http_error,
    on_invalid,
    on_problem,
    on_store_error,
    on_unexpected,
)
from everline.app.request_rules import LimitBody, LimitHead, RequestIds, SecureHeaders
from everline.app.services import Services
from everline.app.vitals import vital_routes
from everline.bus.errors import BusError
from everline.store.errors import StoreError


def create_app(services: Services) -> FastAPI:
    """
    The whole application, ready for an ASGI server.

    Raises:
        ValueError: A route does not say what it needs.
    """
    app = FastAPI(
        title="Everline",
        version=__version__,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        middleware=[
            Middleware(RequestIds),
            Middleware(SecureHeaders),
            Middleware(LimitHead),
            Middleware(LimitBody),
            Middleware(RequireAuth, gate=services.gate),
        ],
        exception_handlers={
            ProblemError: on_problem,
            AccessError: on_access_error,
            StoreError: on_store_error,
            BusError: on_bus_error,
            HTTPException: on_http_error,
            RequestValidationError: on_invalid,
            Exception: on_unexpected,
        },
    )
    app.state.services = services
    app.state.streams = StreamSlots()
    app.state.notices = Notices(services)
    app.state.quality_turns = quality_routes.turns()
    app.include_router(api.router, prefix="/api/v1")
    app.include_router(cluster_routes.api, prefix="/api/v1")
    for router in (quality_routes.api, access_api.own, access_api.calls, access_api.router):
        app.include_router(router, prefix="/api/v1")
    for router in (login.router, oidc_login.router, login.signed_in, admin_pages.own, admin_pages.pages):
        app.include_router(router, include_in_schema=False)
    app.include_router(overview.router, include_in_schema=False)
    app.include_router(pages.router, include_in_schema=False)
    app.include_router(cluster_routes.pages, include_in_schema=False)
    app.include_router(quality_routes.pages, include_in_schema=False)
    app.router.routes.extend(vital_routes(services.readiness, services.metrics))
    app.mount("/static", StaticFiles(packages=[("everline.app", "static")]))
    check_needs(app.routes)
    return app
