"""Signing in at a real identity provider: what is asked of it, what is believed, and what is said when it is not."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from time import time
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from tests.rigs.certificate import certificate_in
from tests.rigs.oidc_provider import (
    CALLBACK,
    CLIENT_ID,
    CLIENT_SECRET,
    TOKEN_S,
    USER,
    Manner,
    OidcProvider,
    Trick,
    running_provider,
    visit,
)

from everline.access.oidc import MOST_ANSWERS, OidcClient, OidcIdentity, OidcSettings, PendingLogin
from everline.access.oidc_errors import (
    OidcCodeError,
    OidcDeniedError,
    OidcError,
    OidcNoRoleError,
    OidcPendingError,
    OidcProviderError,
    OidcSettingsError,
    OidcTokenError,
    OidcUnreachableError,
)
from everline.access.oidc_http import MOST_ANSWER_BYTES
from everline.access.oidc_pending import PENDING_S
from everline.access.oidc_provider import MOST_AGE_S, REFETCH_S, WELL_KNOWN
from everline.access.oidc_token import SKEW_S
from everline.access.roles import Role

SHORT_S: Final = 0.2
"""A deadline for those who wait for nothing."""


class Clock:
    """A time that both sides share, and that passes when told to."""

    def __init__(self) -> None:
        self.now = self.began = time()

    def __call__(self) -> float:
        return self.now


CLOCK: Final = Clock()


@pytest.fixture(scope="module")
def running() -> Iterator[OidcProvider]:
    """One for all tests."""
    with running_provider(clock=CLOCK) as provider:
        yield provider


@pytest.fixture
def provider(running: OidcProvider) -> OidcProvider:
    """The same, behaving well again."""
    running.manner = Manner()
    running.asked.clear()
    CLOCK.now = CLOCK.began
    if running.keys[0].algorithm != "RS256":
        running.rotate()
    return running


def settings_for(provider: OidcProvider, **changes: Any) -> OidcSettings:  # whatever the settings are
    """The settings of the client that the provider knows."""
    usual = OidcSettings(
        issuer=provider.issuer,
        client_id=CLIENT_ID,
        client_secret=CLIENT_SECRET,
        roles={"noc": "operator"},
    )
    return replace(usual, **changes)


def client_of(provider: OidcProvider, **changes: Any) -> OidcClient:  # see settings_for
    """Everline's side."""
    return OidcClient(settings_for(provider, **changes), clock=CLOCK)


async def sign_in(client: OidcClient, *, through: OidcClient | None = None) -> OidcIdentity:
    """The whole way; `through`: the node that the browser comes back to."""
    url, pending = await client.begin(CALLBACK)
    return await (through or client).finish(PendingLogin.from_text(pending.to_text()), visit(url))


async def test_a_user_comes_back_with_a_name_and_a_role(provider: OidcProvider) -> None:
    """The way through; the issuer and `sub` together say who it is."""
    assert await sign_in(client_of(provider)) == OidcIdentity(
        provider.issuer, USER["sub"], "ada", "ada@example.com", ("noc",), Role.OPERATOR
    )


async def test_the_second_half_may_come_to_another_node(provider: OidcProvider) -> None:
    """Nothing of a sign-in is kept where it was begun."""
    identity = await sign_in(client_of(provider), through=client_of(provider))

    assert identity.subject == USER["sub"]


async def test_every_sign_in_has_secrets_of_its_own(provider: OidcProvider) -> None:
    """State, nonce and verifier; of the verifier only the digest is told (RFC 7636 s.4.2)."""
    client = client_of(provider)
    (url, one), (_, other) = await client.begin(CALLBACK), await client.begin(CALLBACK)

    assert len({one.state, one.nonce, one.verifier, other.state, other.nonce, other.verifier}) == 6
    assert one.verifier not in url
    assert one.verifier not in repr(one)


async def test_the_authorization_endpoint_may_have_a_query(provider: OidcProvider) -> None:
    """Some providers choose a policy by it (RFC 6749 s.3.1)."""
    provider.manner.document = {"authorization_endpoint": f"{provider.issuer}/authorize?policy=voice"}

    url, _ = await client_of(provider).begin(CALLBACK)

    assert parse_qs(urlsplit(url).query)["policy"] == ["voice"]
    assert visit(url)["code"]


@pytest.mark.parametrize(
    ("secret", "methods"),
    [
        pytest.param(CLIENT_SECRET, None, id="in-the-header-unless-told-otherwise"),
        pytest.param(CLIENT_SECRET, ["client_secret_post"], id="in-the-form"),
        pytest.param(None, ["none"], id="public-client"),
    ],
)
async def test_the_client_shows_its_secret_as_the_provider_wants_it(
    secret: str | None, methods: list[str] | None, provider: OidcProvider
) -> None:
    """RFC 6749 s.2.3.1; a public client has none and is guarded by PKCE alone."""
    provider.manner.secret = secret
    provider.manner.document = {"token_endpoint_auth_methods_supported": methods}

    assert (await sign_in(client_of(provider, client_secret=secret))).name == "ada"


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
async def test_a_token_may_be_signed_by_any_algorithm_with_a_public_half(
    algorithm: str, provider: OidcProvider
) -> None:
    """And by nothing else, see below."""
    provider.rotate(algorithm)

    assert (await sign_in(client_of(provider))).name == "ada"


async def test_a_key_needs_no_name_if_it_is_the_only_one(provider: OidcProvider) -> None:
    """Core s.10.1."""
    provider.manner.header = {"kid": None}

    assert (await sign_in(client_of(provider))).name == "ada"


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        pytest.param({"nonce": "another"}, "nonce", id="of-another-sign-in"),
        pytest.param({"nonce": None}, "nonce", id="of-no-sign-in"),
        pytest.param({"nonce": "\ud800"}, "nonce", id="nonce-is-no-text"),
        pytest.param({"iss": "https://elsewhere.example"}, "issuer", id="of-another-provider"),
        pytest.param({"iss": None}, "issuer", id="of-no-provider"),
        pytest.param({"aud": "another-client"}, "audience", id="for-another-client"),
        pytest.param({"aud": ["another-client"]}, "audience", id="for-other-clients"),
        pytest.param({"aud": None}, "audience", id="for-nobody"),
        pytest.param({"aud": [CLIENT_ID, "other"]}, "authorized_party", id="for-two-and-given-to-nobody"),
        pytest.param({"azp": "other"}, "authorized_party", id="given-to-another"),
        pytest.param({"exp": int(CLOCK()) - SKEW_S - 1}, "expired", id="expired"),
        pytest.param({"exp": None}, "expired", id="for-ever"),
        pytest.param({"exp": "tomorrow"}, "expired", id="expiry-is-text"),
        pytest.param({"exp": True}, "expired", id="expiry-is-no-number"),
        pytest.param({"exp": float("nan")}, "format", id="no-json-number"),
        pytest.param({"exp": 1e999}, "format", id="expiry-is-infinite"),
        pytest.param({"iat": int(CLOCK()) + SKEW_S + 5}, "issued_at", id="from-the-future"),
        pytest.param({"iat": 10**400}, "issued_at", id="from-the-far-future"),
        pytest.param({"iat": None}, "issued_at", id="from-no-time"),
        pytest.param({"nbf": int(CLOCK()) + SKEW_S + 5}, "not_before", id="not-yet-valid"),
        pytest.param({"sub": None}, "subject", id="names-nobody"),
        pytest.param({"sub": ""}, "subject", id="empty-subject"),
        pytest.param({"sub": " "}, "subject", id="blank-subject"),
        pytest.param({"sub": "a\ud800"}, "subject", id="subject-is-no-text"),
        pytest.param({"sub": 7}, "subject", id="subject-is-a-number"),
        pytest.param({"sub": "x" * 256}, "subject", id="subject-too-long"),
    ],
)
async def test_a_token_that_is_not_for_us_now_is_refused(
    changes: dict[str, Any], fault: str, provider: OidcProvider
) -> None:
    """OpenID Connect Core s.3.1.3.7, each rule."""
    provider.manner.claims = changes

    with pytest.raises(OidcTokenError) as caught:
        await sign_in(client_of(provider))

    assert caught.value.fault == fault


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"exp": int(CLOCK()) - SKEW_S + 5, "iat": int(CLOCK()) - 400}, id="their-clock-is-behind"),
        pytest.param({"iat": int(CLOCK()) + SKEW_S - 5}, id="their-clock-is-ahead"),
        pytest.param({"aud": [CLIENT_ID, "other"], "azp": CLIENT_ID}, id="for-two-and-given-to-us"),
        pytest.param({"aud": [CLIENT_ID]}, id="audience-in-a-list"),
    ],
)
async def test_a_token_that_is_just_right_is_believed(changes: dict[str, Any], provider: OidcProvider) -> None:
    """Clocks may be a minute apart."""
    provider.manner.claims = changes

    assert (await sign_in(client_of(provider))).name == "ada"


@pytest.mark.parametrize(
    ("trick", "header", "fault"),
    [
        pytest.param("unsigned", {}, "algorithm", id="alg-none"),
        pytest.param("public-key-as-secret", {}, "algorithm", id="public-key-taken-for-a-secret"),
        pytest.param("stranger", {}, "signature", id="anothers-key-under-its-name"),
        pytest.param("", {"kid": "nobody"}, "unknown_key", id="unknown-key"),
        pytest.param("", {"kid": 7}, "format", id="name-of-the-key-is-a-number"),
        pytest.param("", {"alg": "PS256"}, "unknown_key", id="key-is-for-another-algorithm"),
        pytest.param("", {"alg": "ES256"}, "unknown_key", id="key-is-of-another-kind"),
        pytest.param("", {"alg": "HS256"}, "algorithm", id="alg-HS256"),
        pytest.param("", {"alg": "RS512"}, "algorithm", id="alg-not-listed"),
        pytest.param("", {"alg": ["RS256"]}, "algorithm", id="alg-is-a-list"),
        pytest.param("", {"alg": None}, "algorithm", id="no-alg"),
        pytest.param("", {"crit": ["exp"], "exp": 1}, "format", id="critical-extension"),
    ],
)
async def test_a_token_that_the_provider_did_not_sign_is_refused(
    trick: Trick, header: dict[str, Any], fault: str, provider: OidcProvider
) -> None:
    """The key says by which algorithm, not the token."""
    provider.manner.trick, provider.manner.header = trick, header

    with pytest.raises(OidcTokenError) as caught:
        await sign_in(client_of(provider))

    assert caught.value.fault == fault


async def test_a_key_that_was_changed_is_fetched_once(provider: OidcProvider) -> None:
    """The next sign-in goes through, and one that needs no new key asks for none."""
    client = client_of(provider)
    await sign_in(client)
    provider.rotate()
    provider.asked.clear()

    await sign_in(client)
    await sign_in(client)

    assert provider.asked.count("/jwks") == 1


async def test_keys_that_are_never_known_do_not_make_us_ask_each_time(provider: OidcProvider) -> None:
    """Once in `REFETCH_S`, however many tokens come."""
    client = client_of(provider)
    await sign_in(client)
    provider.manner.header = {"kid": "nobody"}
    provider.asked.clear()
    for _ in range(3):
        with pytest.raises(OidcTokenError):
            await sign_in(client)
    assert provider.asked.count("/jwks") == 1

    CLOCK.now += REFETCH_S
    with pytest.raises(OidcTokenError):
        await sign_in(client)
    assert provider.asked.count("/jwks") == 2


async def test_what_the_provider_says_of_itself_is_kept_for_a_while(provider: OidcProvider) -> None:
    """Many sign-ins, one document; then it is asked again, so that a key taken out is no longer believed."""
    client = client_of(provider)
    await asyncio.gather(*(client.begin(CALLBACK) for _ in range(5)))
    await sign_in(client)
    assert (provider.asked.count(WELL_KNOWN), provider.asked.count("/jwks")) == (1, 1)

    CLOCK.now += MOST_AGE_S
    await sign_in(client)
    assert (provider.asked.count(WELL_KNOWN), provider.asked.count("/jwks")) == (2, 2)


async def _hang(request: Request) -> Response:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    return Response()


async def _drip(request: Request) -> Response:
    async def bytes_for_ever() -> Any:  # an async generator of bytes
        while not await request.is_disconnected():
            yield b" "
            await asyncio.sleep(SHORT_S / 10)

    return StreamingResponse(bytes_for_ever())


def says(response: Response) -> Callable[[Request], Awaitable[Response]]:
    """An answer that is always the same."""

    async def answer(_request: Request) -> Response:
        return response

    return answer


@pytest.mark.parametrize("path", [WELL_KNOWN, "/jwks", "/token", "/userinfo"])
@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        pytest.param(_hang, OidcUnreachableError, "nothing within 0.2 s", id="hangs"),
        pytest.param(_drip, OidcUnreachableError, "nothing within 0.2 s", id="byte-by-byte"),
        pytest.param(says(PlainTextResponse("x", 500)), OidcUnreachableError, "status 500", id="500"),
        pytest.param(says(PlainTextResponse("x", 429)), OidcUnreachableError, "status 429", id="429"),
        pytest.param(says(PlainTextResponse("x", 403)), OidcUnreachableError, "status 403", id="a-firewall's-403"),
        pytest.param(
            says(RedirectResponse("https://elsewhere.example")), OidcUnreachableError, "status 307", id="redirect"
        ),
        pytest.param(says(Response(b" " * (MOST_ANSWER_BYTES + 1))), OidcProviderError, "more than", id="huge"),
        pytest.param(says(PlainTextResponse("<html>")), OidcProviderError, "else than a JSON object", id="no-json"),
        pytest.param(says(Response(b"[" * 500_000)), OidcProviderError, "nested too deeply", id="nested"),
        pytest.param(says(JSONResponse([])), OidcProviderError, "else than a JSON object", id="no-object"),
        pytest.param(says(JSONResponse({})), OidcProviderError, "can't be used", id="empty-object"),
    ],
)
async def test_a_provider_that_is_not_well_costs_a_bounded_time_and_room(
    path: str, answer: Any, error: type[OidcError], said: str, provider: OidcProvider
) -> None:
    """Whichever of its parts it is; what is said names it."""
    provider.manner.userinfo = {"groups": ["noc"]}
    provider.manner.user.pop("groups")
    provider.manner.answers[path] = answer

    client = OidcClient(settings_for(provider), clock=CLOCK, deadline_s=SHORT_S if answer in {_hang, _drip} else 10)

    with pytest.raises(error, match=said) as caught:
        await sign_in(client)

    assert caught.value.next_step


async def test_a_crowd_does_not_wait_in_turn_for_a_provider_that_hangs(provider: OidcProvider) -> None:
    """Who waits behind others has waited too: all have their answer after three silences at most."""
    provider.manner.answers[WELL_KNOWN] = _hang
    client = OidcClient(settings_for(provider), clock=CLOCK, deadline_s=SHORT_S)

    found = await asyncio.gather(*(client.begin(CALLBACK) for _ in range(20)), return_exceptions=True)

    assert {type(one) for one in found} == {OidcUnreachableError}
    assert provider.asked.count(WELL_KNOWN) <= MOST_ANSWERS + 1


async def test_a_provider_that_is_away_is_told_with_what_to_do(provider: OidcProvider) -> None:
    """Nobody listens there."""
    client = client_of(provider, issuer="http://127.0.0.1:1")

    with pytest.raises(OidcUnreachableError, match=r"no answer at http://127\.0\.0\.1:1/.*check oidc\.issuer"):
        await client.begin(CALLBACK)


@pytest.mark.parametrize(
    "issuer",
    ["http://id.example.com", "http://10.0.0.1", "ftp://127.0.0.1", "https://user@id.example.com", "https://["],
)
async def test_nothing_is_asked_where_others_can_listen(issuer: str, provider: OidcProvider) -> None:
    """Plain http is for this machine only."""
    with pytest.raises(OidcProviderError, match="no https URL"):
        await client_of(provider, issuer=issuer).begin(CALLBACK)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        pytest.param({"issuer": "https://elsewhere.example"}, "it calls itself 'https", id="another-issuer"),
        pytest.param({"token_endpoint": "http://id.example/token"}, "its token_endpoint is 'http:", id="plain-http"),
        pytest.param({"jwks_uri": None}, "its jwks_uri is 'None', need an https URL", id="no-keys"),
        pytest.param({"authorization_endpoint": "javascript:alert(1)"}, "its authorization_endpoint", id="script"),
        pytest.param({"userinfo_endpoint": 7}, "its userinfo_endpoint", id="number"),
        pytest.param({"code_challenge_methods_supported": ["plain"]}, "does not know PKCE with S256", id="no-pkce"),
    ],
)
async def test_a_document_that_is_not_the_providers_is_refused(
    document: dict[str, Any], said: str, provider: OidcProvider
) -> None:
    """OpenID Connect Discovery s.4.3; every endpoint must be guarded as the issuer is."""
    provider.manner.document = document

    with pytest.raises(OidcProviderError, match=said):
        await client_of(provider).begin(CALLBACK)


async def test_what_the_provider_refuses_is_told_in_its_words(provider: OidcProvider) -> None:
    """As one line of text, of bounded length."""
    provider.manner.refusal = "access_denied", "no\nseat <b>left</b>" + "!" * 1_000

    with pytest.raises(OidcDeniedError, match=r"access_denied: no seat <b>left</b>!+…\)") as caught:
        await sign_in(client_of(provider))

    assert caught.value.error == "access_denied"
    assert len(str(caught.value)) < 500
    assert "/token" not in provider.asked


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        pytest.param({"state": "another"}, OidcPendingError, "state", id="of-another-sign-in"),
        pytest.param({"state": None}, OidcPendingError, "state", id="of-none"),
        pytest.param({"state": "\ud800"}, OidcPendingError, "state", id="no-text"),
        pytest.param({"iss": "https://elsewhere.example"}, OidcProviderError, "iss", id="from-another-provider"),
        pytest.param({"iss": None}, OidcProviderError, "iss", id="does-not-say-from-where"),
        pytest.param(
            {"iss": "https://elsewhere.example", "error": "x"}, OidcProviderError, "iss", id="anothers-refusal"
        ),
        pytest.param({"code": None}, OidcProviderError, "neither code nor error", id="no-code"),
        pytest.param({"code": "another"}, OidcCodeError, "invalid_grant: no such code", id="anothers-code"),
    ],
)
async def test_a_browser_that_comes_back_with_something_else_is_refused(
    changes: dict[str, str | None], error: type[OidcError], said: str, provider: OidcProvider
) -> None:
    """State binds it to this browser, `iss` to this provider (RFC 9207)."""
    provider.manner.says_issuer = True
    client = client_of(provider)
    url, pending = await client.begin(CALLBACK)
    query = {name: value for name, value in (visit(url) | changes).items() if value is not None}

    with pytest.raises(error, match=said):
        await client.finish(pending, query)


async def test_a_provider_that_says_where_the_browser_comes_from_is_believed(provider: OidcProvider) -> None:
    """The right `iss` changes nothing."""
    provider.manner.says_issuer = True

    assert (await sign_in(client_of(provider))).name == "ada"


async def test_a_code_is_good_once(provider: OidcProvider) -> None:
    """Who sends the same address again signs nobody in."""
    client = client_of(provider)
    url, pending = await client.begin(CALLBACK)
    query = visit(url)
    await client.finish(pending, query)

    with pytest.raises(OidcCodeError, match="sign in again") as caught:
        await client.finish(pending, query)

    assert caught.value.error == "invalid_grant"


async def test_a_code_is_worth_nothing_without_its_verifier(provider: OidcProvider) -> None:
    """Who read the code on its way can't use it (RFC 7636)."""
    client = client_of(provider)
    url, pending = await client.begin(CALLBACK)
    _, other = await client.begin(CALLBACK)

    with pytest.raises(OidcCodeError):
        await client.finish(replace(pending, verifier=other.verifier), visit(url))


async def test_a_wrong_client_secret_is_told_as_such(provider: OidcProvider) -> None:
    """That is the operator's matter, not the user's."""
    with pytest.raises(OidcCodeError, match=r"who are you\?.*check oidc.client_id and the client secret"):
        await sign_in(client_of(provider, client_secret="another"))


async def test_a_sign_in_has_an_end(provider: OidcProvider) -> None:
    """A page left open for longer begins anew."""
    client = client_of(provider)
    url, pending = await client.begin(CALLBACK)
    query = visit(url)
    CLOCK.now += PENDING_S

    with pytest.raises(OidcPendingError, match="too long ago"):
        await client.finish(pending, query)


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "é", "====", "bnVsbA", "WzFd", "e30", "A" * 4_000,
        replace(PendingLogin("s", "n", "v", "r", 1), state=1).to_text(),  # type: ignore[arg-type]
        replace(PendingLogin("s", "n", "v", "r", 1), expires_at="1").to_text(),  # type: ignore[arg-type]
        replace(PendingLogin("s", "n", "v", "r", 1), verifier="é").to_text(),
    ],
)  # fmt: skip
def test_text_that_is_no_sign_in_is_refused(text: str) -> None:
    """Whatever it is."""
    with pytest.raises(OidcPendingError, match="damaged"):
        PendingLogin.from_text(text)


async def test_groups_may_be_at_the_userinfo_endpoint_only(provider: OidcProvider) -> None:
    """It is asked if the token lacks them, and only then; what the token says comes first."""
    client = client_of(provider)
    await sign_in(client)
    assert "/userinfo" not in provider.asked

    provider.manner.claims = {"groups": None}
    provider.manner.userinfo = {"preferred_username": "somebody else"}

    identity = await sign_in(client)

    assert (identity.role, identity.name) == ("operator", "ada")


async def test_a_userinfo_endpoint_that_tells_of_another_user_is_not_believed(provider: OidcProvider) -> None:
    """Core s.5.3.2."""
    provider.manner.claims = {"groups": None}
    provider.manner.userinfo = {"sub": "another"}

    with pytest.raises(OidcProviderError, match="another user"):
        await sign_in(client_of(provider))


async def test_a_user_without_a_role_is_refused_by_name(provider: OidcProvider) -> None:
    """And told which groups the provider gave."""
    provider.manner.user["groups"] = ["sales", "hr"]

    with pytest.raises(OidcNoRoleError, match=r"ada .*no role here \(groups: sales, hr\)"):
        await sign_in(client_of(provider))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that vouches for itself, and its key."""
    return certificate_in(tmp_path_factory.mktemp("tls"))


async def test_a_provider_with_authorities_of_its_own_needs_their_file(certificate: tuple[Path, Path]) -> None:
    """Over TLS; without the file it is nobody that the system knows."""
    with running_provider(certificate=certificate[0], key=certificate[1]) as guarded:
        client = OidcClient(settings_for(guarded, ca_file=certificate[0]))
        url, pending = await client.begin(CALLBACK)
        query = visit(url, tls=ssl.create_default_context(cafile=certificate[0]))

        assert (await client.finish(pending, query)).name == "ada"
        with pytest.raises(OidcUnreachableError, match="certificate"):
            await OidcClient(settings_for(guarded)).begin(CALLBACK)


def test_a_file_without_authorities_is_told_at_the_start(provider: OidcProvider, tmp_path: Path) -> None:
    """Not at the first sign-in."""
    (tmp_path / "empty.pem").write_bytes(b"")

    with pytest.raises(OidcSettingsError, match=r"oidc\.ca_file .*empty\.pem"):
        client_of(provider, ca_file=tmp_path / "empty.pem")
    with pytest.raises(OidcSettingsError, match="No such file"):
        client_of(provider, ca_file=tmp_path / "none.pem")


def test_secrets_are_never_shown(provider: OidcProvider) -> None:
    """Settings may end up in a log."""
    assert CLIENT_SECRET not in repr(settings_for(provider))
    assert TOKEN_S < PENDING_S  # Else the tests above would not tell one end from the other.
