"""One leader, whatever happens: real ZooKeepers, and electors in processes that are killed, stopped and cut off."""

import itertools
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster.elector import SESSION_MS
from tests.cluster.electors import Act, Field, boot_us, electors, until
from tests.rigs.zookeeper import Ensemble

SESSION_US = SESSION_MS * 1000


@pytest.fixture
def field(ensemble: Ensemble, tmp_path: Path) -> Iterator[Field]:
    """No electors yet; at the end, whatever happened, the acts were those of one leader at a time."""
    with electors(ensemble, tmp_path) as found:
        yield found
        acts_are_in_order(found.acts())


def acts_are_in_order(acts: list[Act]) -> None:
    """Tokens only grow along the file, and a token belongs to one node."""
    assert all(early.token <= late.token for early, late in itertools.pairwise(acts))
    assert len({(act.token, act.node) for act in acts}) == len({act.token for act in acts})


def test_one_of_several_leads_and_only_it_acts(field: Field) -> None:
    """The first leader says that it is the first."""
    for name in ("a", "b", "c"):
        field.add(name)

    leader = field.leader()

    assert leader.until_heard(leads=True)["reason"] == "first"
    assert {act.node for act in field.acts()} == {leader.name}


def test_when_the_leader_is_killed_another_acts_within_three_seconds(field: Field) -> None:
    """Its session has to expire first."""
    for name in ("a", "b", "c"):
        field.add(name)
    old = field.leader()
    token = field.acts()[-1].token

    killed_us = old.signal(signal.SIGKILL)
    old.process.wait()
    act = field.next_act(token)

    print(f"leader killed: next act after {(act.boot_us - killed_us) / 1e6:.2f} s")
    assert act.node != old.name
    assert field.leader().until_heard(leads=True)["why"] == "session_lost"
    assert act.boot_us - killed_us < 3_000_000


def test_a_leader_stopped_past_its_session_does_nothing_when_it_goes_on(field: Field) -> None:
    """Another acts meanwhile; the old one, in the middle of its duty, sees by its own clock that it is late."""
    for name in ("a", "b", "c"):
        field.add(name)
    old = field.leader()
    token = field.acts()[-1].token

    stopped_us = old.signal(signal.SIGSTOP)
    act = field.next_act(token)
    seen = len(field.acts())
    old.signal(signal.SIGCONT)
    lost = old.until_heard(leads=False)
    until(lambda: len(field.acts()) > seen + 50, "the new leader goes on acting")

    print(f"leader stopped: next act after {(act.boot_us - stopped_us) / 1e6:.2f} s")
    assert lost["token"] == token
    # For the log it led until it was stopped, not until it noticed.
    assert abs(lost["boot_us"] - lost["unsure_us"] - stopped_us) < SESSION_US / 2
    assert {one.node for one in field.acts()[seen:]} == {act.node}
    assert act.boot_us - stopped_us < 3_000_000


def test_a_leader_paused_less_than_its_session_goes_on_with_its_token(field: Field) -> None:
    """Nothing happened, as far as Keeper knows."""
    field.add("a")
    leader = field.leader()
    token = field.acts()[-1].token

    leader.signal(signal.SIGSTOP)
    paused_us = boot_us()
    until(lambda: boot_us() - paused_us > 300_000 or None, "a short pause")
    leader.signal(signal.SIGCONT)
    seen = len(field.acts())
    until(lambda: len(field.acts()) > seen + 20, "it goes on")

    assert {act.token for act in field.acts()} == {token}


def test_a_leader_that_is_drained_hands_over_at_once(field: Field) -> None:
    """It stops acting before it gives the seat up; nobody waits for a session."""
    field.add("a")
    old = field.leader()
    other = field.add("b")
    token = field.acts()[-1].token

    old.tell("drain")
    told_us = boot_us()
    act = field.next_act(token)

    print(f"leader drained: next act after {(act.boot_us - told_us) / 1e6:.2f} s")
    assert act.node == other.name
    assert other.until_heard(leads=True)["reason"] == "drained"
    assert act.boot_us - told_us < SESSION_US


def test_an_unhealthy_leader_hands_over_and_does_not_win_again_at_once(field: Field) -> None:
    """After three checks; the healthy one keeps the seat when the other is well again."""
    field.add("a")
    old = field.leader()
    other = field.add("b")
    token = field.acts()[-1].token

    old.tell("unhealthy")
    act = field.next_act(token)
    old.tell("healthy")
    seen = len(field.acts())
    until(lambda: len(field.acts()) > seen + 100, "the new leader goes on")

    assert other.until_heard(leads=True)["reason"] == "unhealthy"
    assert {one.node for one in field.acts() if one.token > token} == {act.node} == {other.name}


def test_if_everybody_is_unhealthy_somebody_still_leads(field: Field) -> None:
    """Leading badly is better than nobody closing calls; and there is no to and fro."""
    sick = [field.add(name) for name in ("a", "b")]
    first = field.leader()
    for one in sick:
        one.tell("unhealthy")
    token = field.acts()[-1].token

    first.signal(signal.SIGKILL)
    first.process.wait()
    act = field.next_act(token)
    until(lambda: field.acts()[-1].boot_us > act.boot_us + 2 * SESSION_US, "it goes on leading")

    assert {one.token for one in field.acts()} == {token, act.token}


def test_an_app_node_is_preferred_to_the_witness(field: Field) -> None:
    """The witness leads while nobody else can, and hands over when somebody can."""
    witness = field.add("w", priority=1)
    assert field.leader() is witness
    token = field.acts()[-1].token

    app = field.add("a")
    act = field.next_act(token)

    assert act.node == app.name
    assert app.until_heard(leads=True)["reason"] == "preferred"


def test_a_leader_that_stops_leaves_the_seat(field: Field) -> None:
    """No session has to expire."""
    field.add("a")
    old = field.leader()
    other = field.add("b")
    token = field.acts()[-1].token

    old.tell("stop")
    told_us = boot_us()
    act = field.next_act(token)

    assert old.process.wait(10) == 0
    assert other.until_heard(leads=True)["reason"] == "stopping"
    assert act.boot_us - told_us < SESSION_US


def test_when_the_keeper_that_leads_is_killed_leadership_survives_or_moves(field: Field, ensemble: Ensemble) -> None:
    """Never two with one token, and no token goes back (see the fixture)."""
    for name in ("a", "b", "c"):
        field.add(name)
    field.leader()

    ensemble.leader().kill()
    killed_us = boot_us()
    # Those who were connected to it are suspended; the others notice when the servers have elected.
    act = until(
        lambda: next((one for one in field.acts() if one.boot_us > killed_us + SESSION_US), None), "somebody acts"
    )
    gap_us = max(
        late.boot_us - early.boot_us for early, late in itertools.pairwise(field.acts()) if late.boot_us > killed_us
    )

    print(f"Keeper's leader killed: longest gap between acts {gap_us / 1e6:.2f} s")
    assert act.node == field.leader().name
    ensemble.revive()


def test_without_a_majority_of_keepers_nobody_leads(field: Field, ensemble: Ensemble) -> None:
    """The leader stops by itself; when a majority is back, one is elected."""
    for name in ("a", "b", "c"):
        field.add(name)
    old = field.leader()
    token = field.acts()[-1].token

    for one in ensemble.servers[:2]:
        one.kill()
    gone_us = boot_us()
    lost = old.until_heard(leads=False)
    seen = field.acts()
    until(lambda: boot_us() > gone_us + 3 * SESSION_US or None, "three sessions later")
    during = field.acts()
    ensemble.servers[0].start()
    back_us = boot_us()
    act = until(lambda: next(iter(field.acts()[len(during) :]), None), "somebody acts again")

    last_s, lost_s, back_s = (
        (late - early) / 1e6
        for late, early in ((seen[-1].boot_us, gone_us), (lost["boot_us"], gone_us), (act.boot_us, back_us))
    )
    print(f"majority gone: last act after {last_s:.2f} s, said {lost['reason']} after {lost_s:.2f} s")
    print(f"majority back: first act {back_s:.2f} s after the start of a server")
    assert during == seen
    assert not [one for one in field.electors if one.leads and one.name != act.node]
    assert act.token >= token
    ensemble.revive()


def test_over_many_elections_tokens_only_grow_and_acts_never_overlap(field: Field) -> None:
    """Whoever leads is killed, stopped, drained or made unhealthy, ten times in a random order."""
    chance = random.Random(20261123)
    names = itertools.count()
    for _ in range(3):
        field.add(f"n{next(names)}")
    gaps = []
    for _ in range(10):
        old = field.leader()
        token = field.acts()[-1].token
        how = chance.choice(["kill", "stop", "drain", "unhealthy", "leave"])
        begun_us = boot_us()
        if how == "kill":
            old.signal(signal.SIGKILL)
            old.process.wait()
            field.add(f"n{next(names)}")
        elif how == "stop":
            old.signal(signal.SIGSTOP)
        elif how == "leave":
            old.tell("stop")
            old.process.wait(10)
            field.add(f"n{next(names)}")
        else:
            old.tell(how)
        act = field.next_act(token)
        gaps.append(f"{how} {(act.boot_us - begun_us) / 1e6:.2f}")
        assert act.node != old.name
        if how == "stop":
            old.signal(signal.SIGCONT)
        elif how in {"drain", "unhealthy"}:
            old.tell({"drain": "undrain", "unhealthy": "healthy"}[how])
    spans: dict[int, list[int]] = {}
    for one in field.acts():
        spans.setdefault(one.token, []).append(one.boot_us)

    print("seconds to the next act:", ", ".join(gaps))
    assert len(spans) >= 11
    ordered = [spans[token] for token in sorted(spans)]
    assert all(max(early) < min(late) for early, late in itertools.pairwise(ordered))
