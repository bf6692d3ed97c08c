"""What a node is told: one frozen object, from defaults < file < environment < flags, all faults reported together."""

import re
import socket
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

from pydantic import BeforeValidator, Field, PlainSerializer, SecretStr

from everline.config_sections import (
    CallsConfig,
    IngestSettings,
    LiveConfig,
    LogConfig,
    OidcConfig,
    Section,
    StoreConfig,
)


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


class IngestConfig(IngestSettings):
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

    def hep_key(self) -> bytes:
        """The authentication key that agents must send; empty when none is asked for."""
        return self.auth_key.get_secret_value().encode() if self.auth_key else b""


class HttpConfig(Section):
    """Where pages and the API are served."""

    listen: HostPort = Field(default=Endpoint("127.0.0.1", 5173), description="Serve the pages and the HTTP API here.")


class OidcNodeConfig(OidcConfig):
    """Signing in at an identity provider, for a node that is alone."""

    client_secret: SecretStr | None = Field(
        default=None,
        description="What shows the provider that it is Everline; not needed by a public client. "
        "Better in `oidc.client_secret_file`.",
    )
    client_secret_file: Path | None = Field(default=None, description="File whose first line is `oidc.client_secret`.")


class NodeConfig(Section):
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
    oidc: OidcNodeConfig = OidcNodeConfig()
    log: LogConfig = LogConfig()


def _descriptions() -> dict[str, str]:
    found: dict[str, str] = {}
    for name, field in NodeConfig.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            section = field.annotation.model_fields
            found.update({f"{name}.{key}": one.description or "" for key, one in section.items()})
        else:
            found[name] = field.description or ""
    return found


KEYS: Final = _descriptions()
"""Every key path with its description."""

SECTIONS: Final = frozenset(key.partition(".")[0] for key in KEYS if "." in key)
SECRET_KEYS: Final = frozenset({"ingest.auth_key", "oidc.client_secret"})


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
