"""Who may come in: a bearer token, or a signed cookie that the login page gives for it. Deny by default."""

import hashlib
import hmac
import secrets
from collections import OrderedDict
from typing import Final
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from everline.app.problems import ProblemError, problem_response, wants_page
from everline.app.services import Services

COOKIE: Final = "everline_session"
SESSION_S: Final = 12 * 3600
"""One shift; then the token is asked for again."""

PUBLIC_PATHS: Final = frozenset({"/login", "/livez", "/readyz", "/metrics"})
PUBLIC_PREFIX: Final = "/static/"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class Sessions:
    """
    Cookies `expiry.nonce.signature`.

    They are signed with the session key and the admin token together: a new token ends every session.
    """

    def __init__(self, services: Services) -> None:
        self._token = services.admin_token
        self._key = hmac.digest(services.session_key, services.admin_token.encode(), hashlib.sha256)
        self._clock = services.clock

    def is_token(self, offered: str) -> bool:
        """Whether this is the admin token, in constant time."""
        return hmac.compare_digest(offered.encode(), self._token.encode())

    def issue(self) -> str:
        """A new cookie value."""
        claim = f"{int(self._clock()) + SESSION_S}.{secrets.token_hex(8)}"
        return f"{claim}.{self._signature(claim)}"

    def is_valid(self, cookie: str) -> bool:
        """Whether we signed this cookie and it has not expired."""
        claim, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(claim).encode()):
            return False
        return int(claim.partition(".")[0]) > self._clock()

    def admits(self, request: Request) -> bool:
        """Whether the request carries the token or a valid cookie."""
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self.is_token(credentials.strip())
        return self.is_valid(request.cookies.get(COOKIE, ""))

    def _signature(self, claim: str) -> str:
        return hmac.new(self._key, claim.encode(), hashlib.sha256).hexdigest()


class LoginThrottle:
    """At most `LIMIT` failures a client in `WINDOW_S`; remembers the newest `CLIENTS` clients only."""

    LIMIT: Final = 5
    WINDOW_S: Final = 60.0
    CLIENTS: Final = 1024

    def __init__(self) -> None:
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def retry_after_s(self, client: str, now: float) -> int:
        """Seconds until the client may try again; 0 when it may now."""
        count, since = self._failures.get(client, (0, now))
        left = since + self.WINDOW_S - now
        return int(left) + 1 if count >= self.LIMIT and left > 0 else 0

    def failed(self, client: str, now: float) -> None:
        """Note a failure."""
        count, since = self._failures.pop(client, (0, now))
        if now - since > self.WINDOW_S:
            count, since = 0, now
        self._failures[client] = (count + 1, since)
        while len(self._failures) > self.CLIENTS:
            self._failures.popitem(last=False)

    def __len__(self) -> int:
        return len(self._failures)


class RequireAuth:
    """ASGI middleware: what is not public needs a session, what changes something needs our own page as its origin."""

    def __init__(self, app: ASGIApp, *, sessions: Sessions) -> None:
        self._app = app
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # We have no WebSockets: nothing may slip past by that door.
            return
        request = Request(scope, receive)
        refusal = self._refusal(request)
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, request: Request) -> Response | None:
        if request.method not in SAFE_METHODS and not is_same_origin(request.headers):
            return problem_response(request, ProblemError(403, "The request comes from another site."))
        path = request.url.path
        if path in PUBLIC_PATHS or path.startswith(PUBLIC_PREFIX) or self._sessions.admits(request):
            return None
        if wants_page(request) and request.method in SAFE_METHODS:
            asked = path + (f"?{request.url.query}" if request.url.query else "")
            return RedirectResponse(f"/login?next={quote(asked, safe='')}", 303)
        problem = ProblemError(401, "No valid token or session came with the request.")
        return problem_response(request, problem, headers={"WWW-Authenticate": 'Bearer realm="everline"'})


def is_same_origin(headers: Headers) -> bool:
    """
    Whether a browser sent this from one of our own pages, or no browser sent it.

    Every current browser says so with Sec-Fetch-Site, or at least with Origin on a POST; the cookie is
    SameSite=Strict besides.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in {"same-origin", "none"}
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")


def local_path(target: str) -> str:
    """The target of a redirect if it is a path on this site, else the start page."""
    plain = target.isascii() and target.isprintable() and "\\" not in target
    return target if plain and target.startswith("/") and not target.startswith("//") else "/"
