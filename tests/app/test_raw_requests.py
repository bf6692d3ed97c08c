"""What no HTTP library would send, to a real server: refused in time and in bounds, and the next one is answered."""

import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Final

import pytest
from tests.app.calls_for_test import answered_call, services_with
from tests.app.served import served

from everline.app import request_rules

POST: Final = b"POST /login HTTP/1.1\r\nHost: x\r\nSec-Fetch-Site: same-origin\r\n"
FORM: Final = b"Content-Type: application/x-www-form-urlencoded\r\n"
CHUNKED: Final = b"Transfer-Encoding: chunked\r\n\r\n"
CHUNK: Final = b"2710\r\n" + 10_000 * b"a" + b"\r\n"


@pytest.fixture(name="port")
def listening() -> Iterator[int]:
    """An application with a call."""
    with served(services_with(answered_call())) as port:
        yield port


def status_of(port: int, *parts: bytes) -> bytes:
    """Send some parts, whether they are taken or not; the status of the answer, empty if the server hung up at once."""
    with closing(socket.create_connection(("127.0.0.1", port), timeout=10)) as connection:
        with suppress(ConnectionError):  # Refused before it was all sent.
            for part in parts:
                connection.sendall(part)
        with suppress(ConnectionError):
            return connection.recv(12).removeprefix(b"HTTP/1.1 ")
    return b""


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        pytest.param([b"GET /livez HTTP/1.1\r\nHost: x\r\nX: " + 100_000 * b"h" + b"\r\n\r\n"], {b"400", b"431"},
                     id="a-header-of-100-kB"),
        pytest.param([b"GET /api/v1/calls?number=" + 1_000_000 * b"1" + b" HTTP/1.1\r\nHost: x\r\n\r\n"],
                     {b"400", b"414"}, id="a-query-of-1-MB"),
        pytest.param([POST + FORM + b"Content-Length: 1000000\r\n\r\n", 1_000_000 * b"a"], {b"413"},
                     id="a-form-of-1-MB"),
        pytest.param([POST + FORM + b"Content-Length: 99999999999999999999\r\n\r\n", b"a=1"], {b"400", b"413"},
                     id="a-form-that-says-it-is-endless"),
        pytest.param([POST + FORM + CHUNKED, *(200 * [CHUNK])], {b"413"}, id="chunks-without-end"),
        pytest.param([POST + FORM + CHUNKED, b"zz\r\n"], {b"400"}, id="a-chunk-of-no-length"),
        pytest.param([POST + b"Content-Type: multipart/form-data; boundary=b\r\n" + CHUNKED, *(200 * [CHUNK])],
                     {b"413"}, id="files-without-end"),
        pytest.param([b"GET /api/v1/events HTTP/1.1\r\nHost: x\r\nLast-Event-ID: a\0b\r\n\r\n"], {b"400"},
                     id="nul-in-a-header"),
        pytest.param([b"GET /calls/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n"], {b"400", b"303"}, id="bytes-in-the-path"),
        pytest.param([b"GET /livez HTTP/1.1\r\n", *(2_000 * [b"X: " + 1_000 * b"h" + b"\r\n"])], {b"400", b"431"},
                     id="headers-without-end"),
        pytest.param([b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + 500 * b"\x7f" + b"\r\n\r\n"], {b"400"},
                     id="tls"),
    ],
)  # fmt: skip
def test_a_request_that_is_too_much_is_refused(port: int, parts: list[bytes], expected: set[bytes]) -> None:
    """4xx, or a connection that is closed while it still comes; the node goes on."""
    assert status_of(port, *parts) in {*expected, b""}
    assert status_of(port, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n") == b"200"


def test_a_body_that_does_not_come_is_not_waited_for(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """408: it had its time."""
    monkeypatch.setattr(request_rules, "BODY_S", 0.05)

    assert status_of(port, POST + FORM + b"Content-Length: 10\r\n\r\n", b"a=") == b"408"
