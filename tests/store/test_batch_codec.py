"""A batch as bytes: it comes back as it was, and bytes that are none give an error and nothing else."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.store.making import any_event, event

from everline.calls.event import Event, EventBatch
from everline.store.batch_codec import BatchDecodeError, BatchEncodeError, decode_batch_bytes, encode_batch
from everline.store.rows import EVENT_SCHEMA

_ANY_TEXT = st.text(st.characters(codec=None), max_size=8)
"""Lone surrogates too."""


def _odd(events: st.SearchStrategy[Event]) -> st.SearchStrategy[Event]:
    return st.builds(
        lambda one, call_id, agent, payload: one._replace(call_id=call_id, user_agent=agent, payload=payload),
        events, _ANY_TEXT, _ANY_TEXT, st.binary(max_size=40),
    )  # fmt: skip


@given(st.lists(_odd(any_event("c", 0)), max_size=5))
@settings(max_examples=200, deadline=None)
def test_a_batch_comes_back_as_it_was(events: list[Event]) -> None:
    """Payloads that are no UTF-8, texts that are no Unicode, numbers up to their ends, no rows at all."""
    batch = EventBatch.of(events)
    found = decode_batch_bytes(encode_batch(batch))

    assert [tuple(column) for column in found.columns] == [tuple(column) for column in batch.columns]
    assert list(found.events()) == events


GOOD = encode_batch(EventBatch.of([event("a", 1), event("b", 2, payload=b"\xff\x00" * 50)]))


@given(
    st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=6),
    st.integers(0, len(GOOD)),
)
@settings(max_examples=500, deadline=None)
def test_hostile_bytes_give_an_error_or_a_batch(changes: list[tuple[int, int]], size: int) -> None:
    """Nothing else gets out, whatever was changed and wherever it was cut."""
    data = bytearray(GOOD)
    for place, value in changes:
        data[place] = value
    for hostile in (bytes(data), GOOD[:size], bytes(data)[:size]):
        try:
            found = decode_batch_bytes(hostile)
        except BatchDecodeError:
            continue
        assert len({len(column) for column in found.columns}) == 1


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"EvBatch2" + GOOD[8:], id="a-later-version"),
        pytest.param(GOOD[:8], id="no-more-than-the-version"),
        pytest.param(GOOD[:-40], id="cut"),
    ],
)
def test_what_is_no_batch_is_told(data: bytes) -> None:
    """With what to make of it."""
    with pytest.raises(BatchDecodeError, match="another version"):
        decode_batch_bytes(data)


def test_other_columns_are_no_batch() -> None:
    """Arrow, but not ours; or ours without values."""

    def written(table: pa.Table) -> bytes:
        sink = pa.BufferOutputStream()
        sink.write(b"EvBatch1")
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        data: bytes = sink.getvalue().to_pybytes()
        return data

    with pytest.raises(BatchDecodeError, match="columns"):
        decode_batch_bytes(written(pa.table({"call_id": ["a"]})))
    with pytest.raises(BatchDecodeError, match="no value"):
        decode_batch_bytes(written(pa.Table.from_pylist([{"call_id": "a"}], schema=EVENT_SCHEMA)))


@pytest.mark.parametrize(
    "field",
    [
        pytest.param({"status": 70_000}, id="too-large"),
        pytest.param({"status": -1}, id="negative"),
        pytest.param({"cause": "x"}, id="a-text-for-a-number"),
        pytest.param({"payload": None}, id="nothing"),
    ],
)
def test_what_the_columns_have_no_room_for_is_refused(field: dict[str, Any]) -> None:
    """It could not be delivered later either."""
    with pytest.raises(BatchEncodeError):
        encode_batch(EventBatch.of([event("a", 1), event("b", 1)._replace(**field)]))


def test_sip_takes_a_fraction_of_its_room() -> None:
    """So the spool of a node lasts for longer."""
    invite = b"INVITE sip:bob@b.example SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK%d\r\n" * 8
    batch = EventBatch.of([event(f"call-{n}", n, payload=invite % ((n,) * 8)) for n in range(1_000)])

    assert len(encode_batch(batch)) < sum(map(len, batch.column("payload"))) / 5
