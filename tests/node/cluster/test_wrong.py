"""What a cluster refuses, and what its commands say of it; at last, what they say while Keeper is away."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.rigs.cluster import STOP_S, ClusterRig, until, write_cluster_file

from everline.topology.model import Role

OTHER = "a-secret-of-another-cluster"
OTHERS = {"clickhouse": OTHER, "redis": OTHER, "interserver": OTHER}
KEEPER_SAYS = "its znodes were made with another secret; give every node the same secrets (cluster.yaml: secrets)"
REDIS_SAYS = "check secrets.redis"
CLICKHOUSE_SAYS = "refuses user or password: check secrets.clickhouse on this host"


@contextmanager
def running(rig: ClusterRig, file: Path, name: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A node with another cluster file and a data directory of its own, and what it writes; ended at the end."""
    out = file.parent / f"{name}.out"
    with out.open("wb") as log:
        process = subprocess.Popen(
            [str(rig.program), "run", "--cluster", str(file), "--node", name, "--data", str(file.parent / name)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield process, out
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("h2-ingest", (KEEPER_SAYS, REDIS_SAYS)),
        ("h2-app", (KEEPER_SAYS, REDIS_SAYS, CLICKHOUSE_SAYS)),
        ("h3-witness", (KEEPER_SAYS, REDIS_SAYS, CLICKHOUSE_SAYS)),
    ],
)
def test_a_node_with_the_wrong_secrets_says_which(
    name: str, says: tuple[str, ...], rig: ClusterRig, tmp_path: Path
) -> None:
    """It runs, since they may be mended elsewhere, never leads, shows none of them, and stops when it is told to."""
    file = write_cluster_file(tmp_path, rig.content, **OTHERS)
    assert rig.stop(name) == 0

    with running(rig, file, name) as (process, out):
        for words in says:
            until(lambda words=words: words in out.read_text(), f"{name} says {words}: {out.read_text()}")  # type: ignore[misc]
        assert rig.metric(name, "everline_leader") == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_S) == 0

    assert OTHER not in out.read_text()
    assert "Traceback" not in out.read_text()


def test_commands_with_the_wrong_secrets_say_which(rig: ClusterRig, tmp_path: Path) -> None:
    """Status shows all that can be seen without them; what needs them fails."""
    file = write_cluster_file(tmp_path, rig.content, **OTHERS)

    said = rig.everline("cluster", "status", "--json", file=file)

    assert (said.returncode, said.stderr) == (1, "")
    view = json.loads(said.stdout)
    assert view["leader"] is None
    assert KEEPER_SAYS in view["keeper_fault"]
    assert REDIS_SAYS in view["bus_fault"]
    faults = {one["role"]: " ".join(one["faults"]) for one in view["programs"]}
    assert REDIS_SAYS in faults["redis"]
    assert REDIS_SAYS in faults["sentinel"]
    assert CLICKHOUSE_SAYS in faults["clickhouse"]
    assert (faults["ingest"], faults["app"], faults["keeper"]) == ("", "", "")
    for words, reason in (
        (["node", "drain", "h1-app"], KEEPER_SAYS),
        (["cluster", "history"], CLICKHOUSE_SAYS),
        (["store", "repair"], CLICKHOUSE_SAYS),
    ):
        said = rig.everline(*words, file=file)
        assert (said.returncode, said.stdout) == (1, "")
        assert reason in said.stderr
        assert OTHER not in said.stderr


@pytest.mark.parametrize("name", ["h1-ingest", "h1-app", "h3-witness"])
def test_a_node_that_runs_is_not_run_twice(name: str, rig: ClusterRig, tmp_path: Path) -> None:
    """Neither with its data nor with other data: its directory and its ports are taken. The first one goes on."""
    said = rig.everline("run", "--node", name, "--data", str(rig.data(name)))

    assert (said.returncode, said.stdout) == (3, "")
    assert f"{rig.data(name)} is in use by another Everline process: stop that one" in said.stderr

    said = rig.everline("run", "--node", name, "--data", str(tmp_path))

    assert (said.returncode, said.stdout) == (3, "")
    assert f"cannot listen on HTTP 127.0.0.1:{rig.port(name, 'http_port')}: Address already in use" in said.stderr
    assert "http_port" in said.stderr
    assert rig.readiness(name) == "ready"


def test_keeper_is_away(rig: ClusterRig) -> None:
    """Status says so, and shows all the rest; nobody leads, and what must be noted in Keeper is refused."""
    rig.kill(*rig.names(Role.KEEPER))
    until(lambda: not rig.leaders(), "nobody leads")

    view = until(lambda: rig.status(code=1), "status has heard every node")

    assert view["leader"] is None
    assert view["keeper_fault"].startswith("Keeper did not answer within 3 s (3 asked: 127.0.0.1:")
    standing = {one["node"]: one["standing"] for one in view["programs"]}
    assert {standing[name] for name in rig.names(Role.KEEPER)} == {"down"}
    assert {standing[name] for name in rig.names(Role.INGEST, Role.APP, Role.WITNESS, Role.REDIS)} == {"ready"}

    said = rig.everline("node", "drain", "h1-app")

    assert (said.returncode, said.stdout) == (1, "")
    assert "Keeper did not answer within 3 s" in said.stderr
