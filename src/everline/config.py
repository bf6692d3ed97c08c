"""What a node is told: one frozen object, from defaults < file < environment < flags, all faults reported together."""

import re
import socket
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, SecretStr

YEAR_S: Final = 365 * 86_400


class Endpoint(NamedTuple):
    """Where to listen; port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


_HOST_PORT: Final = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+(?:%\w+)?)\]|(?P<host>[^\s:\[\]/]+)):(?P<port>[0-9]{1,5})")


def parse_endpoint(value: object) -> object:
    """
    Parse HOST:PORT, an IPv6 host in brackets; anything but text is left as it is.

    Raises:
        ValueError: The text is none.
    """
    if not isinstance(value, str):
        return value
    match = _HOST_PORT.fullmatch(value.strip())
    if match is None or int(match["port"]) > 65_535:
        raise ValueError("need HOST:PORT, such as 127.0.0.1:9060 or [::1]:9060")
    return Endpoint(match["v6"] or match["host"], int(match["port"]))


HostPort = Annotated[Endpoint, BeforeValidator(parse_endpoint), PlainSerializer(str, return_type=str)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class IngestConfig(_Section):
    """How packets come in."""

    hep: HostPort = Field(
        default=Endpoint("127.0.0.1", 9060), description="Listen here for HEP and SIP over UDP and TCP."
    )
    tls: HostPort = Field(
        default=Endpoint("127.0.0.1", 9061),
        description="Listen here for HEP over TLS, once `ingest.tls_certificate` and `ingest.tls_key` are set.",
    )
    tls_certificate: Path | None = Field(default=None, description="PEM file with the certificate and its chain.")
    tls_key: Path | None = Field(default=None, description="PEM file with the private key of the certificate.")
    auth_key: SecretStr | None = Field(
        default=None, description="Take only HEP packets with this key in chunk 0x0e. Better in `ingest.auth_key_file`."
    )
    auth_key_file: Path | None = Field(default=None, description="File whose first line is `ingest.auth_key`.")
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

    def hep_key(self) -> bytes:
        """The authentication key that agents must send; empty when none is asked for."""
        return self.auth_key.get_secret_value().encode() if self.auth_key else b""


class HttpConfig(_Section):
    """Where pages and the API are served."""

    listen: HostPort = Field(default=Endpoint("127.0.0.1", 5173), description="Serve the pages and the HTTP API here.")


class StoreConfig(_Section):
    """How long things are kept."""

    retention_days: int = Field(default=30, ge=1, le=3_650, description="Days for which messages and calls are kept.")


class CallsConfig(_Section):
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


class LiveConfig(_Section):
    """What is kept in memory for the live pages."""

    max_calls: int = Field(default=50_000, ge=100, le=5_000_000, description="Most calls in progress kept in memory.")


class LogConfig(_Section):
    """How the node reports what it does."""

    format: Literal["text", "json"] = Field(
        default="text", description="One line an event on stderr, as `text` or as `json`."
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least level that is written."
    )


class NodeConfig(_Section):
    """Everything that one node is told."""

    name: str = Field(
        default_factory=socket.gethostname, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$",
        description="Name of this node in records, logs and metrics; the host name unless given.",
    )  # fmt: skip
    data_dir: Path = Field(default=Path("var/everline"), description="Directory of all that the node keeps.")
    ingest: IngestConfig = IngestConfig()
    http: HttpConfig = HttpConfig()
    store: StoreConfig = StoreConfig()
    calls: CallsConfig = CallsConfig()
    live: LiveConfig = LiveConfig()
    log: LogConfig = LogConfig()


def _descriptions() -> dict[str, str]:
    found: dict[str, str] = {}
    for name, field in NodeConfig.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, _Section):
            section = field.annotation.model_fields
            found.update({f"{name}.{key}": one.description or "" for key, one in section.items()})
        else:
            found[name] = field.description or ""
    return found


KEYS: Final = _descriptions()
"""Every key path with its description."""

SECTIONS: Final = frozenset(key.partition(".")[0] for key in KEYS if "." in key)
SECRET_KEYS: Final = frozenset({"ingest.auth_key"})


def environment_name(key: str) -> str:
    """The environment variable of a key: `ingest.batch_ms` is EVERLINE_INGEST_BATCH_MS."""
    return "EVERLINE_" + key.replace(".", "_").upper()


def effective_values(config: NodeConfig) -> dict[str, Any]:  # values are whatever TOML and JSON can hold
    """Every key with its value as text or number; secrets as `***`, what is not set as None."""
    nested = config.model_dump(mode="json")
    flat = {key: _at(nested, key) for key in KEYS}
    return {key: "***" if key in SECRET_KEYS and value is not None else value for key, value in flat.items()}


def _at(nested: dict[str, Any], key: str) -> Any:  # see effective_values
    section, _, name = key.rpartition(".")
    return nested[section][name] if section else nested[name]
