"""The programs `ip` and `tc`: many changes at once, and what is there now."""

import json
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from everline.lab.errors import LabError

NETNS_DIR: Final = Path("/run/netns")
PATH: Final = "/usr/sbin:/usr/bin:/sbin:/bin"
_DEADLINE_S: Final = 30.0


def ip_batch(lines: Iterable[str], *, namespace: str | None = None) -> None:
    """
    Carry out `ip` commands in order, in one process, in the root namespace or in another.

    Raises:
        LabError: One was refused; those before it were carried out.
    """
    text = "".join(f"{line}\n" for line in lines)
    if not text:
        return
    _run(["ip", *_within(namespace), "-batch", "-"], text)


def ip_json(*words: str, namespace: str | None = None) -> list[dict[str, Any]]:
    """What `ip -json` shows; a list of whatever the kernel tells."""
    shown = _run(["ip", *_within(namespace), "-json", *words], "")
    found: list[dict[str, Any]] = json.loads(shown or "[]")
    return found


def tc(*words: str, namespace: str) -> None:
    """
    One `tc` command.

    Raises:
        LabError: It was refused.
    """
    _run(["tc", *_within(namespace), *words], "")


def namespaces() -> list[str]:
    """The names of all network namespaces."""
    try:
        return sorted(path.name for path in NETNS_DIR.iterdir())
    except FileNotFoundError:
        return []


def processes_in(names: Iterable[str]) -> list[int]:
    """
    Every process that lives in one of some namespaces, zombies not among them.

    As `ip netns pids`, but with one walk through /proc for all of them.
    """
    wanted = {_identity(NETNS_DIR / name) for name in names} - {None}
    if not wanted:
        return []
    pids = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal())
    return [pid for pid in pids if _identity(Path(f"/proc/{pid}/ns/net")) in wanted]


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _within(namespace: str | None) -> list[str]:
    return [] if namespace is None else ["-netns", namespace]


def _run(words: list[str], text: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - ip and tc
            words, input=text, capture_output=True, text=True, timeout=_DEADLINE_S, check=False,
            start_new_session=True,  # Ctrl-C is ours to handle, not to break a change in two.
            env={"PATH": PATH, "LC_ALL": "C", "HOME": os.environ.get("HOME", "/")},
        )  # fmt: skip
    except FileNotFoundError as error:
        raise LabError(f"{words[0]} is not installed: run scripts/install-peers.sh") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{' '.join(words)}: no end within {_DEADLINE_S:g} s; run `everline lab down`") from error
    if done.returncode != 0:
        raise LabError(f"{' '.join(words)} was refused: {_told(done.stderr, text)}")
    return done.stdout


def _told(complaint: str, text: str) -> str:
    """What the program says, and the line of the batch that it says it of."""
    said = " ".join(complaint.split()) or "without a word"
    number = said.rpartition("-:")[2]
    lines = text.splitlines()
    if number.isdecimal() and 0 < int(number) <= len(lines):
        return f"{said} ({lines[int(number) - 1]})"
    return said
