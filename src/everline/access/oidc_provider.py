"""What the provider says of itself: its endpoints and its keys, fetched when needed and kept for a while."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from everline.access.oidc_errors import OidcProviderError, shown
from everline.access.oidc_http import Json, ProviderHttp
from everline.config_sections import is_guarded_url

MOST_AGE_S: Final = 3_600
"""A provider that changes an endpoint, or takes a key out of its set, is believed again after this time."""

REFETCH_S: Final = 30
"""Least time between two fetches of keys because a token needs one that is not known."""

WELL_KNOWN: Final = "/.well-known/openid-configuration"


@dataclass(frozen=True, slots=True)
class Metadata:
    """
    OpenID Connect Discovery 1.0 s.3, as far as needed.

    Attributes:
        userinfo_endpoint: None if there is none.
        takes_basic: Whether the client may show its secret in the Authorization header.
        says_issuer: Whether the browser comes back with the issuer's name (RFC 9207 s.3).
    """

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None
    takes_basic: bool
    says_issuer: bool


def parse_metadata(document: Json, issuer: str) -> Metadata:
    """
    Read a discovery document.

    Raises:
        OidcProviderError: It is another provider's, lacks an endpoint, or is of one without PKCE.
    """
    if document.get("issuer") != issuer:
        raise OidcProviderError(f"it calls itself {shown(document.get('issuer'))!r}, and oidc.issuer is {issuer!r}")
    challenges = document.get("code_challenge_methods_supported")
    if isinstance(challenges, list) and "S256" not in challenges:
        raise OidcProviderError("it does not know PKCE with S256")
    methods = document.get("token_endpoint_auth_methods_supported")
    return Metadata(
        authorization_endpoint=_endpoint(document, "authorization_endpoint"),
        token_endpoint=_endpoint(document, "token_endpoint"),
        jwks_uri=_endpoint(document, "jwks_uri"),
        userinfo_endpoint=_endpoint(document, "userinfo_endpoint") if document.get("userinfo_endpoint") else None,
        takes_basic=not isinstance(methods, list) or "client_secret_basic" in methods,  # The default of s.3.
        says_issuer=document.get("authorization_response_iss_parameter_supported") is True,
    )


def _endpoint(document: Json, name: str) -> str:
    url = document.get(name)
    if not isinstance(url, str) or not is_guarded_url(url):
        raise OidcProviderError(f"its {name} is {shown(url)!r}, need an https URL")
    return url


class Provider:
    """One provider. Of requests at the same time one fetches, and the others wait for it."""

    def __init__(self, issuer: str, http: ProviderHttp, clock: Callable[[], float]) -> None:
        self._issuer, self._http, self._clock = issuer, http, clock
        self._metadata: tuple[Metadata, float] | None = None
        self._keys: tuple[Sequence[Any], float] | None = None  # Whatever the set of keys holds, and when it was read.
        self._refetched_at: float | None = None
        self._fetching = asyncio.Lock()

    async def metadata(self) -> Metadata:
        """
        Its endpoints.

        Raises:
            OidcUnreachableError: It gives no answer.
            OidcProviderError: Its document can't be used.
        """
        async with self._fetching:
            if self._metadata is None or not self._is_fresh(self._metadata[1]):
                document = await self._http.get(self._issuer.rstrip("/") + WELL_KNOWN)
                self._metadata = parse_metadata(document, self._issuer), self._clock()
            return self._metadata[0]

    async def keys(self) -> Sequence[Any]:  # see _keys
        """The values of its JWK set (RFC 7517 s.5), not looked into. Raises as `metadata` does."""
        metadata = await self.metadata()
        async with self._fetching:
            if self._keys is None or not self._is_fresh(self._keys[1]):
                self._keys = await self._fetched(metadata), self._clock()
            return self._keys[0]

    async def newer_keys(self) -> Sequence[Any] | None:  # see _keys
        """The same, fetched now, because it seems to have changed its keys; None if that was done a moment ago."""
        metadata = await self.metadata()
        async with self._fetching:
            now = self._clock()
            if self._refetched_at is not None and 0 <= now - self._refetched_at < REFETCH_S:
                return None
            self._refetched_at = now
            self._keys = await self._fetched(metadata), now
            return self._keys[0]

    def _is_fresh(self, fetched_at: float) -> bool:
        return 0 <= self._clock() - fetched_at < MOST_AGE_S  # A clock that was set back makes nothing last longer.

    async def _fetched(self, metadata: Metadata) -> Sequence[Any]:  # see _keys
        keys = (await self._http.get(metadata.jwks_uri)).get("keys")
        if not isinstance(keys, list) or not keys:
            raise OidcProviderError(f"{shown(metadata.jwks_uri)} holds no set of keys")
        return keys
