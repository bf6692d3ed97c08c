"""Who the provider's user is here: a name, groups, and the role that follows from them."""

from dataclasses import dataclass
from typing import Any, Final

from everline.access.oidc_errors import OidcNoRoleError, shown
from everline.access.oidc_http import Json
from everline.access.oidc_settings import OidcSettings
from everline.access.roles import Role

MOST_NAME_CHARS: Final = 120
USUAL_NAMES: Final = ("preferred_username", "email", "sub")


@dataclass(frozen=True, slots=True)
class OidcIdentity:
    """
    A user of the provider who may come in.

    Issuer and subject together are the user. The name is what the provider says today: it may change, and may be
    another's tomorrow.
    """

    issuer: str
    subject: str
    name: str
    email: str | None
    groups: tuple[str, ...]
    role: Role


def identity_of(claims: Json, settings: OidcSettings) -> OidcIdentity:
    """
    The user of verified claims.

    Raises:
        OidcNoRoleError: No group of the user has a role, and there is none by default.
    """
    groups = _groups(claims, settings)
    name = _name(claims, settings)
    mapped = (Role(settings.roles[group]) for group in groups if group in settings.roles)
    role = max(mapped, key=list(Role).index, default=settings.default_role)
    if role is None:
        raise OidcNoRoleError(name, groups)
    email = _text(claims, "email")
    return OidcIdentity(settings.issuer, claims["sub"], name, email or None, groups, Role(role))


def lacks_claims(claims: Json, settings: OidcSettings) -> bool:
    """Whether name or groups must be asked for elsewhere: some providers have them at the userinfo endpoint only."""
    wants_groups = bool(settings.roles) and _at(claims, settings.groups_claim) is None
    wants_name = not any(_text(claims, one) for one in _name_claims(settings) if one != "sub")
    return wants_groups or wants_name


def _name(claims: Json, settings: OidcSettings) -> str:
    given = (_text(claims, one) for one in (*_name_claims(settings), "sub"))
    return next(name for name in given if name)


def _name_claims(settings: OidcSettings) -> tuple[str, ...]:
    return (settings.name_claim,) if settings.name_claim else USUAL_NAMES


def _text(claims: Json, name: str) -> str:
    """A claim as a line of text; empty if it is none, or an address that nobody has shown to be the user's."""
    if name == "email" and claims.get("email_verified") in (False, "false"):
        return ""
    value = _at(claims, name)
    return shown(value, MOST_NAME_CHARS) if isinstance(value, str) else ""


def _groups(claims: Json, settings: OidcSettings) -> tuple[str, ...]:
    value = _at(claims, settings.groups_claim)
    listed = value if isinstance(value, list) else [value]
    return tuple(dict.fromkeys(one for one in listed if isinstance(one, str) and one.isprintable()))


def _at(claims: Json, path: str) -> Any:  # whatever a claim holds
    """The claim of that name; else what the dotted path leads to. Names that are URLs have dots of their own."""
    if path in claims:
        return claims[path]
    value: Any = claims
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value
