"""What a node keeps beside its store: where it answers, who may sign in, what signs sessions, what was done."""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from everline import __version__
from everline.errors import EverlineError

TOKEN_FILE: Final = "admin.token"  # noqa: S105 - its name, not its content
NODE_FILE: Final = "node.json"
SESSION_KEY_FILE: Final = "session.key"
ACCESS_FILE: Final = "access.json"
AUDIT_FILE: Final = "audit.jsonl"
STORE_DIR: Final = "store"
LOCK_FILE: Final = "lock"
MIN_SECRET_CHARS: Final = 16


class DataDirError(EverlineError):
    """The data directory cannot be used."""

    exit_code = 3

    def __init__(self, path: Path, why: OSError) -> None:
        super().__init__(
            f"cannot use {path} as data directory: {why.strerror or why}; "
            "give it to this user, free some space, or choose another with --data"
        )


class DataDirHeldError(EverlineError):
    """Another process has the data directory."""

    exit_code = 3

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} is in use by another Everline process: stop that one, or choose another directory with --data"
        )


class SecretError(EverlineError):
    """A file with a secret holds something else."""

    exit_code = 3

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} holds no secret (one line of at least {MIN_SECRET_CHARS} ASCII characters): "
            "delete it, and the node makes a new one"
        )


class DataDir:
    """The data directory of one node; only its own user can read it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def store(self) -> Path:
        """Where the store is."""
        return self.path / STORE_DIR

    def prepare(self) -> None:
        """
        Make the directory, and see that files can be written.

        Raises:
            DataDirError: It can't be made or written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            probe = self.path / ".probe"
            probe.write_bytes(b"can be written\n")
            probe.unlink(missing_ok=True)  # Two nodes may try at once.
        except OSError as fault:
            raise DataDirError(self.path, fault) from fault

    @contextmanager
    def held(self) -> Iterator[None]:
        """
        Keep other processes out; one that dies lets them in.

        Raises:
            DataDirHeldError: Another one has it.
            DataDirError: It can't be written.
        """
        try:
            lock = os.open(self.path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as fault:
            raise DataDirError(self.path, fault) from fault
        with os.fdopen(lock):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as fault:
                raise DataDirHeldError(self.path) from fault
            yield

    def secret(self, name: str) -> str:
        """
        The secret in a file of mode 0600; made at the first start.

        Raises:
            SecretError: The file holds something else.
            DataDirError: It can't be read or written.
        """
        try:
            kept = self._read(name)
            if not kept:
                self.keep(name, secrets.token_urlsafe(32) + "\n")
                kept = self._read(name)
        except OSError as fault:
            raise DataDirError(self.path, fault) from fault
        except UnicodeDecodeError as fault:
            raise SecretError(self.path / name) from fault
        if len(kept) < MIN_SECRET_CHARS:
            raise SecretError(self.path / name)
        return kept

    def kept(self, name: str) -> str:
        """
        What is in a file; empty if there is none.

        Raises:
            DataDirError: It can't be read.
        """
        path = self.path / name
        try:
            return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        except OSError as fault:
            raise DataDirError(self.path, fault) from fault

    def keep(self, name: str, text: str) -> None:
        """Put a text into a file of mode 0600 and on the disk, all of it or nothing. Raises OSError."""
        fresh = self.path / f"{name}.new"
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path / name)

    def announce(self, url: str, *, node: str, hep: str) -> None:
        """Say where the node answers, for the client commands."""
        about = {"url": url, "hep": hep, "node": node, "version": __version__, "pid": os.getpid()}
        fresh = self.path / f"{NODE_FILE}.new"
        try:
            fresh.write_text(json.dumps(about) + "\n", encoding="utf-8")
            fresh.replace(self.path / NODE_FILE)
        except OSError as fault:
            raise DataDirError(self.path, fault) from fault

    def retract(self) -> None:
        """The node answers no more."""
        with suppress(OSError):  # A file that stays misleads; a stop that fails loses packets.
            (self.path / NODE_FILE).unlink(missing_ok=True)

    def _read(self, name: str) -> str:
        path = self.path / name
        return path.read_text(encoding="ascii").strip() if path.exists() else ""
