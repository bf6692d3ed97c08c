"""Moments as people and programs write them: epoch seconds, or ISO 8601."""

import math
from datetime import UTC, datetime
from typing import Final

LAST_US: Final = 253_402_300_799_000_000
"""The end of the year 9999: what a date can hold."""


def parse_moment_us(text: str) -> int:
    """
    A moment as epoch microseconds; UTC unless it says otherwise.

    Raises:
        ValueError: It is no moment, or not one from 1970 to 9999; then it is a `MomentRangeError`.
    """
    try:
        us = round(_epoch_seconds(text.strip()) * 1_000_000)
    except OverflowError as error:
        raise ValueError(text) from error
    if not 0 <= us <= LAST_US:
        raise MomentRangeError(text)
    return us


class MomentRangeError(ValueError):
    """A moment that no date of ours can hold."""


def _epoch_seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        at = datetime.fromisoformat(text.replace(" ", "+"))  # A + in a query string arrives as a space.
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    if not math.isfinite(seconds):
        raise ValueError(text)
    return seconds
