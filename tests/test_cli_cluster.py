"""Commands that visit a cluster, and `everline run`: what they refuse, and what they say of a cluster that is away."""

import json
from pathlib import Path

import pytest
import yaml
from tests.rigs.cluster import values as cluster_values
from tests.rigs.cluster import write_cluster_file
from tests.rigs.unchecked import load_unchecked
from tests.topology.clusters import one_site, values

from everline.cli.entry import run

VISITS = (
    ["cluster", "status"],
    ["cluster", "history"],
    ["cluster", "drill", "start", "x"],
    ["node", "drain", "h1-app"],
    ["store", "repair"],
)
ALL = (*VISITS, ["run", "--node", "h1-app"])


@pytest.fixture
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cluster.yaml of a cluster on loopback, of which nothing runs."""
    for module in ("in_cluster", "run"):
        monkeypatch.setattr(f"everline.cli.{module}.load_topology", load_unchecked)
    content = cluster_values()
    content["regions"][0]["racks"][0]["hosts"][0]["roles"]["nginx"] = {}
    return write_cluster_file(tmp_path, content)


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_no_cluster_file(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is named, with what to do."""
    path = tmp_path / "cluster.yaml"

    assert run([*words, "--cluster", str(path)]) == 2

    said = capsys.readouterr()
    assert said.out == ""
    expected = f"everline: {path}: file: cannot be read: No such file or directory; name a readable cluster.yaml\n"
    assert said.err == expected


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_a_faulty_cluster_file(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every fault is told with its key."""
    content = values(one_site(), timer={})
    del content["regions"][0]["racks"][0]["hosts"][0]["address"]
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump(content), "utf-8")

    assert run([*words, "--cluster", str(path)]) == 2

    said = capsys.readouterr()
    assert said.out == ""
    assert "regions[0].racks[0].hosts[0].address (line 6): is missing" in said.err
    assert "timer (line 66): is no such key; did you mean timers?" in said.err


def test_a_secret_that_is_missing(away: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its key is told, and where it should be; one that others can read is none."""
    (away.parent / "secrets" / "redis").unlink()
    (away.parent / "secrets" / "clickhouse").chmod(0o640)

    for words in ALL:
        assert run([*words, "--cluster", str(away)]) == 2

        said = capsys.readouterr().err
        assert "secrets.redis: " in said
        assert "cannot be read: No such file or directory" in said
        assert "secrets.clickhouse: " in said
        assert "run chmod 600" in said


@pytest.mark.parametrize(
    "words", [["node", "drain", "h1-ap"], ["node", "undrain", "h1-ap"], ["run", "--node", "h1-ap"]], ids=" ".join
)
def test_a_node_that_is_not_there(words: list[str], away: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those with a name much like it are told."""
    assert run([*words, "--cluster", str(away)]) == 2

    assert "no node has the name 'h1-ap'; did you mean h1-app or " in capsys.readouterr().err


def test_a_server_that_is_not_there(away: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same of a ClickHouse server; a node that is none is told from one that is not there."""
    assert run(["store", "repair", "h1-clickhose", "--cluster", str(away)]) == 2
    assert "did you mean h1-clickhouse or h2-clickhouse" in capsys.readouterr().err
    assert run(["store", "repair", "h1-app", "--cluster", str(away)]) == 1
    assert "h1-app is app, no ClickHouse server" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["h1-nginx", "h1-redis", "h1-clickhouse"])
def test_a_node_without_a_process_of_ours(name: str, away: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is neither run nor drained; which are is told."""
    assert run(["run", "--node", name, "--cluster", str(away)]) == 2
    assert "`everline run` does not start; it starts balancer, ingest, app, witness" in capsys.readouterr().err
    assert run(["node", "drain", name, "--cluster", str(away)]) == 2
    assert "only Everline's own nodes (balancer, ingest, app, witness) are drained" in capsys.readouterr().err


def test_status_of_a_cluster_that_is_away(away: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody knows who leads, nobody is heard, every program is down, and each of it has its reason; exit code 1."""
    assert run(["cluster", "status", "--json", "--cluster", str(away)]) == 1

    said = json.loads(capsys.readouterr().out)
    assert said["leader"] is None
    assert said["keeper_fault"].startswith("Keeper did not answer within 3 s (3 asked: 127.0.0.1:")
    assert said["bus_fault"].startswith("no Redis primary for 'rig' (0 of 3 Sentinels answered")
    assert {one["presence"] for one in said["nodes"]} == {"unheard"}
    assert {one["standing"] for one in said["programs"]} <= {"down", "unknown"}
    assert all(one["faults"] or one["said"] for one in said["programs"])

    assert run(["cluster", "status", "--cluster", str(away)]) == 1

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("leader    none: Keeper did not answer within 3 s")
    assert lines[1].startswith("bus       no Redis primary for 'rig'")


def test_what_needs_an_engine_that_is_away(away: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says which one, and exits with 1; a store of which no server answers is not called equal."""
    for words, reason in (
        (["node", "drain", "h1-app"], "Keeper did not answer within 3 s"),
        (["store", "repair", "h1-clickhouse"], "Keeper did not answer within 3 s"),
        (["store", "repair"], "not every copy could be compared (h1-clickhouse: ClickHouse h1-clickhouse: 127.0.0.1:"),
        (["cluster", "history"], "-clickhouse: 127.0.0.1:"),
        (["cluster", "drill", "end", "rack-a"], "-clickhouse: 127.0.0.1:"),
    ):
        assert run([*words, "--cluster", str(away)]) == 1, words

        said = capsys.readouterr()
        assert said.out == ""
        assert reason in said.err
