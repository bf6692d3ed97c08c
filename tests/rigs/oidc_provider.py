"""
A small identity provider on loopback: OpenID Connect with PKCE, for one client and whichever user is put there.

It checks what a provider must check, approves at once, and can be told to misbehave in each part of its work.
"""

import base64
import hashlib
import hmac
import json
import secrets
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import time
from typing import Any, Final, Literal
from urllib.parse import parse_qs, unquote_plus, urlencode, urlsplit

import httpx2
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import get_default_algorithms
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

Json = dict[str, Any]  # what JSON can hold
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
Trick = Literal["", "unsigned", "public-key-as-secret", "stranger"]

CLIENT_ID: Final = "everline-test"
CLIENT_SECRET: Final = "s3cret/with+odd=characters%"
CALLBACK: Final = "https://everline.example/login/oidc/callback"
USER: Final[Json] = {
    "sub": "248289761001", "preferred_username": "ada", "email": "ada@example.com", "email_verified": True,
    "groups": ["noc"],
}  # fmt: skip
TOKEN_S: Final = 300

_MAKERS: Final[dict[str, Callable[[], PrivateKey]]] = {
    "RS256": lambda: rsa.generate_private_key(65_537, 2_048),
    "PS256": lambda: rsa.generate_private_key(65_537, 2_048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


@dataclass(frozen=True, slots=True)
class Key:
    """One of the provider's keys."""

    algorithm: str
    kid: str
    private: PrivateKey

    def as_jwk(self) -> Json:
        """Its public half."""
        public: Json = get_default_algorithms()[self.algorithm].to_jwk(self.private.public_key(), as_dict=True)
        return {**public, "kid": self.kid, "alg": self.algorithm, "use": "sig"}


def make_key(algorithm: str) -> Key:
    """A new key."""
    return Key(algorithm, f"key-{secrets.token_hex(4)}", _MAKERS[algorithm]())


@dataclass(slots=True)
class Manner:
    """
    How the provider behaves; as made: well.

    Attributes:
        user: Claims of whoever is in front of the browser.
        claims: What stands in ID tokens in the place of the right claims; None: nothing.
        header: The same for their headers.
        trick: How they are signed instead.
        document: What the discovery document says instead; None: nothing.
        userinfo: Claims that only the userinfo endpoint gives.
        refusal: Error and description for the browser.
        answers: What is answered at a path instead.
        says_issuer: Whether the browser comes back with `iss` (RFC 9207).
        secret: What the client must show; None: it is a public client.
    """

    user: Json = field(default_factory=lambda: dict(USER))
    claims: Json = field(default_factory=dict)
    header: Json = field(default_factory=dict)
    trick: Trick = ""
    document: Json = field(default_factory=dict)
    userinfo: Json = field(default_factory=dict)
    refusal: tuple[str, str] | None = None
    answers: dict[str, Callable[[Request], Any]] = field(default_factory=dict)
    says_issuer: bool = False
    secret: str | None = CLIENT_SECRET


@dataclass(frozen=True, slots=True)
class Grant:
    """A code that was given out."""

    redirect_uri: str
    nonce: str
    challenge: str
    user: Json


class OidcProvider:
    """
    The provider.

    Attributes:
        manner: How it behaves.
        keys: Its keys; the first signs.
        asked: The paths that were asked for, in order.
    """

    def __init__(self, issuer: str, clock: Callable[[], float] = time) -> None:
        self.issuer = issuer
        self.clock = clock
        self.manner = Manner()
        self.keys = [make_key("RS256")]
        self._stranger = make_key("RS256")
        self.asked: list[str] = []
        self._grants: dict[str, Grant] = {}
        self._tokens: dict[str, Json] = {}

    def rotate(self, algorithm: str = "RS256") -> None:
        """Sign with another key from now on, and forget the one before."""
        self.keys = [make_key(algorithm)]

    def application(self) -> Starlette:
        """Its web server."""
        ways = {
            "/.well-known/openid-configuration": (self._discovery, "GET"),
            "/jwks": (self._jwks, "GET"),
            "/authorize": (self._authorize, "GET"),
            "/token": (self._token, "POST"),
            "/userinfo": (self._userinfo, "GET"),
        }
        return Starlette(routes=[Route(path, self._way(path, do), methods=[how]) for path, (do, how) in ways.items()])

    def _way(self, path: str, do: Callable[[Request], Any]) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            self.asked.append(path)
            response: Response = await self.manner.answers.get(path, do)(request)
            return response

        return answer

    async def _discovery(self, _request: Request) -> Response:
        document: Json = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": self.manner.says_issuer,
        }
        return JSONResponse(_changed(document, self.manner.document))

    async def _jwks(self, _request: Request) -> Response:
        return JSONResponse({"keys": [{"kty": "oct", "k": "AAAA"}, *(key.as_jwk() for key in self.keys)]})

    async def _authorize(self, request: Request) -> Response:
        query = request.query_params
        wanted = {"client_id": CLIENT_ID, "redirect_uri": CALLBACK, "response_type": "code",
                  "code_challenge_method": "S256"}  # fmt: skip
        wrong = [name for name, value in wanted.items() if query.get(name) != value]
        wrong += [name for name in ("state", "nonce", "code_challenge") if len(query.get(name, "")) < 43]
        if wrong or "openid" not in query.get("scope", "").split():
            return PlainTextResponse(f"wrong: {wrong or 'scope'}", 400)  # Not sent back: the address is not believed.
        back = {"state": query["state"]} | ({"iss": self.issuer} if self.manner.says_issuer else {})
        if self.manner.refusal is not None:
            back |= dict(zip(("error", "error_description"), self.manner.refusal, strict=True))
        else:
            back["code"] = secrets.token_urlsafe(16)
            grant = Grant(CALLBACK, query["nonce"], query["code_challenge"], dict(self.manner.user))
            self._grants[back["code"]] = grant
        return RedirectResponse(f"{CALLBACK}?{urlencode(back)}", 302)

    async def _token(self, request: Request) -> Response:
        form = {name: str(value) for name, value in (await request.form()).items()}
        if not self._is_client(request, form):
            return JSONResponse({"error": "invalid_client", "error_description": "who are you?"}, 401)
        grant = self._grants.pop(form.get("code", ""), None)  # Once only.
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if (
            grant is None
            or form.get("grant_type") != "authorization_code"
            or form.get("redirect_uri") != grant.redirect_uri
            or not 43 <= len(form.get("code_verifier", "")) <= 128
            or _base64(digest) != grant.challenge
        ):
            return JSONResponse({"error": "invalid_grant", "error_description": "no such code"}, 400)
        access = secrets.token_urlsafe(16)
        self._tokens[access] = grant.user
        return JSONResponse(
            {"access_token": access, "token_type": "Bearer", "expires_in": TOKEN_S, "id_token": self._id_token(grant)}
        )

    def _is_client(self, request: Request, form: dict[str, str]) -> bool:
        """By the header (RFC 6749 s.2.3.1) or, where discovery says so, by the form; a public client by its name."""
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        if self.manner.secret is None:
            return not scheme and "client_secret" not in form and form.get("client_id") == CLIENT_ID
        if self.manner.document.get("token_endpoint_auth_methods_supported") == ["client_secret_post"]:
            shown = form.get("client_id", ""), form.get("client_secret", "")
        elif scheme == "Basic":
            name, _, secret = base64.b64decode(credentials).decode().partition(":")
            shown = unquote_plus(name), unquote_plus(secret)
        else:
            return False
        return shown == (CLIENT_ID, self.manner.secret)

    async def _userinfo(self, request: Request) -> Response:
        _, _, token = request.headers.get("authorization", "").partition(" ")
        if token not in self._tokens:
            return JSONResponse({"error": "invalid_token"}, 401)
        return JSONResponse(self._tokens[token] | self.manner.userinfo)

    def _id_token(self, grant: Grant) -> str:
        now = int(self.clock())
        claims = {"iss": self.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + TOKEN_S, "nonce": grant.nonce}
        return self._signed(_changed(grant.user | claims, self.manner.claims))

    def _signed(self, claims: Json) -> str:
        key = self.keys[0]
        header = _changed({"alg": key.algorithm, "kid": key.kid}, self.manner.header)
        match self.manner.trick:
            case "unsigned":
                return _compact(header | {"alg": "none"}, claims, lambda _: b"")
            case "public-key-as-secret":  # What a library does that goes by the token's own word for its algorithm.
                pem = key.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
                return _compact(header | {"alg": "HS256"}, claims, lambda text: hmac.digest(pem, text, hashlib.sha256))
            case "stranger":
                key = self._stranger
        algorithm = get_default_algorithms()[key.algorithm]
        return _compact(header, claims, lambda text: algorithm.sign(text, key.private))


def _changed(values: Json, changes: Json) -> Json:
    return {name: value for name, value in (values | changes).items() if value is not None}


def _base64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode("ascii")


def _compact(header: Json, claims: Json, sign: Callable[[bytes], bytes]) -> str:
    text = ".".join(_base64(json.dumps(part).encode()) for part in (header, claims))
    return f"{text}.{_base64(sign(text.encode()))}"


def visit(url: str, *, tls: ssl.SSLContext | None = None) -> dict[str, str]:
    """
    Go where the browser is sent to, and give what it comes back with.

    Raises:
        AssertionError: The provider does not send it back.
    """
    with httpx2.Client(verify=tls or True, trust_env=False) as browser:
        answer = browser.get(url)
    assert answer.status_code == 302, answer.text
    back = urlsplit(answer.headers["location"])
    assert back.geturl().startswith(CALLBACK)
    return {name: values[0] for name, values in parse_qs(back.query).items()}


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()


@contextmanager
def running_provider(
    *, certificate: Path | None = None, key: Path | None = None, clock: Callable[[], float] = time
) -> Iterator[OidcProvider]:
    """A provider that answers, over TLS if it is given a certificate for 127.0.0.1."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        scheme = "https" if certificate else "http"
        provider = OidcProvider(f"{scheme}://127.0.0.1:{listening.getsockname()[1]}", clock)
        config = uvicorn.Config(
            provider.application(), log_config=None, access_log=False, lifespan="off",
            ssl_certfile=certificate, ssl_keyfile=key, timeout_graceful_shutdown=1,
        )  # fmt: skip
        server = _Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="oidc-provider")
        thread.start()
        try:
            assert server.up.wait(30)
            yield provider
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()
