"""Signing in and out, the one-time set-up, and the two choices that a reader has: theme and clock."""

from typing import Annotated

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from everline.access.desk import NotAllowedError
from everline.access.errors import AccessError, BookConflictError, BookUnavailableError
from everline.access.gate import RefusedError
from everline.access.roles import Role
from everline.app.access_problems import problem_of
from everline.app.auth import COOKIE, actor_of, client_of, give_session, local_path, needs
from everline.app.problems import ProblemError
from everline.app.services import desk_of, gate_of
from everline.app.templates import CLOCKS, THEMES, page

PREFERENCE_S = 365 * 24 * 3600
MAX_FIELD = 2048

Field = Annotated[str, Form(max_length=MAX_FIELD)]

router = APIRouter()
signed_in = APIRouter(dependencies=[needs(Role.VIEWER, None)])


@router.get("/login")
async def login_page(request: Request, next: str = "/") -> Response:  # noqa: A002 - the name is in the address
    """The form that takes a name and a password."""
    return login_form(request, next)


@router.post("/login")
async def login(
    request: Request,
    name: Field = "",
    password: Field = "",
    token: Field = "",
    next: Field = "/",  # noqa: A002 - form fields
) -> Response:
    """Give a session for a password, or for the admin token."""
    gate, client = gate_of(request), client_of(request)
    try:
        if token.strip():
            session = await gate.sign_in_by_token(token.strip(), client=client)
        else:
            session = await gate.sign_in(name, password, client=client)
    except RefusedError as refused:
        return login_form(request, next, fault=str(refused), name=name, status=401)
    response = RedirectResponse(local_path(next), 303)
    give_session(request, response, session, gate)
    return response


@router.get("/setup")
async def setup_page(request: Request) -> Response:
    """The form that makes the first user; the code of the link stays behind its #."""
    if not gate_of(request).awaits_setup:
        return RedirectResponse("/login", 303)
    return page(request, "setup.html", fault="", name="")


@router.post("/setup")
async def set_up(request: Request, code: Field = "", name: Field = "", password: Field = "") -> Response:
    """Make the first user, and sign in."""
    gate, client = gate_of(request), client_of(request)
    try:
        user = await desk_of(request).set_up(code.strip(), name, password, client=client)
    except (BookUnavailableError, BookConflictError, NotAllowedError):
        raise
    except RefusedError:
        return page(request, "setup.html", status=401, fault="This is not the code of the link.", name=name)
    except AccessError as fault:
        if problem_of(fault).status != 400:
            raise
        return page(request, "setup.html", status=400, fault=str(fault), name=name)
    response = RedirectResponse("/", 303)
    give_session(request, response, await gate.sign_in(user.name, password, client=client), gate)
    return response


@signed_in.post("/logout")
async def logout(request: Request) -> Response:
    """Make the session void everywhere, and forget it in this browser."""
    response: Response = RedirectResponse("/login", 303)
    try:
        await gate_of(request).end(actor_of(request), client=client_of(request))
    except AccessError as fault:
        step = "This browser is signed out; a copy of its cookie would count until it expires. Sign out again later."
        problem = ProblemError(503, str(fault), next_step=step)
        response = page(request, "problem.html", status=503, problem=problem, title="Signed out here only")
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response


@signed_in.post("/preferences")
async def prefer(theme: Field = "", clock: Field = "", next: Field = "/") -> Response:  # noqa: A002 - a form field
    """Remember a choice in this browser."""
    response = RedirectResponse(local_path(next), 303)
    for name, value, choices in (("theme", theme, THEMES), ("clock", clock, CLOCKS)):
        if value in choices:
            response.set_cookie(f"everline_{name}", value, PREFERENCE_S, httponly=True, samesite="lax")
    return response


def login_form(request: Request, target: str, *, fault: str = "", name: str = "", status: int = 200) -> Response:
    """The sign-in page, with what was wrong the last time."""
    awaits = gate_of(request).awaits_setup
    target = local_path(target)
    oidc = gate_of(request).oidc
    return page(
        request, "login.html", status=status, next=target, fault=fault, name=name, awaits_setup=awaits,
        provider=oidc.settings.name if oidc else "",
    )  # fmt: skip
