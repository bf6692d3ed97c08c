"""How claims become a name and a role."""

from typing import Any, Final

import pytest

from everline.access.oidc_errors import OidcNoRoleError
from everline.access.oidc_identity import identity_of
from everline.access.oidc_settings import OidcSettings

ISSUER: Final = "https://id.example.com"


def settings(**changes: Any) -> OidcSettings:  # whatever the settings are
    """Two groups with roles; others may look."""
    usual: dict[str, Any] = {"roles": {"noc": "operator", "it": "admin", "desk": "viewer"}, "default_role": "viewer"}
    return OidcSettings(issuer=ISSUER, client_id="c", **(usual | changes))


@pytest.mark.parametrize(
    ("groups", "default", "role"),
    [
        pytest.param(["noc"], None, "operator", id="mapped"),
        pytest.param(["desk", "it", "noc"], None, "admin", id="the-strongest-counts"),
        pytest.param(["sales"], "viewer", "viewer", id="the-default-for-others"),
        pytest.param(["desk"], "operator", "viewer", id="a-mapped-group-is-not-raised-by-the-default"),
        pytest.param("it", None, "admin", id="one-group-as-text"),
        pytest.param(["NOC"], None, None, id="case-counts"),
        pytest.param(["noc ", "no\x00c", 7, None, {}], None, None, id="other-things"),
        pytest.param(None, None, None, id="no-groups"),
        pytest.param({"noc": True}, None, None, id="a-table-is-no-list"),
    ],
)
def test_the_role_follows_from_groups(groups: Any, default: Any, role: str | None) -> None:
    """Nobody gets a role that is written nowhere."""
    claims = {"sub": "s", "groups": groups}
    if role is None:
        with pytest.raises(OidcNoRoleError):
            identity_of(claims, settings(default_role=default))
    else:
        assert identity_of(claims, settings(default_role=default)).role == role


@pytest.mark.parametrize(
    ("claims", "path"),
    [
        pytest.param({"roles": ["noc"]}, "roles", id="another-name"),
        pytest.param({"realm_access": {"roles": ["noc"]}}, "realm_access.roles", id="nested"),
        pytest.param({"https://x.example/groups": ["noc"]}, "https://x.example/groups", id="a-name-with-dots"),
    ],
)
def test_groups_may_be_in_another_claim(claims: dict[str, Any], path: str) -> None:
    """Providers agree on nothing here."""
    assert identity_of({"sub": "s", **claims}, settings(groups_claim=path)).role == "operator"


@pytest.mark.parametrize(
    ("claims", "claim", "name"),
    [
        pytest.param({"preferred_username": "ada", "email": "a@x.example"}, None, "ada", id="user-name-first"),
        pytest.param({"email": "a@x.example"}, None, "a@x.example", id="then-address"),
        pytest.param({"email": "a@x.example", "email_verified": False}, None, "s", id="not-an-address-of-nobody"),
        pytest.param({}, None, "s", id="then-subject"),
        pytest.param({"preferred_username": "ada", "upn": "ada@corp"}, "upn", "ada@corp", id="as-configured"),
        pytest.param({"preferred_username": "ada"}, "upn", "s", id="configured-and-missing"),
        pytest.param({"preferred_username": 7, "email": ""}, None, "s", id="no-text"),
        pytest.param({"preferred_username": "a\nb\x1b[2Jc"}, None, "a b [2Jc", id="printable"),
        pytest.param({"preferred_username": "x" * 500}, None, "x" * 119 + "…", id="bounded"),
    ],
)
def test_the_name_is_what_people_know(claims: dict[str, Any], claim: str | None, name: str) -> None:
    """A line of text, for pages and the audit log."""
    assert identity_of({"sub": "s", **claims}, settings(name_claim=claim)).name == name
