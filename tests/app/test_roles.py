"""Every route for every role, and for tokens of every area: what is open to whom."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from tests.app.calls_for_test import PASSWORD, answered_call, gate_with, services_with, user_of
from tests.app.test_auth import PUBLIC, every_route

from everline.access.account import ApiToken
from everline.access.roles import Area, Role
from everline.access.tokens import hash_of, secret_of
from everline.app.web import create_app

CALLS, CLUSTER, ACCESS = Area.CALLS, Area.CLUSTER, Area.ACCESS
ANY = None
VIEWER, OPERATOR, ADMIN = Role.VIEWER, Role.OPERATOR, Role.ADMIN

NEEDS: dict[tuple[str, str], tuple[Role, Area | None]] = {
    ("GET", "/"): (VIEWER, CALLS),
    ("GET", "/live"): (VIEWER, CALLS),
    ("GET", "/calls"): (VIEWER, CALLS),
    ("GET", "/calls/call-1@test"): (VIEWER, CALLS),
    ("GET", "/quality"): (VIEWER, CALLS),
    ("GET", "/search"): (VIEWER, CALLS),
    ("POST", "/reveal/call-1@test"): (VIEWER, CALLS),
    ("GET", "/api/v1/calls"): (VIEWER, CALLS),
    ("GET", "/api/v1/calls.csv"): (VIEWER, CALLS),
    ("GET", "/api/v1/calls.jsonl"): (VIEWER, CALLS),
    ("GET", "/api/v1/calls/call-1@test"): (VIEWER, CALLS),
    ("GET", "/api/v1/events"): (VIEWER, CALLS),
    ("GET", "/api/v1/kpis"): (VIEWER, CALLS),
    ("GET", "/api/v1/ladder/call-1@test"): (VIEWER, CALLS),
    ("GET", "/api/v1/live"): (VIEWER, CALLS),
    ("GET", "/api/v1/messages/call-1@test"): (VIEWER, CALLS),
    ("GET", "/api/v1/node"): (VIEWER, CALLS),
    ("GET", "/api/v1/quality"): (VIEWER, CALLS),
    ("GET", "/api/v1/series"): (VIEWER, CALLS),
    ("POST", "/api/v1/reveal/call-1@test"): (VIEWER, CALLS),
    ("GET", "/api/v1/pcap/call-1@test"): (OPERATOR, CALLS),
    ("GET", "/cluster"): (VIEWER, CLUSTER),
    ("GET", "/failovers"): (VIEWER, CLUSTER),
    ("GET", "/nodes/nobody"): (VIEWER, CLUSTER),
    ("GET", "/api/v1/cluster"): (VIEWER, CLUSTER),
    ("GET", "/api/v1/cluster/if"): (VIEWER, CLUSTER),
    ("GET", "/api/v1/failovers"): (VIEWER, CLUSTER),
    ("GET", "/api/v1/failovers.csv"): (VIEWER, CLUSTER),
    ("GET", "/api/v1/failovers.jsonl"): (VIEWER, CLUSTER),
    ("POST", "/nodes/nobody/drain"): (OPERATOR, CLUSTER),
    ("POST", "/nodes/nobody/undrain"): (OPERATOR, CLUSTER),
    ("POST", "/api/v1/nodes/nobody/drain"): (OPERATOR, CLUSTER),
    ("POST", "/api/v1/nodes/nobody/undrain"): (OPERATOR, CLUSTER),
    ("GET", "/admin/audit"): (ADMIN, ACCESS),
    ("GET", "/admin/tokens"): (ADMIN, ACCESS),
    ("POST", "/admin/tokens"): (ADMIN, ACCESS),
    ("POST", "/admin/tokens/nobody/revoke"): (ADMIN, ACCESS),
    ("GET", "/admin/users"): (ADMIN, ACCESS),
    ("POST", "/admin/users"): (ADMIN, ACCESS),
    ("GET", "/admin/users/nobody"): (ADMIN, ACCESS),
    ("POST", "/admin/users/nobody"): (ADMIN, ACCESS),
    ("GET", "/api/v1/audit"): (ADMIN, ACCESS),
    ("GET", "/api/v1/audit/check"): (ADMIN, ACCESS),
    ("GET", "/api/v1/tokens"): (ADMIN, ACCESS),
    ("POST", "/api/v1/tokens"): (ADMIN, ACCESS),
    ("DELETE", "/api/v1/tokens/nobody"): (ADMIN, ACCESS),
    ("GET", "/api/v1/users"): (ADMIN, ACCESS),
    ("POST", "/api/v1/users"): (ADMIN, ACCESS),
    ("PATCH", "/api/v1/users/nobody"): (ADMIN, ACCESS),
    ("DELETE", "/api/v1/users/nobody"): (ADMIN, ACCESS),
    ("GET", "/account"): (VIEWER, ANY),
    ("POST", "/account"): (VIEWER, ANY),
    ("POST", "/logout"): (VIEWER, ANY),
    ("POST", "/preferences"): (VIEWER, ANY),
    ("GET", "/api/v1/me"): (VIEWER, ANY),
    ("GET", "/api/v1/openapi.json"): (VIEWER, ANY),
    ("HEAD", "/api/v1/openapi.json"): (VIEWER, ANY),
}

TOO_LONG = {"Last-Event-ID": "x" * 300}
"""The stream of events has no end: asked like this, who may have it is told that the id is too long."""


@pytest.fixture(scope="module")
def app() -> Iterator[TestClient]:
    """With a user for each role."""
    gate = gate_with(*(user_of(role) for role in Role))
    services = services_with(answered_call(), gate=gate)
    with TestClient(create_app(services), follow_redirects=False, headers=TOO_LONG) as client:
        yield client


def token_for(client: TestClient, role: Role, area: Area) -> str:
    """A token of a program."""
    gate = client.app.state.services.gate  # type: ignore[attr-defined]  # an ASGI app to the client
    token_id = f"{list(Role).index(role)}{list(Area).index(area)}".ljust(12, "0")
    token = secret_of(gate.ring, token_id, "seed")
    made = ApiToken(token_id, "report", role, frozenset({area}), hash_of(token))
    gate.book.contents.tokens[token_id] = made
    return token


def test_the_table_has_every_route_that_is_not_public() -> None:
    """A new route needs a line here, and with it a decision."""
    assert set(NEEDS) == {(method, path) for method, path in every_route() if path not in PUBLIC}


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(("method", "path"), NEEDS)
def test_a_user_may_do_what_the_role_allows(app: TestClient, role: Role, method: str, path: str) -> None:
    """Less is answered by 403; what is allowed is answered in whatever other way."""
    app.cookies.clear()
    signed_in = app.post("/login", data={"name": role, "password": PASSWORD})
    status = app.request(method, path).status_code

    assert signed_in.status_code == 303
    assert (status == 403) == (not role.allows(NEEDS[method, path][0]))
    assert status != 401


@pytest.mark.parametrize("area", Area)
@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(("method", "path"), NEEDS)
def test_a_token_reaches_its_areas_only(app: TestClient, role: Role, area: Area, method: str, path: str) -> None:
    """And there no more than its role allows."""
    app.cookies.clear()
    needed, where = NEEDS[method, path]
    bearer = {"Authorization": f"Bearer {token_for(app, role, area)}"}
    status = app.request(method, path, headers=bearer).status_code

    assert (status == 403) == (not role.allows(needed) or where not in {None, area})
    assert status != 401


def test_what_is_refused_says_what_would_be_needed(app: TestClient) -> None:
    """To programs and to people."""
    app.cookies.clear()
    app.post("/login", data={"name": "viewer", "password": PASSWORD})

    problem = app.get("/api/v1/users").json()
    page = app.get("/admin/users", headers={"Accept": "text/html"})

    assert problem["detail"] == "viewer has the role viewer: this needs the role admin."
    assert (page.status_code, "this needs the role admin" in page.text) == (403, True)


def test_pages_offer_what_their_reader_may_do(app: TestClient) -> None:
    """An admin is led to users, a viewer is not."""
    seen = {}
    for role in Role:
        app.cookies.clear()
        app.post("/login", data={"name": role, "password": PASSWORD})
        seen[role] = app.get("/calls/call-1@test").text

    assert [role for role in Role if 'href="/admin/users"' in seen[role]] == [ADMIN]
    assert [role for role in Role if "/api/v1/pcap/" in seen[role]] == [OPERATOR, ADMIN]
    assert [role for role in Role if "Show numbers" in seen[role]] == [VIEWER]
