"""Passwords: argon2id, a few at a time, since each takes memory and a tenth of a second of a core."""

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from everline.access.errors import AccessBusyError, WeakPasswordError

T = TypeVar("T")

LEAST_CHARS: Final = 12
"""NIST SP 800-63B asks for 8 beside a second factor, and for no rules about kinds of characters."""
MOST_CHARS: Final = 256
AT_ONCE: Final = 2
WAITING: Final = 16
"""More sign-ins at a time are told to come again: they would wait for seconds, and fill the memory."""

_HASHER: Final = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)
"""argon2id, 64 MiB, 3 passes (RFC 9106 section 4, second recommended option)."""


def check_strength(password: str, *, name: str) -> None:
    """
    Refuse what is guessed first.

    Raises:
        WeakPasswordError: It is too short or too long, holds the user's name, or is one character again and again.
    """
    if not LEAST_CHARS <= len(password) <= MOST_CHARS:
        raise WeakPasswordError(f"has {len(password)} characters; use {LEAST_CHARS} to {MOST_CHARS}")
    if name and name.lower() in password.lower():
        raise WeakPasswordError("holds the user's name; use another")
    if len(set(password)) < 5:
        raise WeakPasswordError("is made of fewer than 5 different characters; use another")


class Passwords:
    """Makes hashes and checks them, in threads, at most two at a time in this process."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self._nobody = ""

    async def hash(self, password: str) -> str:
        """
        The hash to keep, with its parameters and salt in it.

        Raises:
            AccessBusyError: Too many wait already.
        """
        return await self._in_turn(_HASHER.hash, password)

    async def verify(self, kept: str, password: str) -> bool:
        """
        Whether the password is the one; without a hash (nobody of that name) as slow as with one.

        Raises:
            AccessBusyError: Too many wait already.
        """
        if not kept:
            self._nobody = self._nobody or await self.hash("nobody has this password")
        return await self._in_turn(_is_of, kept or self._nobody, password) and bool(kept)

    async def _in_turn(self, work: Callable[..., T], *arguments: str) -> T:
        if self._waiting >= WAITING:
            raise AccessBusyError
        self._waiting += 1
        try:
            async with self._turns:
                return await asyncio.to_thread(work, *arguments)
        finally:
            self._waiting -= 1


def _is_of(kept: str, password: str) -> bool:
    try:
        return _HASHER.verify(kept, password)
    except (VerificationError, InvalidHashError):
        return False
