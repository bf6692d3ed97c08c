"""Run programs that are not ours: in a group of their own, watched while they start, never left behind."""

import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.peers.programs import SEARCH_PATH

_START_S: Final = 10.0
_STOP_S: Final = 3.0
_LOOK_EVERY_S: Final = 0.01


class PeerFailedError(AssertionError):
    """A foreign program did not do what the test needs; its own words are in the text."""

    def __init__(self, name: str, what: str, log: str) -> None:
        super().__init__(f"{name} {what}; it said:\n{log[-2000:]}")


class PeerProcess:
    """One program and its children, until the end of the `with` block."""

    def __init__(self, name: str, command: Sequence[str], *, directory: Path) -> None:
        self.name = name
        self._log_path = directory / f"{name}.log"
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ
                | {"PATH": SEARCH_PATH, "TERM": "dumb"},  # SIPp's screen needs a terminal type, even unseen.
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def log(self) -> str:
        return self._log_path.read_text(errors="replace")

    def until(self, happened: Callable[[], bool]) -> None:
        """
        Wait for something the program does.

        Raises:
            PeerFailedError: It ended before, or ten seconds have passed.
        """
        deadline = time.monotonic() + _START_S
        while not happened():
            if time.monotonic() > deadline:
                raise PeerFailedError(self.name, f"was not ready within {_START_S} s", self.log())
            with suppress(subprocess.TimeoutExpired):
                code = self._process.wait(_LOOK_EVERY_S)
                raise PeerFailedError(self.name, f"ended with code {code} before it was ready", self.log())

    def exit_code(self, deadline: float) -> int:
        """
        Wait for its end.

        Args:
            deadline: Of `time.monotonic`.

        Raises:
            PeerFailedError: It still runs.
        """
        try:
            return self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise PeerFailedError(self.name, "still ran at the deadline", self.log()) from None

    def stop(self, ask_with: signal.Signals = signal.SIGTERM) -> None:
        """Ask the program to end, then end what is left of its group."""
        if self._process.returncode is not None:
            return  # Its id may belong to somebody else by now.
        os.kill(self.pid, ask_with)
        exited = os.pidfd_open(self.pid)
        select.select([exited], [], [], _STOP_S)
        os.close(exited)
        os.killpg(self.pid, signal.SIGKILL)  # Not reaped yet, so the group is still its own.
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


def free_udp_port(ip: str) -> int:
    """Give a port that nobody has at this moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((ip, 0))
        port: int = probe.getsockname()[1]
        return port


def udp_port_bound(ip: str, port: int) -> bool:
    """Whether a socket listens there; the kernel keeps what arrives from then on."""
    wanted = f"{int.from_bytes(socket.inet_aton(ip), 'little'):08X}:{port:04X}"
    with Path("/proc/net/udp").open(encoding="ascii") as sockets:
        return any(wanted in line for line in sockets)


def udp_bytes_waiting(port: int) -> int:
    """Bytes that the kernel holds for the sockets of a port, which their program has not read yet."""
    with Path("/proc/net/udp").open(encoding="ascii") as sockets:
        lines = [line.split() for line in sockets]
    return sum(int(line[4].partition(":")[2], 16) for line in lines if line[1].endswith(f":{port:04X}"))
