"""Signing in and out, and the two choices that a reader has: theme and clock."""

from typing import Annotated

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from everline.app.auth import COOKIE, SESSION_S, LoginThrottle, Sessions, local_path
from everline.app.problems import ProblemError
from everline.app.templates import CLOCKS, THEMES, page

PREFERENCE_S = 365 * 24 * 3600
MAX_FIELD = 2048

Field = Annotated[str, Form(max_length=MAX_FIELD)]

router = APIRouter()


@router.get("/login")
async def login_page(request: Request, next: str = "/") -> Response:  # noqa: A002 - the name is in the address
    """The form that takes the token."""
    return page(request, "login.html", next=local_path(next), fault="")


@router.post("/login")
async def login(request: Request, token: Field = "", next: Field = "/") -> Response:  # noqa: A002 - form fields
    """Give a session for the token."""
    sessions: Sessions = request.app.state.sessions
    throttle: LoginThrottle = request.app.state.throttle
    client, now = request.client.host if request.client else "", request.app.state.services.clock()
    wait_s = throttle.retry_after_s(client, now)
    if wait_s:
        step = f"Wait {wait_s} s, then try again."
        raise ProblemError(429, "Too many wrong tokens came from this address.", next_step=step, retry_after_s=wait_s)
    if not sessions.is_token(token.strip()):
        throttle.failed(client, now)
        return page(request, "login.html", status=401, next=local_path(next), fault="This is not the admin token.")
    response = RedirectResponse(local_path(next), 303)
    secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, sessions.issue(), SESSION_S, httponly=True, samesite="strict", secure=secure)
    return response


@router.post("/logout")
async def logout() -> Response:
    """Forget the session in this browser."""
    response = RedirectResponse("/login", 303)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response


@router.post("/preferences")
async def prefer(theme: Field = "", clock: Field = "", next: Field = "/") -> Response:  # noqa: A002 - a form field
    """Remember a choice in this browser."""
    response = RedirectResponse(local_path(next), 303)
    for name, value, choices in (("theme", theme, THEMES), ("clock", clock, CLOCKS)):
        if value in choices:
            response.set_cookie(f"everline_{name}", value, PREFERENCE_S, httponly=True, samesite="lax")
    return response
