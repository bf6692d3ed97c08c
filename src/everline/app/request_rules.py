"""Rules that hold for every request, whatever its route: an id, headers on the way out, a length on the way in."""

import asyncio
import logging
import re
import secrets
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from everline.app.problems import REQUEST_ID_HEADER, ProblemError, problem_response
from everline.app.security_headers import SECURITY_HEADERS

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
MAX_QUERY_BYTES: Final = 8192
MAX_HEAD_BYTES: Final = 65_536
"""What the server keeps of a head that is not complete; one that comes at once may be longer."""
MAX_BODY_BYTES: Final = 65_536
"""More than any form of ours."""
BODY_S: Final = 10.0
"""As long as NGINX waits for a part of one; here for all of it."""

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


class LimitHead:
    """ASGI middleware: an address or headers longer than any of ours are refused before anything is parsed."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        query: bytes = scope.get("query_string", b"")
        head = sum(len(name) + len(value) for name, value in scope.get("headers", ()))
        if len(query) > MAX_QUERY_BYTES:
            problem = ProblemError(414, f"The query string has {len(query)} bytes; {MAX_QUERY_BYTES} are the limit.")
        elif head > MAX_HEAD_BYTES:
            problem = ProblemError(431, f"The headers have {head} bytes; {MAX_HEAD_BYTES} are the limit.")
        else:
            await self._app(scope, receive, send)
            return
        await problem_response(Request(scope), problem)(scope, receive, send)


class LimitBody:
    """
    ASGI middleware: a body is read before anything else is done with the request, and refused if it is long or slow.

    Whether it says how long it is or not (chunked): what is kept of it has a bound.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in SAFE_METHODS:
            await self._app(scope, receive, send)
            return
        try:
            said = int(Headers(scope=scope).get("content-length", "0"))
            async with asyncio.timeout(BODY_S):
                body = await _read(receive) if said <= MAX_BODY_BYTES else None
        except TimeoutError:
            problem = ProblemError(408, f"The body was not here within {BODY_S:g} s.", next_step="Send it again.")
        except ValueError:
            problem = ProblemError(400, "Content-Length is no number.", next_step="Leave it to your HTTP library.")
        else:
            if body is not None:
                await self._app(scope, _again(body, receive), send)
                return
            problem = ProblemError(413, f"The body is longer than {MAX_BODY_BYTES} bytes.", next_step="Send less.")
        # What may still come is not read: the connection ends with the answer.
        answer = problem_response(Request(scope), problem, headers={"Connection": "close"})
        await answer(scope, receive, send)


async def _read(receive: Receive) -> Message | None:
    """The whole body as one message, or that its sender has gone; None if it is too long."""
    body = bytearray()
    while True:
        part = await receive()
        if part["type"] != "http.request":
            return part
        body += part.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            return None
        if not part.get("more_body", False):
            return {"type": "http.request", "body": bytes(body), "more_body": False}


def _again(first: Message, receive: Receive) -> Receive:
    """What was read, then what comes."""
    waiting = [first]

    async def receive_again() -> Message:
        return waiting.pop() if waiting else await receive()

    return receive_again
