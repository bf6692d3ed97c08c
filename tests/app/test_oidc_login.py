"""Signing in at an identity provider, through our pages: who comes in, as whom, and who does not."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient
from tests.app.calls_for_test import PASSWORD, gate_with, services_with, user_of
from tests.rigs.oidc_provider import CLIENT_ID, CLIENT_SECRET, USER, Manner, OidcProvider, running_provider, visit

from everline.access.gate import Gate
from everline.access.oidc import OidcClient, OidcSettings
from everline.access.roles import Role
from everline.app.auth import COOKIE
from everline.app.oidc_login import COOKIE as PENDING
from everline.app.web import create_app

BASE = "https://everline.example"


@pytest.fixture(scope="module")
def running() -> Iterator[OidcProvider]:
    """One for all tests."""
    with running_provider() as started:
        yield started


@pytest.fixture
def provider(running: OidcProvider) -> OidcProvider:
    """The same, behaving well."""
    running.manner = Manner()
    return running


def gate_at(provider: OidcProvider, gate: Gate | None = None) -> Gate:
    """A gate with the provider, where operators are in the group noc."""
    settings = OidcSettings(
        issuer=provider.issuer, client_id=CLIENT_ID, client_secret=CLIENT_SECRET, name="Corp", roles={"noc": "operator"}
    )
    return replace(gate or gate_with(user_of(Role.ADMIN, "root")), oidc=OidcClient(settings))


def browser_at(gate: Gate) -> TestClient:
    """A browser before a node with that gate."""
    return TestClient(create_app(services_with(gate=gate)), base_url=BASE, follow_redirects=False)


def way_back(browser: TestClient, *, target: str = "/live") -> dict[str, str]:
    """What the browser comes back from the provider with."""
    there = browser.get("/login/oidc", params={"next": target})
    assert (there.status_code, PENDING in browser.cookies) == (303, True)
    return visit(there.headers["location"])


def test_whom_the_provider_lets_in_comes_in_as_what_it_says(provider: OidcProvider) -> None:
    """A page of ours leads on, since a redirect from another site would lose the strict cookie; then it is one user."""
    gate = gate_at(provider)
    with browser_at(gate) as browser:
        assert "Sign in with Corp" in browser.get("/login").text
        answer = browser.get("/login/oidc/callback", params=way_back(browser))

        assert answer.status_code == 200
        assert '<meta http-equiv="refresh" content="0; url=/live">' in answer.text
        assert {"name": "ada", "role": "operator"}.items() <= browser.get("/api/v1/me").json().items()
        assert PENDING not in browser.cookies
        browser.cookies.clear()
        browser.get("/login/oidc/callback", params=way_back(browser))

    user = gate.contents.users["ada"]
    assert (user.issuer, user.subject, user.password_hash) == (provider.issuer, USER["sub"], "")


def test_the_way_back_may_come_to_another_node(provider: OidcProvider) -> None:
    """Nothing of a sign-in is in a process; the new user is known to both, who share the book."""
    first = gate_at(provider)
    second = replace(first, oidc=gate_at(provider).oidc)
    with browser_at(first) as one, browser_at(second) as two:
        query = way_back(one)
        two.cookies = one.cookies
        assert two.get("/login/oidc/callback", params=query).status_code == 200
        assert two.get("/api/v1/me").json()["name"] == "ada"


def test_another_role_at_the_provider_is_another_role_here(provider: OidcProvider) -> None:
    """At the next sign-in, and the log has it."""
    gate = gate_at(provider)
    admins = replace(gate, oidc=OidcClient(replace(gate.oidc.settings, roles={"noc": "admin"}))) if gate.oidc else gate
    for one in (gate, admins):
        with browser_at(one) as browser:
            browser.get("/login/oidc/callback", params=way_back(browser))
            role = browser.get("/api/v1/me").json()["role"]

    assert role == "admin"
    assert gate.contents.users["ada"].role is Role.ADMIN


def test_a_name_that_is_somebodys_here_is_not_taken_over(provider: OidcProvider) -> None:
    """The provider's ada is not our ada, who keeps the password."""
    gate = gate_at(provider, gate_with(user_of(Role.ADMIN, "ada")))
    with browser_at(gate) as browser:
        browser.get("/login/oidc/callback", params=way_back(browser))
        me = browser.get("/api/v1/me").json()
        assert (me["name"].startswith("ada-"), me["role"]) == (True, "operator")
        browser.cookies.clear()
        browser.post("/login", data={"name": "ada", "password": PASSWORD})
        assert browser.get("/api/v1/me").json()["role"] == "admin"


def test_who_was_shut_out_here_stays_out(provider: OidcProvider) -> None:
    """Whatever the provider says."""
    gate = gate_at(provider)
    with browser_at(gate) as browser:
        browser.get("/login/oidc/callback", params=way_back(browser))
        browser.cookies.clear()
        browser.post("/login", data={"name": "root", "password": PASSWORD})
        browser.patch("/api/v1/users/ada", json={"is_disabled": True})
        browser.cookies.clear()
        answer = browser.get("/login/oidc/callback", params=way_back(browser))

    assert (answer.status_code, COOKIE in browser.cookies) == (403, False)
    assert "may not sign in any more" in answer.text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({"state": "another"}, "another one (state)", id="another-sign-in"),
        pytest.param({"error": "access_denied", "code": ""}, "access_denied", id="the-user-said-no"),
        pytest.param({"code": "stolen"}, "invalid_grant", id="a-code-that-is-not-ours"),
        pytest.param({"error": "<script>alert(1)</script>"}, "&lt;script&gt;", id="markup-is-text"),
    ],
)
def test_an_answer_that_is_not_ours_lets_nobody_in(provider: OidcProvider, change: dict[str, str], said: str) -> None:
    """The sign-in page says why."""
    with browser_at(gate_at(provider)) as browser:
        answer = browser.get("/login/oidc/callback", params=way_back(browser) | change)

        assert (answer.status_code, COOKIE in browser.cookies) == (403, False)
        assert said in answer.text
        assert "<script>alert" not in answer.text


@pytest.mark.parametrize("cookie", ["", "garbage", "e30.AAAA"])
def test_without_our_own_cookie_nothing_was_begun(provider: OidcProvider, cookie: str) -> None:
    """A link from elsewhere signs nobody in as somebody else."""
    with browser_at(gate_at(provider)) as browser:
        query = way_back(browser)
        browser.cookies.clear()
        browser.cookies.set(PENDING, cookie)

        assert browser.get("/login/oidc/callback", params=query).status_code == 403


def test_a_target_elsewhere_is_not_followed(provider: OidcProvider) -> None:
    """The page that leads on leads to one of ours."""
    with browser_at(gate_at(provider)) as browser:
        query = way_back(browser, target="//evil.example")

        assert 'url=/">' in browser.get("/login/oidc/callback", params=query).text


def test_a_provider_that_is_away_says_so_and_passwords_work(provider: OidcProvider) -> None:
    """503, with the form for whoever has a password."""
    gone = OidcSettings(issuer="http://127.0.0.1:1", client_id="x", name="Corp", default_role="viewer")
    gate = replace(gate_at(provider), oidc=OidcClient(gone, deadline_s=0.5))
    with browser_at(gate) as browser:
        answer = browser.get("/login/oidc")

        assert (answer.status_code, 'name="password"' in answer.text) == (503, True)
        assert browser.post("/login", data={"name": "root", "password": PASSWORD}).status_code == 303


def test_without_a_provider_there_is_no_button_and_no_way() -> None:
    """404, which says where to read."""
    with browser_at(gate_with(user_of(Role.ADMIN))) as browser:
        assert "/login/oidc" not in browser.get("/login").text
        assert browser.get("/login/oidc").json()["next_step"].endswith("of the configuration.")
