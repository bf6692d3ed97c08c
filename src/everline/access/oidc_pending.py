"""A sign-in between its two halves: what the browser carries to the provider and back, to whichever node."""

import base64
import binascii
import hashlib
import json
import secrets
from dataclasses import dataclass, field
from typing import Final

from everline.access.oidc_errors import OidcPendingError

PENDING_S: Final = 600
"""Time to find the password and the phone with the second factor."""

MOST_TEXT_CHARS: Final = 3_800
"""A browser keeps cookies of 4,096 bytes, and who signs this one adds to it."""


@dataclass(frozen=True, slots=True)
class PendingLogin:
    """
    What the second half of a sign-in must know of the first; nothing of it is kept on the node.

    The text form goes into a signed, short-lived cookie. Its holder may know all of it: it is his own sign-in, and the
    code that it belongs to came through the same browser.

    Attributes:
        state: Comes back with the answer, and shows that this browser asked (RFC 6749 s.10.12).
        nonce: Comes back in the ID token, and shows that the token was made for this sign-in.
        verifier: Shows the provider that who has the code also asked for it (RFC 7636).
        expires_at: UTC epoch seconds.
    """

    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)
    redirect_uri: str
    expires_at: int

    @property
    def challenge(self) -> str:
        """What is told of the verifier in advance: S256 of RFC 7636 s.4.2."""
        digest = hashlib.sha256(self.verifier.encode("ascii")).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")

    def to_text(self) -> str:
        """Letters, digits, `-` and `_` only, so that it can be a cookie's value."""
        values = [self.state, self.nonce, self.verifier, self.redirect_uri, self.expires_at]
        packed = json.dumps(values, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(packed).rstrip(b"=").decode("ascii")

    @classmethod
    def from_text(cls, text: str) -> "PendingLogin":
        """
        The sign-in that `to_text` made a text of.

        Raises:
            OidcPendingError: The text is none of these.
        """
        try:
            if len(text) > MOST_TEXT_CHARS:
                raise ValueError("too long")
            padded = text.encode("ascii") + b"=" * (-len(text) % 4)
            *words, expires_at = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
            state, nonce, verifier, redirect_uri = words
            if not all(isinstance(one, str) and one.isascii() for one in words) or type(expires_at) is not int:
                raise TypeError("other values")
        except (ValueError, TypeError, RecursionError, binascii.Error) as error:
            raise OidcPendingError("what the browser kept of it is damaged") from error
        return cls(state, nonce, verifier, redirect_uri, expires_at)


def new_pending(redirect_uri: str, now: float) -> PendingLogin:
    """A sign-in that begins now, of three secrets of 256 bits and more."""
    return PendingLogin(
        state=secrets.token_urlsafe(32),
        nonce=secrets.token_urlsafe(32),
        verifier=secrets.token_urlsafe(48),
        redirect_uri=redirect_uri,
        expires_at=int(now) + PENDING_S,
    )
