"""When to send what: by capture time, by rate, never both too early."""

import pytest

from everline.replay.plan import Pace, shift_to


@pytest.mark.parametrize(
    ("pace", "captured_s", "expected"),
    [
        pytest.param(Pace(speed=1, rate_per_s=None), [5, 6, 8], [0, 1, 3], id="original-timing"),
        pytest.param(Pace(speed=10, rate_per_s=None), [5, 6, 8], [0, 0.1, 0.3], id="ten-times-as-fast"),
        pytest.param(Pace(rate_per_s=10), [5, 6, 8], [0, 0.1, 0.2], id="by-rate-alone"),
        pytest.param(Pace(speed=1, rate_per_s=2), [5, 5, 5, 9], [0, 0.5, 1, 4], id="a-burst-is-spread-by-the-rate"),
        pytest.param(Pace(speed=1, rate_per_s=None), [5, 4, 6], [0, 0, 1], id="out-of-order-is-never-before-the-start"),
        pytest.param(Pace(rate_per_s=None), [5, 6], [0, 0], id="no-limit"),
    ],
)
def test_due_s(pace: Pace, captured_s: list[int], expected: list[float]) -> None:
    """Seconds after the first message."""
    assert [pace.due_s(one * 1_000_000) for one in captured_s] == pytest.approx(expected)


def test_the_last_message_becomes_now_and_a_capture_without_times_stays() -> None:
    """One offset for all."""
    assert shift_to(100, 250) == 150
    assert shift_to(0, 250) == 0
