"""Who comes in: by session, token or password. It keeps nothing that another app node does not have too."""

import hmac
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import time
from typing import Final, Literal

from everline.access.audit import Act
from everline.access.book import ENDED, USERS, Book, Change, Contents
from everline.access.errors import AccessError, BookConflictError, BookUnavailableError
from everline.access.oidc import OidcClient
from everline.access.passwords import Passwords
from everline.access.roles import Actor, Role
from everline.access.sessions import ADMIN_TOKEN, Session, actor_of, new_session, parse_session
from everline.access.signing import LEAST_KEY_CHARS, KeyRing
from everline.access.throttle import PER_CLIENT, PER_USER, Limit, Throttle
from everline.access.tokens import bearer
from everline.access.trail import Trail
from everline.bus.errors import BusError

_SETUP: Final = "set-up"
_UNKNOWN: Final = "Who may sign in is not known yet: this node has not reached Keeper since it was started."


Outcome = Literal["let_in", "refused", "throttled", "uncountable"]


class RefusedError(AccessError):
    """No such user, or not this password: which of them is not told."""

    def __init__(self) -> None:
        super().__init__("This is not a user with that password.")


class ThrottledError(AccessError):
    """Too many tries."""

    def __init__(self, wait_s: int) -> None:
        super().__init__("Too many tries came from this address, or for this user.")
        self.wait_s = wait_s


class CountingError(AccessError):
    """Tries can't be counted, so none is let through."""

    def __init__(self, fault: BusError) -> None:
        super().__init__(f"Nobody can sign in or manage users while tries can't be counted: {fault}.")


@dataclass(frozen=True, slots=True)
class Gate:
    """
    Attributes:
        admin_token: Of the node's files or the cluster's secrets; at least 16 characters.
        clock: UTC epoch seconds.
        oidc: The identity provider; None without.
        outcomes: How sign-ins at this node ended.
    """

    book: Book
    trail: Trail
    throttle: Throttle
    ring: KeyRing
    admin_token: str
    clock: Callable[[], float] = time
    passwords: Passwords = field(default_factory=Passwords)
    oidc: OidcClient | None = None
    outcomes: Counter[Outcome] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        if len(self.admin_token) < LEAST_KEY_CHARS:
            raise ValueError(f"an admin token needs at least {LEAST_KEY_CHARS} characters")

    @property
    def now_us(self) -> int:
        """UTC epoch microseconds."""
        return int(self.clock() * 1e6)

    @property
    def contents(self) -> Contents:
        """
        The book as last seen.

        Raises:
            BookUnavailableError: It was never seen.
        """
        if self.book.contents is None:
            raise BookUnavailableError(_UNKNOWN)
        return self.book.contents

    def by_token(self, offered: str) -> Actor | None:
        """
        Who comes with a bearer token.

        Raises:
            BookUnavailableError: It is not the admin token, and others are not known.
        """
        if self._is_admin_token(offered):
            return Actor(ADMIN_TOKEN, Role.ADMIN)
        return bearer(offered, self.contents, self.now_us)

    def by_cookie(self, cookie: str) -> Actor | None:
        """
        Who comes with a session.

        Raises:
            BookUnavailableError: It is one of ours, and users are not known.
        """
        session = parse_session(self.ring, cookie, self.now_us)
        if session is None:
            return None
        contents = Contents() if not session.user and self.book.contents is None else self.contents
        return actor_of(session, contents, mark=self._mark())

    def setup_code(self) -> str:
        """What the one-time link carries: every app node knows it, and nobody else."""
        return setup_code(self.ring, self.admin_token)

    @property
    def awaits_setup(self) -> bool:
        """Whether there is no user yet, as far as is known."""
        return self.book.contents is not None and not self.book.contents.users

    def is_setup_code(self, offered: str) -> bool:
        """Whether it is the one of the link."""
        return hmac.compare_digest(offered.encode("utf-8", "surrogatepass"), self.setup_code().encode())

    async def sign_in(self, name: str, password: str, *, client: str) -> Session:
        """
        A session for a user's password.

        Raises:
            ThrottledError: Too many failed before.
            RefusedError: Not this password, or no such user, or one who may not.
            CountingError: Tries can't be counted now.
            BookUnavailableError: Users are not known.
            AccessBusyError: Too many at a time.
        """
        name = name.strip().lower()
        await self.count_try(client, name)
        user = self.contents.users.get(name)
        is_right = await self.passwords.verify(user.password_hash if user else "", password)
        if user is None or not is_right or user.is_disabled:
            self.outcomes["refused"] += 1
            raise RefusedError
        await self.forgive(client, name)
        self.outcomes["let_in"] += 1
        return new_session(user.name, self.now_us, era=user.era)

    async def sign_in_by_token(self, offered: str, *, client: str) -> Session:
        """
        A session for the admin token. While tries can't be counted it is let in all the same: it can't be guessed.

        Raises:
            RefusedError: It is not the admin token.
        """
        if not self._is_admin_token(offered):
            await self.count_try(client, "")
            self.outcomes["refused"] += 1
            raise RefusedError
        self.outcomes["let_in"] += 1
        return new_session("", self.now_us, mark=self._mark())

    async def count_try(self, client: str, name: str) -> None:
        """
        Count a try to get in.

        Raises:
            ThrottledError: There were too many.
            CountingError: They can't be counted now.
        """
        await self.count(f"client {client}", PER_CLIENT)
        if name:
            await self.count(f"user {name}", PER_USER)

    async def count(self, what: str, limit: Limit) -> None:
        """
        Count what may not be done too often.

        Raises:
            ThrottledError: It was.
            CountingError: It can't be counted now.
        """
        try:
            wait_s = await self.throttle.wait_s(what, limit)
        except BusError as fault:
            self.outcomes["uncountable"] += 1
            raise CountingError(fault) from fault
        if wait_s:
            self.outcomes["throttled"] += 1
            raise ThrottledError(wait_s)

    async def end(self, actor: Actor, *, client: str) -> None:
        """
        Make a session void on every node.

        Raises:
            AccessError: It can't be noted now.
        """
        if not actor.session:
            return
        try:
            await self.trail.perform(
                Act(actor.name, "session.ended", client=client),
                [Change(f"{ENDED}/{actor.session}", f"[{self.now_us}]")],
            )
        except BookConflictError:
            return  # It was ended before.

    def user_change(self, name: str, text: str | None) -> Change:
        """A change of a user as last seen; of one who is not there, the making."""
        path = f"{USERS}/{name}"
        return Change(path, text, self.contents.versions.get(path))

    async def forgive(self, client: str, name: str) -> None:
        """Forget the tries of somebody who was right."""
        with suppress(BusError):  # It was counted a moment ago; what is left of it expires.
            await self.throttle.forgive(f"client {client}")
            await self.throttle.forgive(f"user {name}")

    def _is_admin_token(self, offered: str) -> bool:
        return hmac.compare_digest(offered.encode("utf-8", "surrogatepass"), self.admin_token.encode())

    def _mark(self) -> str:
        """Changes with the admin token, and tells nothing of it."""
        return self.ring.derive("admin-token", self.admin_token)[-1][:16]


def setup_code(ring: KeyRing, admin_token: str) -> str:
    """The code of the one-time link, made of what only the nodes know."""
    return ring.derive(_SETUP, admin_token)[0][:24]
