"""Asking the provider: one deadline, a bound on what it may answer, JSON objects only."""

import asyncio
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

import httpx2

from everline.access.oidc_errors import OidcProviderError, OidcSettingsError, OidcUnreachableError, shown
from everline.config_sections import is_guarded_url

DEADLINE_S: Final = 3.5
"""
For one answer of the provider. Three are less than NGINX waits for an app node: if it gave up on a callback, the next
node would find the code used.
"""

MOST_ANSWER_BYTES: Final = 1 << 20
"""A token of a user in a thousand groups has some 100 KiB, a set of keys some 20."""

_HEADERS: Final = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "everline"}
_REFUSALS: Final = frozenset({400, 401, 403})

Json = dict[str, Any]
"""An object that somebody else made: any value may be of any kind."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the provider says: yes, or no and why."""

    is_refusal: bool
    content: Json


def json_object(text: bytes) -> Json:
    """
    Read a JSON object.

    Raises:
        ValueError: It is none, is nested too deeply, or has numbers that are none.
    """

    def refuse(name: str) -> NoReturn:
        raise ValueError(f"{name} is no number of JSON")

    try:
        value = json.loads(text, parse_constant=refuse)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError("no object")
    return value


class ProviderHttp:
    """
    Asks, and gives JSON or an `OidcError`.

    Redirects are not followed: what answers must be what was named. A proxy of the environment (HTTPS_PROXY) is used.
    """

    def __init__(self, ca_file: Path | None, *, deadline_s: float = DEADLINE_S) -> None:
        self._deadline_s = deadline_s
        try:
            # Made once: reading all authorities of a system takes longer than asking.
            self._tls = ssl.create_default_context(cafile=ca_file) if ca_file else httpx2.create_ssl_context()
        except OSError as error:  # ssl.SSLError too
            problem = f"oidc.ca_file {str(ca_file)!r} can't be used ({error.strerror or error})"
            raise OidcSettingsError(problem, next_step="name a readable PEM file with certificates") from error

    async def get(self, url: str, *, bearer: str = "") -> Json:
        """
        What stands at a URL.

        Raises:
            OidcUnreachableError: No answer in time, or a refusal.
            OidcProviderError: No JSON object, too much of it, or a URL that others can listen at.
        """
        answer = await self._ask("GET", url, authorization=f"Bearer {bearer}" if bearer else "")
        if answer.is_refusal:
            raise OidcUnreachableError(url, "the request is refused")
        return answer.content

    async def post(self, url: str, form: Mapping[str, str], *, authorization: str = "") -> Answer:
        """The same for a form, but that a refusal with its reason is an answer."""
        return await self._ask("POST", url, form=form, authorization=authorization)

    async def _ask(self, method: str, url: str, *, form: Mapping[str, str] | None = None, authorization: str) -> Answer:
        if not is_guarded_url(url):
            raise OidcProviderError(f"{shown(url)} is no https URL")
        headers = _HEADERS | ({"Authorization": authorization} if authorization else {})
        client = httpx2.AsyncClient(
            verify=self._tls, timeout=self._deadline_s, trust_env=url.startswith("https:"), headers=headers
        )
        try:
            async with (
                asyncio.timeout(self._deadline_s),
                client,
                client.stream(method, url, data=None if form is None else dict(form)) as answer,
            ):
                return await _read(answer, url)
        except TimeoutError as error:
            raise OidcUnreachableError(url, f"nothing within {self._deadline_s:g} s") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            raise OidcUnreachableError(url, str(error) or type(error).__name__) from error


async def _read(answer: httpx2.Response, url: str) -> Answer:
    status = answer.status_code
    if status != 200 and status not in _REFUSALS:
        raise OidcUnreachableError(url, f"status {status}")
    body = b""
    async for part in answer.aiter_raw():  # Not unpacked: a small answer can unpack to a very large one.
        body += part
        if len(body) > MOST_ANSWER_BYTES:
            raise OidcProviderError(f"{shown(url)} answers with more than {MOST_ANSWER_BYTES} bytes")
    try:
        return Answer(is_refusal=status != 200, content=json_object(body))
    except ValueError as error:
        if status != 200:
            raise OidcUnreachableError(url, f"status {status}") from error
        raise OidcProviderError(f"{shown(url)} answers with something else than a JSON object ({error})") from error
