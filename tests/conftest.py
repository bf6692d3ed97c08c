"""What holds for all tests."""

import os

import pytest
from tests.peers.programs import missing_programs


def pytest_runtest_setup(item: pytest.Item) -> None:
    """`@pytest.mark.peers("sipp", "kamailio")` names the programs a test needs."""
    for marker in item.iter_markers("peers"):
        require_programs(*marker.args)


def require_programs(*names: str) -> None:
    """Skip a test that lacks a program; fail it under CI=true, where a skipped test would pass unseen."""
    if missing := missing_programs(names):
        said = f"not installed: {', '.join(missing)}; run scripts/install-peers.sh"
        if os.environ.get("CI") == "true":
            pytest.fail(said, pytrace=False)
        pytest.skip(said)
