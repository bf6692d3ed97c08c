"""
Settings that a node and a whole cluster have in common: a node's file names them, and so does cluster.yaml.

Defined once, below both `config` and `topology`. What belongs to one node alone (addresses, paths) is in `config`.
"""

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Final, Literal

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
