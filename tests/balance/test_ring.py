"""Who owns a call: the same on every balancer, evenly spread, and as undisturbed by deaths and newcomers as can be."""

from collections import Counter
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everline.balance.maglev import SLOTS, steps_of, table_of
from everline.balance.ring import NOBODY, Member, Owners, Ring, slot_of

KEYS = 100_000
names = st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=20), min_size=1, max_size=50, unique=True)


def spread(count: int) -> list[Member]:
    """Members over two regions with two racks each."""
    return [Member(f"i{n}-ingest", f"r{n % 2}-{n // 2 % 2}", f"r{n % 2}") for n in range(count)]


def called(members: list[Member]) -> set[str]:
    """Their names."""
    return {one.name for one in members}


def pairs(owners: Owners) -> list[tuple[int, int]]:
    """Both owners of each slot."""
    return list(zip(owners.first, owners.second, strict=True))


def permutation(offset: int, skip: int) -> Iterator[int]:
    """All slots, in a member's order."""
    return ((offset + skip * n) % SLOTS for n in range(SLOTS))


def naive(members: list[str]) -> list[str]:
    """Maglev as its paper writes it: no shortcut."""
    turns = sorted(members)
    following = [permutation(*steps_of(name)) for name in turns]
    table = [""] * SLOTS
    for turn in range(SLOTS):
        one = turn % len(turns)
        table[next(slot for slot in following[one] if not table[slot])] = turns[one]
    return table


@pytest.mark.parametrize("count", [1, 2, 7, 50])
def test_the_table_is_that_of_the_paper(count: int) -> None:
    """However its last slots are found."""
    members = [f"node-{n}" for n in range(count)]
    Random(count).shuffle(members)

    assert [members[index] for index in table_of(members)] == naive(members)


@settings(deadline=None, max_examples=25)
@given(members=names, seed=st.integers())
def test_every_balancer_has_the_same_table_whatever_the_order_of_the_members(members: list[str], seed: int) -> None:
    """Nothing but names decides."""
    others = Random(seed).sample(members, len(members))

    assert [members[index] for index in table_of(members)] == [others[index] for index in table_of(others)]


@pytest.mark.parametrize("count", range(3, 51))
def test_the_load_is_within_5_percent_of_even(count: int) -> None:
    """Of 100,000 calls, those that the busiest member of 3 to 50 gets; by chance alone it would be more beyond 20."""
    owners = Ring(spread(count)).owners(called(spread(count)))

    assert max(owners.shares(count)) <= 1.05 / count
    assert sum(owners.shares(count)) == pytest.approx(1)


@pytest.mark.parametrize("mirror", [1, 2])
@pytest.mark.parametrize("count", [3, 4, 10, 50])
def test_calls_of_survivors_never_move_when_members_die(count: int, mirror: int) -> None:
    """None of 100,000: an owner that lives stays an owner, whoever else dies, and is one again when it comes back."""
    random = Random(count)
    members = spread(count)
    ring = Ring(members, mirror=mirror)
    whole = pairs(ring.owners(called(members)))
    slots = [slot_of(f"call-{n}@example".encode()) for n in range(KEYS)]
    for dead in range(1, count):
        alive = called(random.sample(members, count - dead)) if dead < 4 or dead > count - 3 else set()
        if not alive:
            continue
        now = pairs(ring.owners(alive))
        lives = {index for index, one in enumerate(ring.members) if one.name in alive}
        moved = [slot for slot in slots if not {one for one in whole[slot] if one in lives} <= set(now[slot])]
        assert not moved
        assert {one for slot in slots for one in now[slot]} <= lives | {NOBODY}
    assert pairs(ring.owners(called(members))) == whole


@pytest.mark.parametrize("count", [3, 4, 10, 50])
def test_calls_of_a_dead_member_spread_over_all_others(count: int) -> None:
    """Nobody inherits them alone."""
    members = spread(count)
    ring = Ring(members)
    dead = ring.members[0].name

    before = ring.owners(called(members)).first
    after = ring.owners(called(members) - {dead}).first
    heirs = Counter(now for was, now in zip(before, after, strict=True) if was == 0)

    assert len(heirs) == count - 1
    assert max(heirs.values()) <= 1.35 * sum(heirs.values()) / (count - 1)


@pytest.mark.parametrize("count", [3, 4, 10, 20, 50])
def test_a_newcomer_moves_little_more_than_what_it_gets(count: int) -> None:
    """At most 1/(N+1) and half a percent of 100,000 calls."""
    old, new = Ring(spread(count)), Ring(spread(count + 1))
    before, after = old.owners(called(spread(count))).first, new.owners(called(spread(count + 1))).first
    slots = [slot_of(f"call-{n}@example".encode()) for n in range(KEYS)]

    moved = sum(old.members[before[slot]].name != new.members[after[slot]].name for slot in slots)

    assert moved / KEYS <= 1 / (count + 1) + 0.005


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_the_second_owner_is_as_far_away_as_can_be(data: st.DataObject) -> None:
    """In another region, else in another rack, else another member at least; nobody only where one alone lives."""
    count = data.draw(st.integers(1, 12))
    places = st.tuples(st.sampled_from("abc"), st.sampled_from("xy"))
    members = [Member(f"m{n}", *reversed(data.draw(places))) for n in range(count)]
    alive = data.draw(st.sets(st.sampled_from([one.name for one in members]), min_size=1))
    ring = Ring(members, mirror=2)

    living = [one for one in ring.members if one.name in alive]
    for first, second in set(pairs(ring.owners(alive))):
        one = ring.members[first]
        others = [other for other in living if other is not one]
        if not others:
            assert second == NOBODY
            continue
        other = ring.members[second]
        assert other in others
        if any(each.region != one.region for each in others):
            assert other.region != one.region
        elif any(each.rack != one.rack for each in others):
            assert other.rack != one.rack


def test_when_nobody_lives_nobody_owns_anything() -> None:
    """What comes then is counted as dropped, elsewhere."""
    ring = Ring(spread(4), mirror=2)

    assert set(pairs(ring.owners(set()))) == {(NOBODY, NOBODY)}
    assert set(pairs(ring.owners({"i2-ingest"}))) == {(2, NOBODY)}


@pytest.mark.parametrize(
    ("members", "mirror"),
    [([], 1), (spread(256), 1), ([Member("a"), Member("a")], 1), (spread(3), 3), (spread(3), 0)],
    ids=["none", "too-many", "one-name-twice", "three-owners", "no-owner"],
)
def test_what_is_no_ring_is_refused(members: list[Member], mirror: int) -> None:
    """Before anything is routed by it."""
    with pytest.raises(ValueError, match="need"):
        Ring(members, mirror=mirror)
