"""
Settings that a node and a whole cluster have in common: a node's file names them, and so does cluster.yaml.

Defined once, below both `config` and `topology`. What belongs to one node alone (addresses, paths) is in `config`.
"""

import re
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

YEAR_S: Final = 365 * 86_400


def _parse_networks(value: object) -> object:
    listed = value.split(",") if isinstance(value, str) else value  # An environment variable can hold no list.
    if not isinstance(listed, list | tuple):
        raise ValueError("need a list of addresses or networks, such as [10.1.2.3, 10.2.0.0/16]")
    try:
        return tuple(ip_network(str(one).strip()) for one in listed if str(one).strip())
    except ValueError as error:
        raise ValueError(f"{error}; need addresses or networks, such as 10.1.2.3 or 10.2.0.0/16") from error


def _as_text(networks: tuple[IPv4Network | IPv6Network, ...]) -> str:
    return ", ".join(map(str, networks))


Networks = Annotated[
    tuple[IPv4Network | IPv6Network, ...], BeforeValidator(_parse_networks), PlainSerializer(_as_text, return_type=str)
]
"""Addresses or networks (10.1.2.3, 10.0.0.0/8, fd00::/8): a list, or text with commas between them."""


class Section(BaseModel):
    """A group of keys: frozen, and a key that is not known is a fault."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class IngestSettings(Section):
    """How much an ingest node takes, holds and gives on at once."""

    batch_events: int = Field(default=5_000, ge=1, le=100_000, description="Most events in one batch.")
    batch_ms: int = Field(default=100, ge=1, le=10_000, description="Longest wait for a batch to fill, milliseconds.")
    queue_events: int = Field(
        default=60_000,
        ge=1_000,
        le=10_000_000,
        description="Most messages that wait in memory; more are dropped and counted.",
    )
    receive_buffer_bytes: int = Field(
        default=32 * 1024 * 1024, ge=65_536, le=1 << 30,
        description="Kernel buffer of the UDP socket; `net.core.rmem_max` may bound it.",
    )  # fmt: skip
    source_rate_per_s: float = Field(
        default=0, ge=0, le=1e9, description="Most messages a second from one source address; 0 is unlimited."
    )
    source_burst: int = Field(
        default=10_000, ge=1, le=10_000_000, description="Messages that one source may send at once above that rate."
    )
    proxies: Networks = Field(
        default=(),
        description="Addresses of proxies such as HAProxy, whose TCP connections begin with a PROXY header.",
    )
    max_capture_age_s: int = Field(
        default=10 * YEAR_S,
        ge=1,
        le=100 * YEAR_S,
        description="A capture time older than this is replaced, and counted.",
    )
    max_capture_ahead_s: int = Field(
        default=3_600,
        ge=0,
        le=YEAR_S,
        description="A capture time further ahead of our clock is replaced, and counted.",
    )
    drain_s: float = Field(
        default=10, gt=0, le=600, description="Longest time to store what is queued when the node stops."
    )


KEY_RATE_PER_S: Final = 2_000
"""A call has some ten messages, one that is probed or re-invited all the time some hundreds a second."""


class BalanceConfig(Section):
    """How balancers pass packets on."""

    mirror: int = Field(
        default=2, strict=True, ge=1, le=2,
        description="To how many ingest nodes each packet goes; 2: nothing is lost with one of them.",
    )  # fmt: skip
    key_rate_per_s: int = Field(
        default=KEY_RATE_PER_S, strict=True, ge=1, le=10_000_000,
        description="Most packets of one Call-ID a second; more are dropped and counted.",
    )  # fmt: skip


class StoreConfig(Section):
    """How long things are kept."""

    retention_days: int = Field(default=30, ge=1, le=3_650, description="Days for which messages and calls are kept.")


class CallsConfig(Section):
    """When a call is given up."""

    stale_ringing_s: int = Field(
        default=300, ge=10, le=86_400, description="Close a call without an answer after so long a silence, seconds."
    )
    stale_answered_s: int = Field(
        default=14_400,
        ge=60,
        le=7 * 86_400,
        description="Close an answered call without a BYE after so long a silence, seconds.",
    )


class LiveConfig(Section):
    """What is kept in memory for the live pages."""

    max_calls: int = Field(default=50_000, ge=100, le=5_000_000, description="Most calls in progress kept in memory.")


class LogConfig(Section):
    """How the node reports what it does."""

    format: Literal["text", "json"] = Field(
        default="text", description="One line an event on stderr, as `text` or as `json`."
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least level that is written."
    )


RoleName = Literal["viewer", "operator", "admin"]
"""What somebody may do, the least first: look; act on the cluster; decide who may."""

OIDC_SCOPES: Final = ("openid", "profile", "email")
_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")


def is_guarded_url(url: str) -> bool:
    """Whether nobody on the way can read or change what is asked there: https, or http that stays on this machine."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port  # A port that is none raises.
    except ValueError:
        return False
    if not (host and url.isascii() and url.isprintable()) or " " in url or parts.username is not None:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _parse_issuer(value: object) -> object:
    if isinstance(value, str) and is_guarded_url(value) and not {"?", "#"} & set(value):
        return value
    raise ValueError("need an https URL without ? and #, such as https://id.example.com/realms/voice")


def _parse_scopes(value: object) -> object:
    listed = value.replace(",", " ").split() if isinstance(value, str) else value
    if not isinstance(listed, list | tuple) or not all(_SCOPE.fullmatch(str(one)) for one in listed):
        raise ValueError("need a list of scopes, such as [openid, profile, email]")
    return tuple(map(str, listed))


def _parse_role_map(value: object) -> object:
    """An environment variable can hold no table: `GROUP=ROLE, GROUP=ROLE`."""
    if not isinstance(value, str):
        return value
    pairs = [one.rpartition("=") for one in value.split(",") if one.strip()]
    if not all(group.strip() for group, _, _ in pairs):
        raise ValueError("need GROUP=ROLE, with commas between them")
    return {group.strip(): role.strip() for group, _, role in pairs}


def _role_map_text(roles: Mapping[str, RoleName]) -> str:
    return ", ".join(f"{group}={role}" for group, role in roles.items())


def _words_text(words: tuple[str, ...]) -> str:
    return " ".join(words)


class OidcConfig(Section):
    """Signing in at an identity provider (OpenID Connect); without an issuer there is none."""

    issuer: Annotated[str, BeforeValidator(_parse_issuer)] | None = Field(
        default=None,
        description="URL of the identity provider, exactly as it names itself; without it nobody is sent to one.",
    )
    client_id: str | None = Field(
        default=None, pattern=r"^[\x20-\x7e]{1,255}$", description="What the provider calls Everline."
    )
    name: str = Field(
        default="single sign-on", min_length=1, max_length=60,
        description="What the button on the sign-in page calls the provider.",
    )  # fmt: skip
    scopes: Annotated[
        tuple[str, ...], BeforeValidator(_parse_scopes), PlainSerializer(_words_text, return_type=str)
    ] = Field(default=OIDC_SCOPES, description="What the provider is asked to tell; `openid` in any case.")
    name_claim: str | None = Field(
        default=None, min_length=1,
        description="Claim with the user's name; `preferred_username`, else `email`, else `sub` unless given.",
    )  # fmt: skip
    groups_claim: str = Field(
        default="groups", min_length=1,
        description="Claim with the user's groups; dots lead into nested claims (`realm_access.roles`).",
    )  # fmt: skip
    roles: Annotated[
        Mapping[str, RoleName], BeforeValidator(_parse_role_map), PlainSerializer(_role_map_text, return_type=str)
    ] = Field(
        default_factory=dict,
        description="Role of each group: `viewer`, `operator` or `admin`; of several groups the strongest counts.",
    )
    default_role: RoleName | None = Field(
        default=None, description="Role of users without such a group; they are refused unless given."
    )
    ca_file: str | None = Field(
        default=None, pattern=r"^[^\x00-\x1f\x7f]+$",
        description="PEM file with the authorities that vouch for the provider, in the place of the system's.",
    )  # fmt: skip


def oidc_faults(config: OidcConfig) -> Iterator[tuple[str, str]]:
    """What is wrong with the section although each of its keys is right: the key, and the problem with it."""
    if config.issuer is None:
        if others := sorted(config.model_fields_set - {"issuer"}):
            yield "issuer", f"must be set too, since oidc.{others[0]} is"
        return
    if config.client_id is None:
        yield "client_id", "must be set too, since oidc.issuer is"
    if not config.roles and config.default_role is None:
        yield "roles", "is empty, and oidc.default_role is not set: nobody could come in. Set one of them"
