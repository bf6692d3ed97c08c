"""The data directory: private, checked before anything is kept in it, and honest about what is wrong."""

import json
import os
import stat
from pathlib import Path

import pytest

from everline.datadir import LOCK_FILE, NODE_FILE, TOKEN_FILE, DataDir, DataDirError, DataDirHeldError, SecretError


def test_only_its_user_can_read_it(tmp_path: Path) -> None:
    """The directory and the secrets."""
    data = DataDir(tmp_path / "a" / "b")
    data.prepare()
    data.secret(TOKEN_FILE)

    assert stat.S_IMODE(data.path.stat().st_mode) == 0o700
    assert stat.S_IMODE((data.path / TOKEN_FILE).stat().st_mode) == 0o600
    assert [one.name for one in data.path.iterdir()] == [TOKEN_FILE]


def test_a_secret_is_made_once(tmp_path: Path) -> None:
    """Each has its own, and keeps it."""
    data = DataDir(tmp_path)

    assert data.secret("a") == data.secret("a")
    assert data.secret("a") != data.secret("b")
    assert len(data.secret("a")) >= 32


def test_a_secret_may_be_given(tmp_path: Path) -> None:
    """The same on all nodes, with a line end or without."""
    (tmp_path / TOKEN_FILE).write_text("a-token-that-is-long-enough\n", "ascii")

    assert DataDir(tmp_path).secret(TOKEN_FILE) == "a-token-that-is-long-enough"


@pytest.mark.parametrize("content", [b"short\n", b"\xff\xfe not ASCII at all \n"], ids=["short", "not-ascii"])
def test_what_protects_nothing_is_no_secret(content: bytes, tmp_path: Path) -> None:
    """It is refused, not replaced: somebody has put it there. It is not shown."""
    (tmp_path / TOKEN_FILE).write_bytes(content)

    with pytest.raises(SecretError, match=r"admin.token holds no secret .* delete it") as fault:
        DataDir(tmp_path).secret(TOKEN_FILE)

    assert "short" not in str(fault.value)
    assert (tmp_path / TOKEN_FILE).read_bytes() == content


def test_an_empty_secret_is_made_anew(tmp_path: Path) -> None:
    """A node was killed while it made one."""
    (tmp_path / TOKEN_FILE).write_bytes(b"")
    (tmp_path / f"{TOKEN_FILE}.new").write_bytes(b"half of")

    assert len(DataDir(tmp_path).secret(TOKEN_FILE)) >= 32


def test_a_file_in_its_place_is_one_clear_error(tmp_path: Path) -> None:
    """With what to do."""
    (tmp_path / "file").touch()

    with pytest.raises(DataDirError, match=r"file as data directory: File exists; .* --data"):
        DataDir(tmp_path / "file").prepare()


def test_one_process_at_a_time_has_it(tmp_path: Path) -> None:
    """The next one is told what to do, and may have it as soon as the first one has let it go."""
    refused = pytest.raises(DataDirHeldError, match=r"in use by another .* --data")
    with DataDir(tmp_path).held(), refused, DataDir(tmp_path).held():
        pytest.fail("two have it")

    with DataDir(tmp_path).held():
        assert stat.S_IMODE((tmp_path / LOCK_FILE).stat().st_mode) == 0o600


def test_clients_find_the_node_until_it_stops(tmp_path: Path) -> None:
    """Stopping twice, or without its directory, is no error."""
    data = DataDir(tmp_path)
    data.announce("http://127.0.0.1:1", node="n1", hep="127.0.0.1:2")
    about = json.loads((tmp_path / NODE_FILE).read_text("utf-8"))
    assert (about["url"], about["hep"], about["pid"]) == ("http://127.0.0.1:1", "127.0.0.1:2", os.getpid())

    data.retract()
    data.retract()
    DataDir(tmp_path / "gone").retract()

    assert not (tmp_path / NODE_FILE).exists()
