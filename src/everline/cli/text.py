"""Values of a call as people read them; what came from the network never controls the terminal."""

from datetime import UTC, datetime

from everline.errors import EverlineError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


class TimeError(EverlineError):
    """A time on the command line is none."""

    exit_code = 2


def one_line(text: str) -> str:
    """The text with everything that is not printable made visible: SIP may carry escape sequences."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def at_text(at: float | None) -> str:
    """Epoch seconds as UTC date and time with milliseconds; empty while unknown."""
    if at is None:
        return ""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"


def span_text(seconds: float | None) -> str:
    """Seconds as `349 ms`, `3.20 s`, `4 m 10 s` or `2 h 5 m`; empty while unknown."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} m {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} m"


def moment(option: str, text: str, now: float) -> str:
    """
    A time on the command line as epoch seconds: `90s`, `1h`, `7d` ago, ISO 8601 (UTC without an offset) or epoch.

    Raises:
        TimeError: It is none of them.
    """
    value = text.strip()
    try:
        if value[-1:] in _UNITS:
            at = datetime.fromtimestamp(now - float(value[:-1]) * _UNITS[value[-1]], UTC)
            return f"{at.timestamp():.6f}"
        if value.replace(".", "", 1).isdecimal():
            return value
        at = datetime.fromisoformat(value)
        return f"{(at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp():.6f}"
    except (ValueError, OverflowError, OSError) as error:  # Of dates that no calendar holds, too.
        need = "need 1h, 7d, 2026-11-23T03:00:00Z or epoch seconds"
        raise TimeError(f"{option} {value!r} is no time: {need}") from error
