"""Numbers of one call, shown for a quarter of an hour to one session: a signed cookie, so that any node may answer."""

import json
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from everline.app.auth import actor_of
from everline.app.services import gate_of

COOKIE: Final = "everline_reveal"
REVEAL_S: Final = 900
_PURPOSE: Final = "reveal"


def give_reveal(request: Request, response: Response, call_id: str) -> None:
    """Note in the browser that this session sees the numbers of a call."""
    gate = gate_of(request)
    said = json.dumps([actor_of(request).session, call_id, gate.now_us + REVEAL_S * 1_000_000])
    secure = request.url.scheme == "https"
    value = gate.ring.sign(_PURPOSE, said)
    response.set_cookie(COOKIE, value, REVEAL_S, httponly=True, samesite="strict", secure=secure)


def is_revealed(request: Request, call_id: str) -> bool:
    """Whether the numbers of a call are shown to who asks."""
    actor, gate = actor_of(request), gate_of(request)
    if actor.sees_numbers:
        return True
    said = gate.ring.verify(_PURPOSE, request.cookies.get(COOKIE, ""))
    if not said or not actor.session:
        return False
    session, shown, until_us = json.loads(said)
    return bool(session == actor.session and shown == call_id and gate.now_us < until_us)
