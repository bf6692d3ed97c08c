"""One real Redis primary, two replicas and three Sentinels on loopback, on free ports; each can be ended or frozen."""

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

from everline.bus.settings import Address, RedisSettings

REDIS: Final = ("redis-server", "redis-sentinel", "redis-cli")
"""For `@pytest.mark.peers(*REDIS)`."""
SERVICE: Final = "voicebus"
PASSWORD: Final = "a-password-only-for-tests"
_START_S: Final = 15.0


@dataclass
class Server:
    """One Redis or one Sentinel."""

    program: str
    port: int
    directory: Path
    config: str
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def address(self) -> Address:
        """Where it listens."""
        return Address("127.0.0.1", self.port)

    def start(self) -> None:
        """Start it from its first configuration, empty, without waiting until it answers."""
        self.directory.mkdir(parents=True, exist_ok=True)
        for left in self.directory.glob("*.rdb"):
            left.unlink()  # A replica keeps what it was sent, even without persistence.
        path = self.directory / "conf"
        path.write_text(self.config)
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.program, str(path)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal: SIGSTOP hangs it, SIGCONT lets it go on."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it without a word."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process = None

    def ask(self, *words: str) -> str:
        """What it answers, or nothing if it does not."""
        try:
            with socket.create_connection(self.address, timeout=1) as link:
                link.settimeout(1)
                for command in (("AUTH", PASSWORD), words):
                    link.sendall(_encoded(command))
                    said = link.recv(65_536).decode(errors="replace")
        except OSError:
            return ""
        return said


@dataclass(frozen=True)
class RedisRig:
    """Three Redis, the first of them the primary to begin with, and three Sentinels."""

    servers: tuple[Server, ...]
    sentinels: tuple[Server, ...]

    def settings(self, *, password: str = PASSWORD) -> RedisSettings:
        """What a client needs to know."""
        addresses = tuple(one.address for one in self.sentinels)
        return RedisSettings(SERVICE, addresses, password, connect_s=0.3, command_s=0.5, look_s=0.3)

    def primary(self) -> Server:
        """The server that the Sentinels name, once they agree."""
        deadline = time.monotonic() + _START_S
        while True:
            named = {one.ask("SENTINEL", "get-master-addr-by-name", SERVICE) for one in self.sentinels}
            if len(named) == 1:
                found = [one for one in self.servers if f"\r\n{one.port}\r\n" in next(iter(named))]
                if found and "role:master" in found[0].ask("INFO", "replication"):
                    return found[0]
            assert time.monotonic() < deadline, f"the Sentinels name {named}\n{self.logs()}"
            time.sleep(0.05)

    def until_ready(self) -> None:
        """Wait until the primary has both replicas and each Sentinel knows all others."""
        deadline = time.monotonic() + _START_S
        while not self._is_ready():
            assert time.monotonic() < deadline, f"Redis is not ready\n{self.logs()}"
            time.sleep(0.05)

    def start(self) -> None:
        """
        Start those that do not run, each from its first configuration, and wait until all is ready.

        Sentinels last: they ask a primary for its replicas when they begin, and again after ten seconds.
        """
        for one in self.servers:
            if one.process is None:
                one.start()
        deadline = time.monotonic() + _START_S
        while not any(one.ask("INFO", "replication").count("state=online") == 2 for one in self.servers):
            assert time.monotonic() < deadline, f"no primary has both replicas\n{self.logs()}"
            time.sleep(0.05)
        for one in self.sentinels:
            if one.process is None:
                one.start()
        self.until_ready()

    def kill_all(self) -> None:
        """End every Redis and Sentinel; what they held is gone."""
        for one in (*self.servers, *self.sentinels):
            one.kill()

    def heal(self) -> None:
        """Whatever a test did to it: all run again, and the primary is empty."""
        for one in (*self.servers, *self.sentinels):
            if one.process is not None:
                one.signal(signal.SIGCONT)
        if any(one.process is None for one in self.servers) or not self._is_ready():
            self.kill_all()  # Those that were failed over know another order than their first configuration.
        self.start()
        self.primary().ask("FLUSHALL")
        self.primary().ask("SCRIPT", "FLUSH")

    def logs(self) -> str:
        """What they said last."""
        return "\n".join(
            f"{one.directory.name}: {(one.directory / 'log').read_text(errors='replace')[-600:]}"
            for one in (*self.servers, *self.sentinels)
        )

    def _is_ready(self) -> bool:
        told = [one.ask("SENTINEL", "master", SERVICE).split("\r\n") for one in self.sentinels]
        known = [dict(zip(one[2::4], one[4::4], strict=False)) for one in told]
        if any((one.get("num-slaves"), one.get("num-other-sentinels"), one.get("flags")) != ("2", "2", "master")
               for one in known):  # fmt: skip
            return False
        return all(one.ask("INFO", "replication").count("state=online") == 2 for one in [self.primary()])


@contextmanager
def redis_rig(directory: Path) -> Iterator[RedisRig]:
    """Start all of it, and end it."""
    ports = free_ports(6)
    servers = tuple(
        Server("redis-server", port, directory / f"redis-{port}", _redis_config(port, ports[0], directory))
        for port in ports[:3]
    )
    sentinels = tuple(
        Server("redis-sentinel", port, directory / f"sentinel-{port}", _sentinel_config(port, ports[0], directory))
        for port in ports[3:]
    )
    rig = RedisRig(servers, sentinels)
    with ExitStack() as stack:
        for one in (*servers, *sentinels):
            stack.callback(one.kill)
        rig.start()
        yield rig


def _redis_config(port: int, primary: int, directory: Path) -> str:
    lines = [
        f"port {port}", "bind 127.0.0.1", f"dir {directory / f'redis-{port}'}", 'save ""', "appendonly no",
        f"requirepass {PASSWORD}", f"masterauth {PASSWORD}", "repl-diskless-sync yes", "repl-diskless-sync-delay 0",
        "repl-ping-replica-period 1", "repl-timeout 5", "rdb-del-sync-files yes",
        "hash-max-listpack-value 512", "hash-max-listpack-entries 256",
    ]  # fmt: skip
    if port != primary:
        lines.append(f"replicaof 127.0.0.1 {primary}")
    return "\n".join(lines) + "\n"


def _sentinel_config(port: int, primary: int, directory: Path) -> str:
    return "\n".join([
        f"port {port}", "bind 127.0.0.1", f"dir {directory / f'sentinel-{port}'}", f"requirepass {PASSWORD}",
        f"sentinel monitor {SERVICE} 127.0.0.1 {primary} 2", f"sentinel auth-pass {SERVICE} {PASSWORD}",
        f"sentinel down-after-milliseconds {SERVICE} 700", f"sentinel failover-timeout {SERVICE} 10000",
        f"sentinel parallel-syncs {SERVICE} 2",
    ]) + "\n"  # fmt: skip


def _encoded(words: tuple[str, ...]) -> bytes:
    return b"".join([b"*%d\r\n" % len(words), *(b"$%d\r\n%s\r\n" % (len(one), one.encode()) for one in words)])
