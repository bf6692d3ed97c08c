"""One line an event; fields; no secrets."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from everline.log import configure_logging


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def written(log_format: str, fields: dict[str, object], *, message: str = "store.behind") -> str:
    """What a warning with these fields writes."""
    stream = io.StringIO()
    configure_logging(log_format=log_format, stream=stream)
    logging.getLogger("everline.test").warning(message, extra=fields)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({"events": 12, "gap_s": 3.2}, "events=12 gap_s=3.2", id="numbers"),
        pytest.param({"why": "no such file"}, 'why="no such file"', id="spaces-are-quoted"),
        pytest.param({"why": "a\nb\x1b[31m"}, 'why="a\\nb\\u001b[31m"', id="no-second-line-no-escape-sequence"),
        pytest.param({"why": ""}, 'why=""', id="empty"),
        pytest.param({"admin_token": "abc", "key": SecretStr("abc")}, "admin_token=*** key=***", id="secrets"),
    ],
)
def test_text_is_one_line(fields: dict[str, object], expected: str) -> None:
    """Time, level, event, fields."""
    line = written("text", fields)

    assert line.endswith(f"Z warning store.behind {expected}\n")
    assert line.count("\n") == 1


def test_json_is_one_object_a_line() -> None:
    """The same for programs."""
    got = json.loads(written("json", {"events": 12, "auth": {"password": "abc"}}))

    assert got.pop("at").endswith("Z")
    assert got == {"level": "warning", "event": "store.behind", "events": 12, "auth": {"password": "***"}}


def test_an_exception_stays_on_its_line() -> None:
    """The traceback is a field."""
    stream = io.StringIO()
    configure_logging(stream=stream)
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("everline.test").exception("request.failed")

    assert stream.getvalue().count("\n") == 1
    assert "ValueError: broken" in stream.getvalue()


def test_the_level_is_kept() -> None:
    """Below the level nothing is written."""
    stream = io.StringIO()
    configure_logging(level="error", stream=stream)
    logging.getLogger("everline.test").warning("store.behind")

    assert not stream.getvalue()
