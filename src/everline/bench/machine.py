"""What a figure was measured on, and what the machine's UDP can do at all: printed beside every figure."""

import os
import platform
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from everline.errors import EverlineError

RAW_SECONDS: Final = 2.0
RAW_BYTES: Final = 700
_SENDER: Final = """
import socket, sys
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.connect(("127.0.0.1", int(sys.argv[1])))
data = bytes(int(sys.argv[2]))
while True:
    try:
        sender.send(data)
    except ConnectionRefusedError:
        break
"""


class BenchError(EverlineError):
    """What was measured is not what was meant: there is no figure."""


@dataclass(frozen=True, slots=True)
class Machine:
    """
    Where a figure comes from.

    Attributes:
        raw_udp_per_s: Datagrams of 700 bytes a second that one Python process receives on loopback, doing nothing else.
    """

    cpu: str
    cores: int
    python: str
    date: str
    raw_udp_per_s: int

    def lines(self) -> list[str]:
        """For people."""
        return [
            f"machine   {self.cpu}, {self.cores} cores, Python {self.python}, {self.date}",
            f"raw UDP   {self.raw_udp_per_s:,} datagrams/s of {RAW_BYTES} bytes received by one process (loopback)",
        ]

    def as_json(self) -> dict[str, str | int]:
        """For programs."""
        return asdict(self)


def this_machine() -> Machine:
    """Describe this machine; measures its raw UDP receive rate for two seconds."""
    return Machine(
        cpu=_cpu_name(),
        cores=os.cpu_count() or 1,
        python=platform.python_version(),
        date=time.strftime("%Y-%m-%d", time.gmtime()),
        raw_udp_per_s=_raw_udp_per_s(),
    )


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _raw_udp_per_s() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        port = str(receiver.getsockname()[1])
        sender = subprocess.Popen([sys.executable, "-c", _SENDER, port, str(RAW_BYTES)])  # noqa: S603 - our own text
        try:
            receiver.recv(RAW_BYTES)
            count, start = 0, time.monotonic()
            while (elapsed := time.monotonic() - start) < RAW_SECONDS:
                for _ in range(1000):
                    receiver.recv(RAW_BYTES)
                count += 1000
        finally:
            sender.kill()
            sender.wait()
    return int(count / elapsed)
