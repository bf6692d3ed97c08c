"""Where to send to, and the sockets that do it: UDP, TCP, TLS."""

import errno
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from everline.config import Endpoint, parse_endpoint
from everline.replay.errors import SendError, TargetError

WAIT_S: Final = 30.0
"""A collector that takes nothing for so long will not."""
_CONNECT_S: Final = 5.0
_CLOSE_S: Final = 10.0
_SCHEMES: Final = ("udp", "tcp", "tls")


@dataclass(frozen=True, slots=True)
class Target:
    """A collector, as `udp://HOST:PORT`, `tcp://HOST:PORT` or `tls://HOST:PORT`."""

    scheme: str
    endpoint: Endpoint

    def __str__(self) -> str:
        return f"{self.scheme}://{self.endpoint}"


def parse_target(text: str) -> Target:
    """
    Parse the URL of a collector.

    Raises:
        TargetError: It is none.
    """
    scheme, separator, rest = text.partition("://")
    try:
        endpoint = parse_endpoint(rest.rstrip("/"))
    except ValueError:
        endpoint = None
    if scheme not in _SCHEMES or not separator or not isinstance(endpoint, Endpoint) or not endpoint.port:
        raise TargetError(f"{text!r} is no target: need udp://HOST:PORT, tcp://HOST:PORT or tls://HOST:PORT")
    return Target(scheme, endpoint)


class Sender(Protocol):
    """Sends HEP datagrams to one collector: `UdpSender` and `StreamSender`."""

    def send(self, datagram: bytes) -> bool:
        """Send one; False if this transport cannot carry it."""
        ...

    def close(self) -> None:
        """Make sure that all of it has left."""
        ...

    def abort(self) -> None:
        """Leave without waiting."""
        ...


def open_sender(target: Target, *, tls_ca: Path | None = None) -> Sender:
    """
    Connect to a collector.

    Raises:
        SendError: It cannot be reached, or its certificate does not hold.
    """
    if target.scheme == "udp":
        return UdpSender(target)
    return StreamSender(target, tls_ca=tls_ca)


class UdpSender:
    """One datagram a message; that nobody listens is known from ICMP only."""

    def __init__(self, target: Target) -> None:
        self._target = target
        try:
            family, kind, proto, _, address = socket.getaddrinfo(*target.endpoint, type=socket.SOCK_DGRAM)[0]
            self._socket = socket.socket(family, kind, proto)
            self._socket.connect(address)
        except OSError as error:
            raise _refused(target, error) from error

    def send(self, datagram: bytes) -> bool:
        """Send one; False if it is longer than a UDP datagram can be."""
        try:
            self._socket.send(datagram)
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                return False
            raise _refused(self._target, error) from error
        return True

    def abort(self) -> None:
        """Close the socket."""
        self._socket.close()

    def close(self) -> None:
        """Ask the kernel once more whether the last datagram was refused."""
        fault = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self._socket.close()
        if fault:
            raise _refused(self._target, OSError(fault, errno.errorcode.get(fault, "")))


class StreamSender:
    """HEP3 packets one after another over TCP or TLS; a slow collector slows us down."""

    def __init__(self, target: Target, *, tls_ca: Path | None = None) -> None:
        self._target = target
        try:
            context = _tls_context(tls_ca) if target.scheme == "tls" else None
            self._socket = socket.create_connection(target.endpoint, timeout=_CONNECT_S)
            if context:
                self._socket = context.wrap_socket(self._socket, server_hostname=target.endpoint.host)
        except ssl.SSLCertVerificationError as error:
            why = f"its certificate does not hold ({error.verify_message}); name its CA with --tls-ca FILE"
            raise SendError(f"{target}: {why}") from error
        except OSError as error:
            raise _refused(target, error) from error
        self._socket.settimeout(WAIT_S)

    def send(self, datagram: bytes) -> bool:
        """Send one, waiting while the collector is busy."""
        try:
            self._socket.sendall(datagram)
        except OSError as error:
            raise _refused(self._target, error) from error
        return True

    def abort(self) -> None:
        """Close the connection."""
        self._socket.close()

    def close(self) -> None:
        """End the stream and wait until the collector has read it to its end."""
        try:
            self._socket.settimeout(_CLOSE_S)
            if isinstance(self._socket, ssl.SSLSocket):
                self._socket.unwrap().close()
                return
            self._socket.shutdown(socket.SHUT_WR)
            while self._socket.recv(4096):
                continue
        except OSError as error:
            raise _refused(self._target, error) from error
        finally:
            self._socket.close()


def _tls_context(tls_ca: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=tls_ca)
    except OSError as error:  # SSLError is one
        raise TargetError(f"--tls-ca {tls_ca} is no PEM file that can be read: {error.strerror or error}") from error


def _refused(target: Target, error: OSError) -> SendError:
    if isinstance(error, TimeoutError):
        return SendError(f"{target} takes nothing: gave up waiting; is its node alive?")
    if isinstance(error, ConnectionRefusedError):
        return SendError(f"{target} refuses: nothing listens there; start the node, or correct --to")
    if isinstance(error, socket.gaierror):
        return SendError(f"{target}: the host name is not known ({error.strerror})")
    if isinstance(error, ssl.SSLError):
        return SendError(f"{target}: no TLS connection ({error.reason or error}); does it speak TLS?")
    return SendError(f"{target}: {error.strerror or error}")
