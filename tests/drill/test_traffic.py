"""The traffic of a drill: real calls of every kind, the same for the same seed."""

from collections import Counter, defaultdict
from itertools import islice

import pytest
from tests.drill.making import NOW_US, sent_run

from everline.calls.decode import Datagram, DecodeRules, decode_batch
from everline.calls.event import Event
from everline.calls.facts import facts_of
from everline.calls.record import Outcome, record_of
from everline.drill.flows import FLOWS, mean_messages
from everline.drill.ledger import LedgerError, events_of
from everline.drill.traffic import CAPTURE_AGENT, traffic


def test_every_message_decodes_to_the_key_that_was_written_down() -> None:
    """By the decoder that ingest nodes use; nothing is rejected, no time is clamped."""
    sent = sent_run("whole", 3000).sent
    decoded = decode_batch([Datagram(one.datagram, one.sent_us, "", 0) for one in sent], DecodeRules("n1"))
    events = list(decoded.batch.events())

    assert not decoded.rejected
    assert not decoded.clamped
    assert [(one.call_id, one.event_key, one.captured_us) for one in events] == [
        (one.call_id, one.event_key, one.sent_us) for one in sent
    ]
    assert len({one.event_key for one in events}) == len(events)
    assert {one.agent for one in events} == {CAPTURE_AGENT.decode()}


def test_the_same_seed_gives_the_same_messages() -> None:
    """Another seed gives others."""
    first, again, other = (list(islice(traffic("r", seed=seed, calls_per_s=50), 500)) for seed in (7, 7, 8))

    assert first == again
    assert first != other


def test_runs_have_no_call_in_common() -> None:
    """So that each is looked for, and found, on its own."""
    one, other = ({message.call_id for message in islice(traffic(run, seed=1, calls_per_s=50), 500)} for run in "ab")

    assert one & other == set()


def whole_calls() -> dict[str, list[Event]]:
    """Calls that are over: those begun in the first third of a long run."""
    by_call: defaultdict[str, list[Event]] = defaultdict(list)
    for event in events_of(sent_run("ended", 9000).sent):
        by_call[event.call_id].append(event)
    return dict(list(by_call.items())[: len(by_call) // 3])


def test_calls_end_in_every_way() -> None:
    """Answered, cancelled, busy, rejected and not answered, as often as the table says."""
    outcomes = Counter(record_of(call_id, facts_of(events)).outcome for call_id, events in whole_calls().items())

    assert set(outcomes) == {
        Outcome.ANSWERED, Outcome.CANCELLED, Outcome.BUSY, Outcome.REJECTED, Outcome.NO_ANSWER,
    }  # fmt: skip
    assert outcomes[Outcome.ANSWERED] / outcomes.total() == pytest.approx(0.65, abs=0.08)


def test_there_are_second_hops_retransmissions_challenges_and_reinvites() -> None:
    """All of what makes merging hard."""
    calls = whole_calls().values()
    payloads = Counter(event.payload for events in calls for event in events)

    assert 0.01 < sum(times > 1 for times in payloads.values()) / len(payloads) < 0.06
    assert any(event.status == 407 for events in calls for event in events)
    assert any(event.method == "INVITE" and event.to_tag and not event.status for events in calls for event in events)
    assert any(len({(event.src_ip, event.dst_ip) for event in events}) == 4 for events in calls)


def test_sizes_are_those_of_real_signalling() -> None:
    """A datagram stays below what one Ethernet frame carries."""
    sizes = [len(one.datagram) for one in sent_run("sizes", 1000).sent]

    assert min(sizes) > 400
    assert max(sizes) < 1472
    assert 600 < sum(sizes) / len(sizes) < 900


def test_calls_have_as_many_messages_as_the_mean_says() -> None:
    """So that a rate of messages is one of calls, and calls stay open as long as their flows say."""
    calls = whole_calls().values()

    assert sum(map(len, calls)) / len(calls) == pytest.approx(mean_messages(), rel=0.08)
    assert sum(flow.weight for flow in FLOWS) == 100


def test_a_ledger_that_no_decoder_agrees_with_is_refused() -> None:
    """Then the generator is wrong, and no verdict would mean anything."""
    ledger = sent_run("broken", 3, start_us=NOW_US)
    ledger.sent[1].event_key += 1

    with pytest.raises(LedgerError, match="keys"):
        events_of(ledger.sent)
