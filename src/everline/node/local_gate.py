"""Who may come in to a node that is alone: users in a file of its data directory."""

import asyncio

from everline.access.file_audit import FileAudit
from everline.access.gate import Gate
from everline.access.local_book import LocalBook
from everline.access.oidc import OidcClient
from everline.access.oidc_settings import oidc_settings
from everline.access.signing import KeyRing
from everline.access.throttle import MemoryThrottle
from everline.access.trail import Trail
from everline.config import OidcNodeConfig
from everline.datadir import ACCESS_FILE, AUDIT_FILE, SESSION_KEY_FILE, TOKEN_FILE, DataDir, DataDirError


def local_gate(data: DataDir, oidc: OidcNodeConfig, *, node: str) -> Gate:
    """
    The gate of one node.

    Raises:
        DataDirError: Its files can't be read.
        SecretError: A secret is none.
        OidcSettingsError: The authorities of the identity provider can't be read.
    """

    async def keep(text: str) -> None:
        await asyncio.to_thread(data.keep, ACCESS_FILE, text)

    try:
        book = LocalBook(data.kept(ACCESS_FILE), keep=keep)
    except ValueError as fault:
        raise DataDirError(data.path, OSError(f"{ACCESS_FILE}: {fault}")) from fault
    secret = oidc.client_secret.get_secret_value() if oidc.client_secret else None
    settings = oidc_settings(oidc, client_secret=secret)
    return Gate(
        book=book,
        trail=Trail(book, FileAudit(data.path / AUDIT_FILE), node=node),
        throttle=MemoryThrottle(),
        ring=KeyRing.parse(data.secret(SESSION_KEY_FILE)),
        admin_token=data.secret(TOKEN_FILE),
        oidc=OidcClient(settings) if settings else None,
    )
