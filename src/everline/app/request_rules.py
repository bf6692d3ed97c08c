"""Rules that hold for every request, whatever its route: headers on the way out, a length on the way in."""

from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from everline.app.problems import ProblemError, problem_response
from everline.app.security_headers import SECURITY_HEADERS

MAX_QUERY_BYTES: Final = 8192


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
