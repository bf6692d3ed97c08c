"""What would stop if a part of the cluster died, and what would go on."""

from typing import Any

import pytest
from tests.app.cluster_for_test import SITE, ListSight, client_of, sighting
from tests.topology.clusters import CORE, Values, one_site, roles, server, topology, two_sites, values

from everline.app.loss_view import Aftermath, Fate, aftermath
from everline.topology.loss import Loss
from everline.topology.model import Topology

HTML = {"Accept": "text/html"}
MIRRORED = "balancers send to the others, each packet had gone to two: none is lost."


def with_vips(places: dict[str, dict[str, dict[str, Values]]], **settings: Any) -> Topology:  # whatever they are
    """The cluster with a VIP of balancers and one of NGINX in its first regions."""
    written = values(places, **settings)
    for number, region in enumerate(written["regions"][:2]):
        region["vips"] = {"balancer": f"10.0.{number}.100", "nginx": f"10.0.{number}.101"}
    return Topology.model_validate(written)


def after(loss: str, site: Topology = SITE, **now: Any) -> Aftermath:  # as `sighting` takes them
    """What follows from a loss."""
    return aftermath(sighting(site, **now), Loss.parse(loss))


def sentences(told: Aftermath) -> list[str]:
    """Each with its shape."""
    return [f"{one.sign} {one.text}" for one in told.sentences]


@pytest.mark.parametrize(
    ("loss", "down", "expected"),
    [
        pytest.param("host:c1", (), [
            "◐ Keeper 2 of 3: a majority, goes on; one more must not be lost.",
            "◐ Sentinel 2 of 3: a majority, goes on; one more must not be lost.",
            "→ The Redis primary a2-redis goes on; Redis 2 of 3 go on.",
            f"→ Ingest 2 of 3 go on: {MIRRORED}",
        ], id="a-host-of-the-core"),
        pytest.param("host:a3", (), [
            "◐ Shard 1 keeps one copy: writes go on.",
            "◐ b3-clickhouse alone stores: what it takes is kept in the spools too.",
        ], id="a-copy"),
        pytest.param("host:a3", ("b3-clickhouse",), [
            "■ No ClickHouse server is left: packets are spooled, calls can't be searched.",
        ], id="the-last-server"),
        pytest.param("node:a2-redis", (), [
            "◐ The Redis primary a2-redis is lost: Sentinels promote one of b2-redis, c1-redis; "
            "live calls stand still for some seconds.",
        ], id="the-primary"),
        pytest.param("node:a2-redis", ("b2-sentinel", "c1-sentinel"), [
            "■ The Redis primary a2-redis is lost and no majority of Sentinels makes another one: "
            "live calls stand still, and are stored all the same.",
        ], id="the-primary-without-sentinels"),
        pytest.param("node:a2-redis", ("b2-redis", "c1-redis"), [
            "■ No Redis is left: live calls stand still, and are stored all the same.",
        ], id="the-last-redis"),
        pytest.param("node:a2-keeper", ("b2-keeper",), [
            "■ Keeper 1 of 3, no majority: nobody leads, ClickHouse takes no writes, packets are spooled.",
        ], id="the-majority-of-keeper"),
        pytest.param("node:a2-sentinel", ("b2-sentinel",), [
            "◐ Sentinel 1 of 3, no majority: a dead Redis primary is not replaced.",
        ], id="the-majority-of-sentinels"),
        pytest.param("node:a2-ingest", ("b2-ingest", "c1-ingest"), [
            "■ No ingest node is left: what agents send is lost, but what they keep themselves.",
        ], id="the-last-ingest-node"),
        pytest.param("node:a1-balancer", (), [
            "◐ Balancer 1 of 2 goes on: agents must change over by themselves.",
        ], id="a-balancer-without-a-vip"),
        pytest.param("node:a1-balancer", ("b1-balancer",), [
            "■ No balancer is left: agents must send to ingest nodes themselves.",
        ], id="the-last-balancer"),
        pytest.param("node:a1-app", (), [
            "→ App 1 of 2 goes on: open pages go on there.",
            "→ The leader a1-app is lost: another one leads, b1-app.",
        ], id="the-leader"),
        pytest.param("node:a1-app", ("b1-app",), [
            "■ No app node is left: no pages, no API; packets are stored all the same.",
            "■ Nobody is left who could lead: stale calls stay open, copies are not compared.",
        ], id="the-last-app-node"),
        pytest.param("host:a3", ("a3-clickhouse",), [], id="what-is-down-already"),
    ],
)  # fmt: skip
def test_what_follows_from_a_loss(loss: str, down: tuple[str, ...], expected: list[str]) -> None:
    """The worst first, each with a shape: ■ stops, ◐ goes on less well, → goes on."""
    assert sentences(after(loss, down=down)) == expected


def test_a_vip_goes_to_another_host_of_its_region() -> None:
    """And nowhere once none is left there: who uses it needs that of another region."""
    sites = with_vips(one_site())
    assert sentences(after("host:a1", sites))[:2] == [
        "→ The VIP 10.0.0.100 (balancer, home) goes to b1-balancer, or is there already.",
        "→ The VIP 10.0.0.101 (nginx, home) goes to b1-nginx, or is there already.",
    ]
    assert sentences(after("node:a1-keepalived", sites)) == sentences(after("host:a1", sites))[:2]

    lost = sentences(after("region:east", with_vips(two_sites())))
    assert "■ The VIP 10.0.0.100 (balancer, east) goes nowhere: who uses it needs 10.0.1.100." in lost


@pytest.mark.parametrize(
    ("site", "loss", "expected"),
    [
        pytest.param(
            topology(one_site(), balance={"mirror": 1}), "node:c1-ingest",
            ["◐ Ingest 2 of 3 go on: balancers send to the others; what the lost had not stored is lost."],
            id="not-mirrored",
        ),
        pytest.param(
            topology({"home": {"a": {"a1": roles("ingest", *CORE)}, "b": {"b1": roles("ingest")}}}), "node:b1-ingest",
            ["◐ Ingest 1 of 2 goes on: agents that send to the lost must change over by themselves."],
            id="no-balancers",
        ),
        pytest.param(
            topology({"home": {"a": {"a1": roles("app", "keeper"), "a2": roles(app={"backup": True})}}}), "node:a1-app",
            ["◐ Only the backup is left for pages and the API: a2-app.",
             "→ The leader a1-app is lost: another one leads, a2-app."],
            id="only-the-backup-is-left",
        ),
        pytest.param(
            topology({"home": {"a": {"a1": server(1, 1), "a2": server(2, 1), "a3": server(2, 2),
                                     "a4": roles("keeper")}}}),
            "host:a1",
            ["■ Shard 1 keeps no copy: its calls can't be read until one is back, new ones go to other shards."],
            id="one-of-two-shards",
        ),
    ],
)  # fmt: skip
def test_what_follows_depends_on_how_the_cluster_is_built(site: Topology, loss: str, expected: list[str]) -> None:
    """Mirroring, balancers, backups, shards."""
    assert sentences(after(loss, site)) == expected


@pytest.mark.parametrize(
    ("loss", "down", "headline"),
    [
        ("host:c1", ("a1-keeper",), "If host c1 dies, all goes on, with less behind it."),
        ("node:c1-ingest", (), "If node c1-ingest dies, all goes on."),
        ("region:home", (), "If region home dies, something stops."),
    ],
)
def test_the_headline_says_the_worst(loss: str, down: tuple[str, ...], headline: str) -> None:
    """In one sentence."""
    assert after(loss, down=down).headline == headline


@pytest.mark.parametrize(
    ("loss", "down", "expected"),
    [
        pytest.param("host:a2", ("b2-keeper",), {
            "a2-ingest": "stops", "b2-keeper": "stops: is down already", "c1-keeper": "stops: no majority",
            "b2-ingest": "degraded: keeps packets in its spool", "a3-clickhouse": "degraded: can only be read",
            "b2-redis": "goes_on: may become the primary", "b1-app": "goes_on",
        }, id="keeper-takes-the-store-with-it"),
        pytest.param("host:a3", (), {
            "a3-clickhouse": "stops", "b3-clickhouse": "degraded: the last copy of shard 1", "b1-app": "goes_on",
        }, id="the-other-copy"),
        pytest.param("host:a3", ("b3-clickhouse",), {
            "b1-app": "degraded: has no store to ask", "b2-ingest": "degraded: keeps packets in its spool",
        }, id="no-store"),
        pytest.param("node:a2-ingest", ("b2-ingest",), {"c1-ingest": "degraded: takes all packets alone"}, id="alone"),
        pytest.param("node:a2-ingest", ("b2-ingest", "c1-ingest"), {
            "a1-balancer": "stops: has nobody to send to",
        }, id="nobody-behind-a-balancer"),
        pytest.param("node:a1-app", ("b1-app",), {"a1-nginx": "stops: has nobody behind it"}, id="nobody-behind-nginx"),
        pytest.param("node:a2-redis", ("b2-sentinel", "c1-sentinel"), {
            "b2-redis": "degraded: no primary", "a2-sentinel": "degraded: no majority",
        }, id="no-primary"),
    ],
)  # fmt: skip
def test_what_becomes_of_each_program(loss: str, down: tuple[str, ...], expected: dict[str, str]) -> None:
    """Also of those that live on."""
    fates = after(loss, down=down).fates

    assert {
        name: f"{fates[name].fate}{': ' * bool(fates[name].text)}{fates[name].text}" for name in expected
    } == expected


def test_every_part_of_a_good_cluster_may_die() -> None:
    """What `topology check` accepts without a warning loses nothing with one host or rack."""
    for kind, names in {
        "host": {host.name for host in SITE.hosts}, "rack": {host.rack for host in SITE.hosts},
        "node": {node.name for node in SITE.nodes},
    }.items():  # fmt: skip
        for name in names:
            assert after(f"{kind}:{name}", with_vips(one_site())).fate is not Fate.STOPS, f"{kind} {name}"


def test_the_api_says_the_same() -> None:
    """By kind and name; what is down now is counted in, and named."""
    told = client_of(ListSight(sighting(down=["b3-clickhouse"]))).get("/api/v1/cluster/if?host=a3").json()

    assert (told["if"], told["fate"], told["counted_in"]) == ({"host": "a3"}, "stops", ["b3-clickhouse"])
    assert told["sentences"][0]["text"].startswith("No ClickHouse server is left")
    fates = {one["node"]: (one["fate"], one["why"]) for one in told["programs"]}
    assert (fates["a3-clickhouse"], fates["c1-keeper"]) == (("stops", ""), ("goes_on", ""))


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/api/v1/cluster/if?host=a9", 404, "no host has the name 'a9'; did you mean"),
        ("/api/v1/cluster/if", 400, "0 parts of the cluster are named"),
        ("/api/v1/cluster/if?host=a1&rack=a", 400, "2 parts of the cluster are named"),
        ("/api/v1/cluster/if?host=" + 201 * "a", 400, "host: "),
        ("/cluster?if=host:a9", 404, "no host has the name 'a9'"),
        ("/cluster?if=nothing", 404, "'nothing' names nothing that can be lost"),
        ("/cluster?if=host:%00%F0%9F%98%80%3Cscript%3E", 404, "no host has the name"),
    ],
)
def test_what_cannot_be_thought_away_is_refused(path: str, status: int, said: str) -> None:
    """With what to do next."""
    answer = client_of(ListSight()).get(path)

    assert (answer.status_code, said in answer.json()["detail"], bool(answer.json()["next_step"])) == (
        status,
        True,
        True,
    )


def test_the_map_shows_it_without_a_script() -> None:
    """Every part has a link; what stops is marked by a shape and words, and a link ends it."""
    client = client_of(ListSight())
    plain, thought = (client.get(path, headers=HTML).text for path in ("/cluster", "/cluster?if=host:a3"))

    for part in ("region:home", "rack:a", "host:a3", "node:a3-clickhouse"):
        assert f'data-if="{part}"' in plain
    assert "stops" not in plain
    assert '<li class="fate stops">' in thought
    assert "◐ goes on, less well: the last copy of shard 1" in thought
    assert "◐ If host a3 dies, all goes on, with less behind it." in thought
    assert '<a class="end" href="/cluster" data-end>' in thought
    assert thought.count('aria-current="true"') == 1
