"""The API of users, tokens, the audit log, and of numbers that are shown for once."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from everline.access.desk import UserWish
from everline.access.roles import Area, Role
from everline.app.api import NOT_FOUND_STEP
from everline.app.auth import actor_of, caller_of, needs
from everline.app.call_json import call_json
from everline.app.problems import ProblemError
from everline.app.services import desk_of, gate_of, raw_services_of

MAX_ENTRIES = 1_000
MOST_DAYS = 3_660

router = APIRouter(dependencies=[needs(Role.ADMIN, Area.ACCESS)])
own = APIRouter(dependencies=[needs(Role.VIEWER, None)])
calls = APIRouter(dependencies=[needs(Role.VIEWER, Area.CALLS)])

Name = Annotated[str, Field(max_length=128)]
Password = Annotated[str, Field(max_length=1024, description="12 characters or more.")]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class NewUser(_Body):
    """A user to be made."""

    name: Name
    role: Role = Role.VIEWER
    password: Password


class ChangedUser(_Body):
    """What is to become of a user; what is left out stays."""

    role: Role | None = None
    password: Password | None = None
    is_disabled: bool | None = None
    ends_sessions: bool = Field(default=False, description="Sign the user out everywhere.")


class NewToken(_Body):
    """A token to be made."""

    name: Annotated[str, Field(max_length=80)]
    role: Role = Role.VIEWER
    areas: Annotated[list[Area], Field(min_length=1, max_length=len(Area))] = [Area.CALLS]
    days: Annotated[int, Field(ge=0, le=MOST_DAYS, description="After which it expires; 0 is never.")] = 90


class Why(_Body):
    """Why numbers are looked at."""

    reason: Annotated[str, Field(min_length=3, max_length=256)]


@own.get("/me")
async def me(request: Request) -> JSONResponse:
    """Who sends this request, and what that one may do."""
    actor = actor_of(request)
    return JSONResponse({"name": actor.name, "role": actor.role.value, "areas": sorted(actor.areas)})


@router.get("/users")
async def users(request: Request) -> JSONResponse:
    """All users, by name."""
    found = gate_of(request).contents.users
    return JSONResponse({"users": [found[name].shown() for name in sorted(found)]})


@router.post("/users", status_code=201)
async def add_user(request: Request, wish: NewUser) -> JSONResponse:
    """Make a user with a password. With an Idempotency-Key a repetition makes no second one."""
    user = await desk_of(request).add_user(caller_of(request), wish.name, wish.role, wish.password)
    return JSONResponse(user.shown(), 201)


@router.patch("/users/{name}")
async def change_user(request: Request, name: str, wish: ChangedUser) -> JSONResponse:
    """Change role, password, or whether the user may sign in; a new password or a ban ends all sessions."""
    what = UserWish(wish.role, wish.password, wish.is_disabled, wish.ends_sessions)
    user = await desk_of(request).change_user(caller_of(request), name, what)
    return JSONResponse(user.shown())


@router.delete("/users/{name}", status_code=204)
async def remove_user(request: Request, name: str) -> Response:
    """Forget a user; the audit log keeps the name."""
    await desk_of(request).remove_user(caller_of(request), name)
    return Response(status_code=204)


@router.get("/tokens")
async def tokens(request: Request) -> JSONResponse:
    """All tokens, without their secrets."""
    found = gate_of(request).contents.tokens.values()
    return JSONResponse({"tokens": [one.shown() for one in sorted(found, key=lambda one: (one.made_us, one.token_id))]})


@router.post("/tokens", status_code=201)
async def make_token(request: Request, wish: NewToken) -> JSONResponse:
    """Make a token. `token` is shown in this answer only, and to a repetition with the same Idempotency-Key."""
    desk, caller = desk_of(request), caller_of(request)
    made, token = await desk.make_token(caller, wish.name, wish.role, wish.areas, days=wish.days)
    return JSONResponse(made.shown() | {"token": token}, 201)


@router.delete("/tokens/{token_id}", status_code=204)
async def revoke_token(request: Request, token_id: str) -> Response:
    """Make a token void, on every node."""
    await desk_of(request).revoke_token(caller_of(request), token_id)
    return Response(status_code=204)


@router.get("/audit")
async def audit(
    request: Request,
    before: Annotated[int | None, Query(ge=1, description="Only entries with smaller numbers.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_ENTRIES)] = 200,
) -> JSONResponse:
    """The latest entries of the audit log, by number; each has the hash of the one before."""
    found = await gate_of(request).trail.entries(before=before, limit=limit)
    return JSONResponse({"entries": [asdict(one) for one in found]})


@router.get("/audit/check")
async def check_audit(request: Request) -> JSONResponse:
    """Look at the whole log: whether every entry follows the one before, and none is missing at the end."""
    verdict = await gate_of(request).trail.check()
    return JSONResponse({"is_whole": not verdict.fault, "entries": verdict.entries, "fault": verdict.fault})


@calls.post("/reveal/{call_id:path}")
async def reveal(request: Request, call_id: str, why: Why) -> JSONResponse:
    """The call with its numbers as they are. Who asked, and why, is in the audit log first."""
    record = await raw_services_of(request).store.call(call_id)
    if record is None:
        raise ProblemError(404, f"No call with Call-ID {call_id[:200]!r} is known.", next_step=NOT_FOUND_STEP)
    await desk_of(request).reveal(caller_of(request), call_id, why.reason)
    return JSONResponse(call_json(record))
