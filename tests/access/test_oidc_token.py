"""Whatever stands in the place of a token or a key: it is refused, and nothing else happens."""

import json
from contextlib import suppress
from typing import Any, Final

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st
from tests.rigs.oidc_provider import Key, make_key

from everline.access.oidc_errors import OidcTokenError
from everline.access.oidc_token import KEY_OF, MOST_TOKEN_CHARS, Expected, read_id_token

NOW: Final = 1_800_000_000
EXPECTED: Final = Expected("https://id.example.com", "everline", "n", NOW)
KEYS: Final = [make_key(algorithm) for algorithm in KEY_OF]
CLAIMS: Final = {
    "iss": EXPECTED.issuer, "aud": "everline", "nonce": "n", "sub": "s", "iat": NOW, "exp": NOW + 60,
}  # fmt: skip
SIGNED: Final = {
    key.algorithm: jwt.encode(CLAIMS, key.private, key.algorithm, headers={"kid": key.kid}) for key in KEYS
}
SET: Final = [key.as_jwk() for key in KEYS]

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
values = scalars | st.lists(scalars, max_size=3) | st.dictionaries(st.text(max_size=4), scalars, max_size=3)
algorithms = st.sampled_from(sorted(KEY_OF))


@pytest.mark.parametrize("algorithm", KEY_OF)
def test_a_token_is_found_its_key_among_others(algorithm: str) -> None:
    """By name and by kind."""
    assert read_id_token(SIGNED[algorithm], SET, EXPECTED) == CLAIMS


@pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")  # It signs, and warns; we must refuse.
def test_a_weak_key_is_not_believed() -> None:
    """RSA of 1,024 bits can be broken."""
    weak = Key("RS256", "weak", rsa.generate_private_key(65_537, 1_024))  # noqa: S505 - that is the point

    with pytest.raises(OidcTokenError, match="1024 bits"):
        read_id_token(jwt.encode(CLAIMS, weak.private, "RS256"), [weak.as_jwk()], EXPECTED)


def test_two_keys_of_one_name_are_none() -> None:
    """Nobody can say which of them was meant."""
    with pytest.raises(OidcTokenError, match="2 of the provider's keys") as caught:
        read_id_token(SIGNED["RS256"], [SET[0], SET[0]], EXPECTED)

    assert caught.value.fault == "unknown_key"


@given(algorithms, st.data())
def test_a_key_with_anything_in_it_is_refused(algorithm: str, data: st.DataObject) -> None:
    """One value of it is another; or it is no key at all."""
    right = next(key for key in SET if key["alg"] == algorithm)
    name = data.draw(st.sampled_from(sorted(set(right) - {"use", "key_ops"})))
    changed: Any = data.draw(values.map(lambda value: {**right, name: value}) | values)

    if changed != right:
        with pytest.raises(OidcTokenError):
            read_id_token(SIGNED[algorithm], [changed], EXPECTED)


@given(algorithms, st.integers(0, 2), st.data())
def test_a_token_with_another_character_is_refused(algorithm: str, part: int, data: st.DataObject) -> None:
    """Wherever it stands; a shorter token too."""
    parts = SIGNED[algorithm].split(".")
    at = data.draw(st.integers(0, len(parts[part]) - 1))
    parts[part] = parts[part][:at] + data.draw(st.text(max_size=1)) + parts[part][at + 1 :]

    if ".".join(parts) != SIGNED[algorithm]:
        with pytest.raises(OidcTokenError):
            read_id_token(".".join(parts), SET, EXPECTED)


@given(st.text(max_size=60) | st.just("x" * (MOST_TOKEN_CHARS + 1)))
def test_text_that_is_no_token_is_refused(text: str) -> None:
    """Of any length and kind."""
    with pytest.raises(OidcTokenError) as caught:
        read_id_token(text, SET, EXPECTED)

    assert caught.value.fault == "format"


@given(st.sampled_from(sorted(CLAIMS)), values)
def test_a_claim_may_hold_anything(name: str, value: Any) -> None:
    """It is right, or it is refused."""
    key = KEYS[-1]
    token = jwt.api_jws.encode(_json({**CLAIMS, name: value}), key.private, key.algorithm, headers={"kid": key.kid})

    with suppress(OidcTokenError):
        assert read_id_token(token, SET, EXPECTED)[name] == value


def _json(claims: dict[str, Any]) -> bytes:
    return json.dumps(claims).encode()
