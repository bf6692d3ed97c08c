"""Users, tokens and the audit log through the API and the pages: what is done once, and what is written down."""

import re
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from tests.app.calls_for_test import PASSWORD, TOKEN, answered_call, gate_with, services_with, user_of

from everline.access.roles import Role
from everline.access.throttle import PER_ADMIN
from everline.app.web import create_app

ROOT = user_of(Role.ADMIN, "root")
NEW = {"name": "bob", "role": "operator", "password": "quite a long word"}


@pytest.fixture
def root() -> Iterator[TestClient]:
    """Signed in as the only admin, beside a viewer."""
    gate = gate_with(ROOT, user_of(Role.VIEWER, "alice"))
    app = create_app(services_with(answered_call(), gate=gate))
    with TestClient(app, follow_redirects=False) as client:
        client.post("/login", data={"name": "root", "password": PASSWORD})
        yield client


def names(client: TestClient) -> list[str]:
    """Of all users."""
    return [one["name"] for one in client.get("/api/v1/users").json()["users"]]


def acts(client: TestClient) -> list[tuple[str, str]]:
    """What the audit log has: the act and its target."""
    return [(one["act"], one["target"]) for one in client.get("/api/v1/audit").json()["entries"]]


def test_a_user_is_made_changed_and_removed(root: TestClient) -> None:
    """Each act is in the log, with before and after, and without a password or its hash."""
    made = root.post("/api/v1/users", json=NEW)
    changed = root.patch("/api/v1/users/bob", json={"role": "viewer"})
    banned = root.patch("/api/v1/users/bob", json={"is_disabled": True, "password": "another long word"})
    removed = root.delete("/api/v1/users/bob")

    assert [one.status_code for one in (made, changed, banned, removed)] == [201, 200, 200, 204]
    assert (made.json()["role"], changed.json()["role"], banned.json()["is_disabled"]) == ("operator", "viewer", True)
    assert names(root) == ["alice", "root"]
    log = root.get("/api/v1/audit")
    assert [(one["who"], one["act"], one["target"]) for one in log.json()["entries"]] == [
        ("root", "user.added", "bob"), ("root", "user.changed", "bob"), ("root", "user.changed", "bob"),
        ("root", "user.removed", "bob"),
    ]  # fmt: skip
    assert '"role": "operator"' in log.json()["entries"][1]["before"]
    assert all(secret not in log.text + made.text for secret in ("long word", "argon2"))
    assert root.get("/api/v1/audit/check").json() == {"is_whole": True, "entries": 4, "fault": ""}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(NEW | {"name": "alice"}, 409, id="there-is-one"),
        pytest.param(NEW | {"name": "ALICE "}, 409, id="the-same-in-capitals"),
        pytest.param(NEW | {"name": ""}, 400, id="no-name"),
        pytest.param(NEW | {"name": "a/../b"}, 400, id="a-path"),
        pytest.param(NEW | {"name": "<script>"}, 400, id="markup"),
        pytest.param(NEW | {"name": "b" * 129}, 400, id="too-long"),
        pytest.param(NEW | {"password": "short"}, 400, id="a-short-password"),
        pytest.param(NEW | {"password": "aaaaaaaaaaaaaaaaaaaa"}, 400, id="one-letter-again-and-again"),
        pytest.param(NEW | {"password": "i am bob the builder"}, 400, id="a-password-with-the-name"),
        pytest.param(NEW | {"password": "x" * 2000}, 400, id="a-password-without-end"),
        pytest.param(NEW | {"role": "king"}, 400, id="no-such-role"),
        pytest.param(NEW | {"is_admin": True}, 400, id="a-field-that-we-do-not-know"),
        pytest.param([], 400, id="no-object"),
    ],
)
def test_a_user_that_will_not_do_is_refused(root: TestClient, body: object, status: int) -> None:
    """With what is wrong, never with the password in it; and nothing is written down."""
    answer = root.post("/api/v1/users", json=body)

    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["next_step"]
    assert "builder" not in answer.text
    assert (names(root), acts(root)) == (["alice", "root"], [])


@pytest.mark.parametrize("change", [{"role": "viewer"}, {"is_disabled": True}])
def test_the_last_admin_stays(root: TestClient, change: dict[str, object]) -> None:
    """Nobody would be left who could make another."""
    assert root.patch("/api/v1/users/root", json=change).status_code == 409
    assert root.delete("/api/v1/users/root").status_code == 409

    root.patch("/api/v1/users/alice", json={"role": "admin"})
    assert root.patch("/api/v1/users/root", json=change).status_code == 200


def test_a_token_is_shown_once_reaches_its_area_and_is_revoked(root: TestClient) -> None:
    """The list has no secret."""
    made = root.post("/api/v1/tokens", json={"name": "report", "areas": ["calls"]}).json()
    bearer = {"Authorization": f"Bearer {made['token']}"}
    root.cookies.clear()

    assert root.get("/api/v1/me", headers=bearer).json()["name"] == f"token report ({made['id']})"
    assert root.get("/api/v1/calls", headers=bearer).status_code == 200
    assert root.get("/api/v1/cluster", headers=bearer).status_code == 403
    admin = {"Authorization": f"Bearer {TOKEN}"}
    assert made["token"] not in root.get("/api/v1/tokens", headers=admin).text
    assert root.delete(f"/api/v1/tokens/{made['id']}", headers=admin).status_code == 204
    assert root.get("/api/v1/calls", headers=bearer).status_code == 401
    assert made["token"] not in root.get("/api/v1/audit", headers=admin).text


def test_nobody_makes_a_token_that_may_more_than_its_maker(root: TestClient) -> None:
    """Not even through a token."""
    wish = {"name": "keys", "role": "admin", "areas": ["access"]}
    token = root.post("/api/v1/tokens", json=wish).json()["token"]
    root.cookies.clear()
    answer = root.post("/api/v1/tokens", json=wish | {"areas": ["calls"]}, headers={"Authorization": f"Bearer {token}"})

    assert (answer.status_code, "can't be allowed more" in answer.json()["detail"]) == (409, True)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v1/users", NEW),
        ("/api/v1/tokens", {"name": "report"}),
        ("/api/v1/reveal/call-1@test", {"reason": "bill"}),
    ],
    ids=["a-user", "a-token", "numbers"],
)
def test_a_request_that_comes_twice_with_one_key_is_done_once(
    root: TestClient, path: str, body: dict[str, str]
) -> None:
    """And is answered twice alike, the secret of a token included."""
    key = {"Idempotency-Key": "0b1f0d52-8f8e-4b7c-9d0b-3a6b6f0c7e11"}
    first, second = (root.post(path, json=body, headers=key) for _ in range(2))
    other = root.post(path, json=body | {"name": "other"} if "name" in body else {"reason": "other"}, headers=key)

    assert (first.status_code, first.json()) == (second.status_code, second.json())
    assert other.status_code == 422
    assert len(acts(root)) == 1


def test_without_a_key_a_second_token_is_made(root: TestClient) -> None:
    """Two programs may have the same name."""
    one, two = (root.post("/api/v1/tokens", json={"name": "report"}).json() for _ in range(2))

    assert one["token"] != two["token"]


@pytest.mark.parametrize("key", ["x" * 201, "\x7f"])
def test_a_key_that_is_none_is_refused(root: TestClient, key: str) -> None:
    """Before anything is done."""
    answer = root.post("/api/v1/tokens", json={"name": "report"}, headers={"Idempotency-Key": key})

    assert (answer.status_code, root.get("/api/v1/tokens").json()["tokens"]) == (400, [])


def test_a_form_that_is_sent_twice_is_done_once(root: TestClient) -> None:
    """Its key was drawn with it."""
    page = root.get("/admin/tokens").text
    key = re.search(r'name="key" value="([^"]+)"', page)
    assert key
    form = {"name": "report", "role": "viewer", "areas": ["calls"], "days": "30", "key": key[1]}
    shown = [re.search(r"evl_\w{12}_[\w-]{43}", root.post("/admin/tokens", data=form).text) for _ in range(2)]

    assert [one and one[0] for one in shown] == [shown[0] and shown[0][0]] * 2
    assert len(root.get("/api/v1/tokens").json()["tokens"]) == 1


def test_the_pages_do_what_their_buttons_say(root: TestClient) -> None:
    """Make, change, ban and remove a user; what won't do is said on the page."""
    assert root.post("/admin/users", data=NEW).headers["location"] == "/admin/users"
    refused = root.post("/admin/users", data=NEW | {"name": "eve", "password": "sh0rt"})
    assert (refused.status_code, "has 5 characters" in refused.text, "sh0rt" in refused.text) == (400, True, False)
    for act, form in [("role", {"role": "admin"}), ("disable", {}), ("enable", {}), ("sign-out", {})]:
        assert root.post("/admin/users/bob", data={"act": act, **form}).headers["location"] == "/admin/users/bob"
    assert 'value="admin" checked' in root.get("/admin/users/bob").text
    assert root.post("/admin/users/bob", data={"act": "remove"}).headers["location"] == "/admin/users"
    assert root.get("/admin/users/bob", headers={"Accept": "text/html"}).status_code == 404
    last = root.post("/admin/users/root", data={"act": "remove"})
    assert (last.status_code, "last admin" in last.text) == (409, True)
    log = root.get("/admin/audit?check=1").text
    assert all(word in log for word in ("user.added", "user.removed", "The log is whole: 6 entries"))


@pytest.mark.parametrize("path", ["/admin/users", "/admin/users/alice", "/admin/tokens", "/admin/audit"])
def test_the_rail_tells_that_these_are_the_admins_pages(root: TestClient, path: str) -> None:
    """Each of them, not the first alone."""
    assert 'data-place="/admin/users" aria-current="page"' in root.get(path).text


def test_an_admin_who_changes_too_much_at_once_has_to_wait(root: TestClient) -> None:
    """A stolen session can't rewrite all before anybody looks."""
    answers = [root.delete("/api/v1/tokens/nobody").status_code for _ in range(PER_ADMIN.tries + 1)]

    assert (set(answers[:-1]), answers[-1]) == ({404}, 429)


def test_the_log_is_given_in_pages(root: TestClient) -> None:
    """Older entries by number."""
    for number in range(5):
        root.post("/api/v1/tokens", json={"name": f"t{number}"})
    newest = root.get("/api/v1/audit?limit=2").json()["entries"]
    older = root.get(f"/api/v1/audit?limit=2&before={newest[0]['seq']}").json()["entries"]

    assert [one["seq"] for one in older + newest] == [2, 3, 4, 5]
    assert "?before=" not in root.get("/admin/audit").text
