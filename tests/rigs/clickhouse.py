"""Four real ClickHouse servers (2 shards × 2 replicas) and three ZooKeepers on loopback, on free ports."""

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from clickhouse_driver import Client
from clickhouse_driver.errors import Error as DriverError
from tests.rigs.ports import free_ports
from tests.rigs.zookeeper import ZOOKEEPER, Ensemble, zookeepers

from everline.store.servers import Login, ServerAddress

SERVER: Final = "/usr/sbin/clickhouse-server"
CLICKHOUSE: Final = (SERVER, ZOOKEEPER, "java")
"""For `@pytest.mark.peers(*CLICKHOUSE)`."""
CLUSTER: Final = "rig"
USER: Final = "everline"
PASSWORD: Final = "a-password-only-for-tests"
_START_S: Final = 30.0


@dataclass
class ClickHouse:
    """One server."""

    shard: int
    replica: int
    port: int
    directory: Path
    config: str
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def name(self) -> str:
        """As `s1r2`."""
        return f"s{self.shard}r{self.replica}"

    @property
    def address(self) -> ServerAddress:
        """For the store."""
        return ServerAddress(self.name, "127.0.0.1", self.port, self.shard, self.replica)

    def start(self) -> None:
        """Start it, without waiting until it answers."""
        (self.directory / "data").mkdir(parents=True, exist_ok=True)
        (self.directory / "config.xml").write_text(self.config)
        (self.directory / "users.xml").write_text(_USERS)
        with (self.directory / "out").open("ab") as log:
            self.process = subprocess.Popen(
                [SERVER, f"--config-file={self.directory / 'config.xml'}"],
                cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

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

    def wipe(self) -> None:
        """Lose its disk; it must not run."""
        assert self.process is None
        shutil.rmtree(self.directory / "data")

    def ask(self, sql: str) -> list[tuple[object, ...]]:
        """Its answer, over a connection of its own."""
        client = Client(
            "127.0.0.1", port=self.port, user=USER, password=PASSWORD, connect_timeout=1, send_receive_timeout=30
        )
        try:
            rows: list[tuple[object, ...]] = client.execute(sql)
            return rows
        finally:
            client.disconnect()

    def until_serving(self) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + _START_S
        while True:
            try:
                self.ask("SELECT 1")
            except (DriverError, OSError, EOFError):
                assert time.monotonic() < deadline, f"{self.name} does not answer\n{self.log()}"
                time.sleep(0.05)
            else:
                return

    def log(self) -> str:
        """What it said last."""
        return "\n".join(
            path.read_text(errors="replace")[-1500:] for path in map(self.directory.joinpath, ("out", "err.log"))
            if path.exists()
        )  # fmt: skip


@dataclass(frozen=True)
class ClickHouseRig:
    """The four servers, in the order of shard and replica, and their ZooKeepers."""

    servers: tuple[ClickHouse, ...]
    keepers: Ensemble

    @property
    def login(self) -> Login:
        """The one user."""
        return Login(USER, PASSWORD)

    @property
    def addresses(self) -> tuple[ServerAddress, ...]:
        """Of all servers."""
        return tuple(one.address for one in self.servers)

    def of_shard(self, shard: int) -> tuple[ClickHouse, ...]:
        """The replicas of a shard."""
        return tuple(one for one in self.servers if one.shard == shard)

    def revive(self) -> None:
        """Start or wake whatever does not serve, and wait until all do."""
        self.keepers.revive()
        for one in self.servers:
            if one.process is None or one.process.poll() is not None:
                one.start()
            else:
                one.signal(signal.SIGCONT)
        for one in self.servers:
            one.until_serving()

    def until_writable(self) -> None:
        """Wait until no table of any server is read-only."""
        deadline = time.monotonic() + _START_S
        sql = "SELECT count() FROM system.replicas WHERE is_readonly OR is_session_expired"
        while any(one.ask(sql) != [(0,)] for one in self.servers):
            assert time.monotonic() < deadline, "tables stay read-only"
            time.sleep(0.1)


@contextmanager
def clickhouses(directory: Path, *, session_ms: int = 4000) -> Iterator[ClickHouseRig]:
    """Start all, and end them. Keeper forgets a server that is gone after `session_ms`."""
    with ExitStack() as stack:
        keepers = stack.enter_context(zookeepers(directory / "zookeeper"))
        ports = iter(free_ports(12))
        places = [(shard, replica, next(ports), next(ports), next(ports)) for shard in (1, 2) for replica in (1, 2)]
        common = _common(keepers, [(shard, tcp) for shard, _, tcp, _, _ in places], session_ms)
        servers = tuple(
            _prepared(directory / f"s{shard}r{replica}", shard, replica, tcp, http, between, common)
            for shard, replica, tcp, http, between in places
        )
        for one in servers:
            stack.callback(one.kill)
            one.start()
        for one in servers:
            one.until_serving()
        yield ClickHouseRig(servers, keepers)


def _prepared(directory: Path, shard: int, replica: int, tcp: int, http: int, between: int, common: str) -> ClickHouse:
    config = f"""<yandex>
<logger><level>information</level><log>{directory}/log</log><errorlog>{directory}/err.log</errorlog></logger>
<listen_host>127.0.0.1</listen_host><tcp_port>{tcp}</tcp_port><http_port>{http}</http_port>
<interserver_http_port>{between}</interserver_http_port><interserver_http_host>127.0.0.1</interserver_http_host>
<path>{directory}/data/</path><tmp_path>{directory}/data/tmp/</tmp_path><users_config>{directory}/users.xml</users_config>
<default_profile>default</default_profile><default_database>default</default_database><timezone>UTC</timezone>
<mark_cache_size>67108864</mark_cache_size><max_concurrent_queries>100</max_concurrent_queries>
<macros><shard>{shard}</shard><replica>{replica}</replica></macros>
{common}</yandex>"""
    return ClickHouse(shard, replica, tcp, directory, config)


def _common(keepers: Ensemble, servers: list[tuple[int, int]], session_ms: int) -> str:
    shards = "".join(
        "<shard><internal_replication>true</internal_replication>"
        + "".join(
            f"<replica><host>127.0.0.1</host><port>{port}</port><user>{USER}</user><password>{PASSWORD}</password></replica>"
            for of_shard, port in servers
            if of_shard == shard
        )
        + "</shard>"
        for shard in (1, 2)
    )
    nodes = "".join(f"<node><host>127.0.0.1</host><port>{one.client_port}</port></node>" for one in keepers.servers)
    return (
        f"<remote_servers><{CLUSTER}>{shards}</{CLUSTER}></remote_servers>"
        f"<zookeeper>{nodes}<session_timeout_ms>{session_ms}</session_timeout_ms></zookeeper>"
        f"<distributed_ddl><path>/clickhouse/{CLUSTER}/task_queue/ddl</path></distributed_ddl>"
    )


_USERS: Final = f"""<yandex>
<profiles><default><max_memory_usage>2000000000</max_memory_usage></default></profiles>
<users><{USER}><password>{PASSWORD}</password><networks><ip>127.0.0.1</ip></networks>
<profile>default</profile><quota>default</quota></{USER}></users>
<quotas><default/></quotas></yandex>"""
