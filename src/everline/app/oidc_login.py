"""Signing in at an identity provider, there and back; what the way back needs the browser carries, signed."""

from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from everline.access.gate import RefusedError
from everline.access.oidc import OidcClient, PendingLogin
from everline.access.oidc_errors import OidcError, OidcPendingError, OidcUnreachableError
from everline.access.oidc_pending import PENDING_S
from everline.app.auth import client_of, give_session, local_path
from everline.app.login import login_form
from everline.app.problems import ProblemError
from everline.app.services import desk_of, gate_of
from everline.app.templates import page

CALLBACK: Final = "/login/oidc/callback"
COOKIE: Final = "everline_oidc"
_PURPOSE: Final = "oidc"

router = APIRouter()


@router.get("/login/oidc")
async def begin(request: Request, next: str = "/") -> Response:  # noqa: A002 - the name is in the address
    """Send the browser to the provider."""
    oidc = _client(request)
    await gate_of(request).count_try(client_of(request), "")
    try:
        url, pending = await oidc.begin(f"{request.url.scheme}://{request.url.netloc}{CALLBACK}")
    except OidcError as fault:
        return _refused(request, fault)
    response = RedirectResponse(url, 303)
    kept = gate_of(request).ring.sign(_PURPOSE, f"{pending.to_text()} {local_path(next)[:512]}")
    # Lax: the way back begins at the provider.
    secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, kept, PENDING_S, path="/login/oidc", httponly=True, samesite="lax", secure=secure)
    return response


@router.get(CALLBACK)
async def finish(request: Request) -> Response:
    """Let in whom the provider has let in."""
    oidc, gate = _client(request), gate_of(request)
    try:
        kept = gate.ring.verify(_PURPOSE, request.cookies.get(COOKIE, ""))
        if kept is None:
            raise OidcPendingError("this browser has not begun it, or too long ago")
        text, _, target = kept.partition(" ")
        identity = await oidc.finish(PendingLogin.from_text(text), dict(request.query_params))
        session = await desk_of(request).welcome(identity, client=client_of(request))
    except OidcError as fault:
        return _refused(request, fault)
    except RefusedError:
        return login_form(request, "/", fault="This account may not sign in any more: ask an admin.", status=403)
    await gate.forgive(client_of(request), "")
    # A page, not a redirect: a browser that comes from another site keeps the strict cookie back until a page of ours
    # leads on.
    response = page(request, "signed-in.html", next=local_path(target))
    give_session(request, response, session, gate)
    response.delete_cookie(COOKIE, path="/login/oidc", httponly=True, samesite="lax")
    return response


def _client(request: Request) -> OidcClient:
    """Raises ProblemError without a provider."""
    oidc = gate_of(request).oidc
    if oidc is None:
        step = "Sign in with a password; see docs/oidc.md for section `oidc` of the configuration."
        raise ProblemError(404, "No identity provider is configured.", next_step=step)
    return oidc


def _refused(request: Request, fault: OidcError) -> Response:
    status = 503 if isinstance(fault, OidcUnreachableError) else 403
    return login_form(request, "/", fault=str(fault), status=status)
