"""The application behind a real server, in a real browser."""

import asyncio
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from selenium.webdriver.support.ui import WebDriverWait
from tests.app.calls_for_test import TOKEN, answered_call, services_with
from tests.app.served import served
from tests.peers.browser import chromium_driver

from everline.bus.memory import MemoryBus
from everline.calls.event import EventBatch

BROWSER = shutil.which("chromium") or "chromium"


@pytest.fixture
def port() -> Iterator[int]:
    """An application with one call and one in progress, listening on a port of its own."""
    bus = MemoryBus()
    asyncio.run(bus.insert(EventBatch.of(answered_call("live@test")[:3])))
    services = services_with(answered_call(caller_agent="<script>document.title='x'</script>"), bus=bus)
    with served(services) as port:
        yield port


@pytest.mark.peers("chromium")
@pytest.mark.skipif(not Path(BROWSER).exists(), reason="needs Chromium")
@pytest.mark.parametrize("host", ["127.0.0.1", "everline.test"])
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", r"<h2>Packet ledger of node-1</h2>"),
        ("/calls", r"answered"),
        ("/quality", r"No RTCP was seen in this hour"),
        ("/calls/call-1@test", r'<article class="message at" id="m1">'),
    ],
)
def test_a_sign_in_link_leads_to_a_page_that_works(
    port: int, tmp_path: Path, host: str, path: str, expected: str
) -> None:
    """
    The token behind the # signs in; the page's own scripts run, and none that was captured does.

    A browser trusts its own machine, and tells less to others that it reaches without TLS.
    """
    link = f"http://{host}:{port}/login?next={path}#token={TOKEN}"
    names = "--host-resolver-rules=MAP everline.test 127.0.0.1"
    with chromium_driver(str(tmp_path), names) as driver:
        driver.get(link)
        WebDriverWait(driver, 20).until(lambda one: re.search(expected, one.page_source))
        WebDriverWait(driver, 20).until(lambda one: "live from" in one.page_source)
        page = driver.page_source

    assert "<title>x" not in page
    assert TOKEN not in page
    assert not re.search(r'<button[^>]*data-needs-script[^>]*hidden=""', page), "the scripts of the page did not run"


def test_a_megabyte_of_query_is_refused(port: int) -> None:
    """By the server before us, or by us: with a 4xx, and the next request is answered."""
    with closing(socket.create_connection(("127.0.0.1", port), timeout=10)) as connection:
        try:
            connection.sendall(b"GET /api/v1/calls?number=" + 1_000_000 * b"1" + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        except OSError:  # Refused before it was all sent.
            pass
        assert connection.recv(12).startswith(b"HTTP/1.1 4")
    with closing(socket.create_connection(("127.0.0.1", port), timeout=10)) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 200"
