"""What somebody has to do regularly, on a real store (in a process of its own: one data directory each)."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests import duties_owner

SECOND_US = 1_000_000
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:  # JSON, see duties_owner
    """What came of it."""
    command = [sys.executable, "-W", "error", "-m", duties_owner.__name__, str(tmp_path_factory.mktemp("data"))]
    said = subprocess.run(command, check=True, capture_output=True, timeout=90, cwd=ROOT, text=True).stdout
    found: dict[str, Any] = json.loads(said)
    return found


def test_a_silent_call_is_closed(done: dict[str, Any]) -> None:
    """When its patience was over, not when somebody noticed."""
    records = done["records"]

    assert done["closed"][0] == 2
    assert records["ringing-long"]["outcome"] == records["answered-hours"]["outcome"] == "timed_out"
    assert done["ended_us"]["ringing-long"] == (600 - 300) * SECOND_US
    assert done["ended_us"]["answered-hours"] == (7_200 - 5 - 3_600) * SECOND_US


def test_a_call_that_may_go_on_does(done: dict[str, Any]) -> None:
    """Each state has its own patience; what has ended or is no call is left alone."""
    assert done["records"]["ringing-just"]["state"] == "trying"
    assert done["records"]["answered-long"]["state"] == "answered"


def test_closing_it_twice_changes_nothing(done: dict[str, Any]) -> None:
    """Two nodes that notice the same make the same event."""
    assert done["same"]
    assert done["messages"] == [2, 2]
    assert done["closed"][1] == 0


def test_live_state_hears_of_it(done: dict[str, Any]) -> None:
    """It must not show calls for ever that nobody ended; of a call it does not know there is nothing to tell."""
    assert done["told"] == []


def test_old_days_go_and_others_stay(done: dict[str, Any]) -> None:
    """Once."""
    assert done["dropped"] == [True, 0]
    assert not done["old"]
    assert done["kept"]
