"""
Many datagrams with one call of the kernel: recvmmsg(2) and sendmmsg(2), which Python's `socket` does not have.

A batch is received into an arena of fixed slots and sent on from there: no datagram is copied on its way. The kernel's
structures (`struct mmsghdr`, `struct iovec`: recvmmsg(2), readv(2)) are made once, as arrays that numpy writes whole
columns of. Layouts are those of Linux with 64-bit pointers.
"""

import ctypes
import errno
import os
import socket
from typing import Final

import numpy as np
from numpy.typing import NDArray

BATCH: Final = 256
"""Datagrams that are received at a time; some 16 MiB of address space, of which only what is used is ever touched."""
SLOT_BYTES: Final = 1 << 16
"""The longest UDP datagram is shorter."""
NAME_BYTES: Final = 28
"""`struct sockaddr_in6`, the longest address of the two families."""

_IOVEC: Final = np.dtype([("base", np.uint64), ("length", np.uint64)])
_MMSGHDR: Final = np.dtype([
    ("name", np.uint64), ("name_length", np.uint32), ("pad1", np.uint32), ("iov", np.uint64), ("iov_count", np.uint64),
    ("control", np.uint64), ("control_length", np.uint64), ("flags", np.int32), ("pad2", np.uint32),
    ("length", np.uint32), ("pad3", np.uint32),
])  # fmt: skip
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_RECVMMSG: Final = _LIBC.recvmmsg
_RECVMMSG.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
_SENDMMSG: Final = _LIBC.sendmmsg
_SENDMMSG.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)
_NOTHING_NOW: Final = frozenset({errno.EAGAIN, errno.EINTR})

Numbers = NDArray[np.int64]


class Arena:
    """
    Room for one batch.

    Attributes:
        lengths: Of the datagrams of the last batch.
    """

    def __init__(self) -> None:
        self._bytes = np.zeros(BATCH * SLOT_BYTES, dtype=np.uint8)
        self._names = np.zeros((BATCH, NAME_BYTES), dtype=np.uint8)
        self._iovecs = np.zeros(BATCH, dtype=_IOVEC)
        self._headers = np.zeros(BATCH, dtype=_MMSGHDR)
        self.bases = _address(self._bytes) + np.arange(BATCH, dtype=np.uint64) * np.uint64(SLOT_BYTES)
        self._iovecs["base"] = self.bases
        self._iovecs["length"] = SLOT_BYTES
        self._headers["iov"] = _rows(self._iovecs)
        self._headers["iov_count"] = 1
        self._headers["name"] = _rows(self._names)
        self._view = self._bytes.data
        self.lengths: list[int] = []

    def receive(self, sock: socket.socket) -> int:
        """
        How many datagrams came at once; 0 when none waits.

        Raises:
            OSError: The socket is broken.
        """
        self._headers["name_length"] = NAME_BYTES
        count = int(_RECVMMSG(sock.fileno(), self._headers.ctypes.data, BATCH, socket.MSG_DONTWAIT, None))
        if count < 0:
            number = ctypes.get_errno()
            if number not in _NOTHING_NOW:
                raise OSError(number, os.strerror(number))
            count = 0
        self.lengths = self._headers["length"][:count].tolist()
        return count

    def datagram(self, index: int) -> bytes:
        """A datagram of the last batch."""
        start = index * SLOT_BYTES
        return self._view[start : start + self.lengths[index]].tobytes()

    def sender(self, index: int) -> tuple[bytes, int]:
        """Where a datagram came from: the address as 4 or 16 bytes, and the port."""
        name = self._names[index].tobytes()
        port = int.from_bytes(name[2:4])
        return (name[8:24] if int(self._headers["name_length"][index]) == NAME_BYTES else name[4:8]), port


class Outgoing:
    """Sends datagrams of an arena to one member; made once for each."""

    def __init__(self, arena: Arena, sock: socket.socket) -> None:
        self.sock = sock
        self._arena = arena
        self._iovecs = np.zeros(BATCH, dtype=_IOVEC)
        self._headers = np.zeros(BATCH, dtype=_MMSGHDR)
        self._headers["iov"] = _rows(self._iovecs)
        self._headers["iov_count"] = 1

    def send(self, indexes: list[int], lengths: list[int]) -> tuple[int, bool]:
        """
        Send datagrams of the last batch, in order.

        Args:
            indexes: Which.
            lengths: How long each of these is.

        Returns:
            How many the kernel took, and whether it said meanwhile that nobody listens there (ICMP): it says so of an
            earlier datagram, and once only, so that the rest is tried again.
        """
        count = len(indexes)
        self._iovecs["base"][:count] = self._arena.bases[indexes]
        self._iovecs["length"][:count] = lengths
        sent, is_refused = 0, False
        while sent < count:
            taken = int(_SENDMMSG(
                self.sock.fileno(), self._headers.ctypes.data + sent * _MMSGHDR.itemsize, count - sent,
                socket.MSG_DONTWAIT,
            ))  # fmt: skip
            if taken < 0:
                if ctypes.get_errno() != errno.ECONNREFUSED or is_refused:
                    break
                is_refused = True
                continue
            sent += taken
        return sent, is_refused


def _address(array: NDArray[np.uint8]) -> np.uint64:
    return np.uint64(array.ctypes.data)


def _rows(array: NDArray[np.void] | NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Addresses of the rows of an array."""
    return np.uint64(array.ctypes.data) + np.arange(len(array), dtype=np.uint64) * np.uint64(array.strides[0])
