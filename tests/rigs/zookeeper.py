"""Three real ZooKeepers on loopback, on free ports, each a process that can be killed, stopped and started again."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.rigs.ports import free_ports

ZOOKEEPER: Final = "/usr/share/zookeeper/bin/zkServer.sh"
"""Where Debian keeps it; for `@pytest.mark.peers(ZOOKEEPER, "java")`."""
_JVM_FLAGS: Final = "-Xms64m -Xmx128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xss256k"
_START_S: Final = 30.0


@dataclass
class ZooKeeper:
    """One server."""

    number: int
    client_port: int
    directory: Path
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def address(self) -> str:
        """For clients."""
        return f"127.0.0.1:{self.client_port}"

    def start(self) -> None:
        """Start it, without waiting until it answers."""
        environment = os.environ | {
            "SERVER_JVMFLAGS": _JVM_FLAGS,
            "JMXDISABLE": "true",
            "ZOO_LOG_DIR": str(self.directory),
        }
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [ZOOKEEPER, "start-foreground", str(self.directory / "zoo.cfg")],
                env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it without a word."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process = None

    def mode(self) -> str:
        """`leader`, `follower`, or nothing when it serves nobody."""
        try:
            with socket.create_connection(("127.0.0.1", self.client_port), timeout=1) as link:
                link.settimeout(1)
                link.sendall(b"srvr")
                said = b"".join(iter(lambda: link.recv(4096), b""))
        except OSError:
            return ""
        found = [line.partition(b": ")[2] for line in said.splitlines() if line.startswith(b"Mode:")]
        return found[0].decode() if found else ""


@dataclass(frozen=True)
class Ensemble:
    """Three of them."""

    servers: tuple[ZooKeeper, ...]

    @property
    def addresses(self) -> tuple[str, ...]:
        """Of all, for clients."""
        return tuple(one.address for one in self.servers)

    def until_serving(self, *, servers: int = 3) -> None:
        """Wait until so many serve, one of them as leader."""
        deadline = time.monotonic() + _START_S
        while True:
            modes = [mode for one in self.servers if (mode := one.mode())]
            if len(modes) >= servers and "leader" in modes:
                return
            assert time.monotonic() < deadline, f"ZooKeeper serves as {modes}\n{self.logs()}"
            time.sleep(0.05)

    def leader(self) -> ZooKeeper:
        """The one that leads the ensemble."""
        return next(one for one in self.servers if one.mode() == "leader")

    def revive(self) -> None:
        """Start those that do not run, and wait until all serve."""
        for one in self.servers:
            if one.process is None:
                one.start()
        self.until_serving()

    def logs(self) -> str:
        """What they said last."""
        return "\n".join((one.directory / "log").read_text(errors="replace")[-800:] for one in self.servers)


@contextmanager
def zookeepers(directory: Path) -> Iterator[Ensemble]:
    """Start three, and end them."""
    with ExitStack() as stack:
        ports = free_ports(9)
        peers = "".join(f"server.{n}=127.0.0.1:{ports[n]}:{ports[n + 3]}\n" for n in range(3))
        ensemble = Ensemble(tuple(_prepared(directory, n, ports[n + 6], peers) for n in range(3)))
        for one in ensemble.servers:
            stack.callback(one.kill)
            one.start()
        ensemble.until_serving()
        yield ensemble


def _prepared(directory: Path, number: int, port: int, peers: str) -> ZooKeeper:
    own = directory / f"zookeeper-{number}"
    (own / "data").mkdir(parents=True)
    (own / "data" / "myid").write_text(f"{number}\n")
    (own / "zoo.cfg").write_text(
        f"dataDir={own / 'data'}\nclientPort={port}\nclientPortAddress=127.0.0.1\ntickTime=500\ninitLimit=10\n"
        "syncLimit=4\nminSessionTimeout=1000\nmaxSessionTimeout=30000\nadmin.enableServer=false\n"
        f"4lw.commands.whitelist=*\nforceSync=no\n{peers}"
    )
    return ZooKeeper(number, port, own)
