"""Token buckets: at most `rate * t + burst` from each source, in bounded memory."""

from hypothesis import given
from hypothesis import strategies as st

from everline.ingest.limits import MAX_SOURCES, SourceLimiter

STEPS = st.lists(st.tuples(st.floats(0, 10), st.integers(0, 200)), min_size=1, max_size=50)


@given(STEPS, st.floats(0.001, 1_000), st.integers(1, 100))
def test_never_more_than_rate_times_time_plus_burst(
    steps: list[tuple[float, int]], rate_per_s: float, burst: int
) -> None:
    """However the messages are spread, and in every window that begins with a step."""
    limiter = SourceLimiter(rate_per_s=rate_per_s, burst=burst)
    now_s, passed = 0.0, []
    for pause_s, wanted in steps:
        now_s += pause_s
        admitted = limiter.admit("source", wanted, now_s)
        assert 0 <= admitted <= wanted
        passed.append((now_s, admitted))

    for first, (begin_s, _) in enumerate(passed):
        for last in range(first, len(passed)):
            window_s = passed[last][0] - begin_s
            assert sum(count for _, count in passed[first : last + 1]) <= rate_per_s * window_s + burst + 1e-6


@given(STEPS)
def test_who_stays_below_the_rate_loses_nothing(steps: list[tuple[float, int]]) -> None:
    """A message a second of an allowance of one a second."""
    limiter = SourceLimiter(rate_per_s=1, burst=1)

    assert all(limiter.admit("source", 1, float(second)) == 1 for second, _ in enumerate(steps))


def test_sources_do_not_share() -> None:
    """One that has used up its allowance leaves the others theirs."""
    limiter = SourceLimiter(rate_per_s=1, burst=5)

    assert limiter.admit("a", 9, 0.0) == 5
    assert limiter.admit("b", 9, 0.0) == 5


def test_the_table_is_bounded() -> None:
    """The address longest unheard of is forgotten first; those still heard stay limited."""
    limiter = SourceLimiter(rate_per_s=0.001, burst=1)
    limiter.admit("noisy", 1, 0.0)
    limiter.admit("gone", 1, 0.0)
    for index in range(MAX_SOURCES):
        limiter.admit(f"flood-{index}", 1, 1.0)
        assert limiter.admit("noisy", 1, 1.0) == 0

    assert len(limiter._buckets) == MAX_SOURCES
    assert limiter.admit("gone", 1, 1.0) == 1
