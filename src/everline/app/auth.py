"""
Who may come in, and what for: a session's cookie or a bearer token tells who, each route tells what it needs.

Denied by default twice over: whoever is not known gets no further than the public paths, and an application with a
route that does not say what it needs is not made at all.
"""

from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, urlsplit

from fastapi import Depends
from fastapi.params import Depends as Dependency
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from everline.access.desk import Caller
from everline.access.errors import AccessError
from everline.access.gate import Gate
from everline.access.roles import Actor, Area, Need, Role
from everline.access.sessions import SESSION_S, Session
from everline.app.access_problems import on_access_error
from everline.app.problems import ProblemError, problem_response, request_id_of, wants_page
from everline.app.request_rules import SAFE_METHODS

COOKIE: Final = "everline_session"
REPEAT_HEADER: Final = "idempotency-key"
_MAX_KEY: Final = 200

SIGN_IN_PATHS: Final = frozenset({"/login", "/setup", "/login/oidc", "/login/oidc/callback"})
VITAL_PATHS: Final = frozenset({"/livez", "/readyz", "/metrics"})
PUBLIC_PATHS: Final = SIGN_IN_PATHS | VITAL_PATHS
PUBLIC_PREFIX: Final = "/static/"
OPENAPI_PATH: Final = "/api/v1/openapi.json"
"""For everybody who is signed in."""


class Requires:
    """A dependency of a route, or of all routes of a router: what its caller must be."""

    def __init__(self, need: Need) -> None:
        self.need = need

    async def __call__(self, request: Request) -> None:
        """
        Let the caller pass.

        Raises:
            ProblemError: 403, the caller may do less.
        """
        actor = actor_of(request)
        if actor.meets(self.need):
            return
        needed = f"the role {self.need.role}"
        if self.need.area and self.need.area not in actor.areas:
            needed = f"a token for the area {self.need.area}"
        step = f"Ask an admin for {needed}, or sign in as somebody who has it."
        raise ProblemError(403, f"{actor.name} has the role {actor.role}: this needs {needed}.", next_step=step)


def needs(role: Role, area: Area | None) -> Dependency:
    """For `dependencies` of a router or a route; of several each must be met."""
    dependency: Dependency = Depends(Requires(Need(role, area)))
    return dependency


def actor_of(request: Request) -> Actor:
    """Who sends a request that `RequireAuth` has let pass."""
    actor: Actor = request.scope["state"]["actor"]
    return actor


def known_actor(request: Request) -> Actor | None:
    """The same, or None on a public page."""
    actor: Actor | None = request.scope.get("state", {}).get("actor")
    return actor


def caller_of(request: Request) -> Caller:
    """
    Who acts, from where, and by which key a repetition is known.

    Raises:
        ProblemError: The Idempotency-Key won't do.
    """
    key = request.headers.get(REPEAT_HEADER, "").strip()
    if len(key) > _MAX_KEY or not key.isprintable():
        step = "Send a fresh UUID, and the same one again only to repeat the same request."
        raise ProblemError(400, f"An Idempotency-Key has at most {_MAX_KEY} printable characters.", next_step=step)
    return Caller(actor_of(request), client_of(request), request_id_of(request), key)


def client_of(request: Request) -> str:
    """The address that a request comes from."""
    return request.client.host if request.client else ""


def give_session(request: Request, response: Response, session: Session, gate: Gate) -> None:
    """Let the browser keep a session, out of reach of scripts and other sites."""
    secure = request.url.scheme == "https"
    value = session.signed(gate.ring)
    response.set_cookie(COOKIE, value, SESSION_S, httponly=True, samesite="strict", secure=secure)


class RequireAuth:
    """ASGI middleware: what is not public needs to know who asks, what changes something comes from our own pages."""

    def __init__(self, app: ASGIApp, *, gate: Gate) -> None:
        self._app = app
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # We have no WebSockets: nothing may slip past by that door.
            return
        request = Request(scope, receive)
        try:
            refusal = self._refusal(request)
        except AccessError as fault:
            refusal = await on_access_error(request, fault)
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, request: Request) -> Response | None:
        if request.method not in SAFE_METHODS and not is_same_origin(request.headers):
            return problem_response(request, ProblemError(403, "The request comes from another site."))
        path = request.url.path
        if path in PUBLIC_PATHS or path.startswith(PUBLIC_PREFIX):
            return None
        actor = admitted(request, self._gate)
        if actor:
            request.scope.setdefault("state", {})["actor"] = actor
            return None
        if wants_page(request) and request.method in SAFE_METHODS:
            asked = path + (f"?{request.url.query}" if request.url.query else "")
            return RedirectResponse(f"/login?next={quote(asked, safe='')}", 303)
        problem = ProblemError(401, "No valid token or session came with the request.")
        return problem_response(request, problem, headers={"WWW-Authenticate": 'Bearer realm="everline"'})


def admitted(request: Request, gate: Gate) -> Actor | None:
    """
    Who comes with the token or the cookie of a request; None if neither counts now.

    Raises:
        AccessError: It is not known who may come in.
    """
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return gate.by_token(credentials.strip())
    return gate.by_cookie(request.cookies.get(COOKIE, ""))


def check_needs(routes: Iterable[BaseRoute]) -> None:
    """
    See that every route that is not public says what it needs.

    Raises:
        ValueError: One does not: the application must not be served.
    """
    for route in routes:
        contexts = getattr(route, "effective_route_contexts", lambda alone=route: [alone])()
        for one in contexts:
            path = getattr(one, "path", "")
            says = any(isinstance(each.dependency, Requires) for each in getattr(one, "dependencies", ()))
            is_open = path in PUBLIC_PATHS or (type(one) is Route and path == OPENAPI_PATH) or path == "/static"
            if not says and not is_open:
                raise ValueError(f"the route {path!r} does not say what it needs: give it `needs(role, area)`")


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
