"""Proxies in front of the TCP listener: who they are, and what they say of whose stream it is."""

import asyncio
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, NamedTuple

from everline.wire.proxy_protocol import V2_MOST_BYTES, ProxyFault, ProxyHeader, ProxyHeaderError, decode_proxy_header

HEADER_TIMEOUT_S: Final = 5.0
"""A proxy sends its header with the first bytes; whoever waits longer is none, or hangs."""


class Peer(NamedTuple):
    """Whose stream it is: the other end of the connection, or what a proxy said."""

    ip: str
    port: int


class KnownProxies:
    """The peers whose PROXY header is believed, and demanded; of anybody else it would be a way to lie."""

    def __init__(self, networks: Iterable[IPv4Network | IPv6Network]) -> None:
        self._networks = tuple(networks)

    def __contains__(self, ip: str) -> bool:
        if not self._networks:
            return False
        try:
            address = ip_address(ip.partition("%")[0])
        except ValueError:  # A peer that has gone already has no address.
            return False
        if isinstance(address, IPv6Address):  # As an IPv4 peer of a socket on `::` is called.
            address = address.ipv4_mapped or address
        return any(address in network for network in self._networks)


async def after_proxy_header(reader: asyncio.StreamReader, proxy: Peer) -> tuple[Peer, bytes]:
    """
    Read the header of a proxy.

    Returns:
        Whose stream it is, and what of it came together with the header. A proxy that hangs up without a word, as
        some health checks do, is its own peer and said nothing.

    Raises:
        ProxyHeaderError: The stream begins otherwise, ends within the header, or has none in time.
    """
    data, header = b"", None
    try:
        async with asyncio.timeout(HEADER_TIMEOUT_S):
            while header is None:
                more = await reader.read(V2_MOST_BYTES)
                data += more
                header = decode_proxy_header(data) if more else _at_end(data)
    except TimeoutError as error:
        raise ProxyHeaderError(ProxyFault.TOO_LATE, seen_bytes=len(data)) from error
    return Peer(*header.source) if header.source else proxy, data[header.size :]


def _at_end(data: bytes) -> ProxyHeader:
    if data:
        raise ProxyHeaderError(ProxyFault.CUT_OFF, seen_bytes=len(data))
    return ProxyHeader(0, None)
