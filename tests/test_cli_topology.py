"""`everline topology check`: a table and warnings, or every fault on a line of its own."""

from pathlib import Path

import pytest
import yaml
from tests.topology.clusters import one_site, values

from everline.cli.entry import run

EXAMPLE = Path(__file__).parents[1] / "examples" / "two-regions-and-witness.yaml"


def test_a_right_cluster_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Regions, racks, hosts, roles, and a line that says so."""
    assert run(["topology", "check", str(EXAMPLE)]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["REGION", "RACK", "HOST", "ADDRESS", "ROLES"]
    assert lines[1].split("  ")[-1] == "balancer, app, nginx, keepalived"
    assert "clickhouse 1/1" in lines[3]
    assert "app (backup)" in lines[5]
    assert "vip of nginx in west: 10.77.2.101 on wa1 or wb1" in lines
    assert lines[-1] == "cluster everline: 3 regions, 5 racks, 17 hosts, 35 nodes; no fault found"


def test_warnings_are_shown_and_accepted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A cluster that could be better is still one."""
    places = one_site()
    places["home"]["b"]["b1"].pop("nginx")
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(values(places)), "utf-8")

    assert run(["topology", "check", str(path)]) == 0

    *_, warning, last = capsys.readouterr().out.splitlines()
    assert warning.startswith("warning: regions: a single nginx")
    assert last.endswith("no fault found, 1 warning")


def test_every_fault_has_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr, with file, path and line; exit code 2."""
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(values(one_site(), timrs={}, hoks=[])), "utf-8")

    assert run(["topology", "check", str(path)]) == 2

    shown = capsys.readouterr()
    assert shown.out == ""
    first, second = shown.err.splitlines()
    assert first.startswith(f"everline: {path}: hoks (line ")
    assert "did you mean timers?" in second


def test_a_file_that_is_not_there_is_a_fault(capsys: pytest.CaptureFixture[str]) -> None:
    """One line, no traceback."""
    assert run(["topology", "check", "nowhere.yaml"]) == 2
    assert capsys.readouterr().err.startswith("everline: nowhere.yaml: file: cannot be read")
