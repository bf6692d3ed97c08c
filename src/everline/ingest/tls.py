"""TLS of the agents' listener."""

import ssl
from pathlib import Path

from everline.errors import EverlineError


class CertificateError(EverlineError):
    """The certificate or its key cannot be used."""

    exit_code = 3

    def __init__(self, certificate: Path, key: Path, why: Exception) -> None:
        reason = getattr(why, "reason", None) or getattr(why, "strerror", None) or str(why)
        super().__init__(
            f"cannot use certificate {certificate} with key {key}: {reason}; "
            "check ingest.tls_certificate and ingest.tls_key (PEM, the key without a password)"
        )


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """
    What a TLS listener needs: TLS 1.2 or later.

    Raises:
        CertificateError: A file is missing, is no PEM, or the two do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (OSError, ssl.SSLError, ValueError) as fault:
        raise CertificateError(certificate, key, fault) from fault
    return context


def _no_password() -> str:
    """Without this, OpenSSL would ask on the terminal."""
    raise ValueError("the key is protected by a password")
