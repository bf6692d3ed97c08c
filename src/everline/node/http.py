"""The HTTP server of a node: its socket, bound before anything else starts, and its life."""

import asyncio
import contextlib
import socket
from collections.abc import Iterable, Iterator

import uvicorn
from starlette.types import ASGIApp

from everline.config import Endpoint
from everline.ingest.udp import ListenError

HTTP_GRACE_S = 2


class HttpServer(uvicorn.Server):
    """
    A server that leaves the signals to the node.

    Args:
        closing: Set when it stops, once nobody can connect any more: whoever is cut off then comes to another node.
        proxies: Addresses of those who are believed when they say, by X-Forwarded-For, whose request it is; whoever is
            on this machine anyway unless told otherwise.
    """

    def __init__(
        self,
        application: ASGIApp,
        listening: socket.socket,
        *,
        closing: asyncio.Event | None = None,
        proxies: Iterable[str] = ("127.0.0.1",),
    ) -> None:
        super().__init__(
            uvicorn.Config(
                application,
                log_config=None,
                access_log=False,
                server_header=False,
                forwarded_allow_ips=list(proxies),
                timeout_graceful_shutdown=HTTP_GRACE_S,
            )
        )
        self._listening = listening
        self._closing = closing or asyncio.Event()
        self._ended = asyncio.Event()
        self._begun = False

    @property
    def url(self) -> str:
        """Where it answers."""
        host, port = self._listening.getsockname()[:2]
        if host in {"0.0.0.0", "::"}:  # noqa: S104 - an address to reach this node at, not to bind
            host = "127.0.0.1" if host == "0.0.0.0" else "::1"  # noqa: S104
        return f"http://{Endpoint(host, port)}"

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The node decides when to stop."""
        yield

    async def run_until_stopped(self) -> None:
        """Serve until `stop`."""
        self._begun = True
        try:
            await self.serve(sockets=[self._listening])
        finally:
            self._ended.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the door, then tell those who would stay for ever, then wait for all who are inside."""
        for server in self.servers:
            server.close()
        self._closing.set()
        await super().shutdown(sockets)

    async def stop(self) -> None:
        """Take no more requests; return when the last answer was given."""
        self.should_exit = True
        if self._begun:
            await self._ended.wait()


def http_socket(endpoint: Endpoint) -> socket.socket:
    """
    A listening socket.

    Raises:
        ListenError: The address can't be had.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(*endpoint, type=socket.SOCK_STREAM)[0]
        http = socket.socket(family, kind, proto)
    except OSError as fault:
        raise ListenError("HTTP", *endpoint, fault, option="--http") from fault
    try:
        http.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        http.bind(address)
        http.listen(1024)
    except OSError as fault:
        http.close()
        raise ListenError("HTTP", *endpoint, fault, option="--http") from fault
    return http
