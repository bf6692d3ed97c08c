"""The id of a request: on its answer, in the words of an error, and in the log when it failed."""

import logging
import re

import pytest
from fastapi.testclient import TestClient
from tests.app.calls_for_test import TOKEN, answered_call, services_with

from everline.app.vitals import create_vitals_app
from everline.app.web import create_app
from everline.bus.errors import BusError
from everline.bus.memory import MemoryBus

GIVEN = "0123456789abcdef0123456789abcdef"
HEADER = "X-Request-ID"
SIGNED_IN = {"Authorization": f"Bearer {TOKEN}"}


class LostBus(MemoryBus):
    """Cannot be asked."""

    async def position(self) -> None:  # type: ignore[override]  # it gives nothing at all
        """Fail."""
        raise BusError("no Sentinel answers")


def broken() -> str:
    """Metrics that nobody can count."""
    raise RuntimeError("a bug")


def failing() -> TestClient:
    """A node whose bus is away and whose metrics are broken."""
    services = services_with(answered_call(), bus=LostBus(), metrics=broken)
    return TestClient(create_app(services), headers=SIGNED_IN, raise_server_exceptions=False)


@pytest.mark.parametrize("path", ["/", "/livez", "/static/app.css", "/api/v1/calls", "/api/v1/nowhere", "/login"])
def test_the_id_that_nginx_gives_comes_back(client: TestClient, path: str) -> None:
    """On every answer, whatever it is."""
    assert client.get(path, headers={HEADER: GIVEN}).headers.get_list(HEADER) == [GIVEN]


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(None, id="none"),
        pytest.param("", id="empty"),
        pytest.param(GIVEN[1:], id="too-short"),
        pytest.param(GIVEN + "0", id="too-long"),
        pytest.param(GIVEN.upper(), id="not-as-nginx-writes-it"),
        pytest.param("<script>alert(1)</script>".ljust(32, "0"), id="markup"),
        pytest.param(f"{GIVEN}, {GIVEN}", id="two"),
        pytest.param("٠" * 16, id="digits-of-other-scripts"),
        pytest.param("a" * 60_000, id="huge"),
    ],
)
def test_any_other_id_is_replaced(client: TestClient, given: str | None) -> None:
    """It gets into logs and pages, so only 32 hexadecimal digits do; each request has one of its own."""
    headers = [] if given is None else [(HEADER.encode(), given.encode())]
    found = [client.get("/livez", headers=headers).headers[HEADER] for _ in range(2)]

    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in found)
    assert len({*found, given}) == 3


@pytest.mark.parametrize(
    ("path", "status"),
    [("/api/v1/calls?limit=0", 400), ("/api/v1/calls/nobody", 404), ("/metrics", 500), ("/api/v1/live", 503)],
)
def test_a_problem_names_the_request(path: str, status: int) -> None:
    """So that who reports it can be helped; also where the answer is made outside of all middleware."""
    answer = failing().get(path, headers={HEADER: GIVEN})

    assert (answer.status_code, answer.json()["request_id"]) == (status, GIVEN)
    assert answer.headers.get_list(HEADER) == [GIVEN]


def test_the_page_of_a_problem_names_it_too() -> None:
    """In its last line."""
    answer = failing().get("/live", headers={HEADER: GIVEN, "Accept": "text/html"})

    assert f"Code 503, request {GIVEN}." in answer.text


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/api/v1/live", {"status": 503, "why": "no Sentinel answers", "levelno": logging.WARNING}),
        ("/metrics", {"levelno": logging.ERROR}),
    ],
    ids=["the-bus-is-away", "a-bug"],
)
def test_a_request_that_failed_is_logged_once(
    path: str, fields: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    """With its id and without its query, in which numbers of callers are."""
    failing().get(f"{path}?number=4930123456", headers={HEADER: GIVEN})
    [record] = [one for one in caplog.records if one.getMessage() == "request.failed"]

    told = vars(record)
    assert {"request_id": GIVEN, "method": "GET", "path": path, **fields}.items() <= told.items()
    assert (record.exc_info is not None) == (path == "/metrics")
    assert "4930123456" not in caplog.text


def test_a_request_that_was_refused_is_not_logged(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """What the client did wrong is no failure of the node."""
    client.get("/api/v1/calls?limit=0")
    client.get("/api/v1/calls/nobody")

    assert not [one for one in caplog.records if one.getMessage() == "request.failed"]


def test_nodes_without_pages_have_ids_too() -> None:
    """Ingest nodes, balancers, the witness."""
    client = TestClient(create_vitals_app(list, str))

    assert client.get("/readyz", headers={HEADER: GIVEN}).headers[HEADER] == GIVEN
