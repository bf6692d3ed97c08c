"""The RTCP that the demo makes up: real in shape, coherent with its calls, and the same every time."""

from everline.calls.agreed import described_by
from everline.calls.decode import Datagram, DecodeRules, decode_batch
from everline.calls.event import RTCP, Event
from everline.calls.quality_totals import qualities_of, totals_of
from everline.demo.media import made_up_reports
from everline.demo.play import SAMPLE, sample_with_media
from everline.replay.source import open_capture

SIGNALLING = [one.payload for one in open_capture(SAMPLE).messages()]


def demo_events() -> list[Event]:
    """All that the demo sends, as a node decodes it."""
    rules = DecodeRules("n1", max_age_us=2**63)
    decoded = decode_batch((Datagram(one.payload, 2**62, "", 0) for one in sample_with_media().messages()), rules)
    assert not decoded.rejected
    return list(decoded.batch.events())


def test_it_is_the_same_at_every_start() -> None:
    """So that pictures and figures stay true."""
    assert list(made_up_reports(SIGNALLING)) == list(made_up_reports(SIGNALLING))


def test_only_answered_calls_have_media() -> None:
    """Each of them, in both directions, with every figure there can be; none loses more than it sent."""
    events = demo_events()
    answered = {one.call_id for one in events if one.status == 200 and one.method == "INVITE"}
    described = {call_id: described_by(one for one in events if one.call_id == call_id) for call_id in answered}

    qualities = qualities_of(events, described)

    assert set(qualities) == answered
    for quality in qualities.values():
        assert len(quality.streams) == 2
        for stream in quality.streams:
            assert stream.packets_sent
            assert stream.mos
            assert stream.jitter_ms
            assert 4 <= (stream.round_trip_ms or 0) <= 120
            assert stream.agents == ("relay-1",)


def test_there_is_something_to_see() -> None:
    """Most calls are well, some are not."""
    totals = totals_of(qualities_of(demo_events(), {}))

    assert 0 < totals.bad < totals.heard < totals.measured / 2


def test_reports_lie_within_their_calls() -> None:
    """None before its call was answered, none long after it ended."""
    events = demo_events()
    for report in (one for one in events if one.protocol == RTCP):
        signalling = [one.captured_us for one in events if one.call_id == report.call_id and one.protocol != RTCP]
        assert min(signalling) < report.captured_us < max(signalling) + 100_000
