"""A test that needs a program never passes unseen under CI=true."""

import pytest
from tests.conftest import require_programs

ABSENT = "no-such-program"


def test_a_missing_program_skips_on_a_laptop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason names the program and the way to get it."""
    monkeypatch.delenv("CI", raising=False)

    with pytest.raises(pytest.skip.Exception, match=rf"{ABSENT}; run scripts/install-peers.sh"):
        require_programs("sh", ABSENT)


def test_a_missing_program_fails_under_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """There, nobody reads the list of skipped tests."""
    monkeypatch.setenv("CI", "true")

    with pytest.raises(pytest.fail.Exception, match=ABSENT):
        require_programs("sh", ABSENT)


def test_programs_that_are_there_are_no_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is raised."""
    monkeypatch.setenv("CI", "true")

    require_programs("sh")
