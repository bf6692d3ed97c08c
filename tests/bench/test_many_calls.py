"""Calls that the engine makes for measuring are those that their messages would make."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.bench import calls_owner

from everline.calls.record import Outcome

ROOT = Path(__file__).parents[2]
Found = dict[str, Any]  # JSON, see calls_owner


def found_by(how: str, data: Path) -> Found:
    """In a process of its own: one data directory each."""
    command = [sys.executable, "-m", calls_owner.__name__, how, str(data)]
    found: Found = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=90, cwd=ROOT).stdout)
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What the engine has made."""
    return found_by("made", tmp_path_factory.mktemp("made"))


def test_they_are_found_as_if_their_messages_had_come(made: Found, tmp_path: Path) -> None:
    """The same records, and the same answers to searches that go by the look-ups."""
    assert found_by("told", tmp_path) == made
    assert len(made["calls"]) == calls_owner.WANTED.calls
    assert all(made["pages"])


def test_they_are_a_mixture(made: Found) -> None:
    """Most are answered, and what fails does so in several ways; they fill the days evenly."""
    outcomes = Counter(one["outcome"] for one in made["calls"])
    starts = [one["invite_us"] for one in made["calls"]]

    assert 0.5 < outcomes[Outcome.ANSWERED] / len(starts) < 0.7
    assert {Outcome.BUSY, Outcome.CANCELLED, Outcome.FAILED, Outcome.NO_ANSWER, Outcome.REJECTED} <= set(outcomes)
    assert calls_owner.WANTED.first_us == min(starts) < max(starts) < calls_owner.WANTED.last_us
