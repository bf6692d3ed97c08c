"""What machines ask any node, without signing in: is it alive, should it get requests, what does it count."""

from collections.abc import Callable, Sequence

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from everline.app.request_rules import LimitHead, RequestIds, SecureHeaders


def vital_routes(readiness: Callable[[], Sequence[str]], metrics: Callable[[], str]) -> list[Route]:
    """
    `/livez`, `/readyz`, `/metrics`.

    Args:
        readiness: Gives the reasons why the node must get no requests now; none when it is ready.
        metrics: Gives the Prometheus text.
    """

    async def livez(_: Request) -> Response:
        return PlainTextResponse("alive\n")

    async def readyz(_: Request) -> Response:
        reasons = readiness()
        return PlainTextResponse("\n".join(reasons or ["ready"]) + "\n", 503 if reasons else 200)

    async def give_metrics(_: Request) -> Response:
        return PlainTextResponse(metrics(), media_type="text/plain; version=0.0.4")

    return [Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", give_metrics)]


def create_vitals_app(readiness: Callable[[], Sequence[str]], metrics: Callable[[], str]) -> Starlette:
    """The application of a node that serves no pages."""
    return Starlette(
        routes=vital_routes(readiness, metrics),
        middleware=[Middleware(RequestIds), Middleware(SecureHeaders), Middleware(LimitHead)],
    )
