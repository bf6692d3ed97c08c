"""
The book of users and tokens: small texts by path, changed all or none, and read by every app node.

users/NAME, tokens/ID
    See `account`.
ended/ID
    Sessions that were signed out before they expired.
keys/HASH
    Requests that were done, by their Idempotency-Key.
audit/head, audit/pending/NUMBER
    The end of the audit log, and its entries until they are in the store; see `audit`.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, Self, TypeVar

from everline.access.account import ApiToken, User

log = logging.getLogger(__name__)

USERS: Final = "users"
TOKENS: Final = "tokens"
ENDED: Final = "ended"
KEYS: Final = "keys"
AUDIT: Final = "audit"
PENDING: Final = "audit/pending"
HEAD: Final = "audit/head"
FOLDERS: Final = (USERS, TOKENS, ENDED, KEYS, AUDIT, PENDING)

Kept = TypeVar("Kept", User, ApiToken)


@dataclass(frozen=True, slots=True)
class Leaf:
    """A text and how often it was changed."""

    text: str
    version: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """
    One change of one path.

    Attributes:
        text: What it becomes; None removes it.
        version: What it must be now; None if it must not be there.
    """

    path: str
    text: str | None
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Contents:
    """What every request needs to know of the book."""

    users: Mapping[str, User] = field(default_factory=dict)
    tokens: Mapping[str, ApiToken] = field(default_factory=dict)
    ended: frozenset[str] = frozenset()
    versions: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, leaves: Mapping[str, Leaf]) -> Self:
        """Parsed; a user or token that can't be read is left out, so nobody gets in by it."""
        folders: dict[str, dict[str, Leaf]] = {}
        for path, leaf in leaves.items():
            folder, _, name = path.rpartition("/")
            folders.setdefault(folder, {})[name] = leaf
        return cls(
            users=_parsed(User, folders.get(USERS, {})),
            tokens=_parsed(ApiToken, folders.get(TOKENS, {})),
            ended=frozenset(folders.get(ENDED, {})),
            versions={path: leaf.version for path, leaf in leaves.items()},
        )


class Book(Protocol):
    """In a file of one node, or in Keeper. What asks somebody raises BookUnavailableError when it can't be asked."""

    @property
    def contents(self) -> Contents | None:
        """As last seen, at once; None before it was seen for the first time."""
        ...

    async def read(self, path: str) -> Leaf | None:
        """What a path has now; None if nothing."""
        ...

    async def folder(self, name: str) -> dict[str, Leaf]:
        """All of a folder, by the names in it, sorted."""
        ...

    async def commit(self, changes: Sequence[Change]) -> None:
        """
        Make all changes, or none.

        Raises:
            BookConflictError: One of them finds another version than it names.
        """
        ...

    async def run(self) -> None:
        """Keep `contents` up to date, for ever."""
        ...


def _parsed(kind: type[Kept], leaves: Mapping[str, Leaf]) -> dict[str, Kept]:
    found: dict[str, Kept] = {}
    for name, leaf in leaves.items():
        try:
            found[name] = kind.parse(leaf.text)
        except ValueError as fault:
            log.warning("access.unreadable", extra={"kind": kind.__name__, "entry": name, "why": str(fault)})
    return found
