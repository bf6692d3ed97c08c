"""What admins do with users and tokens, and users with themselves; each act is in the audit log when it is done."""

import json
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

from everline.access.account import NAME, TOKEN_NAME, ApiToken, User
from everline.access.audit import Act
from everline.access.book import TOKENS, USERS, Change
from everline.access.errors import AccessError, BookConflictError
from everline.access.gate import Gate, RefusedError
from everline.access.oidc import OidcIdentity
from everline.access.passwords import check_strength
from everline.access.roles import Actor, Area, Role
from everline.access.sessions import Session, new_session
from everline.access.throttle import PER_ADMIN
from everline.access.tokens import hash_of, new_token_id, secret_of
from everline.access.trail import Repeat

MOST_USERS: Final = 2_000
MOST_TOKENS: Final = 2_000
DAY_US: Final = 86_400_000_000


class UnknownError(AccessError):
    """There is none of that name."""


class NotAllowedError(AccessError):
    """What would lock everybody out, or give away more than the actor has."""


@dataclass(frozen=True, slots=True)
class Caller:
    """
    Who acts, and from where.

    Attributes:
        repeat_key: The Idempotency-Key; empty without.
    """

    actor: Actor
    client: str = ""
    request_id: str = ""
    repeat_key: str = ""

    def act(self, what: str, target: str, *, before: str = "", after: str = "") -> Act:
        """For the audit log."""
        return Act(self.actor.name, what, target, before, after, self.client, self.request_id)

    def repeat(self, *asked: str) -> Repeat | None:
        """By which a repetition of this request is known."""
        return Repeat.of(self.actor.name, self.repeat_key, *asked) if self.repeat_key else None


@dataclass(frozen=True, slots=True)
class UserWish:
    """What is to become of a user; None stays as it is."""

    role: Role | None = None
    password: str | None = None
    is_disabled: bool | None = None
    ends_sessions: bool = False


class Desk:
    """Changes the book, through the trail."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def set_up(self, code: str, name: str, password: str, *, client: str) -> User:
        """
        Make the first user, an admin, for the bearer of the one-time link.

        Raises:
            NotAllowedError: There are users already.
            RefusedError: It is not the link's code.
            AccessError: Name or password won't do.
        """
        await self._gate.count_try(client, "")
        if not self._gate.is_setup_code(code):
            raise RefusedError
        if not self._gate.awaits_setup:
            raise NotAllowedError("The link was used already: sign in, or ask an admin for an account.")
        user = await self._new_user(name, Role.ADMIN, password)
        act = Act("the set-up link", "user.added", user.name, after=_seen(user), client=client)
        await self._gate.trail.perform(act, [self._gate.user_change(user.name, user.encode())])
        await self._gate.forgive(client, "")
        return user

    async def welcome(self, identity: OidcIdentity, *, client: str) -> Session:
        """
        A session for whom the identity provider has let in. It says the role; a user who is new here is made.

        Raises:
            RefusedError: An admin has shut the account out.
            AccessError: What is new can't be written down now.
        """
        found = self._known(identity)
        role = identity.role
        now_us = self._gate.now_us
        user = found or User(self._free_name(identity), role, issuer=identity.issuer, subject=identity.subject)
        if user.is_disabled:
            self._gate.outcomes["refused"] += 1
            raise RefusedError
        self._gate.outcomes["let_in"] += 1
        if found is None or found.role is not role:
            changed = replace(user, role=role, made_us=user.made_us or now_us, changed_us=now_us)
            act = Act(
                identity.issuer, "user.changed" if found else "user.added", user.name,
                before=_seen(found) if found else "", after=_seen(changed), client=client,
            )  # fmt: skip
            await self._gate.trail.perform(act, [self._gate.user_change(user.name, changed.encode())])
        return new_session(user.name, now_us, era=user.era)

    async def add_user(self, caller: Caller, name: str, role: Role, password: str) -> User:
        """
        Make a user with a password.

        Raises:
            AccessError: There is one of that name, or name or password won't do.
        """
        await self._charge(caller)
        repeat = caller.repeat("add_user", name.strip().lower(), role, hash_of(password))
        if await self._is_done(repeat):
            return self.user(name)
        user = await self._new_user(name, role, password)
        if len(self._gate.contents.users) >= MOST_USERS:
            raise NotAllowedError(f"There are {MOST_USERS} users, which is the limit: remove some first.")
        change = Change(f"{USERS}/{user.name}", user.encode())
        await self._gate.trail.perform(caller.act("user.added", user.name, after=_seen(user)), [change], repeat=repeat)
        return user

    async def change_user(self, caller: Caller, name: str, wish: UserWish) -> User:
        """
        Change role, password, or whether a user may sign in. A new password, role or ban ends all sessions but those
        that begin after it.

        Raises:
            UnknownError: No such user.
            NotAllowedError: Nobody could manage users any more.
            AccessError: The password won't do, or it was changed by somebody else.
        """
        await self._charge(caller)
        user = self.user(name)
        now_us = self._gate.now_us
        changed = user
        if wish.role is not None:
            changed = replace(changed, role=wish.role)
        if wish.is_disabled is not None:
            changed = replace(changed, is_disabled=wish.is_disabled)
        if wish.password is not None:
            check_strength(wish.password, name=name)
            changed = replace(changed, password_hash=await self._gate.passwords.hash(wish.password))
        if wish.ends_sessions or wish.password is not None or wish.is_disabled:
            changed = changed.signed_out()
        if changed == user:
            return user
        kept = self._another_admin(user, changed)
        changed = replace(changed, changed_us=now_us)
        what = caller.act("user.changed", name, before=_seen(user), after=_seen(changed, wish))
        await self._gate.trail.perform(what, [self._gate.user_change(user.name, changed.encode()), *kept])
        return changed

    async def remove_user(self, caller: Caller, name: str) -> None:
        """
        Forget a user; the log keeps the name.

        Raises:
            UnknownError: No such user.
            NotAllowedError: It is the last admin.
        """
        await self._charge(caller)
        user = self.user(name)
        kept = self._another_admin(user, None)
        act = caller.act("user.removed", name, before=_seen(user))
        await self._gate.trail.perform(act, [self._gate.user_change(user.name, None), *kept])

    async def make_token(
        self, caller: Caller, name: str, role: Role, areas: Collection[Area], *, days: int
    ) -> tuple[ApiToken, str]:
        """
        Make a token for a program, which expires after some days, or never with 0.

        Its secret is given here and never again, but to a repetition of the same request.

        Raises:
            NotAllowedError: It would be allowed more than its maker.
            AccessError: The name won't do.
        """
        await self._charge(caller)
        if not TOKEN_NAME.fullmatch(name.strip()) or not areas:
            raise AccessError("A token needs a name of 1 to 80 characters, and at least one area.")
        if not caller.actor.role.allows(role) or not set(areas) <= caller.actor.areas:
            raise NotAllowedError(f"A token can't be allowed more than who makes it: {caller.actor.role}.")
        if len(self._gate.contents.tokens) >= MOST_TOKENS:
            raise NotAllowedError(f"There are {MOST_TOKENS} tokens, which is the limit: revoke some first.")
        now_us = self._gate.now_us
        repeat = caller.repeat("make_token", name, role, *sorted(areas), str(days))
        seed, token_id = repeat.key if repeat else secrets.token_hex(32), new_token_id()
        token = ApiToken(
            token_id, name.strip(), role, frozenset(areas), hash_of(secret_of(self._gate.ring, token_id, seed)),
            maker=caller.actor.name, made_us=now_us, until_us=now_us + days * DAY_US if days else 0,
        )  # fmt: skip
        change = Change(f"{TOKENS}/{token_id}", token.encode())
        act = caller.act("token.made", token_id, after=json.dumps(token.shown(), sort_keys=True))
        made = ApiToken.parse(await self._gate.trail.perform(act, [change], repeat=repeat, answer=token.encode()))
        return made, secret_of(self._gate.ring, made.token_id, seed)

    async def revoke_token(self, caller: Caller, token_id: str) -> None:
        """
        Make a token void.

        Raises:
            UnknownError: There is none of that id.
        """
        await self._charge(caller)
        token = self._gate.contents.tokens.get(token_id)
        if token is None:
            raise UnknownError(f"No token has the id {token_id[:80]!r}.")
        path = f"{TOKENS}/{token_id}"
        act = caller.act("token.revoked", token_id, before=json.dumps(token.shown(), sort_keys=True))
        await self._gate.trail.perform(act, [Change(path, None, self._gate.contents.versions[path])])

    async def reveal(self, caller: Caller, call_id: str, reason: str) -> None:
        """
        Write down that somebody looks at the numbers of a call, before they are shown.

        Raises:
            AccessError: It can't be written down now, so they must not be shown.
        """
        await self._gate.trail.perform(
            caller.act("numbers.revealed", call_id, after=reason.strip()),
            repeat=caller.repeat("reveal", call_id, reason),
        )

    async def note_drain(self, caller: Caller, node: str, *, drained: bool, reason: str = "") -> None:
        """
        Write down that a node is taken out of service, or back, before it is.

        Raises:
            AccessError: It can't be written down now.
        """
        what = "node.drained" if drained else "node.undrained"
        await self._gate.trail.perform(
            caller.act(what, node, after=reason.strip()), repeat=caller.repeat(what, node, reason)
        )

    async def change_own_password(self, caller: Caller, old: str, new: str) -> None:
        """
        For whoever is signed in; other sessions of the same user end.

        Raises:
            RefusedError: The old password is wrong.
            AccessError: The new one won't do, or the account has none.
        """
        user = self.user(caller.actor.name)
        if not user.password_hash:
            raise NotAllowedError("This account signs in by another service, which keeps its password.")
        await self._gate.count_try(caller.client, user.name)
        if not await self._gate.passwords.verify(user.password_hash, old):
            raise RefusedError
        check_strength(new, name=user.name)
        changed = replace(user, password_hash=await self._gate.passwords.hash(new))
        changed = replace(changed.signed_out(), changed_us=self._gate.now_us)
        act = caller.act("user.changed", user.name, after="password")
        await self._gate.trail.perform(act, [self._gate.user_change(user.name, changed.encode())])

    def user(self, name: str) -> User:
        """
        One of the users.

        Raises:
            UnknownError: There is none of that name.
        """
        found = self._gate.contents.users.get(name.strip().lower())
        if found is None:
            raise UnknownError(f"No user has the name {name[:80]!r}.")
        return found

    def _known(self, identity: OidcIdentity) -> User | None:
        """By what never changes: the name is what the provider says today, and may be another's tomorrow."""
        users = self._gate.contents.users.values()
        who = (identity.issuer, identity.subject)
        return next((one for one in users if (one.issuer, one.subject) == who), None)

    def _free_name(self, identity: OidcIdentity) -> str:
        """A name that is nobody else's, least of all of somebody who has it here already."""
        name = re.sub(r"[^a-z0-9._@+-]+", "_", identity.name.lower()).strip("._@+-")[:100] or "user"
        if name not in self._gate.contents.users:
            return name
        return f"{name}-{hash_of(f'{identity.issuer} {identity.subject}')[:8]}"

    async def _new_user(self, name: str, role: Role, password: str) -> User:
        name = name.strip().lower()
        if not NAME.fullmatch(name):
            raise AccessError("A user name has 1 to 128 of: letters, digits and . _ @ + -, a letter or digit first.")
        if name in self._gate.contents.users:
            raise BookConflictError(f"{USERS}/{name}")
        check_strength(password, name=name)
        now_us = self._gate.now_us
        return User(name, role, await self._gate.passwords.hash(password), made_us=now_us, changed_us=now_us)

    async def _is_done(self, repeat: Repeat | None) -> bool:
        return repeat is not None and await self._gate.trail.done_before(repeat) is not None

    async def _charge(self, caller: Caller) -> None:
        """Raises ThrottledError, or CountingError while it can't be counted: then nothing is changed."""
        await self._gate.count(f"acts of {caller.actor.name}", PER_ADMIN)

    def _another_admin(self, user: User, becomes: User | None) -> list[Change]:
        """
        What must be so while an admin is one no more: that another one is, at whichever node that one is changed too.

        Raises:
            NotAllowedError: Nobody would be left who can manage users.
        """
        if not _manages(user) or (becomes and _manages(becomes)):
            return []
        others = [one for one in self._gate.contents.users.values() if _manages(one) and one.name != user.name]
        if not others:
            raise NotAllowedError("This is the last admin who can sign in: make another one first.")
        return [self._gate.user_change(others[0].name, others[0].encode())]


def _manages(user: User) -> bool:
    return user.role is Role.ADMIN and not user.is_disabled


def _seen(user: User, wish: UserWish | None = None) -> str:
    """For the audit log: without the hash, and with a word if the password or the sessions changed."""
    shown: dict[str, str | int | bool] = {"role": user.role.value, "is_disabled": user.is_disabled}
    if user.issuer:
        shown["issuer"] = user.issuer
    if wish and wish.password is not None:
        shown["password"] = "changed"  # noqa: S105 - that it was
    if wish and (wish.ends_sessions or wish.password is not None):
        shown["sessions"] = "ended"
    return json.dumps(shown, sort_keys=True)
