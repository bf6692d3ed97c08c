"""What the relying party is told: from the section `oidc` of a node's file or of cluster.yaml."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from everline.config_sections import OIDC_SCOPES, OidcConfig, RoleName


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcSettings:
    """
    One provider, and how its users become ours.

    Attributes:
        issuer: URL of the provider, as its own documents have it, to the last slash.
        client_secret: None for a public client, which PKCE alone guards.
        name: What the button on the sign-in page calls the provider.
        name_claim: Gives the user's name; None: `preferred_username`, else `email`, else `sub`.
        groups_claim: Gives the user's groups; a dotted path (`realm_access.roles`) leads into nested claims.
        roles: Role of each group; of several the strongest counts.
        default_role: Of users without such a group; None: they are refused.
        ca_file: PEM file with the authorities that vouch for the provider; None: those of the system.
    """

    issuer: str
    client_id: str
    client_secret: str | None = field(default=None, repr=False)
    name: str = "single sign-on"
    scopes: tuple[str, ...] = OIDC_SCOPES
    name_claim: str | None = None
    groups_claim: str = "groups"
    roles: Mapping[str, RoleName] = field(default_factory=dict)
    default_role: RoleName | None = None
    ca_file: Path | None = None


def oidc_settings(config: OidcConfig, *, client_secret: str | None) -> OidcSettings | None:
    """The settings of a section without faults; None if it names no provider. A public client has no secret."""
    if config.issuer is None or config.client_id is None:
        return None
    return OidcSettings(
        issuer=config.issuer,
        client_id=config.client_id,
        client_secret=client_secret,
        name=config.name,
        scopes=config.scopes,
        name_claim=config.name_claim,
        groups_claim=config.groups_claim,
        roles=config.roles,
        default_role=config.default_role,
        ca_file=Path(config.ca_file) if config.ca_file else None,
    )
