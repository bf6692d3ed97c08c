"""Errors as answers: problem+json for programs (RFC 9457), a page for people; both say what to do next."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from everline.app.security_headers import SECURITY_HEADERS
from everline.app.templates import page
from everline.errors import EverlineError

REQUEST_ID_HEADER: Final = "X-Request-ID"

log = logging.getLogger(__name__)

NEXT_STEPS: Mapping[int, str] = {
    401: "Send 'Authorization: Bearer <admin token>', or sign in at /login.",
    403: "Open this node's own pages and repeat it from there.",
    404: "Check the address; /api/v1/openapi.json lists all there are.",
    405: "Use a method that the Allow header lists.",
    413: "Send less.",
    414: "Send a shorter query: at most 8 KiB.",
    431: "Send fewer or shorter headers; clear the cookies of this site if it stays.",
    500: "Look for request.failed in the log of this node, then try another node.",
}


class ProblemError(EverlineError):
    """A request that cannot be answered as asked."""

    def __init__(self, status: int, detail: str, *, next_step: str = "", retry_after_s: int | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.next_step = next_step or NEXT_STEPS.get(status, "Try again; if it stays, look into the log of this node.")
        self.retry_after_s = retry_after_s


def problem_response(request: Request, problem: ProblemError, *, headers: Mapping[str, str] | None = None) -> Response:
    """The problem in the form that the client asked for; one of ours is logged."""
    title = HTTPStatus(problem.status).phrase
    request_id = request_id_of(request)
    if problem.status > 500:  # What 500 is about, `RequestIds` has told.
        where = {"request_id": request_id, "method": request.method, "path": request.url.path}
        log.warning("request.failed", extra={**where, "status": problem.status, "why": problem.detail})
    extra = dict(headers or {})
    if problem.retry_after_s is not None:
        extra["Retry-After"] = str(problem.retry_after_s)
    if wants_page(request):
        return page(
            request, "problem.html", status=problem.status, headers=extra, problem=problem, title=title,
            request_id=request_id,
        )  # fmt: skip
    body = {
        "type": "about:blank",
        "title": title,
        "status": problem.status,
        "detail": problem.detail,
        "next_step": problem.next_step,
        "request_id": request_id,
    }
    return JSONResponse(body, problem.status, extra, media_type="application/problem+json")


def request_id_of(request: Request) -> str:
    """The id that `RequestIds` gave it."""
    return str(request.state.request_id)


def wants_page(request: Request) -> bool:
    """Whether a person looks at the answer: a page of ours, and a client that takes HTML."""
    return not request.url.path.startswith("/api/") and "text/html" in request.headers.get("accept", "")


async def on_problem(request: Request, error: Exception) -> Response:
    """Answer a problem that we found ourselves."""
    if not isinstance(error, ProblemError):
        raise error
    return problem_response(request, error)


async def on_store_error(request: Request, error: Exception) -> Response:
    """Answer what the store could not."""
    step = "Ask for a shorter time or fewer calls; if it stays, look into the log of this node."
    return problem_response(request, ProblemError(503, str(error), next_step=step, retry_after_s=5))


async def on_bus_error(request: Request, error: Exception) -> Response:
    """Answer what needs live state, while there is none."""
    step = "Search for calls instead, which needs no live state; if it stays, look into the log of this node."
    return problem_response(request, ProblemError(503, str(error), next_step=step, retry_after_s=2))


async def on_http_error(request: Request, error: Exception) -> Response:
    """Answer what the router found: no such path, no such method."""
    if not isinstance(error, HTTPException):
        raise error
    detail = f"{request.method} {request.url.path[:200]}: {error.detail}"
    return problem_response(request, ProblemError(error.status_code, detail), headers=error.headers)


async def on_invalid(request: Request, error: Exception) -> Response:
    """Answer parameters that the schema refuses, all of them at once."""
    if not isinstance(error, RequestValidationError):
        raise error
    faults = "; ".join(f"{one['loc'][-1]}: {one['msg']}" for one in error.errors()[:20])
    return problem_response(request, ProblemError(400, faults, next_step="Correct the parameters named above."))


async def on_unexpected(request: Request, _error: Exception) -> Response:
    """Answer what nobody expected, without saying more than that; no middleware sees this answer any more."""
    headers = {**SECURITY_HEADERS, REQUEST_ID_HEADER: request_id_of(request)}
    return problem_response(request, ProblemError(500, "This node could not answer the request."), headers=headers)
