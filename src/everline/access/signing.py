"""Signed texts: whatever a browser carries for us, so that no node need remember it."""

import base64
import hashlib
import hmac
from collections.abc import Iterator, Sequence
from typing import Final, Self

LEAST_KEY_CHARS: Final = 16
SEPARATOR: Final = ","


class KeyRing:
    """
    Keys that sign: the first makes signatures, each checks them.

    So a key is changed without anybody noticing: add the new one behind the old on every node, then put it first, then
    take the old one away once what it signed has expired.

    Raises:
        ValueError: There is no key, or one is too short to protect anything.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys or any(len(key) < LEAST_KEY_CHARS for key in keys):
            raise ValueError(f"a session key needs at least {LEAST_KEY_CHARS} characters")
        self._keys = tuple(keys)

    @classmethod
    def parse(cls, secret: str) -> Self:
        """Keys with commas between them, the one that signs first."""
        return cls([one.strip().encode() for one in secret.split(SEPARATOR) if one.strip()])

    def sign(self, purpose: str, text: str) -> str:
        """`text` and its signature, fit for a cookie; it is good for this purpose only."""
        body = _encoded(text.encode())
        return f"{body}.{_signature(self._keys[0], purpose, body)}"

    def verify(self, purpose: str, signed: str) -> str | None:
        """The text, if one of our keys has signed it for this purpose."""
        body, _, signature = signed.rpartition(".")
        offered = signature.encode("utf-8", "surrogatepass")
        if not any([hmac.compare_digest(offered, one) for one in self._signatures(purpose, body)]):  # noqa: C419 - no hint which
            return None
        try:
            return _decoded(body).decode()
        except ValueError:
            return None

    def derive(self, purpose: str, text: str) -> list[str]:
        """A secret that only bearers of the keys can make, one for each key, the first is the present one's."""
        return [_signature(key, purpose, text) for key in self._keys]

    def _signatures(self, purpose: str, body: str) -> Iterator[bytes]:
        return (_signature(key, purpose, body).encode() for key in self._keys)


def _signature(key: bytes, purpose: str, body: str) -> str:
    message = f"everline/{purpose}\n{body}".encode("utf-8", "surrogatepass")
    return _encoded(hmac.digest(key, message, hashlib.sha256))


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
