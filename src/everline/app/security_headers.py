"""What every answer tells a browser: nothing but our own files, no frames, no guessing of types."""

from typing import Final

# Referrer-Policy: with `no-referrer` the Origin of our own forms is null, which over plain http is all that tells them
# from those of other sites. Sec-Fetch-Site is only sent over https and to this machine.
SECURITY_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
