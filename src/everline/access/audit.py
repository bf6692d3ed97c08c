"""
The audit log: who did what, each entry bound to the one before by its hash (SHA-256).

Who changes, removes or slips in an entry must change all after it, and the end of the chain is kept elsewhere: beside
the users, where every act adds its entry in the same transaction that carries it out.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final, Self

FIRST: Final = 1
ROOT: Final = "0" * 64
"""What the first entry follows."""
_MAX_TEXT: Final = 2_000


@dataclass(frozen=True, slots=True)
class Act:
    """
    What somebody does.

    Attributes:
        who: The user or token.
        act: What, as a constant name: `user.added`, `node.drained`.
        target: To what: a user, a token, a node, a Call-ID.
        before: What changes, as it was; no secrets.
        after: What it becomes.
        client: The address that it came from.
        request_id: Of the request, as the logs have it.
    """

    who: str
    act: str
    target: str = ""
    before: str = ""
    after: str = ""
    client: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """An act in the log. Times are epoch microseconds; `digest` covers all else, `previous` included."""

    seq: int
    at_us: int
    node: str
    who: str
    act: str
    target: str
    before: str
    after: str
    client: str
    request_id: str
    previous: str
    digest: str

    def encode(self) -> str:
        """As it is kept until it is in the log."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        As it was kept.

        Raises:
            ValueError: It is no entry.
        """
        try:
            return cls(**json.loads(text))
        except TypeError as error:
            raise ValueError(f"no entry of the audit log: {error}") from error

    @property
    def is_genuine(self) -> bool:
        """Whether its hash is that of what it says."""
        return self.digest == digest_of(asdict(self))


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the chain."""

    seq: int = FIRST - 1
    digest: str = ROOT

    def encode(self) -> str:
        """As the book keeps it."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        As it was kept.

        Raises:
            ValueError: It is none.
        """
        try:
            return cls(**json.loads(text))
        except TypeError as error:
            raise ValueError(f"no head of the audit log: {error}") from error


def next_entry(head: Head, act: Act, *, at_us: int, node: str) -> AuditEntry:
    """The entry of an act, behind all others."""
    fields = {name: _storable(text) for name, text in asdict(act).items()}
    said = AuditEntry(head.seq + 1, at_us, node, **fields, previous=head.digest, digest="")
    return replace(said, digest=digest_of(asdict(said)))


def digest_of(fields: Mapping[str, object]) -> str:
    """SHA-256, hex, of all fields but the digest."""
    said = {name: value for name, value in fields.items() if name != "digest"}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    Whether a log is whole.

    Attributes:
        entries: How many were looked at.
        fault: What is wrong, in a sentence; empty if nothing is.
    """

    entries: int
    fault: str = ""


def check_chain(entries: Sequence[AuditEntry], head: Head) -> Verdict:
    """Look at all entries, in the order of their numbers, and at the end that the chain must have."""
    before = Head()
    for one in entries:
        if one.seq != before.seq + 1:
            return Verdict(len(entries), _gap(before.seq + 1, one.seq))
        if one.previous != before.digest:
            return Verdict(len(entries), f"Entry {one.seq} does not follow {before.seq}: one was changed.")
        if not one.is_genuine:
            return Verdict(len(entries), f"Entry {one.seq} was changed after it was written.")
        before = Head(one.seq, one.digest)
    if before.seq < head.seq:
        return Verdict(len(entries), f"Entries {before.seq + 1} to {head.seq} are missing at the end.")
    if before != head:
        return Verdict(len(entries), f"The chain ends with entry {before.seq}, and the book says otherwise.")
    return Verdict(len(entries))


def in_order(entries: Iterable[AuditEntry]) -> list[AuditEntry]:
    """Each entry once, by number; of one number there are several only if somebody tampered."""
    return sorted(set(entries), key=lambda one: (one.seq, one.digest))


def _gap(wanted: int, found: int) -> str:
    if found < wanted:
        return f"There are two entries with the number {found}."
    missing = f"Entry {wanted} is" if found == wanted + 1 else f"Entries {wanted} to {found - 1} are"
    return f"{missing} missing."


def _storable(text: str) -> str:
    """What every store gives back as it was: UTF-8, and not without end."""
    return text[:_MAX_TEXT].encode(errors="backslashreplace").decode()
