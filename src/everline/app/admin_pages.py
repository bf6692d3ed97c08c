"""Users, tokens and the audit log as pages, and everybody's own account."""

import secrets
from typing import Annotated, Final

from fastapi import APIRouter, Form, Query
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from everline.access.account import User
from everline.access.desk import Caller, UserWish
from everline.access.errors import AccessError
from everline.access.gate import RefusedError
from everline.access.roles import WILL, Area, Role
from everline.access.sessions import new_session
from everline.app.access_problems import problem_of
from everline.app.auth import actor_of, caller_of, give_session, needs
from everline.app.services import desk_of, gate_of
from everline.app.templates import page

ENTRIES: Final = 100
DAYS: Final = (7, 30, 90, 365, 0)

pages = APIRouter(prefix="/admin", dependencies=[needs(Role.ADMIN, Area.ACCESS)])
own = APIRouter(dependencies=[needs(Role.VIEWER, None)])

Text = Annotated[str, Form(max_length=1024)]


@pages.get("/users")
async def users_page(request: Request) -> Response:
    """Who may sign in, and as what."""
    return _users(request)


@pages.post("/users")
async def add_user(
    request: Request,
    name: Text = "",
    role: Annotated[Role, Form()] = Role.VIEWER,
    password: Text = "",
    key: Text = "",
) -> Response:
    """Make a user, and show all."""
    try:
        await desk_of(request).add_user(_caller(request, key), name, role, password)
    except AccessError as fault:
        return _users(request, fault=fault, name=name)
    return RedirectResponse("/admin/users", 303)


@pages.get("/users/{name}")
async def user_page(request: Request, name: str) -> Response:
    """One user, and what can be changed."""
    return _user(request, desk_of(request).user(name))


@pages.post("/users/{name}")
async def change_user(
    request: Request,
    name: str,
    act: Text,
    role: Annotated[Role, Form()] = Role.VIEWER,
    password: Text = "",
) -> Response:
    """Do what the button says, and show the user."""
    desk, caller = desk_of(request), caller_of(request)
    wishes = {
        "role": UserWish(role=role),
        "password": UserWish(password=password),
        "disable": UserWish(is_disabled=True),
        "enable": UserWish(is_disabled=False),
        "sign-out": UserWish(ends_sessions=True),
    }
    try:
        if act == "remove":
            await desk.remove_user(caller, name)
            return RedirectResponse("/admin/users", 303)
        if act in wishes:
            await desk.change_user(caller, name, wishes[act])
    except AccessError as fault:
        return _user(request, desk.user(name), fault=fault)
    return RedirectResponse(f"/admin/users/{name}", 303)


@pages.get("/tokens")
async def tokens_page(request: Request) -> Response:
    """The keys of programs."""
    return _tokens(request)


@pages.post("/tokens")
async def make_token(
    request: Request,
    name: Text = "",
    role: Annotated[Role, Form()] = Role.VIEWER,
    areas: Annotated[list[Area] | None, Form()] = None,
    days: Annotated[int, Form(ge=0, le=3_660)] = 90,
    key: Text = "",
) -> Response:
    """Make a token, and show its secret for once."""
    try:
        made, token = await desk_of(request).make_token(_caller(request, key), name, role, areas or [], days=days)
    except AccessError as fault:
        return _tokens(request, fault=fault, name=name)
    response = _tokens(request, made=made.name, token=token)
    response.headers["Content-Encoding"] = "identity"  # NGINX compresses no page with a secret: its length would tell.
    return response


@pages.post("/tokens/{token_id}/revoke")
async def revoke_token(request: Request, token_id: str) -> Response:
    """Make a token void, and show those that are left."""
    await desk_of(request).revoke_token(caller_of(request), token_id)
    return RedirectResponse("/admin/tokens", 303)


@pages.get("/audit")
async def audit_page(request: Request, before: Annotated[int | None, Query(ge=1)] = None, check: str = "") -> Response:
    """Who did what."""
    trail = gate_of(request).trail
    entries = await trail.entries(before=before, limit=ENTRIES)
    verdict = await trail.check() if check else None
    older = entries[0].seq if entries and entries[0].seq > 1 else None
    return page(request, "audit.html", entries=entries[::-1], older=older, verdict=verdict, before=before)


@own.get("/account")
async def account_page(request: Request) -> Response:
    """Who am I."""
    return _account(request)


@own.post("/account")
async def change_password(request: Request, old: Text = "", password: Text = "") -> Response:
    """A new password; other sessions end, this one goes on."""
    desk, gate, caller = desk_of(request), gate_of(request), caller_of(request)
    try:
        await desk.change_own_password(caller, old, password)
    except RefusedError:
        return _account(request, fault="The present password is another one.", status=400)
    except AccessError as fault:
        return _account(request, fault=str(fault), status=problem_of(fault).status)
    response = _account(request, done="The password is changed, and other sessions are signed out.")
    user = desk.user(caller.actor.name)
    give_session(request, response, new_session(user.name, gate.now_us, era=user.era), gate)
    return response


def _caller(request: Request, key: str) -> Caller:
    """With the key that the form was given when it was drawn: sent twice, it is done once."""
    caller = caller_of(request)
    return Caller(caller.actor, caller.client, caller.request_id, key[:64])


def _users(request: Request, *, fault: AccessError | None = None, name: str = "") -> Response:
    found = gate_of(request).contents.users
    shown = [found[one] for one in sorted(found)]
    return page(
        request, "users.html", status=_status(fault), users=shown, fault=str(fault or ""), name=name,
        roles=WILL, key=secrets.token_urlsafe(16),
    )  # fmt: skip


def _user(request: Request, user: User, *, fault: AccessError | None = None) -> Response:
    is_me = actor_of(request).is_user and actor_of(request).name == user.name
    return page(
        request, "user.html", status=_status(fault), user=user, fault=str(fault or ""), roles=WILL, is_me=is_me
    )  # fmt: skip


def _tokens(
    request: Request, *, fault: AccessError | None = None, name: str = "", made: str = "", token: str = ""
) -> Response:
    found = sorted(gate_of(request).contents.tokens.values(), key=lambda one: (one.made_us, one.token_id))
    return page(
        request, "tokens.html", status=_status(fault), tokens=found, fault=str(fault or ""), name=name, made=made,
        token=token, roles=WILL, areas=list(Area), days=DAYS, key=secrets.token_urlsafe(16),
    )  # fmt: skip


def _account(request: Request, *, fault: str = "", done: str = "", status: int = 200) -> Response:
    actor = actor_of(request)
    user = gate_of(request).contents.users.get(actor.name) if actor.is_user else None
    return page(request, "account.html", status=status, who=actor, user=user, will=WILL, fault=fault, done=done)


def _status(fault: AccessError | None) -> int:
    return problem_of(fault).status if fault else 200
