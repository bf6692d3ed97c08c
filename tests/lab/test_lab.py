"""A small lab of real engines: what the probe says of them, well and unwell, and what can be done to them."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from tests.lab.making import ENGINES, needs_root, remains, small_lab

from everline.cli.entry import run
from everline.cluster import probe as probing
from everline.cluster.answers import REPLICA_COLUMNS, nearest_skew, redis_role, replicated_tables
from everline.cluster.probe import NodeReport, Standing, probe
from everline.lab.down import take_down
from everline.lab.errors import LabError, UnfitError
from everline.lab.ip import processes_in
from everline.lab.lab import Lab
from everline.lab.processes import ProcessState
from everline.lab.status import view
from everline.lab.up import ENGINE_WAVES, bring_up
from everline.store.cluster_schema import REPLICATED
from everline.store.schema import DATABASE
from everline.store.servers import Login, Server, ServerAddress
from everline.topology.model import Role

pytestmark = [needs_root, pytest.mark.peers(*ENGINES)]

ASK_S = 3.0
AGAIN_S = 30.0


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Three Redis, Sentinels and Keepers, and a shard of two ClickHouse servers, all ready."""
    lab, text = small_lab(tmp_path_factory.mktemp("small"))
    try:
        asyncio.run(bring_up(lab, text, tell=print, waves=ENGINE_WAVES))
        yield lab
    finally:
        take_down(lab.topology.cluster)
    assert remains(lab.topology.cluster) == []


async def reports(lab: Lab, *names: str) -> list[NodeReport]:
    """Of some nodes."""
    nodes = [lab.topology.node(name) for name in names]
    return await probe(lab.topology, lab.secrets(), deadline_s=ASK_S, nodes=nodes)


async def until_standing(lab: Lab, standing: Standing, *names: str) -> list[NodeReport]:
    """The reports of some nodes once all have that standing."""
    async with asyncio.timeout(AGAIN_S):
        while True:
            found = await reports(lab, *names)
            if all(report.standing is standing for report in found):
                return found
            await asyncio.sleep(0.1)


async def until_told(lab: Lab, name: str, words: str) -> str:
    """The faults of a node that is down, once they have some words: on a busy machine a refusal may come too late."""
    async with asyncio.timeout(AGAIN_S):
        while True:
            [report] = await reports(lab, name)
            assert report.standing is Standing.DOWN
            if words in (said := "; ".join(report.faults)):
                return said


def engines(lab: Lab) -> list[str]:
    """Every node that runs."""
    roles = {role for wave in ENGINE_WAVES for role in wave}
    return [node.name for node in lab.topology.nodes if node.role in roles]


def faults_of(found: Sequence[NodeReport]) -> dict[str, str]:
    """By node."""
    return {report.node: "; ".join(report.faults) for report in found}


async def test_every_engine_says_what_it_is(lab: Lab) -> None:
    """Each in its own protocol, with its version; clocks agree, since it is one machine."""
    found = {report.node: report for report in await until_standing(lab, Standing.READY, *engines(lab))}

    assert found["e1-redis"].said == "primary, 2 replicas"
    assert found["w1-redis"].said.startswith("replica of")
    assert found["w1-sentinel"].said.startswith("primary ")
    assert found["w1-clickhouse"].said == f"shard 1 replica 2, 0 of {len(REPLICATED)} tables"
    assert sorted(found[f"{host}-keeper"].said for host in ("e1", "e2", "w1")) == ["follower", "follower", "leader"]
    assert found["e1-redis"].figures["replicas"] == 2
    assert found["w1-redis"].figures.keys() == {"heard_primary_s"}
    assert found["w1-sentinel"].figures["quorum"] == 2
    assert found["e2-keeper"].figures.keys() == {"connections", "outstanding", "zxid"}
    assert found["w1-clickhouse"].figures == {"queue_parts": 0, "behind_s": 0}
    assert all(report.version for report in found.values())
    assert all(report.skew_s in {None, 0.0} for report in found.values())


def test_no_secret_is_in_a_process_list_or_open_to_others(lab: Lab) -> None:
    """
    Neither as an argument nor in an environment of an engine; files that hold one are their owner's.

    ClickHouse has a mind of its own about its copy of its configuration: the directory above is closed.
    """
    secrets = lab.secrets()
    words = [word.encode() for word in (secrets.redis, secrets.clickhouse, secrets.interserver)]
    pids = processes_in(lab.fabric.host_namespace(host.name) for host in lab.topology.hosts)
    shown = [Path(f"/proc/{pid}/{file}").read_bytes() for pid in pids for file in ("cmdline", "environ")]
    files = [path for path in lab.layout.directory.rglob("*") if path.is_file()]
    holding = [path for path in files if any(word in path.read_bytes() for word in words)]

    assert len(pids) == len(engines(lab))
    assert not [text for text in shown if any(word in text for word in words)]
    assert len(holding) > 10
    assert {path.name for path in holding if path.stat().st_mode & 0o077} <= {"config.xml"}
    assert [path for path in holding if path.stat().st_mode & 0o077 and "data" not in path.parts] == []
    assert lab.layout.directory.stat().st_mode & 0o077 == 0


async def test_a_killed_program_is_down_and_comes_back(lab: Lab) -> None:
    """Where nothing listens, the node to look at is named."""
    node = lab.topology.node("w1-redis")
    lab.kill([node])
    try:
        assert lab.state(node) is ProcessState.ENDED
        assert "does w1-redis run?" in await until_told(lab, node.name, "Connection refused")
    finally:
        assert lab.start([node]) == [node]

    await until_standing(lab, Standing.READY, node.name)


async def test_what_was_meant_to_happen_happens_to_all_that_are_named(lab: Lab) -> None:
    """Started are only those that do not run, and of those with a program."""
    nodes = [lab.topology.node(name) for name in ("e1-sentinel", "e2-sentinel")]
    lab.kill(nodes)
    assert [lab.state(node) for node in nodes] == [ProcessState.ENDED] * 2
    assert lab.start([*nodes, lab.topology.node("w1-sentinel")]) == nodes
    await until_standing(lab, Standing.READY, "e1-sentinel", "e2-sentinel")


@pytest.mark.parametrize("name", ["e2-redis", "e2-sentinel", "w1-clickhouse", "e2-keeper"])
async def test_a_hung_program_is_down_in_time_and_goes_on(lab: Lab, name: str) -> None:
    """It takes connections and says nothing."""
    node = lab.topology.node(name)
    lab.pause([node])
    try:
        began = asyncio.get_running_loop().time()
        [report] = await reports(lab, name)
        assert asyncio.get_running_loop().time() - began < ASK_S + 1
        assert lab.state(node) is ProcessState.PAUSED
        assert report.standing is Standing.DOWN
        assert "no answer" in report.faults[0]
    finally:
        lab.resume([node])
    await until_standing(lab, Standing.READY, name)


async def test_a_hung_replica_is_told_by_its_primary(lab: Lab) -> None:
    """Which hears nothing of it, and after a while counts it no more."""
    names = [node.name for node in lab.topology.nodes_of(Role.REDIS)]
    found = await until_standing(lab, Standing.READY, *names)
    [primary] = [report.node for report in found if report.said.startswith("primary")]
    node = next(node for node in lab.topology.nodes_of(Role.REDIS) if node.name != primary)
    lab.pause([node])
    try:
        [report] = await until_standing(lab, Standing.UNREADY, primary)
        told = (f"replica {node.address}:6379 was last heard", "1 of 2 replicas follow it")
        assert report.faults[0].startswith(told)
    finally:
        lab.resume([node])
    await until_standing(lab, Standing.READY, *names)


async def test_a_cut_host_is_still_questioned(lab: Lab) -> None:
    """It is the others that it does not hear."""
    lab.cut(["e2"])
    try:
        [report] = await until_standing(lab, Standing.DOWN, "e2-keeper")
        assert "has it a quorum?" in report.faults[0]
        rows = {row.report.node: row.link for row in await view(lab)}
        assert (rows["e2-keeper"], rows["e1-keeper"]) == ("cut", "up")
    finally:
        lab.heal()
    await until_standing(lab, Standing.READY, *engines(lab))


async def test_status_tells_every_node_in_the_order_of_the_file(lab: Lab) -> None:
    """Those without a process too."""
    rows = await view(lab)

    assert [row.report.node for row in rows] == [node.name for node in lab.topology.nodes]
    assert {row.process for row in rows if row.report.role is Role.APP} == {ProcessState.ABSENT}
    assert all({"node", "process", "link", "standing", "faults"} <= set(row.as_json()) for row in rows)


async def test_a_wrong_password_is_told_with_its_key(lab: Lab) -> None:
    """And not shown."""
    wrong = "this-is-not-the-password"
    secrets = replace(lab.secrets(), redis=wrong, clickhouse=wrong)
    nodes = [lab.topology.node(name) for name in ("e1-redis", "e1-sentinel", "e1-clickhouse")]
    found = faults_of(await probe(lab.topology, secrets, deadline_s=ASK_S, nodes=nodes))

    assert "secrets.redis" in found["e1-redis"]
    assert "secrets.redis" in found["e1-sentinel"]
    assert "secrets.clickhouse" in found["e1-clickhouse"]
    assert wrong not in str(found)


@pytest.mark.parametrize(("shift_s", "way"), [(120, "behind"), (-120, "ahead of")])
async def test_a_clock_that_is_off_is_told_with_its_host(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, shift_s: float, way: str
) -> None:
    """Of every engine that tells the time; it is ours that is moved here."""
    ours = time.time
    monkeypatch.setattr(probing, "time", lambda: ours() + shift_s)
    found = await reports(lab, "e1-redis", "w1-clickhouse")

    assert {report.standing for report in found} == {Standing.UNREADY}
    assert f"the clock of host e1 is 120.0 s {way} ours" in faults_of(found)["e1-redis"]
    assert f"s {way} ours" in faults_of(found)["w1-clickhouse"]


async def test_a_program_that_is_too_old_is_told(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what it is and what is needed."""
    monkeypatch.setattr(probing, "OLDEST", {Role.CLICKHOUSE: (18, 17), Role.REDIS: (7, 2), Role.KEEPER: (3, 8)})
    found = faults_of(await reports(lab, "e1-clickhouse", "e1-redis", "e1-keeper"))

    assert "version 18.16.1 of clickhouse is too old, need 18.17 or later" in found["e1-clickhouse"]
    assert "need 7.2 or later" in found["e1-redis"]
    assert found["e1-keeper"] == ""


async def test_tables_of_another_cluster_are_told(lab: Lab) -> None:
    """By where they are in Keeper."""
    node = lab.topology.node("e1-clickhouse")
    server = Server(
        ServerAddress(node.name, node.address, 9000, 1, 1), Login("everline", lab.secrets().clickhouse)
    )  # fmt: skip
    try:
        await server.execute(f"CREATE DATABASE {DATABASE}", limit_s=ASK_S)
        await server.execute(
            f"CREATE TABLE {DATABASE}.strange (day Date) ENGINE = ReplicatedMergeTree("
            "'/clickhouse/tables/other/1/strange', '1') PARTITION BY toYYYYMM(day) ORDER BY day",
            limit_s=2 * ASK_S,
        )
        [report] = await until_standing(lab, Standing.UNREADY, node.name)
        assert report.faults[0].startswith("strange: of another cluster (/clickhouse/tables/other/1/strange)")
    finally:
        await server.execute(f"DROP DATABASE IF EXISTS {DATABASE}", limit_s=2 * ASK_S)
        await server.close()


async def test_a_server_that_has_lost_keeper_answers_and_says_so(lab: Lab) -> None:
    """It can be read; that is not the same as a server that is gone."""
    node = lab.topology.node("e1-clickhouse")
    server = Server(
        ServerAddress(node.name, node.address, 9000, 1, 1), Login("everline", lab.secrets().clickhouse)
    )  # fmt: skip
    try:
        await server.execute(f"CREATE DATABASE IF NOT EXISTS {DATABASE}", limit_s=ASK_S)
        await server.execute(
            f"CREATE TABLE {DATABASE}.messages_local (day Date) ENGINE = ReplicatedMergeTree("
            f"'/clickhouse/tables/{lab.topology.cluster}/1/messages_local', '1') PARTITION BY day ORDER BY day",
            limit_s=2 * ASK_S,
        )
        await until_standing(lab, Standing.READY, node.name)
        lab.cut([node.host])
        [report] = await until_standing(lab, Standing.UNREADY, node.name)
        assert report.said == f"shard 1 replica 1, 1 of {len(REPLICATED)} tables"
        # Which of them comes first depends on whether its session has run out.
        assert report.faults[0].startswith(("Keeper gives it no answer", "messages_local: read-only"))
        lab.heal()
        await until_standing(lab, Standing.READY, node.name)
    finally:
        lab.heal()
        await server.execute(f"DROP DATABASE {DATABASE}", limit_s=2 * ASK_S)
        await server.close()


async def test_a_second_start_is_refused_and_disturbs_nothing(lab: Lab) -> None:
    """The first one goes on."""
    with pytest.raises(UnfitError, match="is there already"):
        await bring_up(lab, lab.layout.cluster_file.read_text(), tell=print, waves=ENGINE_WAVES)

    assert {state.process for state in lab.states() if state.node.name in engines(lab)} == {ProcessState.RUNNING}


def test_commands_act_on_the_lab_that_is_named(lab: Lab, capfd: pytest.CaptureFixture[str]) -> None:
    """By hand as by program: cut, see, heal, kill, start, and a command in a host's network."""
    where = ["--dir", str(lab.layout.directory.parent), "--cluster", lab.topology.cluster]
    assert run(["lab", "cut", *where, "w1"]) == 0
    assert run(["lab", "kill", *where, "e2-sentinel"]) == 0
    assert run(["lab", "status", *where, "--json"]) == 1
    told = json.loads(capfd.readouterr().out)
    assert run(["lab", "heal", *where]) == 0
    assert run(["lab", "start", *where, "e2-sentinel"]) == 0
    words = [sys.executable, "-m", "everline", "lab", "exec", *where, "w1", "--", "sh", "-c", "ip -br addr; exit 7"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)

    assert told["cut"] == ["w1"]
    assert {row["node"]: row["process"] for row in told["nodes"]}["e2-sentinel"] == "ended"
    assert lab.fabric.cuts() == []
    assert lab.topology.host("w1").address in done.stdout
    assert done.returncode == 7
    assert run(["lab", "kill", *where, "e2-sentinal"]) == 2
    assert "did you mean e2-sentinel" in capfd.readouterr().err


async def test_a_disk_is_not_removed_from_under_a_program(lab: Lab) -> None:
    """It must be killed before; it comes back empty."""
    node = lab.topology.node("w1-redis")
    with pytest.raises(LabError, match="kill it before"):
        lab.wipe(node)
    lab.kill([node])
    lab.wipe(node)
    assert not lab.layout.data(node).exists()
    lab.start([node])

    await until_standing(lab, Standing.READY, node.name)


@pytest.mark.parametrize(
    ("earliest", "latest", "skew"),
    [
        pytest.param(100.0, 101.0, 0.0, id="whole-seconds-hold-our-time"),
        pytest.param(99.0, 100.0, 0.0, id="just-before-we-asked"),
        pytest.param(103.0, 104.0, 2.8, id="ahead-by-the-least-that-it-can-be"),
        pytest.param(95.0, 96.0, -4.0, id="behind-by-the-least-that-it-can-be"),
    ],
)
def test_a_clock_is_only_called_off_by_what_is_certain(earliest: float, latest: float, skew: float) -> None:
    """Asked at 100.0, answered at 100.2."""
    assert nearest_skew(earliest, latest, asked_at=100.0, answered_at=100.2) == pytest.approx(skew)


@pytest.mark.parametrize(
    ("lag", "faults", "lag_s"),
    [
        pytest.param(1, [], 1, id="a-second-is-between-two-acknowledgements"),
        pytest.param(4, ["replica 10.0.0.2:6379 was last heard 4 s ago"], 4, id="four-are-too-many"),
        pytest.param(-1, [], 0, id="has-not-said-anything-yet"),
    ],
)
def test_a_primary_tells_how_far_its_replicas_are_behind(lag: int, faults: list[str], lag_s: int) -> None:
    """In seconds since the last acknowledgement, and in bytes."""
    role = [b"master", 100, [[b"10.0.0.2", b"6379", b"90"]]]

    assert redis_role(role, {"slave0": f"ip=10.0.0.2,port=6379,state=online,offset=90,lag={lag}"}, others=1) == (
        "primary, 1 replicas", faults, {"replicas": 1, "behind_bytes": 10, "lag_s": lag_s},
    )  # fmt: skip


@pytest.mark.parametrize("state", [b"connect", b"connecting", b"sync"])
def test_a_replica_without_its_primary_says_so(state: bytes) -> None:
    """And has heard nothing."""
    said, faults, figures = redis_role([b"slave", b"10.0.0.1", 6379, state, 0], {}, others=1)

    assert (said, figures) == ("replica of 10.0.0.1:6379", {})
    assert faults == [f"its link to the primary 10.0.0.1:6379 is in state {state.decode()}"]


def row(table: str, **values: int | str) -> tuple[int | str, ...]:
    """Of system.replicas: a table that is well, but for some values."""
    home = f"/clickhouse/tables/blue/1/{table}"
    well: dict[str, int | str] = dict(zip(REPLICA_COLUMNS, (table, 0, 0, 0, 0, home), strict=True))
    return tuple((well | values).values())


WHOLE: Final = {"messages_local": (2, 2), "calls_local": (2, 2)}


@pytest.mark.parametrize(
    ("values", "partners", "fault"),
    [
        pytest.param({"is_readonly": 1}, WHOLE, "calls_local: read-only", id="read-only"),
        pytest.param({"is_session_expired": 1}, WHOLE, "no session at Keeper", id="no-session"),
        pytest.param({}, WHOLE | {"calls_local": (1, 2)}, "calls_local: 1 of 2 replicas", id="a-partner-is-gone"),
        pytest.param({}, None, "Keeper gives it no answer", id="no-keeper"),
        pytest.param({"absolute_delay": 7, "queue_size": 3}, WHOLE, "calls_local: 7 s behind, 3 parts", id="behind"),
        pytest.param({"absolute_delay": 1795421409}, WHOLE, "calls_local: has not read yet", id="just-made"),
        pytest.param(
            {"zookeeper_path": "/clickhouse/tables/blues/1/calls_local"}, WHOLE, "another cluster", id="not-ours"
        ),
    ],
)
def test_what_is_wrong_with_a_table_is_told(
    values: dict[str, int | str], partners: dict[str, tuple[int, int]] | None, fault: str
) -> None:
    """Each with the table; others are well."""
    rows = [row("messages_local"), row("calls_local", **values)]
    faults, tables, figures = replicated_tables(rows, partners, cluster="blue")

    assert len(faults) == 1
    assert fault in faults[0]
    assert tables == 2
    assert figures["behind_s"] == (7 if values.get("absolute_delay") == 7 else 0)


def test_what_all_tables_have_in_common_is_told_once() -> None:
    """A server without Keeper has all of them."""
    rows = [row(name, is_readonly=1) for name in ("calls_local", "fences", "messages_local")]
    faults, _, _ = replicated_tables(rows, {}, cluster="blue")

    assert faults == ("calls_local and 2 other tables: read-only, the server has no session at Keeper",)


def test_the_environment_of_an_engine_holds_nothing_of_ours(lab: Lab) -> None:
    """What it finds in production it finds here."""
    pids = processes_in([lab.fabric.host_namespace("e1")])
    names = {line.split(b"=")[0] for pid in pids for line in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")}

    assert names - {b"PATH", b"LANG", b"HOME", b"USER", b"PWD", b"OLDPWD", b""} == set()
    assert os.getpid() not in pids
