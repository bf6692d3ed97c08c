"""The equation that a node is held to: `received = stored + rejected + dropped + pending`, at every moment."""

import asyncio
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ingest.making import FakeSink, Ingest, datagram, datagrams, hep, sip, until

from everline.calls.decode import Datagram, Decoded, DecodeRules, decode_batch
from everline.ingest import pipeline as pipeline_module
from everline.ingest.ledger import Drop
from everline.ingest.limits import SourceLimiter

GOOD = st.builds(lambda number: hep(f"call-{number}"), st.integers(0, 20))
GARBAGE = st.one_of(
    st.binary(max_size=60),
    st.just(b"\r\n\r\n"),
    st.builds(lambda data, cut: data[:cut], GOOD, st.integers(0, 120)),
    st.just(hep("x")[:-20]),
)
OFFERS = st.lists(
    st.tuples(st.lists(st.one_of(GOOD, GARBAGE), max_size=30), st.sampled_from(["go", "refuse", "hang", "break"])),
    max_size=12,
)


def check(ingest: Ingest, *, in_hand: int) -> None:
    """The equation, with pending counted where it waits; `in_hand` are those that may be in the decoder."""
    ledger = ingest.ledger
    assert ledger.received == ledger.stored + ledger.rejected.total() + ledger.dropped.total() + ledger.pending
    assert 0 <= ledger.pending - ingest.queued <= in_hand


def took(sink: FakeSink, events: int) -> bool:
    """Whether a sink has taken so many."""
    return len(sink.call_ids) == events


@settings(max_examples=60, deadline=None)
@given(OFFERS, st.booleans())
async def test_every_message_is_accounted_for(offers: list[tuple[list[bytes], str]], is_limited: bool) -> None:  # noqa: FBT001 - drawn
    """Whatever comes, and whatever the store does: takes, refuses, hangs or breaks."""
    ingest = Ingest(capacity=40, batch=10, limiter=SourceLimiter(rate_per_s=0.001, burst=60) if is_limited else None)
    sent = 0
    async with ingest.running():
        for messages, mood in offers:
            ingest.store.may_take.clear() if mood == "hang" else ingest.store.may_take.set()
            ingest.store.refusals = 1 if mood in {"refuse", "break"} else 0
            ingest.store.fault = OverflowError("defect") if mood == "break" else ingest.store.fault
            ingest.intake.offer([datagram(one) for one in messages])
            sent += len(messages)
            for _ in range(4):
                check(ingest, in_hand=10)
                assert len(ingest.intake) <= 40
                assert ingest.pipeline.store_lane.waiting <= 40
                await asyncio.sleep(0)
        ingest.store.may_take.set()
        await ingest.settled()

    check(ingest, in_hand=0)
    assert ingest.ledger.received == sent
    assert ingest.ledger.stored == len(ingest.store.call_ids)


@pytest.mark.parametrize(("stuck", "other"), [("store", "bus"), ("bus", "store")])
@pytest.mark.parametrize("how", ["hangs", "refuses", "breaks"])
async def test_one_sink_in_trouble_does_not_stop_the_other(stuck: str, other: str, how: str) -> None:
    """Nor the intake; what the store misses is dropped, what the bus misses is only missed."""
    ingest = Ingest(capacity=20, batch=10)
    bad, good = getattr(ingest, stuck), getattr(ingest, other)
    if how == "hangs":
        bad.may_take.clear()
    else:
        bad.refusals = 1_000
        bad.fault = ValueError("defect") if how == "breaks" else bad.fault

    async with ingest.running():
        for turn in range(10):
            ingest.intake.offer(datagrams(10, f"turn{turn}"))
            await until(partial(took, good, 10 * (turn + 1)))
        lost = ingest.ledger.dropped.total() if stuck == "store" else ingest.ledger.bus_dropped
        assert lost >= 70
        bad.may_take.set()
        bad.refusals = 0

    assert len(good.call_ids) == 100
    assert ingest.ledger.stored == len(ingest.store.call_ids)
    assert ingest.ledger.pending == 0


async def test_losses_say_why() -> None:
    """A store that refuses is told from one that is only behind."""
    ingest = Ingest(capacity=10, batch=10)
    ingest.store.may_take.clear()
    async with ingest.running():
        ingest.intake.offer(datagrams(10))
        await ingest.store.entered.wait()
        ingest.intake.offer(datagrams(10))
        await until(lambda: ingest.ledger.dropped[Drop.STORE_BEHIND] == 10)
        ingest.store.refusals = 1
        ingest.store.may_take.set()
        await until(lambda: ingest.pipeline.store_lane.refusing)
        ingest.intake.offer(datagrams(10))
        await until(lambda: ingest.ledger.dropped[Drop.STORE_REFUSED] == 10)

    assert ingest.ledger.stored == 10


async def test_a_wrong_key_is_counted_as_that() -> None:
    """HEP with another key or none, and mirrored SIP, which can carry none."""
    ingest = Ingest(auth_key=b"s3cret")
    async with ingest.running():
        given = [hep("right", auth_key=b"s3cret"), hep("wrong", auth_key=b"guess"), hep("none"), sip("plain")]
        ingest.intake.offer([datagram(one) for one in given])
        await ingest.settled()

    assert ingest.ledger.rejected == {"wrong_auth_key": 3}
    assert ingest.store.call_ids == ["right"]


async def test_a_defect_of_the_decoder_costs_one_message(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever can send a packet must not be able to stop the node with it."""

    def flawed(given: list[Datagram], rules: DecodeRules) -> Decoded:
        if any(b"poison" in one.data for one in given):
            raise ZeroDivisionError
        return decode_batch(given, rules)

    monkeypatch.setattr(pipeline_module, "decode_batch", flawed)
    ingest = Ingest()
    async with ingest.running():
        ingest.intake.offer([*datagrams(3), datagram(hep("poison")), datagram(b"garbage"), *datagrams(2, "more")])
        await ingest.settled()

    assert ingest.ledger.rejected["internal_error"] == 1
    assert ingest.ledger.rejected.total() == 2
    assert ingest.store.call_ids == ["call-0", "call-1", "call-2", "more-0", "more-1"]
    assert "ingest.decode_failed" in caplog.messages


async def test_a_drain_that_takes_too_long_counts_what_is_left() -> None:
    """Cancelled with messages in every queue, the equation still holds, with nothing pending."""
    ingest = Ingest(capacity=30, batch=10)
    ingest.store.may_take.clear()
    task = asyncio.create_task(ingest.pipeline.run())
    ingest.intake.offer(datagrams(25))
    await ingest.store.entered.wait()

    task.cancel()
    await asyncio.wait([task])
    ingest.pipeline.give_up()

    assert (ingest.ledger.dropped[Drop.DRAIN_TIMEOUT], ingest.ledger.pending) == (25, 0)


async def test_given_twice_it_is_stored_twice_under_one_key() -> None:
    """A mirrored datagram is one event: the store tells that by its key."""
    ingest = Ingest()
    async with ingest.running():
        ingest.intake.offer([*datagrams(1), *datagrams(1)])
        await ingest.settled()

    [first, second] = [key for batch in ingest.store.batches for key in batch.column("event_key")]
    assert first == second
    assert ingest.ledger.stored == 2


async def test_what_is_behind_an_empty_batch_arrives() -> None:
    """A batch of nothing but garbage gives no insert, and stops nothing."""
    ingest = Ingest(batch=2)
    async with ingest.running():
        ingest.intake.offer([datagram(b"garbage")] * 2)
        await until(lambda: ingest.ledger.rejected.total() == 2)
        assert len(ingest.store.batches) == 0
        ingest.intake.offer(datagrams(1))
        await ingest.settled()

    assert len(ingest.store.batches) == 1
