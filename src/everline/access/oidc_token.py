"""Whether an ID token can be believed: OpenID Connect Core 1.0 s.3.1.3.7, with the time as an argument."""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jwt

from everline.access.oidc_errors import OidcTokenError, TokenFault, shown
from everline.access.oidc_http import Json, json_object

SKEW_S: Final = 60
"""How far the provider's clock may be from ours."""

MOST_TOKEN_CHARS: Final = 262_144

KEY_OF: Final[Mapping[str, tuple[str, str | None]]] = {
    "RS256": ("RSA", None),
    "PS256": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "EdDSA": ("OKP", "Ed25519"),
}
"""
Type and curve of the key of each algorithm that is believed.

All have a public half. A shared secret (HS256) is not among them: a public key could be taken for one.
"""

_SIGNATURES: Final = jwt.PyJWS(list(KEY_OF), {"verify_signature": True, "enforce_minimum_key_length": True})


@dataclass(frozen=True, slots=True)
class Expected:
    """What a token must say: `nonce` of this sign-in, `now` in UTC epoch seconds."""

    issuer: str
    client_id: str
    nonce: str
    now: float


def read_id_token(token: str, keys: Sequence[Any], expected: Expected) -> Json:  # keys: whatever a JWK set holds
    """
    The claims of a token that the provider signed, for us, for this sign-in, and that is valid now.

    Raises:
        OidcTokenError: It can't be believed. `unknown_key` and `signature` may be for want of newer keys.
    """
    payload = _signed_payload(token, keys)
    try:
        claims = json_object(payload)
    except ValueError as error:
        raise OidcTokenError("format", f"its claims are no JSON object ({error})") from error
    _check_parties(claims, expected)
    _check_times(claims, expected.now)
    nonce = claims.get("nonce")
    if not isinstance(nonce, str) or not nonce.isascii() or not hmac.compare_digest(nonce, expected.nonce):
        raise OidcTokenError("nonce", "it was not made for this sign-in (nonce)")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject.strip() or len(subject) > 255 or not subject.isprintable():
        raise OidcTokenError("subject", "it names nobody (sub)")
    return claims


def _signed_payload(token: str, keys: Sequence[Any]) -> bytes:  # see read_id_token
    if not token.isascii() or len(token) > MOST_TOKEN_CHARS:
        raise OidcTokenError("format", "it is no JSON Web Token")
    try:
        header = _SIGNATURES.get_unverified_header(token)
    except jwt.PyJWTError as error:
        raise OidcTokenError("format", f"it is no JSON Web Token ({shown(error)})") from error
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in KEY_OF:
        raise OidcTokenError("algorithm", f"its algorithm is {shown(algorithm)!r}, need {', '.join(KEY_OF)}")
    key = _fitting_key(keys, algorithm, header.get("kid"))
    try:
        payload: bytes = _SIGNATURES.decode(token, key, algorithms=[algorithm])
    except jwt.PyJWTError as error:
        raise OidcTokenError("signature", f"its signature is wrong ({shown(error)})") from error
    return payload


def _fitting_key(keys: Sequence[Any], algorithm: str, kid: str | None) -> jwt.PyJWK:  # see read_id_token
    """The only key of that name; without a name, the only one of that kind (Core s.10.1)."""
    fitting = [one for one in keys if _fits(one, algorithm) and (kid is None or one.get("kid") == kid)]
    if len(fitting) != 1:
        named = "without a name" if kid is None else f"{shown(kid)!r}"
        found = f"{len(fitting)} of the provider's keys" if fitting else "none of the provider's keys"
        raise OidcTokenError("unknown_key", f"{found} can be its key {named} for {algorithm}")
    try:
        return jwt.PyJWK(fitting[0], algorithm)
    except jwt.PyJWTError as error:
        raise OidcTokenError("unknown_key", f"its key can't be used ({shown(error)})") from error


def _fits(key: Any, algorithm: str) -> bool:  # see read_id_token
    kind, curve = KEY_OF[algorithm]
    return (
        isinstance(key, dict)
        and key.get("kty") == kind
        and (curve is None or key.get("crv") == curve)
        and key.get("use", "sig") == "sig"
        and key.get("alg", algorithm) == algorithm
    )


def _check_parties(claims: Json, expected: Expected) -> None:
    """Who made it, and for whom."""
    if claims.get("iss") != expected.issuer:
        raise OidcTokenError("issuer", f"it is of {shown(claims.get('iss'))!r}, need {expected.issuer!r}")
    audience = claims.get("aud")
    listed = audience if isinstance(audience, list) else [audience]
    if expected.client_id not in listed:
        raise OidcTokenError("audience", f"it is for {shown(audience)!r}, need {expected.client_id!r}")
    party = claims.get("azp")
    if (len(listed) > 1 or party is not None) and party != expected.client_id:
        raise OidcTokenError("authorized_party", f"it was given to {shown(party)!r}, need {expected.client_id!r}")


def _check_times(claims: Json, now: float) -> None:
    if _time(claims, "exp", "expired") <= now - SKEW_S:
        raise OidcTokenError("expired", "it has expired (exp)")
    if _time(claims, "iat", "issued_at") > now + SKEW_S:
        raise OidcTokenError("issued_at", "it was made in the future (iat)")
    if "nbf" in claims and _time(claims, "nbf", "not_before") > now + SKEW_S:
        raise OidcTokenError("not_before", "it is not valid yet (nbf)")


def _time(claims: Json, name: str, fault: TokenFault) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise OidcTokenError(fault, f"its {name} is {shown(value)!r}, need epoch seconds")
    return value
