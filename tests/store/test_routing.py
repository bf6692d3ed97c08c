"""Which shard a call belongs to, and whom to ask."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.rigs.clickhouse import CLICKHOUSE, ClickHouseRig
from tests.store.making import event

from everline.calls.event import EventBatch
from everline.store.literals import text
from everline.store.routing import Target, candidates, shard_of, split, targets_of
from everline.topology.model import Role
from everline.topology.parse import parse_topology

EXAMPLE = Path(__file__).parents[2] / "examples" / "two-regions-and-witness.yaml"
HOSTILE = [
    "",
    "a",
    "\x00",
    "é",
    "'\\\"",
    "x" * 7,
    "\U0001f600" * 20,
    "%s",
    "tab\tline\n",
    *("n" * n for n in range(200)),
]


@pytest.mark.peers(*CLICKHOUSE)
def test_shards_are_those_of_a_distributed_table(rig: ClickHouseRig) -> None:
    """CityHash of all lengths and of odd texts, as the server computes it."""
    array = ", ".join(map(text, HOSTILE))
    rows = rig.servers[0].ask(f"SELECT cityHash64(arrayJoin([{array}])) % 2, cityHash64(arrayJoin([{array}])) % 5")
    two, five = (list(column) for column in zip(*rows, strict=True))

    assert [shard_of(one, [0, 1]) for one in HOSTILE] == two
    assert [shard_of(one, [0, 1, 2, 3, 4]) for one in HOSTILE] == five


@given(st.lists(st.sampled_from(HOSTILE[:40]), max_size=30), st.sampled_from([[1], [1, 2], [3, 5, 9]]))
@settings(max_examples=100, deadline=None)
def test_a_split_loses_nothing_and_puts_each_call_in_one_shard(call_ids: list[str], shards: list[int]) -> None:
    """In the order in which it came."""
    batch = EventBatch.of([event(call_id, number) for number, call_id in enumerate(call_ids)])
    parts = split(batch, shards)

    assert sorted(one.captured_us for part in parts.values() for one in part.events()) == list(range(len(call_ids)))
    for shard, part in parts.items():
        times = [one.captured_us for one in part.events()]
        assert times == sorted(times)
        assert {shard_of(one.call_id, shards) for one in part.events()} == {shard}


def test_a_text_that_is_no_unicode_has_a_shard_too() -> None:
    """Whatever happens to it later."""
    assert shard_of("\ud800", [1, 2]) in {1, 2}


def test_the_own_replicas_come_first_and_the_nearest_of_them_before() -> None:
    """Then those of the other shards, the nearest first, and the load of a lost shard is spread over them."""
    targets = [
        Target(f"s{shard}r{replica}", shard, replica, distance=replica if shard != 2 else 4 - replica)
        for shard in (1, 2, 3)
        for replica in (1, 2)
    ]

    assert [one.name for one in candidates(targets, 1)] == ["s1r1", "s1r2", "s3r1", "s2r2", "s3r2", "s2r1"]
    assert [one.name for one in candidates(targets, 2)] == ["s2r2", "s2r1", "s3r1", "s1r1", "s3r2", "s1r2"]


def test_distance_is_that_of_the_topology() -> None:
    """From an ingest node of the example, by host, rack and region."""
    topology = parse_topology(EXAMPLE.read_text(), source=str(EXAMPLE))
    home = topology.nodes_of(Role.INGEST)[0]
    targets = targets_of(topology, home)

    assert {one.name for one in targets} == {node.name for node in topology.nodes_of(Role.CLICKHOUSE)}
    for one in targets:
        node = topology.node(one.name)
        assert node in topology.shards[one.shard]
        assert (one.distance == 3) == (node.region != home.region)
    assert candidates(targets, 1)[0].distance < 3
