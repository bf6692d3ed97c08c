"""One line an event on stderr: a constant event name and its fields, as text (logfmt) or as JSON."""

import json
import logging
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from pydantic import SecretBytes, SecretStr

_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}
"""What every record has; whatever else is on it came as a field with `extra`."""

_SECRET_NAME: Final = re.compile(r"auth_key|token|secret|passw|authorization|cookie", re.IGNORECASE)
_PLAIN: Final = re.compile(r"[^\s\"=\\\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def configure_logging(*, log_format: str = "text", level: str = "info", stream: TextIO | None = None) -> None:
    """
    Send the records of all loggers to one stream, stderr unless given.

    Usage elsewhere: `logging.getLogger(__name__).warning("store.behind", extra={"events": 120})`.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines() if log_format == "json" else TextLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # The web server narrates its start and stop; ours say the same with fields.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").addFilter(_is_not_told_yet)


def _is_not_told_yet(record: logging.LogRecord) -> bool:
    """An exception of our applications was told as `request.failed`, with its request; the server can't name that."""
    return not record.getMessage().startswith("Exception in ASGI application")


class TextLines(logging.Formatter):
    """`2026-11-23T03:00:00.000Z warning store.behind events=120`."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        head = f"{_time_text(record)} {record.levelname.lower()} {_bare(record.getMessage())}"
        return " ".join([head, *(f"{name}={_quoted(value)}" for name, value in fields_of(record).items())])


class JsonLines(logging.Formatter):
    """The same as one JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        head = {"at": _time_text(record), "level": record.levelname.lower(), "event": record.getMessage()}
        return json.dumps(head | fields_of(record), default=str, ensure_ascii=False)


def fields_of(record: logging.LogRecord) -> dict[str, Any]:  # whatever callers log
    """The fields of a record, secrets as `***`; an exception becomes the field `error`."""
    fields = {name: _shown(name, value) for name, value in vars(record).items() if name not in _OWN}
    if record.exc_info:
        fields["error"] = logging.Formatter().formatException(record.exc_info)
    return fields


def _shown(name: str, value: Any) -> Any:  # see fields_of
    if isinstance(value, SecretStr | SecretBytes) or _SECRET_NAME.search(name):
        return "***"
    if isinstance(value, Mapping):
        return {str(key): _shown(str(key), one) for key, one in value.items()}
    return value


def _time_text(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _bare(message: str) -> str:
    """An event name as it is; the sentence of some library in quotes if it would break the line."""
    return message if message.isprintable() else json.dumps(message, ensure_ascii=False)


def _quoted(value: object) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=True)
