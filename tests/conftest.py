"""What holds for all tests."""

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest
from tests.peers.programs import missing_programs

from everline.store.embedded import EmbeddedStore

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started in the background of a shell. Every program that a test starts would inherit it, and never hear Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)


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


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    """
    An open store, the only one of a run: the engine allows one data directory a process.

    What one test puts in, the others see: keep to times and Call-IDs of your own.
    """
    opened = EmbeddedStore.open(tmp_path_factory.mktemp("store") / "data")
    yield opened
    asyncio.run(opened.close())
