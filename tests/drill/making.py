"""A run as the tests of drills need it: sent to nobody, at made-up times."""

from itertools import islice

from everline.calls.event import EventBatch
from everline.drill.ledger import SendLedger, Sent, events_of
from everline.drill.traffic import traffic
from everline.store.embedded import EmbeddedStore

NOW_US = 1_790_000_000_000_000
GAP_US = 2_000


def sent_run(run: str, messages: int = 400, *, to: str = "n1", start_us: int = NOW_US, seed: int = 1) -> SendLedger:
    """A ledger of the first messages of a run, sent one after another to one node."""
    ledger = SendLedger(run)
    for index, message in enumerate(islice(traffic(run, seed=seed, calls_per_s=20), messages)):
        at_us = start_us + index * GAP_US
        ledger.sent.append(Sent(message.call_id, message.key(at_us), at_us, message.datagram(at_us), [to]))
    return ledger


async def keep(store: EmbeddedStore, sent: list[Sent]) -> None:
    """Store some of a run's events."""
    await store.insert(EventBatch.of(events_of(sent)))
