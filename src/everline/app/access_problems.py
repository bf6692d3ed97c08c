"""What is wrong with users, tokens and sessions, as answers."""

from collections.abc import Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from everline.access import errors
from everline.access.desk import NotAllowedError, UnknownError
from everline.access.gate import CountingError, RefusedError, ThrottledError
from everline.access.trail import KeyReusedError
from everline.app.problems import ProblemError, problem_response

_STATUS: Final[Mapping[type[errors.AccessError], int]] = {
    errors.BookUnavailableError: 503,
    errors.AuditUnavailableError: 503,
    errors.AccessBusyError: 503,
    CountingError: 503,
    errors.BookConflictError: 409,
    NotAllowedError: 409,
    UnknownError: 404,
    RefusedError: 403,
    KeyReusedError: 422,
    ThrottledError: 429,
}
"""Of any other: 400, what was asked won't do."""
_STEPS: Final[Mapping[int, str]] = {
    400: "Correct it, and send it again.",
    403: "Try again with the right one.",
    404: "See the list for what there is.",
    409: "Load the page again and see what is there now.",
    422: "Send the request with a fresh key.",
    503: "Try again in some seconds, with the same Idempotency-Key if there was one: it is done once.",
}
RETRY_S: Final = 5


def problem_of(fault: errors.AccessError) -> ProblemError:
    """As a problem with a status and a next step."""
    status = next((code for kind, code in _STATUS.items() if isinstance(fault, kind)), 400)
    if isinstance(fault, ThrottledError):
        step = f"Wait {fault.wait_s} s, then try again."
        return ProblemError(status, str(fault), next_step=step, retry_after_s=fault.wait_s)
    return ProblemError(status, str(fault), next_step=_STEPS[status], retry_after_s=RETRY_S if status == 503 else None)


async def on_access_error(request: Request, error: Exception) -> Response:
    """Answer what can't be done with users, tokens and sessions."""
    if not isinstance(error, errors.AccessError):
        raise error
    return problem_response(request, problem_of(error))
