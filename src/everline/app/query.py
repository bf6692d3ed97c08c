"""What a caller of the API asks for: query parameters as typed filters, with every fault named."""

import base64
import ipaddress
from typing import Annotated, Final, TypeVar
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field

from everline.app.moments import LAST_US
from everline.app.problems import ProblemError
from everline.app.ranges import Text, range_us
from everline.calls.record import Outcome, State
from everline.store.filters import CallFilter, PageKey

MAX_PAGE: Final = 500
FILTERS: Final = (
    "last", "since", "until", "number", "caller", "callee", "call_id", "state", "outcome", "status", "ip", "user_agent",
)  # fmt: skip


class FilterQuery(BaseModel):
    """
    Which calls; an empty value is no filter.

    `last` is 15m, 1h, 4h, 24h or 7d; times are epoch seconds or ISO 8601, UTC without an offset.
    """

    model_config = ConfigDict(extra="forbid")

    last: Text = ""
    since: Text = ""
    until: Text = ""
    number: Text = ""
    caller: Text = ""
    callee: Text = ""
    call_id: Text = ""
    state: Text = ""
    outcome: Text = ""
    status: Text = ""
    ip: Text = ""
    user_agent: Text = ""

    def call_filter(self, now: float) -> CallFilter:
        """
        The filter that this asks for at some time, epoch seconds.

        Raises:
            ProblemError: A value is not of its kind.
        """
        since_us, until_us = range_us(self.last, self.since, self.until, now=now)
        if since_us is not None and until_us is not None and since_us > until_us:
            raise ProblemError(400, "since is after until", next_step="Exchange the two.")
        return CallFilter(
            since_us=since_us,
            until_us=until_us,
            number=self.number.strip() or None,
            caller=self.caller.strip() or None,
            callee=self.callee.strip() or None,
            call_id=self.call_id.strip() or None,
            state=_word("state", self.state, State),
            outcome=_word("outcome", self.outcome, Outcome),
            status=_status(self.status),
            ip=_ip(self.ip),
            user_agent=self.user_agent.strip() or None,
        )

    def chips(self) -> list[tuple[str, str, str]]:
        """Name and value of each filter that is set, and the query string without it."""
        chosen = self.chosen()
        return [
            (name, value, urlencode({k: v for k, v in chosen.items() if k != name})) for name, value in chosen.items()
        ]

    def chosen(self) -> dict[str, str]:
        """The filters that are set."""
        return {name: getattr(self, name).strip() for name in FILTERS if getattr(self, name).strip()}


class CallQuery(FilterQuery):
    """Which calls, and which page of them."""

    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 100
    after: Annotated[str, Field(max_length=4096)] = ""

    def page_key(self) -> PageKey | None:
        """
        Where the page begins.

        Raises:
            ProblemError: The key is none that we gave.
        """
        if not self.after:
            return None
        try:
            return decode_page_key(self.after)
        except ValueError as error:
            step = "Take `next` of the page before, or leave `after` out to begin again."
            raise ProblemError(400, "after is not a page key of ours", next_step=step) from error


def encode_page_key(key: PageKey | None) -> str | None:
    """A page key for the outside: opaque, so that nobody builds on what is in it."""
    return None if key is None else base64.urlsafe_b64encode(key.text().encode()).decode().rstrip("=")


def decode_page_key(text: str) -> PageKey:
    """
    Read what `encode_page_key` gave.

    Raises:
        ValueError: It did not give this.
    """
    padded = text + "=" * (-len(text) % 4)
    key = PageKey.parse(base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True).decode())
    if key.start_us > LAST_US or encode_page_key(key) != text:
        raise ValueError(text)
    return key


def _status(value: str) -> int | None:
    text = value.strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) == 3 and 100 <= int(text) <= 699):
        raise ProblemError(400, f"status={text[:80]!r} is no SIP status", next_step="Give a number from 100 to 699.")
    return int(text)


def _ip(value: str) -> str | None:
    text = value.strip()
    if not text:
        return None
    try:
        return str(ipaddress.ip_address(text))
    except ValueError as error:
        step = "Give an IPv4 or IPv6 address without a port."
        raise ProblemError(400, f"ip={text[:80]!r} is no address", next_step=step) from error


_Word = TypeVar("_Word", State, Outcome)


def _word(name: str, value: str, words: type[_Word]) -> _Word | None:
    text = value.strip()
    if not text:
        return None
    try:
        return words(text)
    except ValueError as error:
        step = f"Give one of {', '.join(words)}."
        raise ProblemError(400, f"{name}={text[:80]!r} is unknown", next_step=step) from error
