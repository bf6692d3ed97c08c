"""cluster.yaml and the secrets that it refers to, read from disk and environment."""

import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from everline.topology.errors import TopologyError, TopologyFault
from everline.topology.model import SecretRef, SecretRefs, Topology
from everline.topology.parse import parse_topology
from everline.topology.settings import GIVEN_SECRETS, OPTIONAL_SECRETS

LEAST_SECRET_CHARS: Final = 16
MOST_FILE_BYTES: Final = 1 << 20
_BREAKS_CONFIG_FILES: Final = frozenset(" '\"`\\<>&")
"""Secrets are written into XML, Redis and systemd files, and each has another way to escape these."""


@dataclass(frozen=True, slots=True, repr=False)
class Secrets:
    """The secrets of a cluster; hep_key is None if agents need none, oidc_client_secret if no provider does."""

    clickhouse: str
    redis: str
    interserver: str
    session_key: str
    admin_token: str
    hep_key: str | None = None
    oidc_client_secret: str | None = None

    def __repr__(self) -> str:
        return "Secrets(***)"


class _SecretProblemError(Exception):
    """Why a secret can't be used; without any part of it."""


def load_topology(path: Path) -> Topology:
    """
    Read and check a cluster file.

    Raises:
        TopologyError: The file can't be read, or describes no cluster that can work; with every fault.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST_FILE_BYTES + 1)
        text = content.decode("utf-8")
    except OSError as error:
        problem = f"cannot be read: {error.strerror}; name a readable cluster.yaml"
        raise TopologyError([TopologyFault("file", problem)], source=str(path)) from error
    except UnicodeDecodeError as error:
        problem = f"is not UTF-8 at byte {error.start}; save it as UTF-8"
        raise TopologyError([TopologyFault("file", problem)], source=str(path)) from error
    if len(content) > MOST_FILE_BYTES:
        problem = f"is longer than {MOST_FILE_BYTES} bytes: that is no cluster.yaml"
        raise TopologyError([TopologyFault("file", problem)], source=str(path))
    return parse_topology(text, source=str(path))


def resolve_secrets(topology: Topology, base_dir: Path, environ: Mapping[str, str]) -> Secrets:
    """
    Read every secret of a cluster.

    Args:
        topology: It says where each secret is.
        base_dir: Where relative paths start: the directory of cluster.yaml.
        environ: The environment. What systemd hands over by LoadCredential= (files named as the keys are, in
            $CREDENTIALS_DIRECTORY) takes the place of the files that are referred to: those can then be root's alone.

    Raises:
        TopologyError: With everything that is wrong with any of them.
    """
    found: dict[str, str] = {}
    faults: list[TopologyFault] = []
    for name, reference in _references(topology.secrets):
        try:
            if reference is not None:
                found[name] = _resolved(name, reference, base_dir, environ)
            elif name not in OPTIONAL_SECRETS:
                faults.append(TopologyFault(f"secrets.{name}", "is missing: give file: PATH or env: NAME"))
        except _SecretProblemError as problem:
            faults.append(TopologyFault(f"secrets.{name}", str(problem)))
    if faults:
        raise TopologyError(faults, source="secrets")
    return Secrets(**found)


def make_secret_files(topology: Topology, base_dir: Path) -> tuple[Path, ...]:
    """
    Make the secret files that do not exist yet, each with a random secret, readable by its owner only.

    For labs and first starts; secrets that come from the environment or from others are left to whoever has them.

    Returns:
        The files that were made.

    Raises:
        TopologyError: One can't be made.
    """
    made: list[Path] = []
    for name, reference in _references(topology.secrets):
        path = base_dir / reference.file if reference and reference.file else None
        try:
            if path is not None and not path.exists() and name not in GIVEN_SECRETS:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "w", encoding="ascii") as file:
                    file.write(secrets.token_urlsafe(32) + "\n")
                made.append(path)
        except OSError as error:
            problem = f"{path} cannot be made: {error.strerror}"
            raise TopologyError([TopologyFault(f"secrets.{name}", problem)], source="secrets") from error
    return tuple(made)


def _references(references: SecretRefs) -> Iterator[tuple[str, SecretRef | None]]:
    for name in SecretRefs.model_fields:
        yield name, getattr(references, name)


def _resolved(name: str, reference: SecretRef, base_dir: Path, environ: Mapping[str, str]) -> str:
    if reference.file is not None:
        handed = Path(environ["CREDENTIALS_DIRECTORY"], name) if "CREDENTIALS_DIRECTORY" in environ else None
        path = handed if handed and handed.is_file() else base_dir / reference.file
        return _usable(name, _first_line(path, is_guarded=path == handed), str(path))
    variable = str(reference.env)
    if variable not in environ:
        raise _SecretProblemError(f"the environment variable {variable} is not set: set it, or refer to a file")
    return _usable(name, environ[variable].strip(), f"the environment variable {variable}")


def _first_line(path: Path, *, is_guarded: bool) -> str:
    """Of a file that only its owner can read; systemd guards its own by ACL, which looks like reading by a group."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise _SecretProblemError(f"{path} is no plain file: name one whose first line is the secret")
        if mode & 0o077 and not is_guarded:
            allowed = f"{stat.S_IMODE(mode):04o}"
            raise _SecretProblemError(f"{path} is open to others (mode {allowed}): run chmod 600 {path}")
        with path.open("rb") as file:
            return file.readline(4_096).decode("utf-8", "replace").strip()
    except OSError as error:
        raise _SecretProblemError(f"{path} cannot be read: {error.strerror}") from error


def _usable(name: str, secret: str, where: str) -> str:
    if not secret:
        raise _SecretProblemError(f"{where} is empty: put a secret of {LEAST_SECRET_CHARS} characters or more there")
    if name in GIVEN_SECRETS:
        return secret
    if len(secret) < LEAST_SECRET_CHARS:
        have = f"{where} has {len(secret)} characters"
        raise _SecretProblemError(f"{have}, need {LEAST_SECRET_CHARS} or more: use a longer secret")
    if not (secret.isascii() and secret.isprintable()) or _BREAKS_CONFIG_FILES & set(secret):
        need = "use printable ASCII without spaces, quotes, backslash, < > and &"
        raise _SecretProblemError(f"{where} has characters that break configuration files: {need}")
    return secret
