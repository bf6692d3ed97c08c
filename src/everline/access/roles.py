"""What a user or a token may do: roles, and areas that narrow a token."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """Each may do what those before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def allows(self, needed: "Role") -> bool:
        """Whether this role is enough where another is needed."""
        return _RANKS[self] >= _RANKS[needed]


_RANKS: Final = {role: rank for rank, role in enumerate(Role)}

WILL: Final = {
    Role.VIEWER: "sees calls, figures and the cluster; numbers are masked until revealed, which is written down",
    Role.OPERATOR: "sees numbers as they are, takes captures along, drains nodes",
    Role.ADMIN: "manages users and tokens, reads the audit log",
}
"""Each role in words; each may do what those before it may."""


class Area(StrEnum):
    """What a route is about. A token reaches the areas that it was made for; a user reaches all."""

    CALLS = "calls"
    CLUSTER = "cluster"
    ACCESS = "access"


@dataclass(frozen=True, slots=True)
class Need:
    """What a route asks of whoever calls it; without an area any token's will do."""

    role: Role
    area: Area | None


@dataclass(frozen=True, slots=True)
class Actor:
    """
    Who sends a request.

    Attributes:
        name: Of the user, or of the token.
        role: What may be done.
        areas: What it reaches.
        session: Id of the session; empty for a token.
        is_user: Whether it has an account, and with it a password and sessions to end.
    """

    name: str
    role: Role
    areas: frozenset[Area] = frozenset(Area)
    session: str = ""
    is_user: bool = False

    @property
    def sees_numbers(self) -> bool:
        """Whether numbers are shown as they are."""
        return self.role.allows(Role.OPERATOR)

    def meets(self, need: Need) -> bool:
        """Whether a route with this need is open to it."""
        return self.role.allows(need.role) and (need.area is None or need.area in self.areas)
