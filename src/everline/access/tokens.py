"""API tokens: `evl_ID_SECRET`. The book has the hash of the secret only."""

import hashlib
import hmac
import re
import secrets
from typing import Final

from everline.access.book import Contents
from everline.access.roles import Actor
from everline.access.signing import KeyRing

_PURPOSE: Final = "token"
_TOKEN: Final = re.compile(r"evl_([0-9a-f]{12})_([A-Za-z0-9_-]{43})", re.ASCII)


def new_token_id() -> str:
    """Its public part."""
    return secrets.token_hex(6)


def secret_of(ring: KeyRing, token_id: str, seed: str) -> str:
    """The whole token, made of a seed: random, or of an Idempotency-Key, so that a repetition can show it again."""
    return f"evl_{token_id}_{ring.derive(_PURPOSE, f'{token_id} {seed}')[0]}"


def hash_of(token: str) -> str:
    """What the book keeps: 256 random bits need no slow hash."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def bearer(offered: str, contents: Contents, now_us: int) -> Actor | None:
    """Who comes with a token; None if it is none of ours, was revoked, or has expired."""
    match = _TOKEN.fullmatch(offered)
    kept = contents.tokens.get(match[1]) if match else None
    if kept is None or not hmac.compare_digest(hash_of(offered), kept.secret_hash):
        return None
    if kept.until_us and kept.until_us <= now_us:
        return None
    return Actor(f"token {kept.name} ({kept.token_id})", kept.role, kept.areas)
