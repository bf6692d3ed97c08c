"""Electors as processes of their own, that a test can kill, stop and go on with."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from tests.cluster import elector
from tests.rigs.zookeeper import Ensemble

T = TypeVar("T")

ROOT: Final = Path(__file__).parents[2]
PATIENCE_S: Final = 30.0


class Act(NamedTuple):
    """A line of the acts file."""

    token: int
    node: str
    boot_us: int


def boot_us() -> int:
    """Now, as electors tell it."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


def until(condition: Callable[[], T | None], what: str, *, within_s: float = PATIENCE_S) -> T:
    """The first true value of a condition."""
    deadline = time.monotonic() + within_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        time.sleep(0.005)
    return value


class RunningElector:
    """A program that says JSON lines, and obeys words."""

    def __init__(self, name: str, module: str, *arguments: str) -> None:
        self.name = name
        self.said: list[dict[str, Any]] = []
        command = [sys.executable, "-m", module, name, *arguments]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(json.loads(line))

    def tell(self, word: str) -> None:
        """Say a word to it."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    def signal(self, number: signal.Signals) -> int:
        """Send it a signal; the time of that."""
        self.process.send_signal(number)
        return boot_us()

    def heard(self, after: int = 0, **fields: object) -> dict[str, Any] | None:
        """The first that it said, after so many lines, with these fields."""
        return next((one for one in self.said[after:] if fields.items() <= one.items()), None)

    def until_heard(self, after: int = 0, **fields: object) -> dict[str, Any]:
        """The same, waited for."""
        return until(lambda: self.heard(after, **fields), f"{self.name} says {fields}; it said {self.said}")

    @property
    def leads(self) -> bool:
        """Whether it leads, as it says."""
        said = [bool(one["leads"]) for one in self.said if "leads" in one]
        return bool(said) and said[-1]

    def end(self) -> None:
        """Kill it, also when it is stopped."""
        self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()


class Field:
    """Some of them, and the file of their acts."""

    def __init__(self, ensemble: Ensemble, acts: Path, stack: ExitStack) -> None:
        self._ensemble, self._acts, self._stack = ensemble, acts, stack
        self.electors: list[RunningElector] = []

    def add(self, name: str, priority: int = 0) -> RunningElector:
        """Start one and wait until it takes part."""
        servers = ",".join(self._ensemble.addresses)
        one = RunningElector(name, elector.__name__, str(priority), servers, self._acts.stem, str(self._acts))
        self._stack.callback(one.end)
        self.electors.append(one)
        one.until_heard(up=name)
        return one

    def acts(self) -> list[Act]:
        """What was done, in the order of the file."""
        if not self._acts.exists():
            return []
        lines = [line.split() for line in self._acts.read_text().splitlines()]
        return [Act(int(token), node, int(at)) for token, node, at in lines]

    def leader(self) -> RunningElector:
        """The only one that leads and acts, waited for."""

        def found() -> RunningElector | None:
            leading = [one for one in self.electors if one.process.poll() is None and one.leads]
            acts = self.acts()
            return leading[0] if len(leading) == 1 and acts and acts[-1].node == leading[0].name else None

        return until(found, f"one leads and acts: {[(one.name, one.said) for one in self.electors]}")

    def next_act(self, token: int) -> Act:
        """The first act with a later token, waited for."""
        return until(
            lambda: next((act for act in self.acts() if act.token > token), None), f"an act with a token above {token}"
        )


@contextmanager
def electors(ensemble: Ensemble, directory: Path) -> Iterator[Field]:
    """A field of electors, in a cluster of its own, ended at the end."""
    with ExitStack() as stack:
        yield Field(ensemble, directory / f"acts{os.urandom(4).hex()}", stack)
