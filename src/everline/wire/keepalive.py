"""
The balancer's question whether an ingest node takes packets, on the way that all packets take; and the answer.

Both are HEP3 packets of one vendor chunk, so that anything between them treats them as packets, and an ingest node that
does not know them rejects them. Both have one length: whoever asks in another's name gets him nothing worth having.

    HEP3 | length 2 | vendor 2 | kind 2 | chunk length 2 | nonce 16 | flags 1 | mac 16

The mac is BLAKE2s (RFC 7693) of kind, nonce and flags, under a key that balancers and ingest nodes share; without one
it only finds damage. An answer repeats the nonce of its question, so that a late or invented one is told from it.
"""

from dataclasses import dataclass
from hashlib import blake2s
from hmac import compare_digest
from struct import Struct
from typing import Final

NONCE_BYTES: Final = 16
MAX_KEY_BYTES: Final = 32
"""The longest that BLAKE2s takes."""
_MAC_BYTES: Final = 16
_VENDOR: Final = 0xE7E1
_ASK: Final = 1
_ANSWER: Final = 2
_DRAINING: Final = 1
_FRAME: Final = Struct(f">4sHHHH{NONCE_BYTES}sB{_MAC_BYTES}s")
_BODY: Final = Struct(f">H{NONCE_BYTES}sB")
FRAME_BYTES: Final = _FRAME.size
PREFIX: Final = _FRAME.pack(b"HEP3", FRAME_BYTES, _VENDOR, 0, 0, b"", 0, b"")[:8]
"""How every frame begins: to look for it costs a node almost nothing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What an ingest node says of itself.

    Attributes:
        nonce: Of the question.
        is_draining: It should get nothing new.
    """

    nonce: bytes
    is_draining: bool


def is_keepalive(data: bytes) -> bool:
    """Whether a datagram is meant to be a question or an answer, genuine or not."""
    return len(data) == FRAME_BYTES and data.startswith(PREFIX)


def ask(nonce: bytes, key: bytes) -> bytes:
    """
    A question.

    Args:
        nonce: 16 bytes that nobody can guess.
        key: Up to 32 bytes.
    """
    return _frame(_ASK, nonce, 0, key)


def answer_to(data: bytes, key: bytes, *, is_draining: bool) -> bytes | None:
    """The answer to a question; None if it is none, or was made with another key."""
    read = _read(data, _ASK, key)
    return None if read is None else _frame(_ANSWER, read[0], _DRAINING if is_draining else 0, key)


def read_answer(data: bytes, key: bytes) -> Answer | None:
    """What a node says; None if it is no answer, or was made with another key."""
    read = _read(data, _ANSWER, key)
    return None if read is None else Answer(read[0], bool(read[1] & _DRAINING))


def _frame(kind: int, nonce: bytes, flags: int, key: bytes) -> bytes:
    chunk_bytes = FRAME_BYTES - 6
    return _FRAME.pack(
        b"HEP3", FRAME_BYTES, _VENDOR, kind, chunk_bytes, nonce, flags, _mac(kind, nonce, flags, key)
    )  # fmt: skip


def _read(data: bytes, wanted: int, key: bytes) -> tuple[bytes, int] | None:
    if not is_keepalive(data):
        return None
    _, _, _, kind, _, nonce, flags, mac = _FRAME.unpack(data)
    if kind != wanted or not compare_digest(mac, _mac(kind, nonce, flags, key)):
        return None
    return nonce, flags


def _mac(kind: int, nonce: bytes, flags: int, key: bytes) -> bytes:
    return blake2s(_BODY.pack(kind, nonce, flags), digest_size=_MAC_BYTES, key=key).digest()
