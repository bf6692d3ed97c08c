"""
Sessions: what a signed cookie says, and whether it still counts.

The cookie says who and until when. What that user may do now is in the book, so a change of role, a disabled user and
a sign-out everywhere count at once, on every node.
"""

import json
import secrets
from dataclasses import asdict, dataclass
from typing import Final

from everline.access.book import Contents
from everline.access.roles import Actor, Role
from everline.access.signing import KeyRing

SESSION_S: Final = 12 * 3600
"""One shift; then whoever it is signs in again."""
CLOCKS_APART_US: Final = 60_000_000
"""The node that made a session may be so much ahead of the one that is asked."""
PURPOSE: Final = "session"
ADMIN_TOKEN: Final = "the admin token"  # noqa: S105 - how its bearer is called
"""Who holds it has access to the node's files or the cluster's secrets, and needs no account."""


@dataclass(frozen=True, slots=True)
class Session:
    """
    What a cookie says.

    Attributes:
        user: Name; empty for who signed in by the admin token.
        era: Of the user when it was made.
        mark: For the admin token: changes when the token does.
        made_us: When, epoch microseconds.
        until_us: Until when.
    """

    session: str
    user: str
    made_us: int
    until_us: int
    era: int = 0
    mark: str = ""

    def signed(self, ring: KeyRing) -> str:
        """The value of its cookie."""
        return ring.sign(PURPOSE, json.dumps(asdict(self), separators=(",", ":")))


def new_session(user: str, now_us: int, *, era: int = 0, mark: str = "") -> Session:
    """A session that begins now."""
    return Session(secrets.token_hex(12), user, now_us, now_us + SESSION_S * 1_000_000, era, mark)


def parse_session(ring: KeyRing, cookie: str, now_us: int) -> Session | None:
    """The session of a cookie; None if we did not sign it, it has expired, or was made in a time to come."""
    text = ring.verify(PURPOSE, cookie)
    try:
        session = Session(**json.loads(text)) if text else None
    except (TypeError, ValueError):  # Signed by a version with other sessions.
        return None
    if session is None or not session.made_us - CLOCKS_APART_US <= now_us < session.until_us:
        return None
    return session


def actor_of(session: Session, contents: Contents, *, mark: str) -> Actor | None:
    """Who it is, by what the book says now and the mark of the present admin token; None if it counts no more."""
    if session.session in contents.ended:
        return None
    if not session.user:
        return Actor(ADMIN_TOKEN, Role.ADMIN, session=session.session) if session.mark == mark else None
    user = contents.users.get(session.user)
    if user is None or user.is_disabled or session.era != user.era:
        return None
    return Actor(user.name, user.role, session=session.session, is_user=True)
