"""Where Redis is, and how long its answers may take."""

from dataclasses import dataclass, field
from typing import NamedTuple


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """
    One Redis that Sentinels watch over.

    Attributes:
        service: The name that the Sentinels know it by.
        sentinels: All of them.
        password: Of Redis and of the Sentinels; empty for none.
        connect_s: A connection that takes longer has failed.
        command_s: A command that takes longer has failed, and its Redis is suspected.
        look_s: How often the Sentinels are asked, and the primary is looked at, while all is well.
    """

    service: str
    sentinels: tuple[Address, ...]
    password: str = field(default="", repr=False)
    connect_s: float = 0.5
    command_s: float = 1.0
    look_s: float = 1.0
