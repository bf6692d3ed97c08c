"""The README does what it says: its code blocks run, in an empty directory, on free ports."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.running_node import until

ROOT: Final = Path(__file__).parents[1]
README: Final = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS: Final = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
# The environment that runs this test was set up by the same Makefile: it is not set up again.
SET_UP: Final = (".venv/.runtime", ".venv/.dev", "src/everline/app/static/vendor/.fetched")
MAKE: Final = ("make", *(word for one in SET_UP for word in ("-o", one)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the Makefile and the environment, and nothing else."""
    folder = tmp_path_factory.mktemp("readme")
    for name in ("Makefile", ".venv", "requirements.lock", "requirements-dev.lock", "pyproject.toml"):
        (folder / name).symlink_to(ROOT / name)
    return folder


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    """The reader's environment, but with ports that nobody has."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EVERLINE_")}
    return kept | {"EVERLINE_INGEST_HEP": "127.0.0.1:0", "EVERLINE_HTTP_LISTEN": "127.0.0.1:0"}


@pytest.fixture(scope="module")
def demo(folder: Path, environment: dict[str, str]) -> Iterator[Path]:
    """`make demo` at work; its output so far is in the file."""
    output = folder / "demo.out"
    with output.open("wb") as out:
        process = subprocess.Popen([*MAKE, "demo"], cwd=folder, env=environment, stdout=out, stderr=out)
    try:
        until(lambda: b"demo.played" in output.read_bytes() or process.poll() is not None, within_s=60, what="the demo")
        assert process.poll() is None, output.read_text()
        yield output
    finally:
        os.kill(json.loads((folder / "var/demo/node.json").read_text())["pid"], signal.SIGTERM)
        assert process.wait(30) == 0, output.read_text()


def test_the_blocks_are_the_ones_we_know() -> None:
    """A new block needs a test here."""
    assert [block.splitlines()[0] for block in BLOCKS] == [
        "make demo",
        ".venv/bin/everline calls --data var/demo --limit 5",
        "make test",
        ".venv/bin/everline up --help",
    ]


def test_the_demo_says_where_to_look_and_has_calls_at_once(demo: Path) -> None:
    """Address, token file and listener are printed; the data is where the README says."""
    said = demo.read_text()

    assert "Everline is up: http://127.0.0.1:" in said
    assert re.search(r"http://\S+/setup#\S{24}", said)
    assert (demo.parent / "var/demo/admin.token").stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("demo")
@pytest.mark.parametrize("index", [1, 3])
def test_the_commands_work_while_it_runs(folder: Path, environment: dict[str, str], index: int) -> None:
    """Each line of the block succeeds and prints something."""
    for line in BLOCKS[index].splitlines():
        answer = subprocess.run(
            line, check=False, shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=60
        )

        assert answer.returncode == 0, f"{line}: {answer.stderr}"
        assert answer.stdout.strip(), line


@pytest.mark.usefixtures("demo")
def test_the_demo_shows_every_outcome(folder: Path, environment: dict[str, str]) -> None:
    """The sample that is played has more than answered calls."""
    command = ".venv/bin/everline calls --data var/demo --limit 0 --csv"
    answer = subprocess.run(
        command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=True
    )

    for outcome in ("answered", "busy", "cancelled", "no_answer", "rejected"):
        assert f",{outcome}," in answer.stdout


def test_the_test_command_runs_this(folder: Path) -> None:
    """`make test` is pytest over everything; run from here it would run itself."""
    planned = subprocess.run([*MAKE, "-n", "test"], cwd=folder, capture_output=True, text=True, check=True).stdout

    assert "-m pytest" in planned


def test_the_pictures_and_pages_exist() -> None:
    """No link of the README points nowhere."""
    links = re.findall(r"\]\(([^)#:]+)\)", README)

    assert [link for link in links if not (ROOT / link).exists()] == []
