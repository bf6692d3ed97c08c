"""The rooms of the package and which may know which: arrows point down the list only (docs/architecture.md)."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

PACKAGE: Final = Path(__file__).parent.parent / "src" / "everline"

LAYERS: Final = (
    {"__main__"},
    {"cli"},
    {"node", "bench", "drill", "lab"},
    {"demo", "duties", "metrics"},
    {"replay", "client"},
    {"app", "llm"},
    {"access"},
    {"cluster"},
    {"ingest", "balance"},
    {"store", "bus"},
    {"config_load", "cluster_file"},
    {"config", "log", "datadir", "udp_socket"},
    {"topology"},
    {"config_sections"},
    {"calls"},
    {"wire"},
    {"errors"},
)
"""From top to bottom. A room knows those in lines below its own, and of its own line itself."""

PURE_MAY_USE: Final = {
    "wire": {"xxhash"},
    "calls": {"xxhash"},
    "topology": {"pydantic", "pydantic_core", "yaml", "jinja2"},
    "config_sections": {"pydantic"},
    "errors": set[str](),
}
"""The pure rooms, and the libraries that each of them may know: those which reach nothing outside either."""
IMPURE: Final = frozenset(
    {
        "asyncio", "concurrent", "http", "logging", "multiprocessing", "os", "pathlib", "random", "secrets", "select",
        "selectors", "shutil", "signal", "socket", "socketserver", "ssl", "subprocess", "tempfile", "threading", "time",
        "urllib.request", "uuid",
    }
)  # fmt: skip
"""Modules of the standard library that reach the world: sockets, files, clocks, chance, logs."""


def modules() -> list[Path]:
    """Every module of the package."""
    return sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Every module that a module names in an import, wherever the import stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides where it points"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(path: Path) -> str:
    """The room that a module is in; a module beside the rooms is one itself."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def rooms_known(path: Path) -> set[str]:
    """The rooms that a module imports from."""
    names = (name.split(".") for name in imports(path))
    return {parts[1] for parts in names if parts[0] == "everline" and len(parts) > 1} - {"__version__"}


def height(room: str) -> int:
    """The line of the list that a room is in."""
    found = [line for line, rooms in enumerate(LAYERS) if room in rooms]
    assert found, f"{room}: a room that is in no layer; give it a place in the list"
    return found[0]


def offences(path: Path) -> set[str]:
    """The rooms that a module imports and may not know."""
    room = room_of(path)
    return {known for known in rooms_known(path) if known != room and height(known) <= height(room)}


MODULES: Final = [
    pytest.param(path, id=str(path.relative_to(PACKAGE))) for path in modules() if path != PACKAGE / "__init__.py"
]
PURE_MODULES: Final = [
    pytest.param(path, id=str(path.relative_to(PACKAGE))) for path in modules() if room_of(path) in PURE_MAY_USE
]


@pytest.mark.parametrize("path", MODULES)
def test_a_room_knows_only_those_below_it(path: Path) -> None:
    """So each can be read, tested and replaced without those above it."""
    assert offences(path) == set()


@pytest.mark.parametrize("path", PURE_MODULES)
def test_the_pure_rooms_reach_nothing_outside(path: Path) -> None:
    """No socket, file, clock, log or driver: time is an argument, and what they decide can be tested in no time."""
    named = set(imports(path))
    top = {name.split(".")[0] for name in named}

    assert named & IMPURE == set()
    assert top & IMPURE == set()
    assert top - set(sys.stdlib_module_names) <= PURE_MAY_USE[room_of(path)] | {"everline"}


def test_the_rules_can_be_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that reaches up is found."""
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    (tmp_path / "wire").mkdir()
    bad = tmp_path / "wire" / "bad.py"
    bad.write_text("from everline.calls.event import Event\n\ndef late() -> None:\n    from everline import app\n")

    assert offences(bad) == {"calls", "app"}


def test_every_pure_room_is_looked_at() -> None:
    """The tests above are about something."""
    assert set(PURE_MAY_USE) <= {room_of(path) for path in modules()}
