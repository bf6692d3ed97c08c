"""What stands behind NGINX in tests: app nodes of which only the sockets are real, and a certificate for its front."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

RELEASED_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as a member has seen it."""

    method: str
    path: str
    headers: Mapping[str, str]


@dataclass
class Member:
    """
    A server in front of which NGINX stands.

    Attributes:
        asked: All requests, in the order in which they came.
        silent: While set, it takes requests and answers none, as a stopped process does.
        kinds: The content type of the answer by path; text/plain elsewhere.
        slow_s: Paths that get the second half of their answer so much later.
    """

    name: str
    asked: list[Asked] = field(default_factory=list)
    silent: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    kinds: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    slow_s: Mapping[str, float] = field(default_factory=dict)
    port: int = 0

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Note a request, and answer it unless silent: with its own name, again and again, 6,000 bytes of it."""
        length = int(request.headers.get("Content-Length", 0))
        request.rfile.read(length)
        self.asked.append(Asked(request.command, request.path, dict(request.headers.items())))
        if self.silent.is_set():
            self.ended.wait(RELEASED_S)
            return
        path = request.path.partition("?")[0]
        body = (self.name.encode() * 6_000)[:6_000]
        request.send_response(200)
        for name, value in {"Content-Type": "text/plain", **self.kinds.get(path, {})}.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body[:3_000])
        request.wfile.flush()
        self.ended.wait(self.slow_s.get(path, 0))
        request.wfile.write(body[3_000:])


@contextmanager
def serving(member: Member) -> Iterator[Member]:
    """The member, answering on a port of loopback."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        member.answer(request)

    def quiet(*_: Any) -> None:  # whatever it would log
        return

    ways: dict[str, Callable[..., None] | str] = {
        "protocol_version": "HTTP/1.1", "do_GET": answer, "do_HEAD": answer, "do_POST": answer, "log_message": quiet,
    }  # fmt: skip
    with _Server(("127.0.0.1", 0), type("Answering", (BaseHTTPRequestHandler,), ways)) as server:
        member.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield member
        finally:
            member.ended.set()
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """NGINX hangs up on who is silent."""
