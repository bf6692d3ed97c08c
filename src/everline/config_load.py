"""Gather a node's configuration from file, environment and flags, and report every fault of it at once."""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from everline.config import KEYS, SECRET_KEYS, SECTIONS, NodeConfig, environment_name
from everline.config_sections import oidc_faults
from everline.errors import EverlineError

DEFAULT: Final = "default"

# For the command line as a client of a node, see client.py; they configure no node.
_CLIENT_VARIABLES: Final = frozenset({"EVERLINE_URL", "EVERLINE_TOKEN", "EVERLINE_CLUSTER"})

# Kubernetes and Docker links set such variables for a service that is called everline.
_SERVICE_LINK: Final = re.compile(r"EVERLINE_(\w+_)?(SERVICE_(HOST|PORT)|PORT)(_\w+)?")


@dataclass(frozen=True, slots=True)
class ConfigFault:
    """One thing that is wrong: which key, where it was set, what is wrong with it and what to do."""

    key: str
    source: str
    problem: str

    def __str__(self) -> str:
        return f"{self.key} ({self.source}): {self.problem}"


class ConfigError(EverlineError):
    """The configuration cannot be used; `faults` lists all that is wrong with it."""

    exit_code = 2

    def __init__(self, faults: Iterable[ConfigFault]) -> None:
        self.faults = tuple(faults)
        super().__init__("configuration: " + "; ".join(map(str, self.faults)))


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A configuration and where each of its values came from."""

    config: NodeConfig
    sources: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Setting:
    value: Any  # as TOML, the environment or a flag gave it; pydantic makes a type of it
    source: str


def load_config(
    file: Path | None,
    *,
    environ: Mapping[str, str],
    flags: Mapping[str, object],
    defaults: Mapping[str, object] | None = None,
) -> LoadedConfig:
    """
    Read the configuration of a node.

    Args:
        file: The TOML file, if one was named.
        environ: The environment.
        flags: Values of command-line flags by key path; None is a flag that was not given.
        defaults: Values by key path that take the place of the built-in defaults.

    Raises:
        ConfigError: With every fault that was found.
    """
    faults: list[ConfigFault] = []
    settings = {key: _Setting(value, DEFAULT) for key, value in (defaults or {}).items()}
    if file is not None:
        settings.update(_from_file(file, faults))
    settings.update(_from_environment(environ, faults))
    settings.update({key: _Setting(value, "command line") for key, value in flags.items() if value is not None})
    _check_together(settings, faults)
    for key in sorted(SECRET_KEYS):
        _read_secret(key, settings, faults)
    config = _validated(settings, faults)
    if config is not None:
        found = ((f"oidc.{key}", problem) for key, problem in oidc_faults(config.oidc))
        faults.extend(ConfigFault(key, _source(key, settings), problem) for key, problem in found)
    if config is None or faults:
        raise ConfigError(sorted(faults, key=lambda one: one.key))
    return LoadedConfig(config, {key: _source(key, settings) for key in KEYS})


def _from_file(file: Path, faults: list[ConfigFault]) -> dict[str, _Setting]:
    try:
        tables = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        faults.append(ConfigFault("--config", str(file), f"cannot be read: {error.strerror}; name a readable file"))
        return {}
    except ValueError as error:  # TOMLDecodeError, UnicodeDecodeError
        faults.append(ConfigFault("--config", str(file), f"is not TOML: {error}"))
        return {}
    found: dict[str, _Setting] = {}
    for key, value in _flattened(tables):
        if key in KEYS:
            found[key] = _Setting(value, str(file))
        elif key in SECTIONS:
            faults.append(ConfigFault(key, str(file), f"is a table: write it as [{key}]"))
        else:
            faults.append(ConfigFault(key, str(file), _unknown(key, KEYS)))
    return found


def _flattened(tables: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in tables.items():
        if name in SECTIONS and isinstance(value, dict):
            yield from ((f"{name}.{key}", one) for key, one in value.items())
        else:
            yield name, value


def _from_environment(environ: Mapping[str, str], faults: list[ConfigFault]) -> dict[str, _Setting]:
    keys = {environment_name(key): key for key in KEYS}
    found: dict[str, _Setting] = {}
    for name, value in environ.items():
        if name in keys:
            found[keys[name]] = _Setting(value, name)
        elif name.startswith("EVERLINE_") and name not in _CLIENT_VARIABLES and not _SERVICE_LINK.fullmatch(name):
            faults.append(ConfigFault(name, "environment", _unknown(name, keys)))
    return found


def _unknown(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, list(known), n=1)
    return "is no such key" + (f"; did you mean {near[0]}?" if near else "; see docs/configuration.md")


def _check_together(settings: Mapping[str, _Setting], faults: list[ConfigFault]) -> None:
    """What no single key can tell."""
    for key, other in (("ingest.tls_certificate", "ingest.tls_key"), ("ingest.tls_key", "ingest.tls_certificate")):
        if key in settings and other not in settings:
            faults.append(ConfigFault(other, DEFAULT, f"must be set too, since {key} is"))
        if key in settings:
            _check_readable(key, settings[key], faults)
    if "ingest.tls" in settings and "ingest.tls_certificate" not in settings and "ingest.tls_key" not in settings:
        source = settings["ingest.tls"].source
        faults.append(ConfigFault("ingest.tls", source, "needs ingest.tls_certificate and ingest.tls_key"))
    faults.extend(
        ConfigFault(key, settings[key].source, f"is set beside {key}_file: leave one out")
        for key in sorted(SECRET_KEYS)
        if key in settings and f"{key}_file" in settings
    )
    if "oidc.ca_file" in settings:
        _check_readable("oidc.ca_file", settings["oidc.ca_file"], faults)


def _check_readable(key: str, setting: _Setting, faults: list[ConfigFault]) -> bytes:
    try:
        return Path(str(setting.value)).read_bytes()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        faults.append(ConfigFault(key, setting.source, f"{str(setting.value)!r} cannot be read: {why}"))
        return b""


def _read_secret(key: str, settings: dict[str, _Setting], faults: list[ConfigFault]) -> None:
    """Put the first line of a secret's file in the place of the secret itself."""
    setting = settings.get(f"{key}_file")
    if setting is None:
        return
    known = len(faults)
    line = _check_readable(f"{key}_file", setting, faults).partition(b"\n")[0].strip()
    if line:
        settings[key] = _Setting(line.decode("utf-8", "replace"), setting.source)
    elif len(faults) == known:
        faults.append(ConfigFault(f"{key}_file", setting.source, "is empty: its first line must be the secret"))


def _source(key: str, settings: Mapping[str, _Setting]) -> str:
    return settings[key].source if key in settings else DEFAULT


def _validated(settings: Mapping[str, _Setting], faults: list[ConfigFault]) -> NodeConfig | None:
    nested: dict[str, Any] = {}
    for key, setting in settings.items():
        section, _, name = key.rpartition(".")
        (nested.setdefault(section, {}) if section else nested)[name] = setting.value
    try:
        return NodeConfig.model_validate(nested)
    except ValidationError as error:
        for one in error.errors(include_url=False):
            key = ".".join(map(str, one["loc"][:2] if one["loc"][0] in SECTIONS else one["loc"][:1]))
            found = "" if key in SECRET_KEYS else f"{one['input']!r}: "
            faults.append(ConfigFault(key, _source(key, settings), found + one["msg"].removeprefix("Value error, ")))
    return None
