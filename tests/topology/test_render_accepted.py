"""What was rendered is read by the programs that it is for: Redis, Sentinel, ZooKeeper, ClickHouse."""

import asyncio
import re
import socket
from collections.abc import Callable, Iterator
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from clickhouse_driver import Client
from clickhouse_driver.errors import ServerException
from redis import AuthenticationError, Redis
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError
from redis.retry import Retry
from tests.bus.flows import ANSWERED, give, told
from tests.calls.dialogs import flow
from tests.topology.rendered import SECRETS, Cluster, rendered_cluster

from everline.bus.discovery import RedisPrimary
from everline.bus.redis import RedisBus
from everline.bus.settings import Address, RedisSettings
from everline.bus.transition import CREATE
from everline.topology.model import ClickHouseOptions, KeeperOptions, RedisOptions, Role, SentinelOptions

ZOOKEEPER = "/usr/share/zookeeper/bin/zkServer.sh"
"""Not started by us: it tells that Debian's ZooKeeper is here."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A rendered cluster of which each test starts what it needs; what runs goes on for the tests after it."""
    with rendered_cluster(tmp_path_factory.mktemp("cluster")) as made:
        yield made


def redis_of(cluster: Cluster, name: str, *, password: str | None = None) -> Redis:
    """A client of a Redis server."""
    return redis_at(cluster.topology.node(name).options_as(RedisOptions).port, password)


def sentinel_of(cluster: Cluster, name: str, *, password: str | None = None) -> Redis:
    """A client of a Sentinel."""
    return redis_at(cluster.topology.node(name).options_as(SentinelOptions).port, password)


def redis_at(port: int, password: str | None) -> Redis:
    """A client that knows nothing but a password."""
    never = Retry(NoBackoff(), 0)
    return Redis(port=port, password=password, decode_responses=True, socket_timeout=5, retry=never)


def asked(client: Redis, *words: str) -> Any:  # answers are of any type
    """What is answered to a command."""
    return client.execute_command(*words)  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def redis_servers(cluster: Cluster) -> Cluster:
    """Three Redis servers that follow the first one, and three Sentinels that have found each other."""
    for name in ("h1-redis", "h2-redis", "h3-redis"):
        cluster.start(name)
    with redis_of(cluster, "h1-redis", password=SECRETS.redis) as primary:
        cluster.until("h1-redis", lambda: len(primary.role()[2]) == 2)
    for name in ("h1-sentinel", "h2-sentinel", "h3-sentinel"):
        cluster.start(name)
    for number in (1, 2, 3):
        with sentinel_of(cluster, f"h{number}-sentinel", password=SECRETS.redis) as sentinel:
            cluster.until(f"h{number}-sentinel", partial(knows_all, sentinel))
    return cluster


def knows_all(sentinel: Redis) -> bool:
    """Whether a Sentinel knows two replicas and two other Sentinels."""
    state = asked(sentinel, "SENTINEL", "MASTER", "calls-1")
    return int(state["num-slaves"]) == 2 and int(state["num-other-sentinels"]) == 2


@pytest.mark.peers("redis-server", "redis-sentinel")
def test_whoever_gives_the_password_reads_and_writes_what_is_everlines(redis_servers: Cluster) -> None:
    """Keys, channels, streams and scripts below everline:."""
    with redis_of(redis_servers, "h1-redis", password=SECRETS.redis) as client:
        assert client.ping()
        assert client.set("everline:calls:1", "ringing", ex=60)
        assert client.xadd("everline:events", {"what": "call_create"}, maxlen=100)
        assert client.publish("everline:heartbeat", "beat") == 0
        assert (
            client.eval("return redis.call('publish', 'call:event:' .. ARGV[1], 'x')", 1, "everline:calls:1", "c") == 0
        )
        assert client.info("replication")["role"] == "master"
        assert client.wait(2, 5_000) == 2
        with client.pubsub() as channels:
            channels.psubscribe("call:event:*")
            channels.subscribe("everline:heartbeat")


@pytest.mark.peers("redis-server", "redis-sentinel")
async def test_the_bus_of_everlines_nodes_needs_no_more_rights_than_it_is_given(redis_servers: Cluster) -> None:
    """It finds the primary through the Sentinels, loads its scripts, merges, tells, listens, and counts its copies."""
    sentinels = redis_servers.topology.nodes_of(Role.SENTINEL)
    places = tuple(Address(node.address, node.options_as(SentinelOptions).port) for node in sentinels)
    primary = RedisPrimary(RedisSettings("calls-1", places, SECRETS.redis))
    bus = RedisBus(primary)
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(primary.run()), tasks.create_task(bus.run())]
        await primary.ready(15)
        start = await bus.position()
        await give(bus, flow(ANSWERED, call_id="rights"))
        names = await told(bus, start, "rights")
        await bus.wait(start, 5)
        await bus.needs_rebuild()
        await bus.close()
        for task in running:
            task.cancel()

    assert names[0] == CREATE


@pytest.mark.peers("redis-server", "redis-sentinel")
@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("FLUSHALL",), id="forget-all"),
        pytest.param(("CONFIG", "SET", "dir", "/"), id="write-files"),
        pytest.param(("SHUTDOWN",), id="stop-it"),
        pytest.param(("REPLICAOF", "NO", "ONE"), id="change-who-follows"),
        pytest.param(("KEYS", "*"), id="hold-it-up"),
        pytest.param(("ACL", "LIST"), id="see-the-users"),
        pytest.param(("GET", "other:key"), id="keys-of-others"),
        pytest.param(("PUBLISH", "__sentinel__:hello", "lies"), id="lie-to-sentinel"),
    ],
)
def test_redis_refuses_the_application_what_it_does_not_need(redis_servers: Cluster, command: tuple[str, ...]) -> None:
    """Least privilege: a node that was taken over can't empty or stop the bus by one command."""
    with (
        redis_of(redis_servers, "h1-redis", password=SECRETS.redis) as client,
        pytest.raises(NoPermissionError),
    ):
        asked(client, *command)


@pytest.mark.peers("redis-server", "redis-sentinel")
@pytest.mark.parametrize("ask", [redis_of, sentinel_of])
def test_nobody_comes_in_without_the_password(redis_servers: Cluster, ask: Callable[..., Redis]) -> None:
    """Neither into Redis nor into Sentinel."""
    name = "h2-redis" if ask is redis_of else "h2-sentinel"
    with ask(redis_servers, name) as client, pytest.raises(AuthenticationError):
        asked(client, "PING")
    with ask(redis_servers, name, password="a wrong password") as client, pytest.raises(AuthenticationError):
        asked(client, "PING")


@pytest.mark.peers("redis-server", "redis-sentinel")
def test_when_the_primary_is_killed_sentinel_promotes_a_replica_and_restarts_keep_it_so(redis_servers: Cluster) -> None:
    """The rendered rules let Sentinel do its work, and who follows whom survives a restart of everyone."""
    cluster, password = redis_servers, SECRETS.redis
    with redis_of(cluster, "h1-redis", password=password) as primary:
        primary.set("everline:kept", "yes")
        assert primary.wait(2, 5_000) == 2
    first = cluster.topology.node("h1-redis").options_as(RedisOptions).port
    cluster.kill("h1-redis")
    with sentinel_of(cluster, "h2-sentinel", password=password) as sentinel:
        cluster.until("h2-sentinel", lambda: primary_by(sentinel) != first)
        second = primary_by(sentinel)
    promoted = next(n for n in ("h2-redis", "h3-redis") if port_of(cluster, n) == second)
    cluster.until(promoted, lambda: role_of(cluster, promoted) == "master")
    cluster.start("h1-redis")
    cluster.until("h1-redis", lambda: role_of(cluster, "h1-redis") == "slave")

    servers, sentinels = ("h1-redis", "h2-redis", "h3-redis"), ("h1-sentinel", "h2-sentinel", "h3-sentinel")
    for name in (*sentinels, *servers):  # the Sentinels first: none is there to replace what is killed
        cluster.kill(name)
    for name in servers:
        cluster.start(name)
    cluster.until(promoted, lambda: role_of(cluster, promoted) == "master")
    cluster.until("h1-redis", lambda: role_of(cluster, "h1-redis") == "slave")
    for name in sentinels:
        cluster.start(name)

    with sentinel_of(cluster, "h3-sentinel", password=password) as sentinel:
        cluster.until("h3-sentinel", lambda: knows_all(sentinel))
        assert primary_by(sentinel) == second
    switches = [(cluster.root / f"{name}.out").read_text().count("+switch-master") for name in sentinels]
    assert max(switches) == 1, "a new primary must not be doubted before a Sentinel has asked it"
    with redis_of(cluster, promoted, password=password) as client:
        assert client.get("everline:kept") == "yes"
    live = Path(cluster.places.data_dir(cluster.topology.node(promoted))) / "live.conf"
    assert live.stat().st_mode & 0o077 == 0, "Redis writes the password into it"


def primary_by(sentinel: Redis) -> int:
    """The port of the primary, as a Sentinel sees it."""
    return int(asked(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "calls-1")[1])


def port_of(cluster: Cluster, name: str) -> int:
    """The port of a Redis server."""
    return cluster.topology.node(name).options_as(RedisOptions).port


def role_of(cluster: Cluster, name: str) -> str:
    """`master` or `slave`; nothing while it can't be asked."""
    with redis_of(cluster, name, password=SECRETS.redis) as client:
        return str(client.role()[0])


@pytest.fixture(scope="module")
def keepers(cluster: Cluster) -> Cluster:
    """Three ZooKeepers of which one leads."""
    start_keepers(cluster)
    return cluster


def start_keepers(cluster: Cluster) -> None:
    """Start all ZooKeepers, and wait until they are one quorum."""
    names = ("h1-keeper", "h2-keeper", "h3-keeper")
    for name in names:
        cluster.start(name)
    cluster.until("h1-keeper", lambda: sorted(mode_of(cluster, n) for n in names) == ["follower", "follower", "leader"])


def said_to(cluster: Cluster, name: str, word: str) -> str:
    """What ZooKeeper answers to a word of four letters."""
    node = cluster.topology.node(name)
    with socket.create_connection((node.address, node.options_as(KeeperOptions).client_port), timeout=2) as link:
        link.sendall(word.encode())
        return b"".join(iter(lambda: link.recv(4096), b"")).decode()


def mode_of(cluster: Cluster, name: str) -> str:
    """`leader`, `follower`, or nothing yet."""
    found = re.search(r"^Mode: (\w+)", said_to(cluster, name, "srvr"), re.MULTILINE)
    return found[1] if found else ""


@pytest.mark.peers("java", ZOOKEEPER)
def test_zookeepers_find_each_other_and_keep_to_the_rendered_times(keepers: Cluster) -> None:
    """Sessions of one second are granted: with the usual tick of two seconds the least would be four."""
    told = dict(line.split("=", 1) for line in said_to(keepers, "h2-keeper", "conf").splitlines() if "=" in line)

    assert (told["tickTime"], told["minSessionTimeout"], told["maxSessionTimeout"]) == ("500", "1000", "30000")
    assert "not in the whitelist" in said_to(keepers, "h2-keeper", "dump"), "words that tell more are off"
    assert "INFO" in keepers.said("h2-keeper"), "it logs where systemd reads it"


@pytest.fixture(scope="module")
def clickhouse(keepers: Cluster) -> Cluster:
    """Two replicas of one shard."""
    start_clickhouse(keepers)
    return keepers


def start_clickhouse(cluster: Cluster) -> None:
    """Start both servers, and wait until they take connections."""
    for name in ("h1-clickhouse", "h2-clickhouse"):
        cluster.start(name)
    for name in ("h1-clickhouse", "h2-clickhouse"):
        node = cluster.topology.node(name)
        cluster.until(name, partial(is_open, node.address, node.options_as(ClickHouseOptions).tcp_port))


def is_open(address: str, port: int) -> bool:
    """Whether a port takes connections; an error if it does not."""
    with socket.create_connection((address, port), timeout=1):
        return True


def clickhouse_of(cluster: Cluster, name: str, **sign_in: str) -> Client:
    """A client of a ClickHouse server, as its user unless told otherwise."""
    node = cluster.topology.node(name)
    port = node.options_as(ClickHouseOptions).tcp_port
    return Client(node.address, port=port, **({"user": "everline", "password": SECRETS.clickhouse} | sign_in))


@pytest.mark.peers("clickhouse-server", "java", ZOOKEEPER)
def test_clickhouse_lets_its_one_user_in_by_password(clickhouse: Cluster) -> None:
    """And gives each query the rendered profile."""
    with clickhouse_of(clickhouse, "h1-clickhouse") as client:
        settings = dict(client.execute("SELECT name, value FROM system.settings"))
        macros = dict(client.execute("SELECT macro, substitution FROM system.macros"))

    assert settings["insert_deduplicate"] == "0"
    assert settings["load_balancing"] == "in_order"
    assert settings["distributed_product_mode"] == "global"
    assert settings["max_execution_time"] == "60"
    assert settings["background_pool_size"] == "8"
    assert macros == {"cluster": "calls-1", "shard": "1", "replica": "1"}


@pytest.mark.peers("clickhouse-server", "java", ZOOKEEPER)
@pytest.mark.parametrize(
    "sign_in",
    [
        pytest.param({"password": ""}, id="without-a-password"),
        pytest.param({"password": "a wrong password"}, id="with-a-wrong-one"),
        pytest.param({"user": "default", "password": ""}, id="as-the-default-user"),
        pytest.param({"user": "default", "password": SECRETS.clickhouse}, id="as-the-default-user-with-it"),
    ],
)
def test_clickhouse_lets_nobody_else_in(clickhouse: Cluster, sign_in: dict[str, str]) -> None:
    """The user `default` of a fresh ClickHouse is not there."""
    with clickhouse_of(clickhouse, "h1-clickhouse", **sign_in) as client, pytest.raises(ServerException) as refused:
        client.execute("SELECT 1")

    assert refused.value.code in {192, 193, 194}


@pytest.mark.peers("clickhouse-server", "java", ZOOKEEPER)
def test_on_cluster_reaches_each_server_and_rows_replicate_with_the_interserver_password(clickhouse: Cluster) -> None:
    """What is made on one is made on both; what goes into one comes out of the other, which fetched it."""
    engine = "ReplicatedReplacingMergeTree('/clickhouse/tables/{cluster}/{shard}/probe', '{replica}')"
    with clickhouse_of(clickhouse, "h1-clickhouse") as first, clickhouse_of(clickhouse, "h2-clickhouse") as second:
        # 18.16 crashes (a null pointer) on ON CLUSTER before its queue of these has reached a keeper.
        clickhouse.until("h1-clickhouse", lambda: first.execute("SELECT uptime()")[0][0] >= 2)
        for statement in (
            "CREATE DATABASE everline ON CLUSTER `calls-1`",
            f"CREATE TABLE everline.probe ON CLUSTER `calls-1` (day Date, id UInt64) ENGINE = {engine}"
            " PARTITION BY day ORDER BY id",
            "ALTER TABLE everline.probe ON CLUSTER `calls-1` ADD COLUMN more String",
            "CREATE TABLE everline.all ON CLUSTER `calls-1` AS everline.probe"
            " ENGINE = Distributed(`calls-1`, everline, probe, cityHash64(id))",
        ):
            assert all(row[2] == 0 for row in first.execute(statement)), statement
        first.execute("INSERT INTO everline.probe VALUES", [(date(2026, 11, 23), 1, "one")])
        clickhouse.until("h2-clickhouse", lambda: second.execute("SELECT id, more FROM everline.probe") == [(1, "one")])
        assert second.execute("SELECT count() FROM everline.all") == [(1,)]


@pytest.mark.peers("clickhouse-server", "java", ZOOKEEPER)
def test_ipv6_addresses_are_written_as_each_program_reads_them(tmp_path: Path) -> None:
    """In brackets before a port, and only there: servers know each other, and reach a keeper."""
    with rendered_cluster(tmp_path, address="::1") as cluster:
        start_keepers(cluster)
        start_clickhouse(cluster)
        with clickhouse_of(cluster, "h2-clickhouse") as client:
            servers = client.execute("SELECT host_address FROM system.clusters WHERE cluster = 'calls-1'")
            kept = client.execute("SELECT name FROM system.zookeeper WHERE path = '/'")

    assert servers == [("::1",), ("::1",)]
    assert ("zookeeper",) in kept


@pytest.mark.peers("clickhouse-server", "java", ZOOKEEPER)
def test_parts_are_not_given_without_the_interserver_password(clickhouse: Cluster) -> None:
    """The port between replicas hands out whole tables: 18.16 knows interserver_http_credentials."""
    port = clickhouse.topology.node("h1-clickhouse").options_as(ClickHouseOptions).interserver_port
    with socket.create_connection(("127.0.0.1", port), timeout=5) as link:
        link.sendall(b"GET /?endpoint=DataPartsExchange%3Ax&part=y&compress=false HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(lambda: link.recv(4096), b""))

    assert b" 401 " in answer.partition(b"\r\n")[0]
