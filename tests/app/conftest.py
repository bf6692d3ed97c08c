"""A client of an application with a few calls."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from tests.app.calls_for_test import TOKEN, answered_call, busy_call, message, services_with

from everline.app.web import create_app

REGISTER = "register/1?x=2@test"


@pytest.fixture
def client() -> Iterator[TestClient]:
    """Signed in by token; two calls and one registration."""
    register = message("REGISTER", 5000, call_id=REGISTER)
    events = [*answered_call(), *busy_call("call/2@test", start_ms=9000), register]
    with TestClient(create_app(services_with(events)), headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        yield client


@pytest.fixture
def stranger() -> Iterator[TestClient]:
    """Not signed in."""
    with TestClient(create_app(services_with(answered_call())), follow_redirects=False) as client:
        yield client
