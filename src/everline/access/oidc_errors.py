"""What can go wrong when somebody signs in at an identity provider, by what has to be done about it."""

from typing import Final, Literal

from everline.errors import EverlineError

MOST_SHOWN_CHARS: Final = 200
"""Of what a provider says: its words end up on a page and in the log."""

TokenFault = Literal[
    "format", "algorithm", "unknown_key", "signature", "issuer", "audience", "authorized_party", "expired", "issued_at",
    "not_before", "nonce", "subject",
]  # fmt: skip
"""What is wrong with an ID token."""


def shown(text: object, most: int = MOST_SHOWN_CHARS) -> str:
    """What somebody else says, as one line of printable text of bounded length."""
    said = str(text)[: most + 1]
    line = " ".join("".join(one if one.isprintable() else " " for one in said).split())
    return line if len(said) <= most else line[: most - 1] + "…"


class OidcError(EverlineError):
    """
    Nobody was signed in.

    `detail` says what was found and needed, `next_step` what to do; the text is both.
    """

    def __init__(self, detail: str, *, next_step: str) -> None:
        super().__init__(f"{detail}; {next_step}")
        self.detail, self.next_step = detail, next_step


class OidcSettingsError(OidcError):
    """The settings can't be used on this machine."""

    exit_code = 2


class OidcUnreachableError(OidcError):
    """The provider gave no answer, or said itself that it can't now. Trying again may help."""

    def __init__(self, url: str, why: str) -> None:
        step = "try again, sign in another way, or check oidc.issuer and the network of this node"
        super().__init__(f"the identity provider gives no answer at {shown(url)} ({shown(why)})", next_step=step)
        self.url = url


class OidcProviderError(OidcError):
    """The provider answers, but not as OpenID Connect wants it. Trying again will not help."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the identity provider's answer can't be used: {why}", next_step="check oidc.issuer")


class OidcPendingError(OidcError):
    """This browser did not begin this sign-in, or too long ago. Beginning anew helps."""

    def __init__(self, why: str) -> None:
        super().__init__(f"this sign-in can't be finished: {why}", next_step="sign in again from the sign-in page")


class OidcDeniedError(OidcError):
    """The provider sent the browser back with an error in the place of a code (RFC 6749 s.4.1.2.1)."""

    def __init__(self, error: str, description: str) -> None:
        said = shown(f"{error}: {description}" if description else error)
        super().__init__(
            f"the identity provider refused the sign-in ({said})",
            next_step="sign in again, or ask who runs the provider whether you may use this application",
        )
        self.error = shown(error)


class OidcCodeError(OidcError):
    """The provider gives no token for the code (RFC 6749 s.5.2): used, too old, or the client is not believed."""

    def __init__(self, error: str, description: str) -> None:
        said = shown(f"{error}: {description}" if description else error)
        step = "sign in again from the sign-in page"
        if error in {"invalid_client", "unauthorized_client"}:
            step = "check oidc.client_id and the client secret against what the provider has registered"
        super().__init__(f"the identity provider gives no token for the code ({said})", next_step=step)
        self.error = shown(error)


class OidcTokenError(OidcError):
    """The ID token can't be believed. `fault` is a closed set: it can label a counter."""

    def __init__(self, fault: TokenFault, why: str) -> None:
        step = "sign in again; if it stays, check oidc.issuer, oidc.client_id and the clock of this node"
        super().__init__(f"the identity provider's ID token can't be believed: {why}", next_step=step)
        self.fault = fault


class OidcNoRoleError(OidcError):
    """The provider knows the user, and none of the user's groups has a role here."""

    def __init__(self, name: str, groups: tuple[str, ...]) -> None:
        of = shown(", ".join(groups)) if groups else "no group"
        super().__init__(
            f"{name} is known to the identity provider, but has no role here (groups: {of})",
            next_step="ask to be put into a group of oidc.roles, or have one of these groups added there",
        )
        self.name, self.groups = name, groups
