"""What is left of a cluster when a part of it is lost."""

import pytest
from tests.topology.clusters import one_site, topology, two_sites

from everline.topology.errors import TopologyError
from everline.topology.loss import Loss, LossKind, Now, Remains
from everline.topology.model import Role

SITE = topology(one_site())


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        ("node:a1-app", {"a1-app"}),
        ("host:a2", {"a2-ingest", "a2-redis", "a2-sentinel", "a2-keeper"}),
        ("rack:c", {"c1-ingest", "c1-redis", "c1-sentinel", "c1-keeper"}),
        ("region:home", {node.name for node in SITE.nodes}),
    ],
)
def test_a_loss_takes_all_that_is_in_it(text: str, lost: set[str]) -> None:
    """Of a program itself, of a host its programs, and so on; its text is what it was read from."""
    loss = Loss.parse(text)

    assert ({node.name for node in loss.nodes_of(SITE)}, str(loss)) == (lost, text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("host:a4", "no host has the name 'a4'; did you mean a3 or a2 or a1?", id="a-near-name"),
        pytest.param("rack:zz", "no rack has the name 'zz'; there are a, b, c", id="no-near-name"),
        pytest.param("node:", "no node has the name ''; there are a1-balancer,", id="no-name"),
        pytest.param("a1", "'a1' names nothing that can be lost", id="no-kind"),
        pytest.param("role:app", "'role:app' names nothing that can be lost", id="another-kind"),
        pytest.param("host:" + 999 * "x", f"no host has the name '{80 * 'x'}'", id="cut-where-it-is-long"),
    ],
)
def test_what_the_cluster_has_not_is_refused(text: str, problem: str) -> None:
    """With what there is instead."""
    with pytest.raises(TopologyError) as raised:
        Loss.parse(text).nodes_of(SITE)

    assert problem in raised.value.faults[0].problem


def test_of_many_names_ten_are_told() -> None:
    """A message has an end."""
    with pytest.raises(TopologyError, match=r", …$"):
        Loss(LossKind.NODE, "???").nodes_of(SITE)


@pytest.mark.parametrize(
    ("loss", "down", "keeper", "sentinel", "stores", "unread"),
    [
        pytest.param("host:a2", (), True, True, True, (), id="one-of-each-quorum"),
        pytest.param("host:a2", ("b2-keeper",), False, True, False, (), id="what-is-down-counts"),
        pytest.param("rack:a", (), True, True, True, (), id="a-rack-is-not-a-majority"),
        pytest.param("rack:a", ("b3-clickhouse",), True, True, False, (1,), id="the-last-copy"),
        pytest.param("region:home", (), False, False, False, (1,), id="everything"),
    ],
)
def test_what_remains(
    loss: str, down: tuple[str, ...], *, keeper: bool, sentinel: bool, stores: bool, unread: tuple[int, ...]
) -> None:
    """Majorities, writes, shards that can be read: after the loss, with what is down now counted in."""
    after = Remains.of(SITE, Loss.parse(loss), Now(frozenset(down)))

    assert (after.has_majority(Role.KEEPER), after.has_majority(Role.SENTINEL)) == (keeper, sentinel)
    assert (after.stores, after.shards_without_copy) == (stores, unread)


def test_what_is_down_does_not_die_again() -> None:
    """It is no part of what the loss takes."""
    after = Remains.of(SITE, Loss.parse("host:a3"), Now(frozenset({"a3-clickhouse"})))

    assert (after.dying, after.takes(Role.CLICKHOUSE)) == (frozenset(), False)


def test_a_witness_leads_when_no_app_node_can() -> None:
    """App nodes first."""
    sites = topology(two_sites())

    assert [node.name for node in Remains.of(sites, Loss.parse("region:east"), Now()).candidates] == [
        "w1-app", "t1-witness",
    ]  # fmt: skip
