"""Users and tokens as they are kept: JSON, with the hashes of secrets and never a secret."""

import json
import re
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Self

from everline.access.roles import Area, Role

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}", re.ASCII)
"""A user name: may be an e-mail address, as identity providers give them."""
TOKEN_NAME: Final = re.compile(r"[^\x00-\x1f\x7f]{1,80}")


@dataclass(frozen=True, slots=True)
class User:
    """
    Somebody who signs in.

    Attributes:
        password_hash: argon2id; empty for one who signs in elsewhere.
        issuer: The identity provider that answers for the user; empty for one with a password.
        subject: How that provider calls the user.
        era: Sessions of another one are void: it goes up when a user is signed out everywhere.
    """

    name: str
    role: Role
    password_hash: str = ""
    issuer: str = ""
    subject: str = ""
    is_disabled: bool = False
    made_us: int = 0
    changed_us: int = 0
    era: int = 0

    def encode(self) -> str:
        """As the book keeps it."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        As it was kept; what a later version added is left out.

        Raises:
            ValueError: It is no user.
        """
        kept = _known(cls, text)
        return cls(**kept | {"role": Role(kept["role"])})

    def shown(self) -> dict[str, str | int | bool]:
        """What may be seen of it: no hash."""
        return {
            "name": self.name, "role": self.role.value, "is_disabled": self.is_disabled, "issuer": self.issuer,
            "made_us": self.made_us, "changed_us": self.changed_us,
        }  # fmt: skip

    def signed_out(self) -> Self:
        """The same, with no session any more."""
        return replace(self, era=self.era + 1)


@dataclass(frozen=True, slots=True)
class ApiToken:
    """
    A key for a program.

    Attributes:
        token_id: Its public part.
        secret_hash: SHA-256 of the secret, hex: a secret of 256 random bits needs no slow hash.
        until_us: When it expires, epoch microseconds; 0 is never.
        maker: Who made it.
    """

    token_id: str
    name: str
    role: Role
    areas: frozenset[Area]
    secret_hash: str
    maker: str = ""
    made_us: int = 0
    until_us: int = 0

    def encode(self) -> str:
        """As the book keeps it."""
        return json.dumps(asdict(self) | {"areas": sorted(self.areas)}, sort_keys=True)

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        As it was kept.

        Raises:
            ValueError: It is no token.
        """
        kept = _known(cls, text)
        return cls(**kept | {"role": Role(kept["role"]), "areas": frozenset(map(Area, kept["areas"]))})

    def shown(self) -> dict[str, str | int | list[str]]:
        """What may be seen of it: no hash."""
        return {
            "id": self.token_id, "name": self.name, "role": self.role.value, "areas": sorted(self.areas),
            "maker": self.maker, "made_us": self.made_us, "until_us": self.until_us,
        }  # fmt: skip


def _known(kind: type[User | ApiToken], text: str) -> dict[str, Any]:  # values as JSON has them
    try:
        kept = json.loads(text)
        known = {name: kept[name] for name in kind.__dataclass_fields__ if name in kept}
    except TypeError as error:
        raise ValueError(f"no {kind.__name__}: {error}") from error
    if "role" not in known:
        raise ValueError(f"no {kind.__name__}: it has no role")
    return known
