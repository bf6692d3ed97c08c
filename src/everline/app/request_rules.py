"""Rules that hold for every request, whatever its route: an id, headers on the way out, a length on the way in."""

import logging
import re
import secrets
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from everline.app.problems import REQUEST_ID_HEADER, ProblemError, problem_response
from everline.app.security_headers import SECURITY_HEADERS

MAX_QUERY_BYTES: Final = 8192

_REQUEST_ID: Final = re.compile(r"[0-9a-f]{32}")
"""What NGINX gives, and what we make: nothing else gets into logs and pages."""

log = logging.getLogger(__name__)


class RequestIds:
    """
    ASGI middleware: every request has an id, `request.state.request_id`, by which its lines in all logs are found.

    NGINX gives it, whatever its client says. A node that is asked directly takes one that looks the same, which lets
    the asker find the request in our log and no more, and else makes its own.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
        request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(16)
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            # Without the query: numbers of callers are in it. The answer is made outside, and the server hears of it.
            where = {"request_id": request_id, "method": scope["method"], "path": scope["path"]}
            log.exception("request.failed", extra=where)
            raise


class SecureHeaders:
    """ASGI middleware: every answer says what a browser may do with it, and none is kept but static files."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(SECURITY_HEADERS)
                is_static = str(scope["path"]).startswith("/static/")
                headers.setdefault("Cache-Control", "no-cache" if is_static else "no-store")
            await send(message)

        await self._app(scope, receive, send_with_headers)


class LimitQuery:
    """ASGI middleware: a query string longer than any search of ours is refused before it is parsed."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        query: bytes = scope.get("query_string", b"")
        if len(query) <= MAX_QUERY_BYTES:
            await self._app(scope, receive, send)
            return
        problem = ProblemError(414, f"The query string has {len(query)} bytes; {MAX_QUERY_BYTES} are the limit.")
        await problem_response(Request(scope), problem)(scope, receive, send)
