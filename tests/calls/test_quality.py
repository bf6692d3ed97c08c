"""The media of a call by its RTCP: figures by hand, the law of merging, and reports that lie."""

import json
import math
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.calls.reports import FAR, NEAR, NTP_S, block, captured, receiver_report, returned, sender_report

from everline.calls.agreed import Described
from everline.calls.event import Event
from everline.calls.quality import MAX_REPORTS, MAX_STREAMS, CallQuality, Spread, StreamQuality, quality_of

PCMU = [Described(200, "PCMU/8000,telephone-event/8000")]
SECOND_US = 1_000_000


def streams_of(events: Sequence[Event], described: Sequence[Described] = PCMU) -> dict[int, StreamQuality]:
    """The streams of a call by SSRC."""
    quality = quality_of(events, described)
    assert quality is not None
    return {one.id.ssrc: one for one in quality.streams}


def asterisk(ssrc: int, *, unix_s: int, unix_us: int) -> bytes:
    """An SR in the JSON of Asterisk: Unix time as text where others have NTP."""
    sender = {"ntp_timestamp_sec": str(unix_s), "ntp_timestamp_usec": str(unix_us), "rtp_timestamp": 1, "packets": 50}
    return json.dumps({"ssrc": ssrc, "type": 200, "report_blocks": [], "sender_information": sender}).encode()


def test_a_call_without_rtcp_has_no_quality() -> None:
    """Not zero, not perfect: unknown."""
    assert quality_of([], PCMU) is None
    assert quality_of([captured(b"INVITE", protocol=1)], PCMU) is None


def test_both_directions_of_a_call() -> None:
    """A block speaks of the stream that comes the other way; sent, lost, share, jitter and score by hand."""
    events = [
        captured(sender_report(1, block(2, fraction=26, lost=40, jitter=160), packets=1000), 5 * SECOND_US),
        captured(sender_report(1, block(2, fraction=0, lost=50, jitter=80), packets=2000), 10 * SECOND_US),
        returned(sender_report(2, block(1, jitter=8), packets=1000), 10 * SECOND_US),
    ]

    near, far = streams_of(events)[1], streams_of(events)[2]

    assert near.id == (1, *NEAR, *FAR)
    assert far.id == (2, *FAR, *NEAR)
    assert (near.packets_sent, near.packets_lost, near.loss_ratio, near.reports) == (2000, 0, 0.0, 1)
    assert (far.packets_sent, far.packets_lost, far.loss_ratio, far.reports) == (1000, 50, 0.05, 2)
    assert far.worst_lost_ratio == 26 / 256
    assert far.jitter_ts == Spread(80, 120, 160)
    assert far.jitter_ms == Spread(10, 15, 20)
    assert (far.codec, far.clock_hz) == ("PCMU/8000", 8000)
    assert (near.mos, far.mos) == (4.39, 3.86)


@pytest.mark.parametrize(
    ("reports", "sent", "expected"),
    [
        pytest.param([(10, 1000)], 1000, 0.01, id="of-what-the-sender-says"),
        pytest.param([(10, 1000), (30, 3000)], 1000, 0.015, id="of-what-sequence-numbers-say-if-that-is-more"),
        pytest.param([(100, 5000), (110, 6000)], None, 0.01, id="since-the-first-report-without-the-sender"),
        pytest.param([(100, 2**32 - 500), (150, 500)], None, 0.05, id="sequence-numbers-wrap"),
        pytest.param([(100, 9000), (150, 100)], None, 0.25, id="a-source-that-began-anew-has-its-shares"),
        pytest.param([(7, 1000)], None, 0.25, id="one-report-has-its-share"),
        pytest.param([(-5, 1000)], 1000, 0.0, id="duplicates-are-no-loss"),
        pytest.param([(900, 1000)], 100, 1.0, id="never-more-than-all"),
        pytest.param([(10, 1000)], 0, 0.25, id="a-sender-that-sent-nothing"),
    ],
)
def test_loss(reports: list[tuple[int, int]], sent: int | None, expected: float) -> None:
    """Lost over expected; every report also says that 25 % were lost since the one before."""
    events = [
        captured(receiver_report(1, block(2, fraction=64, lost=lost, seq=seq)), index * SECOND_US)
        for index, (lost, seq) in enumerate(reports)
    ]
    if sent is not None:
        events.append(returned(sender_report(2, packets=sent)))

    assert streams_of(events)[2].loss_ratio == pytest.approx(expected)


def test_jitter_without_a_clock_rate_stays_in_timestamp_units() -> None:
    """Nothing is guessed: no milliseconds, no codec, no score."""
    stream = streams_of([captured(receiver_report(1, block(2)))], [])[2]

    assert (stream.jitter_ts, stream.jitter_ms, stream.codec, stream.mos) == (Spread(80, 80, 80), None, None, None)


def test_the_round_trip_needs_no_clock_but_the_agent_s() -> None:
    """The way to each end and back, less what the end kept the report; together they are the whole way."""
    middle = (NTP_S & 0xFFFF) << 16
    there, back = block(1, last_sr=middle, delay=65_536 * 2), block(2, last_sr=middle + 65_536, delay=65_536)
    events = [
        captured(sender_report(1), 0),
        returned(receiver_report(2, there), 2_030_000),
        returned(sender_report(2, ntp_s=NTP_S + 1), 3_000_000),
        captured(receiver_report(1, back), 4_012_000),
    ]

    both, one = streams_of(events), streams_of(events[:2])

    assert [both[ssrc].round_trip_ms for ssrc in (1, 2)] == [pytest.approx(42), pytest.approx(42)]
    assert one[1].round_trip_ms == pytest.approx(30)
    assert streams_of(events[:1])[1].round_trip_ms is None


@pytest.mark.parametrize(
    ("delay", "answered_us", "expected"),
    [
        pytest.param(65_536, 1_020_000, 20.0, id="plain"),
        pytest.param(65_536, 999_000, 0.0, id="a-little-below-zero-is-zero"),
        pytest.param(65_536, 500_000, None, id="answered-before-it-was-asked"),
        pytest.param(0, 60_000_000, None, id="a-minute-is-no-round-trip"),
        pytest.param(2**32 - 1, 1_020_000, None, id="kept-for-18-hours"),
    ],
)
def test_a_round_trip_is_measured_or_left_out(delay: int, answered_us: int, expected: float | None) -> None:
    """Nonsense is no figure."""
    answer = block(1, last_sr=(NTP_S & 0xFFFF) << 16, delay=delay)
    events = [captured(sender_report(1)), returned(receiver_report(2, answer), answered_us)]

    assert streams_of(events)[1].round_trip_ms == (None if expected is None else pytest.approx(expected))


def test_clocks_of_two_agents_are_never_mixed() -> None:
    """One agent saw the question, another the answer: nothing is known."""
    answer = block(1, last_sr=(NTP_S & 0xFFFF) << 16, delay=0)
    events = [
        captured(sender_report(1), agent="here"),
        returned(receiver_report(2, answer), 20_000, agent="there"),
    ]

    assert streams_of(events)[1].round_trip_ms is None
    assert streams_of(events)[1].agents == ("here", "there")


def test_asterisk_says_unix_time_where_others_say_ntp() -> None:
    """An LSR of its sender report is found all the same, rounding included."""
    unix_s, unix_us = 1_790_000_000, 123_457
    fraction = (unix_us << 32) // 1_000_000
    last_sr = (((unix_s + 2_208_988_800) & 0xFFFF) << 16 | fraction >> 16) + 1
    events = [
        captured(asterisk(1, unix_s=unix_s, unix_us=unix_us)),
        returned(receiver_report(2, block(1, last_sr=last_sr, delay=0)), 15_000),
    ]

    assert streams_of(events)[1].round_trip_ms == pytest.approx(15)


def test_what_two_agents_saw_is_one_report() -> None:
    """The same packet at two taps, a moment apart, is counted once."""
    packet = sender_report(1, block(2, lost=5))
    events = [captured(packet, 0, agent="a"), captured(packet, 700, agent="b"), captured(packet, 900, agent="a")]

    stream = streams_of(events)[2]

    assert (stream.reports, stream.agents, len(stream.points)) == (1, ("a", "b"), 1)
    assert stream.points[0].at_us == 0


def test_a_block_of_zeros_is_no_report() -> None:
    """What heplify sends for a packet without blocks makes no stream."""
    zeros = dict.fromkeys(
        ("source_ssrc", "fraction_lost", "packets_lost", "highest_seq_no", "ia_jitter", "lsr", "dlsr"), 0
    )
    sender = {"ntp_timestamp_sec": NTP_S, "ntp_timestamp_usec": 0, "rtp_timestamp": 1, "packets": 2, "octets": 320}
    payload = {"ssrc": 7, "type": 202, "sender_information": sender, "report_count": 1, "report_blocks": [zeros]}

    streams = streams_of([captured(json.dumps(payload).encode())])

    assert {ssrc: (one.reports, one.packets_sent) for ssrc, one in streams.items()} == {7: (0, 2)}


def test_packets_that_are_no_rtcp_are_counted() -> None:
    """The rest is read."""
    quality = quality_of([captured(b"\x00"), captured(b"{", 1), captured(receiver_report(1, block(2)), 2)], PCMU)

    assert quality is not None
    assert (quality.unreadable, len(quality.streams)) == (2, 1)


def test_streams_and_packets_of_a_call_are_bounded() -> None:
    """A flood under one Call-ID gives the streams with most reports, and says how many are left out."""
    flood = [captured(receiver_report(1, *(block(32 * n + k) for k in range(31))), n) for n in range(10)]
    busy = [captured(receiver_report(1, block(7_000_000, seq=n)), n) for n in range(5)]

    quality = quality_of(flood + busy, PCMU)

    assert quality is not None
    assert (len(quality.streams), quality.left_out) == (MAX_STREAMS, 311 - MAX_STREAMS)
    assert 7_000_000 in {one.id.ssrc for one in quality.streams}


def test_of_too_many_packets_the_newest_are_read() -> None:
    """Whatever order they come in."""
    events = [captured(receiver_report(1, block(2, seq=n)), n) for n in range(MAX_REPORTS + 10)]

    [stream] = streams_of(events[::-1]).values()

    assert (stream.reports, stream.points[0].at_us) == (MAX_REPORTS, 10)


_WORDS = st.sampled_from([0, 1, 2, 255, 2**16, 2**23, 2**24 - 1, 2**31, 2**32 - 1]) | st.integers(0, 2**32 - 1)
_BLOCKS = st.builds(
    lambda ssrc, fraction, lost, seq, jitter, last_sr, delay: block(
        ssrc, fraction=fraction, lost=lost, seq=seq, jitter=jitter, last_sr=last_sr, delay=delay
    ),
    st.integers(0, 2), st.integers(0, 255), st.integers(-(2**23), 2**23 - 1), _WORDS, _WORDS,
    st.sampled_from([0, (NTP_S & 0xFFFF) << 16, 2**32 - 1]), _WORDS,
)  # fmt: skip
_PACKETS = st.one_of(
    st.builds(
        lambda ssrc, blocks, packets, ntp_s: sender_report(ssrc, *blocks, packets=packets, ntp_s=ntp_s),
        st.integers(0, 2), st.lists(_BLOCKS, max_size=3), _WORDS, st.sampled_from([0, NTP_S, 2**32 - 1]),
    ),
    st.builds(lambda ssrc, blocks: receiver_report(ssrc, *blocks), st.integers(0, 2), st.lists(_BLOCKS, max_size=3)),
)  # fmt: skip
_EVENTS = st.builds(
    lambda payload, at_us, ends, agent: captured(payload, at_us, source=ends[0], target=ends[1], agent=agent),
    _PACKETS, st.sampled_from([0, 1, 20_000, 10**6, 10**15]), st.permutations([NEAR, FAR]), st.sampled_from(["a", "b"]),
)  # fmt: skip


@given(st.lists(_EVENTS, max_size=8), st.randoms(use_true_random=False))
@settings(max_examples=200)
def test_any_order_and_any_repetition_gives_the_same(events: list[Event], chance: Random) -> None:
    """The law of call data: a mirrored packet, a retry, another order change nothing."""
    again = [*events, *events[::2]]
    chance.shuffle(again)

    assert quality_of(again, PCMU) == quality_of(events, PCMU)


_NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=9), st.none(), st.booleans(),
    st.sampled_from(["-1", "1e400", "NaN", "0x10", str(2**32), "9" * 400]),
)  # fmt: skip
_JSON_BLOCKS = st.dictionaries(
    st.sampled_from(["source_ssrc", "fraction_lost", "packets_lost", "highest_seq_no", "ia_jitter", "lsr", "dlsr"]),
    _NUMBERS,
)
_JSON = st.fixed_dictionaries(
    {},
    optional={
        "ssrc": _NUMBERS, "type": _NUMBERS | st.sampled_from([200, 201, 202]), "report_count": _NUMBERS,
        "report_blocks": st.lists(_JSON_BLOCKS | _NUMBERS, max_size=4) | _JSON_BLOCKS,
        "sender_information": st.dictionaries(
            st.sampled_from(["ntp_timestamp_sec", "ntp_timestamp_usec", "rtp_timestamp", "packets", "octets"]), _NUMBERS
        ),
    },
).map(lambda one: json.dumps(one).encode())  # fmt: skip


@given(st.lists(_JSON | _PACKETS | st.binary(max_size=60), min_size=1, max_size=6))
@settings(max_examples=300)
def test_reports_that_lie_neither_raise_nor_make_nonsense(payloads: list[bytes]) -> None:
    """Whatever is in them: shares from 0 to 1, jitter of seconds at most, a score from 1 to 4.5, nothing infinite."""
    quality = quality_of([captured(one, index) for index, one in enumerate(payloads)], PCMU)

    assert quality is not None
    for stream in quality.streams:
        assert_sane(stream)
    assert_ratio(quality.loss_ratio)


def assert_sane(stream: StreamQuality) -> None:
    """No figure of it is impossible."""
    assert_ratio(stream.loss_ratio)
    assert_ratio(stream.worst_lost_ratio)
    assert stream.packets_lost is None or stream.packets_lost >= 0
    assert stream.packets_sent is None or 0 <= stream.packets_sent < 2**32
    assert stream.mos is None or 1 <= stream.mos <= 4.5
    assert stream.round_trip_ms is None or 0 <= stream.round_trip_ms <= 20_000
    if stream.jitter_ms is not None:
        assert all(math.isfinite(one) and 0 <= one <= 10_000 for one in stream.jitter_ms)


def assert_ratio(value: float | None) -> None:
    """A share is a share."""
    assert value is None or 0 <= value <= 1


def test_the_worst_stream_speaks_for_the_call() -> None:
    """The call's figures are its worst ones; None where no stream has any."""
    events = [
        captured(sender_report(1, block(2, lost=100, jitter=160), packets=1000)),
        returned(sender_report(2, block(1, lost=10, jitter=80), packets=1000)),
    ]
    quality = quality_of(events, PCMU)

    assert quality is not None
    assert (quality.loss_ratio, quality.jitter_ms, quality.round_trip_ms) == (0.1, 20.0, None)
    assert quality.mos == min(one.mos for one in quality.streams if one.mos)
    assert (CallQuality().loss_ratio, CallQuality().mos) == (None, None)
