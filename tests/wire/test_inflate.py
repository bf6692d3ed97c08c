"""Inflating what agents compress: three formats, complete streams only, bounded output."""

import gzip
import random
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everline.wire.inflate import InflateError, inflate

PLAIN = b"INVITE sip:bob@example.com SIP/2.0\r\n" * 20
NOISE = random.Random(1).randbytes(1000)


def raw_deflate(plain: bytes) -> bytes:
    """A deflate stream without header or check sum (RFC 1951)."""
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(plain) + stream.flush()


@pytest.mark.parametrize(
    "compress",
    [
        pytest.param(zlib.compress, id="zlib-as-agents-send-it"),
        pytest.param(gzip.compress, id="gzip-as-the-specification-says"),
        pytest.param(raw_deflate, id="raw-deflate"),
        pytest.param(lambda plain: zlib.compress(plain, 0), id="zlib-stored"),
    ],
)
@pytest.mark.parametrize("plain", [pytest.param(PLAIN, id="a-message"), pytest.param(b"", id="nothing")])
def test_every_format_gives_the_plain_bytes(compress: Callable[[bytes], bytes], plain: bytes) -> None:
    """The format is told by trying; bytes behind the stream are ignored."""
    assert inflate(compress(plain), 65_535) == plain
    assert inflate(compress(plain) + b"trailing", 65_535) == plain


@pytest.mark.parametrize(
    ("data", "too_large"),
    [
        pytest.param(b"", False, id="empty"),
        pytest.param(PLAIN, False, id="not-compressed"),
        pytest.param(zlib.compress(PLAIN)[:-1], False, id="zlib-cut-off"),
        pytest.param(gzip.compress(PLAIN)[:-9], False, id="gzip-cut-off"),
        pytest.param(zlib.compress(PLAIN)[:-1] + b"\x00", False, id="zlib-with-a-wrong-check-sum"),
        pytest.param(zlib.compress(bytes(1001)), True, id="one-byte-too-many"),
        pytest.param(gzip.compress(bytes(10**7)), True, id="a-bomb"),
    ],
)
def test_anything_else_is_an_error_that_says_whether_it_was_too_large(data: bytes, too_large: bool) -> None:  # noqa: FBT001
    """An agent that sends too much is another fault than one that sends rubbish."""
    with pytest.raises(InflateError) as caught:
        inflate(data, 1000)

    assert caught.value.too_large is too_large


@pytest.mark.parametrize("compress", [pytest.param(zlib.compress, id="zlib"), pytest.param(gzip.compress, id="gzip")])
@pytest.mark.parametrize("plain", [pytest.param(bytes(1000), id="small"), pytest.param(NOISE, id="incompressible")])
def test_exactly_the_limit_is_allowed(compress: Callable[[bytes], bytes], plain: bytes) -> None:
    """The limit is the most that may come out, not the least that may not."""
    assert inflate(compress(plain), 1000) == plain


def test_a_bomb_costs_no_memory() -> None:
    """64 KB that would inflate to 64 MB cost no more than the limit."""
    bomb = zlib.compress(bytes(64_000_000), 9)
    assert len(bomb) < 65_535

    tracemalloc.start()
    with pytest.raises(InflateError):
        inflate(bomb, 65_535)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak_bytes < 500_000


@given(st.binary(max_size=400))
def test_arbitrary_bytes_give_bytes_or_an_error(data: bytes) -> None:
    """Nothing else is ever raised, and nothing longer than the limit comes out."""
    try:
        assert len(inflate(data, 300)) <= 300
    except InflateError:
        pass
