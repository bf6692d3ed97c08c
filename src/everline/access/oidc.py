"""
Signing in at an identity provider: OpenID Connect, authorization code flow with PKCE.

The node keeps nothing between the two halves of a sign-in: what the second needs is carried by the browser, so that it
may come to another node. Sources: OpenID Connect Core 1.0, RFC 6749, RFC 7636, RFC 9207, RFC 9700.
"""

import asyncio
import base64
import hmac
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from time import time
from typing import Final
from urllib.parse import quote_plus, urlencode, urlsplit

from everline.access.oidc_errors import (
    OidcCodeError,
    OidcDeniedError,
    OidcPendingError,
    OidcProviderError,
    OidcTokenError,
    OidcUnreachableError,
    shown,
)
from everline.access.oidc_http import DEADLINE_S, Json, ProviderHttp
from everline.access.oidc_identity import OidcIdentity, identity_of, lacks_claims
from everline.access.oidc_pending import PendingLogin, new_pending
from everline.access.oidc_provider import Metadata, Provider
from everline.access.oidc_settings import OidcSettings
from everline.access.oidc_token import Expected, read_id_token

__all__ = ["OidcClient", "OidcIdentity", "OidcSettings", "PendingLogin"]

MOST_ANSWERS: Final = 3
"""Each half of a sign-in may take as long as so many answers, however many it needs and whoever waits before it."""


class OidcClient:
    """
    The relying party of one provider; one for the whole application, since it keeps the provider's keys.

    Args:
        clock: UTC epoch seconds.
        deadline_s: Longest wait for one answer of the provider.

    Raises:
        OidcSettingsError: The file with authorities can't be used.
    """

    def __init__(
        self, settings: OidcSettings, *, clock: Callable[[], float] = time, deadline_s: float = DEADLINE_S
    ) -> None:
        self.settings = settings
        self._clock = clock
        self._longest_s = MOST_ANSWERS * deadline_s
        self._http = ProviderHttp(settings.ca_file, deadline_s=deadline_s)
        self._provider = Provider(settings.issuer, self._http, clock)

    async def begin(self, redirect_uri: str) -> tuple[str, PendingLogin]:
        """
        Begin a sign-in.

        Args:
            redirect_uri: Where the browser comes back to; one of those that the provider has registered.

        Returns:
            Where to send the browser, and what it must bring along when it comes back.

        Raises:
            OidcError: The provider gives no answer, or one that can't be used.
        """
        async with self._bounded():
            endpoint = (await self._provider.metadata()).authorization_endpoint
        pending = new_pending(redirect_uri, self._clock())
        query = urlencode(
            {
                "response_type": "code",
                "client_id": self.settings.client_id,
                "redirect_uri": redirect_uri,
                "scope": " ".join(dict.fromkeys(("openid", *self.settings.scopes))),
                "state": pending.state,
                "nonce": pending.nonce,
                "code_challenge": pending.challenge,
                "code_challenge_method": "S256",
            }
        )
        return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{query}", pending

    async def finish(self, pending: PendingLogin, query: Mapping[str, str]) -> OidcIdentity:
        """
        Finish a sign-in with what the browser came back with.

        Args:
            pending: What `begin` gave, as the browser brought it along; signed by the caller.
            query: The parameters of the callback's address.

        Raises:
            OidcError: Nobody was signed in; its class says whose matter that is.
        """
        if pending.expires_at <= self._clock():
            raise OidcPendingError("it was begun too long ago")
        if not hmac.compare_digest(pending.state.encode(), query.get("state", "").encode("utf-8", "replace")):
            raise OidcPendingError("the answer belongs to another one (state)")
        async with self._bounded():
            metadata = await self._provider.metadata()
            tokens = await self._tokens(metadata, pending, self._code(metadata, query))
            claims = await self._claims(_text(tokens, "id_token"), pending.nonce)
            if metadata.userinfo_endpoint is not None and lacks_claims(claims, self.settings):
                claims = await self._completed(claims, metadata.userinfo_endpoint, _text(tokens, "access_token"))
        return identity_of(claims, self.settings)

    @asynccontextmanager
    async def _bounded(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._longest_s):
                yield
        except TimeoutError as error:
            raise OidcUnreachableError(self.settings.issuer, f"not done within {self._longest_s:g} s") from error

    def _code(self, metadata: Metadata, query: Mapping[str, str]) -> str:
        """The code of an answer that is this provider's (RFC 9207 s.2.4), and no error."""
        issuer = query.get("iss")
        if (metadata.says_issuer or issuer is not None) and issuer != self.settings.issuer:
            raise OidcProviderError(f"the browser comes from {shown(issuer)!r}, need {self.settings.issuer!r} (iss)")
        if "error" in query:
            raise OidcDeniedError(query["error"], query.get("error_description", ""))
        if not query.get("code"):
            raise OidcProviderError("the browser brings neither code nor error")
        return query["code"]

    async def _tokens(self, metadata: Metadata, pending: PendingLogin, code: str) -> Json:
        """The tokens for a code. The client shows its secret as RFC 6749 s.2.3.1 wants, or has none."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": pending.redirect_uri,
            "code_verifier": pending.verifier,
        }
        authorization = ""
        client_id, secret = self.settings.client_id, self.settings.client_secret
        if secret is not None and metadata.takes_basic:
            authorization = _basic(client_id, secret)
        else:
            form |= {"client_id": client_id} | ({"client_secret": secret} if secret is not None else {})
        answer = await self._http.post(metadata.token_endpoint, form, authorization=authorization)
        if answer.is_refusal:
            error, description = answer.content.get("error"), answer.content.get("error_description")
            raise OidcCodeError(str(error or "no reason given"), str(description or ""))
        return answer.content

    async def _claims(self, token: str, nonce: str) -> Json:
        """What the ID token says; if its key is not known, after another look at the provider's keys."""
        expected = Expected(self.settings.issuer, self.settings.client_id, nonce, self._clock())
        try:
            return read_id_token(token, await self._provider.keys(), expected)
        except OidcTokenError as error:
            if error.fault not in {"unknown_key", "signature"}:
                raise
            newer = await self._provider.newer_keys()
            if newer is None:
                raise
        return read_id_token(token, newer, expected)

    async def _completed(self, claims: Json, endpoint: str, access_token: str) -> Json:
        """The claims, and what the userinfo endpoint has besides (Core s.5.3)."""
        more = await self._http.get(endpoint, bearer=access_token)
        if more.get("sub") != claims["sub"]:  # Core s.5.3.2: else tokens could be swapped.
            raise OidcProviderError("its userinfo endpoint tells of another user")
        return more | claims


def _basic(client_id: str, secret: str) -> str:
    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
    return "Basic " + base64.b64encode(pair.encode()).decode("ascii")


def _text(tokens: Json, name: str) -> str:
    value = tokens.get(name)
    if not isinstance(value, str) or not value or not (value.isascii() and value.isprintable()):
        raise OidcProviderError(f"it gives no {name}")
    return value
