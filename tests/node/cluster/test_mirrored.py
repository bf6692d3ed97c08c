"""Two ingest nodes that are sent the same packets are one to everybody who looks."""

from concurrent.futures import ThreadPoolExecutor

from tests.node.cluster.traffic import WHOLE, Calls, told
from tests.rigs.cluster import ClusterRig, until

from everline.app.call_json import call_json
from everline.calls.decode import Datagram, DecodeRules, decode_batch
from everline.calls.facts import facts_of
from everline.calls.record import record_of

STEPS = ("call_create", "caller_ringing", "call_answer", "call_hangup")


def test_each_step_is_told_once_and_records_are_equal(rig: ClusterRig) -> None:
    """Both nodes take all packets at the same time; the records are those of Python's own merge."""
    calls, first = Calls(30), rig.last_event()
    with ThreadPoolExecutor() as agents:
        list(agents.map(lambda node: calls.send(rig, node), ("h1-ingest", "h2-ingest")))

    expected = {(call_id, step): 1 for call_id in calls.ids for step in STEPS}
    until(lambda: told(rig, calls, after=first).keys() >= expected.keys(), "every step is told")
    for node in ("h1-ingest", "h2-ingest"):
        until(lambda node=node: is_idle(rig, node), f"{node} has handed on all")  # type: ignore[misc]
    assert told(rig, calls, after=first) == expected
    assert calls.until_known(rig, "h1-app") == calls.until_known(rig, "h2-app") == merged(calls)


def is_idle(rig: ClusterRig, node: str) -> bool:
    """Whether no event waits in an ingest node, neither for the store nor for the bus."""
    queues = ("intake", "store", "bus")
    return not any(rig.metric(node, f'everline_queue_events{{queue="{queue}"}}') for queue in queues)


def merged(calls: Calls) -> dict[str, dict[str, object]]:
    """The calls as Python merges their events."""
    datagrams = [Datagram(data, calls.at_us, "127.0.0.1", 9060) for data in calls.messages]
    events = list(decode_batch(datagrams, DecodeRules("here")).batch.events())
    assert len(events) == WHOLE * len(calls.ids)
    return {
        call_id: dict(call_json(record_of(call_id, facts_of(one for one in events if one.call_id == call_id))))
        for call_id in calls.ids
    }
