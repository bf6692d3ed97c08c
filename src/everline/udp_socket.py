"""What all who listen on UDP share: a socket with a large buffer, and the kernel's count of what did not fit."""

import os
import socket
from pathlib import Path
from typing import Any, Final

_FREEBIND: Final = {socket.AF_INET: (socket.IPPROTO_IP, 15), socket.AF_INET6: (socket.IPPROTO_IPV6, 78)}
"""Linux: ip(7), ipv6(7). An address may be bound before the host has it."""
_SO_RCVBUFFORCE: Final = 33  # Linux: socket(7); needs CAP_NET_ADMIN, else net.core.rmem_max is the limit.


def bound_udp(
    family: int,
    address: Any,  # whatever `getaddrinfo` gave
    *,
    buffer_bytes: int,
    is_moving: bool = False,
) -> socket.socket:
    """
    A socket without blocking that listens; `is_moving` if the address may be at another host now, and come later.

    Raises:
        OSError: The address can't be had.
    """
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.settimeout(0)
        set_receive_buffer(sock, buffer_bytes)
        if is_moving:
            sock.setsockopt(*_FREEBIND[socket.AddressFamily(family)], 1)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


def set_receive_buffer(sock: socket.socket, buffer_bytes: int) -> None:
    """Ask the kernel for a receive buffer; it gives as much as we may have."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, buffer_bytes)
    except OSError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)


def inode_of(sock: socket.socket) -> int:
    """By which the kernel's tables know a socket."""
    return os.fstat(sock.fileno()).st_ino


def kernel_drops(inode: int) -> int:
    """Drops of one socket from /proc/net/udp and udp6 (proc(5)): inode is the tenth column, drops the last."""
    for table in ("/proc/net/udp", "/proc/net/udp6"):
        try:
            lines = Path(table).read_text(encoding="ascii").splitlines()
        except OSError:
            continue
        for line in lines[1:]:
            columns = line.split()
            if columns[9] == str(inode):
                return int(columns[-1])
    return 0
