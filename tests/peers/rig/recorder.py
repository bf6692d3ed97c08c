"""Keep HEP datagrams as they came, in memory and in files."""

import socket
import struct
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_RECEIVE_BUFFER_BYTES: Final = 4 << 20
_MAX_DATAGRAM: Final = 65_535


class HepRecorder:
    """A UDP socket on a free loopback port, and all it received."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        self._socket.bind(("127.0.0.1", 0))
        self._arrived = threading.Condition()
        self._datagrams: list[bytes] = []
        self._thread = threading.Thread(target=self._receive, name="hep-recorder")

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._socket.getsockname()
        return host, port

    @property
    def datagrams(self) -> list[bytes]:
        with self._arrived:
            return list(self._datagrams)

    def until_quiet(self, quiet_s: float = 0.5) -> list[bytes]:
        """Wait for a time in which nothing arrives, and give all there is."""
        deadline = time.monotonic() + 10
        with self._arrived:
            while self._arrived.wait(quiet_s) and time.monotonic() < deadline:
                pass
        return self.datagrams

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self.address)
        self._thread.join()
        self._socket.close()

    def _receive(self) -> None:
        while datagram := self._socket.recv(_MAX_DATAGRAM):  # An empty one tells to end.
            with self._arrived:
                self._datagrams.append(datagram)
                self._arrived.notify_all()


def write_records(path: Path, datagrams: Iterable[bytes]) -> None:
    """Write datagrams one behind the other, each after its length as a big-endian 32-bit number."""
    path.write_bytes(b"".join(struct.pack(">I", len(one)) + one for one in datagrams))


def read_records(path: Path) -> Iterator[bytes]:
    """Give back what `write_records` wrote."""
    data = path.read_bytes()
    offset = 0
    while offset < len(data):
        (size,) = struct.unpack_from(">I", data, offset)
        yield data[offset + 4 : offset + 4 + size]
        offset += 4 + size
