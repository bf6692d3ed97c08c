"""Who may come in: deny by default, token or session, and no forged requests."""

import re

import pytest
from fastapi import APIRouter
from fastapi.testclient import TestClient
from tests.app.calls_for_test import TOKEN, services_with

from everline.app.auth import check_needs, local_path
from everline.app.web import create_app

PUBLIC = {"/livez", "/readyz", "/metrics", "/login", "/setup", "/login/oidc", "/login/oidc/callback"}
SIGN_IN = {("POST", "/login"), ("POST", "/setup")}
"""Public, and refused all the same for want of a password or a code."""


def every_route() -> list[tuple[str, str]]:
    """Method and a path for each route there is, the mounted files aside."""
    found: set[tuple[str, str]] = set()
    for route in create_app(services_with()).routes:
        # What an included router leads to hides behind one entry; a plain route stands for itself.
        contexts = getattr(route, "effective_route_contexts", lambda alone=route: [alone])()
        for one in contexts:
            path = re.sub(r"\{call_id:path\}", "call-1@test", one.path)
            path = re.sub(r"\{\w+\}", "nobody", path)
            found.update((method, path) for method in getattr(one, "methods", None) or ())
    return sorted(found)


def test_the_list_of_routes_is_whole() -> None:
    """The next test proves something only if it sees the routes."""
    paths = {path for _, path in every_route()}

    assert {"/", "/live", "/calls", "/search", "/api/v1/calls", "/api/v1/events", "/logout", *PUBLIC} <= paths


def test_a_route_that_does_not_say_what_it_needs_is_not_served() -> None:
    """Whoever adds a route must decide who may use it."""
    router = APIRouter()
    router.add_api_route("/forgotten", lambda: None)

    with pytest.raises(ValueError, match="'/forgotten' does not say what it needs"):
        check_needs(router.routes)


@pytest.mark.parametrize(("method", "path"), every_route())
def test_every_route_is_closed_but_the_public_ones(stranger: TestClient, method: str, path: str) -> None:
    """Without a session: 401 for programs."""
    status = stranger.request(method, path).status_code

    assert (status != 401) == (path in PUBLIC) or (method, path) in SIGN_IN


@pytest.mark.parametrize("path", ["/", "/live", "/calls", "/calls/call-1@test", "/search?q=1", "/nowhere"])
def test_a_person_is_sent_to_the_login_page_and_back(stranger: TestClient, path: str) -> None:
    """A page without a session leads to the login page, which remembers where to go."""
    answer = stranger.get(path, headers={"Accept": "text/html"})
    assert (answer.status_code, answer.headers["location"].startswith("/login?next=")) == (303, True)

    form = stranger.get(answer.headers["location"], headers={"Accept": "text/html"})
    assert f'name="next" value="{path}"' in form.text


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}"]
)
def test_a_wrong_token_is_refused(stranger: TestClient, header: str) -> None:
    """Only the whole token, and only as a bearer token."""
    answer = stranger.get("/api/v1/node", headers={"Authorization": header})

    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer realm="everline"')


def test_login_gives_a_session_and_logout_takes_it(stranger: TestClient) -> None:
    """The form works without any script; the cookie is out of reach of scripts and other sites."""
    answer = stranger.post("/login", data={"token": TOKEN, "next": "/live"})

    assert (answer.status_code, answer.headers["location"]) == (303, "/live")
    assert all(word in answer.headers["set-cookie"].lower() for word in ("httponly", "samesite=strict", "path=/"))
    assert stranger.get("/api/v1/node").status_code == 200
    stranger.post("/logout")
    assert stranger.get("/api/v1/node").status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({"Sec-Fetch-Site": "cross-site"}, 403, id="another-site"),
        pytest.param({"Sec-Fetch-Site": "same-site"}, 403, id="a-sibling-host"),
        pytest.param({"Origin": "https://evil.example"}, 403, id="an-old-browser-on-another-site"),
        pytest.param({"Origin": "null"}, 403, id="a-sandboxed-frame"),
        pytest.param({"Sec-Fetch-Site": "same-origin"}, 303, id="our-own-page"),
        pytest.param({"Origin": "http://testserver"}, 303, id="an-old-browser-on-our-page"),
        pytest.param({}, 303, id="no-browser"),
    ],
)
@pytest.mark.parametrize("path", ["/login", "/logout", "/preferences"])
def test_forms_of_other_sites_are_refused(client: TestClient, path: str, headers: dict[str, str], status: int) -> None:
    """Nobody signs a reader in or out from elsewhere."""
    answer = client.post(path, data={"token": TOKEN}, headers=headers, follow_redirects=False)

    assert answer.status_code == status


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "", "/\r\nX: y"]
)
def test_login_leads_nowhere_else(target: str) -> None:
    """The address after the login is one of ours."""
    assert local_path(target) == "/"


@pytest.mark.parametrize("path", ["/", "/login", "/static/app.css", "/api/v1/node", "/nowhere", "/livez"])
def test_every_answer_has_the_security_headers(client: TestClient, path: str) -> None:
    """Pages, files, errors: all of them."""
    headers = client.get(path).headers

    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "same-origin")
