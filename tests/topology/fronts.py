"""NGINX with a certificate in front of whatever listens, and what a client gets from it."""

import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any, Final

from tests.rigs.certificate import certificate_in
from tests.rigs.ports import free_ports
from tests.running_node import until
from tests.topology.doors import cluster_of, places_in, started, until_so, written

ASK_S: Final = 15.0
TIMERS: Final = {"connect_ms": 400, "query_ms": 400}
ANSWER_S: Final = 1.2
"""What these make of the wait for an answer."""


@dataclass(frozen=True, slots=True)
class Front:
    """NGINX that runs, and what it writes."""

    http: int
    https: int
    certificate: Path
    log: Path

    def ask(
        self, path: str, method: str = "GET", *, body: bytes = b"", plain: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> "Answer":  # fmt: skip
        """One request over TLS, or without."""
        with closing(self.connection(plain=plain)) as connection:
            connection.request(method, path, body or None, dict(headers or {}))
            return Answer.of(connection.getresponse())

    def connection(self, *, plain: bool = False) -> HTTPConnection:
        """Not connected yet."""
        if plain:
            return HTTPConnection("localhost", self.http, timeout=ASK_S)
        trust = ssl.create_default_context(cafile=str(self.certificate))
        return HTTPSConnection("localhost", self.https, timeout=ASK_S, context=trust)

    def connected(self) -> ssl.SSLSocket:
        """A connection over TLS on which nothing was said."""
        trust = ssl.create_default_context(cafile=str(self.certificate))
        plain = socket.create_connection(("localhost", self.https), ASK_S)
        return trust.wrap_socket(plain, server_hostname="localhost")

    def logged(self, count: int = 1) -> list[str]:
        """The lines of its log once there are so many: they are written after the answer."""

        def found() -> list[str] | None:
            lines = self.log.read_text().splitlines()
            return lines if len(lines) >= count else None

        return until(found, within_s=ASK_S, what=f"{count} requests are logged")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client got."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @classmethod
    def of(cls, response: HTTPResponse) -> "Answer":
        """All of it."""
        return cls(response.status, response.getheaders(), response.read())

    def all(self, name: str) -> list[str]:
        """The values of a header, one for each time that it is there."""
        return [value for one, value in self.headers if one.lower() == name.lower()]

    @property
    def request_id(self) -> str:
        """The only one."""
        [found] = self.all("X-Request-ID")
        return found


@contextmanager
def fronted(root: Path, *ports: int, **options: Any) -> Iterator[Front]:  # options of the role
    """NGINX with a certificate in front of app nodes at these ports."""
    http, https = free_ports(2)
    certificate, key = certificate_in(root)
    door = {"http_port": http, "https_port": https, "tls_certificate": str(certificate), "tls_key": str(key)}
    apps = [{"app": {"http_port": port}} for port in ports]
    topology, places = cluster_of({"nginx": door | options}, *apps, timers=TIMERS), places_in(root)
    written(topology, places)
    front = Front(http, https, certificate, root / "log" / "h1-nginx" / "requests.log")
    with started(topology.node("h1-nginx"), places):
        until_so(lambda: front.ask("/livez", plain=True).status == 200, "NGINX answers")
        yield front
