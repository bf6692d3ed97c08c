"""Signing in: by password, by the one-time link, by the admin token; and what ends a session."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient
from tests.app.calls_for_test import (
    KEY,
    NOW,
    PASSWORD,
    TOKEN,
    answered_call,
    gate_with,
    services_with,
    user_of,
    with_clock,
)

from everline.access.account import User
from everline.access.gate import Gate
from everline.access.local_book import LocalBook
from everline.access.roles import Role
from everline.access.sessions import SESSION_S, new_session
from everline.access.signing import KeyRing
from everline.access.throttle import PER_CLIENT, Limit
from everline.app.auth import COOKIE
from everline.app.web import create_app
from everline.bus.errors import BusError

ALICE = user_of(Role.VIEWER, "alice")
ROOT = user_of(Role.ADMIN, "root")


def client_of(gate: Gate) -> TestClient:
    """A browser that is not signed in."""
    return TestClient(create_app(services_with(answered_call(), gate=gate)), follow_redirects=False)


@pytest.fixture
def browser() -> Iterator[TestClient]:
    """Before a node with two users."""
    with client_of(gate_with(ALICE, ROOT)) as client:
        yield client


def sign_in(client: TestClient, name: str = "alice", password: str = PASSWORD) -> int:
    """The status of the answer."""
    return client.post("/login", data={"name": name, "password": password, "next": "/live"}).status_code


@pytest.mark.parametrize("name", ["alice", " Alice "])
def test_a_password_gives_a_session(browser: TestClient, name: str) -> None:
    """The form works without any script; the cookie is out of reach of scripts and other sites."""
    answer = browser.post("/login", data={"name": name, "password": PASSWORD, "next": "/live"})

    assert (answer.status_code, answer.headers["location"]) == (303, "/live")
    assert all(word in answer.headers["set-cookie"].lower() for word in ("httponly", "samesite=strict", "path=/"))
    assert browser.get("/api/v1/me").json() == {
        "name": "alice", "role": "viewer", "areas": ["access", "calls", "cluster"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "password"),
    [
        pytest.param("alice", "correct horse batterx", id="another-password"),
        pytest.param("alice", "", id="none"),
        pytest.param("nobody", PASSWORD, id="another-name"),
        pytest.param("", "", id="nothing"),
        pytest.param("alice\x00", PASSWORD, id="a-name-with-a-zero-byte"),
        pytest.param("../users/alice", PASSWORD, id="a-path"),
    ],
)
def test_nothing_else_gives_one_and_the_answer_does_not_tell_why(browser: TestClient, name: str, password: str) -> None:
    """Whether it was the name or the password is nobody's business."""
    answer = browser.post("/login", data={"name": name, "password": password})

    assert (answer.status_code, COOKIE in browser.cookies) == (401, False)
    assert "This is not a user with that password." in answer.text


def test_signing_out_makes_a_session_void_everywhere(browser: TestClient) -> None:
    """A copy of the cookie too."""
    sign_in(browser)
    copy = browser.cookies[COOKIE]
    browser.post("/logout")

    assert browser.get("/api/v1/me").status_code == 401
    browser.cookies.set(COOKIE, copy)
    assert browser.get("/api/v1/me").status_code == 401


@pytest.mark.parametrize(
    ("change", "status"),
    [
        pytest.param(lambda user: user, 200, id="nothing"),
        pytest.param(lambda user: replace(user, is_disabled=True), 401, id="may-not-sign-in-any-more"),
        pytest.param(lambda user: user.signed_out(), 401, id="signed-out-everywhere"),
        pytest.param(lambda user: replace(user, name="gone"), 401, id="removed"),
    ],
)
def test_what_happens_to_a_user_counts_for_sessions_at_once(change: object, status: int) -> None:
    """A session says who it is; what that one may do is asked anew each time."""
    assert callable(change)
    before, after = gate_with(ALICE), gate_with(change(ALICE))
    with client_of(before) as client, client_of(after) as later:
        sign_in(client)
        later.cookies.set(COOKIE, client.cookies[COOKIE])
        assert later.get("/api/v1/me").status_code == status


def test_keys_are_rotated_without_signing_anybody_out() -> None:
    """Behind the old one, then first, then alone; nodes may be a step apart."""
    old, new = "old-key-for-tests-1", "new-key-for-tests-1"
    steps = [old, f"{old},{new}", f"{new},{old}"]
    rings = [gate_with(ALICE, keys=keys) for keys in steps]
    for ours, theirs in [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 1), (2, 2)]:
        session = new_session("alice", rings[ours].now_us).signed(rings[ours].ring)
        assert rings[theirs].by_cookie(session), (ours, theirs)

    left = new_session("alice", rings[0].now_us).signed(rings[0].ring)
    assert gate_with(ALICE, keys=new).by_cookie(left) is None


@pytest.mark.parametrize("cookie", ["", ".", "..", "e30.x", "e30", "é.é", "\ud800", "a" * 5000, "bnVsbA.AAAA"])
def test_a_made_up_cookie_is_refused(cookie: str) -> None:
    """Nothing but our own signature counts."""
    assert gate_with(ALICE).by_cookie(cookie) is None


def test_what_was_signed_for_another_purpose_is_no_session() -> None:
    """Nor is a session with one letter changed."""
    gate = gate_with(ALICE)
    session = new_session("alice", gate.now_us).signed(gate.ring)
    body, _, signature = session.partition(".")

    assert gate.by_cookie(session)
    assert gate.by_cookie(gate.ring.sign("reveal", '{"user": "alice"}')) is None
    for other in (f"{body[:-1]}A.{signature}", f"{body}.{signature[:-2]}AA", f"{body}.", session[1:]):
        assert gate.by_cookie(other) is None


@pytest.mark.parametrize(
    ("after_s", "is_in"),
    [(0, True), (SESSION_S - 1, True), (SESSION_S + 1, False), (-59, True), (-61, False)],
    ids=["now", "a-shift-later", "after-the-shift", "a-node-whose-clock-is-behind", "made-in-a-time-to-come"],
)
def test_a_session_lasts_a_shift(after_s: int, is_in: bool) -> None:  # noqa: FBT001 - a column of the table
    """Clocks of nodes may be a minute apart."""
    services = services_with(gate=gate_with(ALICE))
    session = new_session("alice", int(NOW * 1e6)).signed(KeyRing.parse(KEY))

    assert bool(with_clock(services, NOW + after_s).gate.by_cookie(session)) == is_in


def test_the_admin_token_signs_in_and_a_new_one_ends_its_sessions(browser: TestClient) -> None:
    """For the first minutes, and for the day when no admin can sign in."""
    answer = browser.post("/login", data={"token": f" {TOKEN} ", "next": "/"})

    assert answer.status_code == 303
    assert browser.get("/api/v1/me").json()["role"] == "admin"
    assert gate_with(ALICE).by_cookie(browser.cookies[COOKIE])
    for changed in (gate_with(ALICE, token="another-token-for-tests"), gate_with(ALICE, keys="another-key-for-tests")):
        assert changed.by_cookie(browser.cookies[COOKIE]) is None


def test_too_many_tries_have_to_wait(browser: TestClient) -> None:
    """After five wrong ones even the right one; whoever is right is forgiven what was wrong before."""
    for _ in range(PER_CLIENT.tries - 1):
        assert sign_in(browser, password="wrong") == 401
    assert sign_in(browser) == 303
    browser.cookies.clear()
    wrong = [sign_in(browser, password="wrong") for _ in range(PER_CLIENT.tries)]
    answer = browser.post("/login", data={"name": "alice", "password": PASSWORD})

    assert (set(wrong), answer.status_code) == ({401}, 429)
    assert 50 <= int(answer.headers["retry-after"]) <= 61
    assert COOKIE not in browser.cookies


class DeafThrottle:
    """Redis is away."""

    async def wait_s(self, who: str, limit: Limit) -> int:
        """Can't count."""
        raise BusError(f"no Redis primary answers ({who[:6]}, {limit.tries})")

    async def forgive(self, who: str) -> None:
        """Can't forget."""
        raise BusError(f"no Redis primary answers ({who[:6]})")


def test_while_tries_cannot_be_counted_sessions_read_and_nobody_else_comes_in() -> None:
    """Existing sessions go on, the admin token counts, since it can't be guessed; sign-ins and admin acts wait."""
    gate = gate_with(ALICE, ROOT, throttle=DeafThrottle())
    with client_of(gate) as client:
        answer = client.post("/login", data={"name": "alice", "password": PASSWORD})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert "can't be counted" in answer.json()["detail"]

        client.cookies.set(COOKIE, new_session("root", gate.now_us).signed(gate.ring))
        read = [client.get(path).status_code for path in ("/api/v1/calls", "/calls", "/api/v1/users", "/api/v1/audit")]
        act = client.post("/api/v1/users", json={"name": "new", "password": "long enough a word"})
        assert (set(read), act.status_code) == ({200}, 503)
        assert client.get("/api/v1/users").json()["users"][-1]["name"] == "root"

        client.cookies.clear()
        assert client.post("/login", data={"token": TOKEN}).status_code == 303


class DeafBook(LocalBook):
    """Keeper was not reached since the start."""

    contents = None  # type: ignore[assignment]  # what KeeperBook has before it was reached


def test_before_users_are_known_nobody_comes_in_but_by_the_admin_token() -> None:
    """The others are told to wait, not that they are wrong."""
    gate = gate_with(book=DeafBook())
    with client_of(gate) as client:
        client.cookies.set(COOKIE, new_session("alice", gate.now_us).signed(gate.ring))
        waits = client.get("/api/v1/calls")
        assert (waits.status_code, "Keeper" in waits.json()["detail"]) == (503, True)
        assert client.get("/login").status_code == 200
        assert client.get("/api/v1/calls", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_the_one_time_link_makes_the_first_user_and_no_second() -> None:
    """It signs in at once; then it is void, on every node."""
    gate = gate_with()
    with client_of(gate) as client:
        form = {"code": gate.setup_code(), "name": "Root", "password": "a password for tests"}
        assert client.get("/setup").status_code == 200
        assert client.post("/setup", data=form | {"code": "another"}).status_code == 401
        assert client.post("/setup", data=form | {"password": "short"}).status_code == 400
        assert client.post("/setup", data=form).status_code == 303
        assert client.get("/api/v1/me").json()["role"] == "admin"
        assert gate.contents.users["root"].password_hash.startswith("$argon2id$")

        client.cookies.clear()
        assert client.get("/setup").headers["location"] == "/login"
        assert client.post("/setup", data=form | {"name": "second"}).status_code == 409


def test_every_node_knows_the_link_and_it_tells_nothing() -> None:
    """It is made of the secrets that all nodes share, and another cluster has another one."""
    one, two = gate_with(), gate_with()

    assert one.setup_code() == two.setup_code()
    assert gate_with(keys="another-key-for-tests").setup_code() != one.setup_code()
    assert one.setup_code() not in TOKEN


@pytest.mark.parametrize(("token", "keys"), [("short", KEY), (TOKEN, "short"), (TOKEN, ""), (TOKEN, f"{KEY},short")])
def test_short_secrets_are_refused(token: str, keys: str) -> None:
    """An empty or guessable one would let everybody in."""
    with pytest.raises(ValueError, match="at least 16"):
        gate_with(token=token, keys=keys)


def test_a_change_of_the_own_password_ends_other_sessions(browser: TestClient) -> None:
    """The one that changes it goes on."""
    sign_in(browser)
    other = browser.cookies[COOKIE]
    answers = [
        browser.post("/account", data={"old": old, "password": new}).status_code
        for old, new in [("wrong", "a new password 1"), (PASSWORD, "short"), (PASSWORD, "a new password 1")]
    ]

    assert answers == [400, 400, 200]
    assert browser.get("/api/v1/me").status_code == 200
    browser.cookies.clear()
    browser.cookies.set(COOKIE, other)
    assert browser.get("/api/v1/me").status_code == 401
    browser.cookies.clear()
    assert (sign_in(browser), sign_in(browser, password="a new password 1")) == (401, 303)


def test_a_user_of_an_identity_provider_has_no_password() -> None:
    """Not even an empty one."""
    with client_of(gate_with(User("carol", Role.ADMIN, issuer="https://id.example.org", subject="1"))) as client:
        assert {sign_in(client, "carol", word) for word in ("", "x", PASSWORD)} == {401}
