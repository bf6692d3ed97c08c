"""What a node says of itself, and what others make of it."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everline.cluster.beat import MAX_BYTES, Activity, BeatError, Health, Heartbeat, StoreHealth, parse_beat

BEAT = Heartbeat(
    "e1-ingest", "ingest", "north", "r1", "e1", "b0071", 7, 1_700_000_000_000_000, Activity.UP, "0.1.0",
    Health(StoreHealth.SPOOLING, spool_bytes=4096, spool_age_s=1.5, leader_token=4294967302, received=100, stored=90,
           shares={"n1": 0.25, "n2": 0.75}),
)  # fmt: skip


def changed(**fields: Any) -> bytes:  # JSON
    """The beat with other fields."""
    return json.dumps(json.loads(BEAT.encode()) | fields).encode()


def test_a_beat_is_read_as_it_was_said() -> None:
    """Nothing is lost on the way."""
    assert parse_beat(BEAT.encode()) == BEAT
    assert len(BEAT.encode()) < MAX_BYTES


def test_an_earlier_version_says_less() -> None:
    """It had no balancers."""
    health = json.loads(BEAT.encode())["health"]
    del health["shares"]

    assert parse_beat(changed(health=health)) == replace(BEAT, health=replace(BEAT.health, shares={}))


def test_a_later_version_may_say_more() -> None:
    """Nodes are upgraded one after the other."""
    assert parse_beat(changed(mood="good")) == BEAT


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"", "no_json", id="nothing"),
        pytest.param(b"\xff\x00", "no_json", id="no-text"),
        pytest.param(b"[" * 2_000, "no_json", id="deeply-nested"),
        pytest.param(b"[]", "bad_field", id="a-list"),
        pytest.param(b"x" * (MAX_BYTES + 1), "too_large", id="too-large"),
        pytest.param(changed(node=""), "bad_field", id="no-name"),
        pytest.param(changed(node="a\nb"), "bad_field", id="a-name-that-would-break-a-log"),
        pytest.param(changed(node="n" * 129), "bad_field", id="a-name-without-end"),
        pytest.param(changed(sequence=True), "bad_field", id="a-flag-for-a-number"),
        pytest.param(changed(sequence=-1), "bad_field", id="a-negative-number"),
        pytest.param(changed(sent_us=1 << 63), "bad_field", id="a-huge-number"),
        pytest.param(changed(activity="dancing"), "bad_field", id="an-unknown-activity"),
        pytest.param(changed(health=None), "bad_field", id="no-health"),
        pytest.param(changed(health={"store": "ok"}), "bad_field", id="half-of-the-health"),
        pytest.param(changed(health=json.loads(BEAT.encode())["health"] | {"spool_age_s": float("nan")}),
                     "bad_field", id="not-a-number"),
        pytest.param(changed(health=json.loads(BEAT.encode())["health"] | {"shares": ["n1"]}), "bad_field",
                     id="shares-of-nobody"),
        pytest.param(changed(health=json.loads(BEAT.encode())["health"] | {"shares": {"n1": "all"}}), "bad_field",
                     id="a-share-that-is-no-number"),
    ],
)  # fmt: skip
def test_what_is_no_beat_is_refused_with_a_reason(data: bytes, reason: str) -> None:
    """The reason labels a counter."""
    with pytest.raises(BeatError) as refused:
        parse_beat(data)

    assert refused.value.reason == reason


@given(st.binary(max_size=200) | st.integers(0, len(BEAT.encode())).map(lambda cut: BEAT.encode()[:cut]))
def test_anything_gives_a_beat_or_a_refusal(data: bytes) -> None:
    """Whoever can reach Redis can publish."""
    try:
        assert isinstance(parse_beat(data), Heartbeat)
    except BeatError:
        pass


def test_the_longest_names_fit() -> None:
    """A node with every field at its bound can still be heard."""
    long = dict.fromkeys(("node", "role", "region", "rack", "host", "boot", "version"), "é" * 20)
    beat = replace(BEAT, **long, sequence=1 << 62)  # type: ignore[arg-type]  # all of them are texts

    assert parse_beat(beat.encode()) == beat
