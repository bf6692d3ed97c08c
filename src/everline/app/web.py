"""The web application: routes, and what every answer passes on its way."""

from typing import Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.staticfiles import StaticFiles

from everline import __version__
from everline.app import api, cluster_routes, login, pages
from everline.app.auth import LoginThrottle, RequireAuth, Sessions
from everline.app.events import StreamSlots
from everline.app.problems import (
    ProblemError,
    on_bus_error,
    on_http_error,
    on_invalid,
    on_problem,
    on_store_error,
    on_unexpected,
)
from everline.app.request_rules import LimitQuery, SecureHeaders
from everline.app.services import Services
from everline.app.vitals import vital_routes
from everline.bus.errors import BusError
from everline.store.errors import StoreError

MIN_TOKEN_CHARS: Final = 16


def create_app(services: Services) -> FastAPI:
    """
    The whole application, ready for an ASGI server.

    Raises:
        ValueError: The admin token or the session key is too short to protect anything.
    """
    if len(services.admin_token) < MIN_TOKEN_CHARS or len(services.session_key) < MIN_TOKEN_CHARS:
        raise ValueError(f"admin token and session key need at least {MIN_TOKEN_CHARS} characters each")
    sessions = Sessions(services)
    app = FastAPI(
        title="Everline",
        version=__version__,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        middleware=[Middleware(SecureHeaders), Middleware(LimitQuery), Middleware(RequireAuth, sessions=sessions)],
        exception_handlers={
            ProblemError: on_problem,
            StoreError: on_store_error,
            BusError: on_bus_error,
            HTTPException: on_http_error,
            RequestValidationError: on_invalid,
            Exception: on_unexpected,
        },
    )
    app.state.services = services
    app.state.sessions = sessions
    app.state.throttle = LoginThrottle()
    app.state.streams = StreamSlots()
    app.include_router(api.router, prefix="/api/v1")
    app.include_router(cluster_routes.api, prefix="/api/v1")
    app.include_router(login.router, include_in_schema=False)
    app.include_router(pages.router, include_in_schema=False)
    app.include_router(cluster_routes.pages, include_in_schema=False)
    app.router.routes.extend(vital_routes(services.readiness, services.metrics))
    app.mount("/static", StaticFiles(packages=[("everline.app", "static")]))
    return app
