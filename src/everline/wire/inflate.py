"""Inflate what capture agents compress, with a bound on what comes out."""

import zlib
from typing import Final

from everline.errors import EverlineError

# zlib (RFC 1950) is what agents send in HEP chunk 0x10, the specification says gzip (RFC 1952), some send raw deflate.
_WINDOW_BITS: Final = (zlib.MAX_WBITS, zlib.MAX_WBITS | 16, -zlib.MAX_WBITS)


class InflateError(EverlineError):
    """The bytes are no complete compressed stream, or more would come out than allowed (`too_large`)."""

    def __init__(self, *, too_large: bool) -> None:
        super().__init__("more comes out than allowed" if too_large else "no complete zlib, gzip or deflate stream")
        self.too_large = too_large


def inflate(data: bytes, max_bytes: int) -> bytes:
    """
    Inflate a whole zlib, gzip or raw deflate stream to at most `max_bytes` bytes.

    Raises:
        InflateError: It is none of them, is cut off, or would give more.
    """
    for window_bits in _WINDOW_BITS:
        stream = zlib.decompressobj(window_bits)
        try:
            plain = stream.decompress(data, max_bytes)
        except zlib.error:
            continue
        if stream.eof:
            return plain
        if stream.unconsumed_tail or len(plain) == max_bytes:
            raise InflateError(too_large=True)
    raise InflateError(too_large=False)
