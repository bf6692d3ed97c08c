"""What is refused and what is warned of in a cluster whose keys are right one by one: sentences, in a table."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.topology.clusters import CORE, FRONT, Values, one_site, roles, sentences, server, topology, two_sites, values

from everline.topology.errors import TopologyError
from everline.topology.faults import check, faults_of, warnings_of
from everline.topology.model import HostRoles, Role, Timers, Topology
from everline.topology.timing import contradictions

Places = dict[str, dict[str, dict[str, Values]]]
Change = Callable[[Places], object]
WITH_TLS = {"tls_certificate": "/etc/web.pem", "tls_key": "/etc/web.key"}


def changed(places: Places, change: Change) -> Topology:
    """A right cluster after a change of its places."""
    change(places)
    return topology(places)


@pytest.mark.parametrize("places", [one_site(), two_sites()], ids=["one-site", "two-sites"])
def test_the_right_clusters_are_right(places: Places) -> None:
    """What the tests below change has neither faults nor warnings."""
    cluster = topology(places)

    assert faults_of(cluster) == ()
    assert warnings_of(cluster) == ()
    check(cluster)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(lambda p: p["home"]["c"]["c1"].pop("keeper"),
                     ["regions: 2 keeper roles: need 3, 5 or 7; no majority is left when one is lost"],
                     id="two-keepers"),
        pytest.param(lambda p: [p["home"][rack][host].pop("keeper") for rack, host in (("b", "b2"), ("c", "c1"))],
                     ["regions: 1 keeper role: need 3, 5 or 7; no majority is left when one is lost"],
                     id="a-single-keeper"),
        pytest.param(lambda p: p["home"]["c"].update(c2=roles("sentinel")),
                     ["regions: 4 sentinel roles: need 3, 5 or 7; it survives no more losses than one less would",
                      ], id="four-sentinels"),
        pytest.param(lambda p: p["home"]["a"]["a1"].update(keeper=p["home"]["c"]["c1"].pop("keeper")),
                     ["regions[0].racks[0].hosts[1].roles.keeper: 2 of 3 keeper roles are in rack a: its loss takes "
                      "the majority; spread them over 3 racks"], id="keepers-in-one-rack"),
        pytest.param(lambda p: p["home"]["b"]["b3"]["clickhouse"].update(shard=3),
                     ["regions[0].racks[0].hosts[2].roles.clickhouse.shard: shard 1 has one server, a3: need two, so "
                      "that its loss loses nothing",
                      "regions[0].racks[1].hosts[2].roles.clickhouse.shard: shard 3 has one server, b3: need two, so "
                      "that its loss loses nothing",
                      "regions[0].racks[1].hosts[2].roles.clickhouse.shard: shards 1, 3: number them 1 to 2; 2 is "
                      "missing"], id="shard-numbers-with-a-gap"),
        pytest.param(lambda p: p["home"]["b"]["b3"]["clickhouse"].update(replica=1),
                     ["regions[0].racks[1].hosts[2].roles.clickhouse.replica: replica 1 of shard 1 is a3 too: give b3 "
                      "another number"], id="one-replica-number-twice"),
        pytest.param(lambda p: p["home"]["a"].update(b3=p["home"]["b"].pop("b3")),
                     ["regions[0].racks[0].hosts[3].roles.clickhouse.shard: shard 1 has all its replicas in rack a: "
                      "put one in another rack"], id="a-shard-in-one-rack"),
        pytest.param(lambda p: [p["home"][rack].pop(f"{rack}3") for rack in "ab"],
                     ["regions: no clickhouse role: need at least shard 1 with replicas 1 and 2"], id="no-clickhouse"),
        pytest.param(lambda p: [p["home"][r][h].pop("redis") for r, h in (("a", "a2"), ("b", "b2"))],
                     ["regions[0].racks[2].hosts[0].roles.redis: a single redis role: need two or three, on different "
                      "hosts"], id="a-single-redis"),
        pytest.param(lambda p: [p["home"][r][h].pop("redis") for r, h in (("a", "a2"), ("b", "b2"), ("c", "c1"))],
                     ["regions: no redis role: need two or three, on different hosts"], id="no-redis"),
        pytest.param(lambda p: [p["home"][r][h].pop("ingest") for r, h in (("a", "a2"), ("b", "b2"), ("c", "c1"))],
                     ["regions: no ingest role: nothing would take packets in; give it to two hosts"], id="no-ingest"),
        pytest.param(lambda p: [p["home"][r][h].pop("app") for r, h in (("a", "a1"), ("b", "b1"))],
                     ["regions: no app role: nothing would serve pages; give it to two hosts"], id="no-app"),
        pytest.param(lambda p: [p["home"][r][h]["app"].update(backup=True) for r, h in (("a", "a1"), ("b", "b1"))],
                     ["regions[0].racks[0].hosts[0].roles.app.backup: every app role is a backup: leave one that is "
                      "none"], id="only-backups"),
        pytest.param(lambda p: (p["home"]["a"].update(a4=p["home"]["b"].pop("b1"))),
                     ["regions[0].racks[0].hosts[3].roles.app: all 2 app roles are in rack a: move one to another rack",
                      "regions[0].racks[0].hosts[3].roles.balancer: all 2 balancer roles are in rack a: move one to "
                      "another rack",
                      "regions[0].racks[0].hosts[3].roles.nginx: all 2 nginx roles are in rack a: move one to another "
                      "rack"], id="the-front-in-one-rack"),
        pytest.param(lambda p: p["home"]["a"]["a2"].update(balancer={}),
                     ["regions[0].racks[0].hosts[1].roles.ingest.hep_port: 9060/udp is taken on host a2 by "
                      "balancer.hep_port: choose another port"], id="balancer-and-ingest-on-one-host"),
        pytest.param(lambda p: p["home"]["a"]["a2"]["redis"].update(port=9080),
                     ["regions[0].racks[0].hosts[1].roles.redis.port: 9080/tcp is taken on host a2 by "
                      "ingest.http_port: choose another port"], id="redis-on-the-port-of-everline"),
        pytest.param(lambda p: p["home"]["a"]["a2"]["keeper"].update(peer_port=9234),
                     ["regions[0].racks[0].hosts[1].roles.keeper.raft_port: 9234/tcp is taken on host a2 by "
                      "keeper.peer_port: choose another port"], id="two-ports-of-one-role"),
        pytest.param(lambda p: p["home"]["a"]["a2"]["redis"].update(data_dir="/var/lib/everline"),
                     ["regions[0].racks[0].hosts[1].roles.keeper.data_dir: /var/lib/everline/keeper overlaps with "
                      "/var/lib/everline of redis on host a2: give each role a directory of its own",
                      "regions[0].racks[0].hosts[1].roles.redis.data_dir: /var/lib/everline overlaps with "
                      "/var/lib/everline/ingest of ingest on host a2: give each role a directory of its own",
                      "regions[0].racks[0].hosts[1].roles.sentinel.data_dir: /var/lib/everline/sentinel overlaps with "
                      "/var/lib/everline of redis on host a2: give each role a directory of its own"],
                     id="directories-in-each-other"),
        pytest.param(lambda p: p["home"]["a"]["a2"]["ingest"].update(tls_key="/etc/key.pem"),
                     ["regions[0].racks[0].hosts[1].roles.ingest.tls_certificate: is missing: a certificate and its "
                      "key need each other"], id="half-of-tls"),
        pytest.param(lambda p: p["home"]["a"]["a1"]["nginx"].update(tls_certificate="/etc/web.pem"),
                     ["regions[0].racks[0].hosts[0].roles.nginx.tls_key: is missing: a certificate and its key need "
                      "each other"], id="half-of-tls-for-browsers"),
        pytest.param(lambda p: p["home"]["a"]["a1"].update(app={"http_port": 443}, nginx=dict(WITH_TLS)),
                     ["regions[0].racks[0].hosts[0].roles.nginx.https_port: 443/tcp is taken on host a1 by "
                      "app.http_port: choose another port"], id="an-app-node-at-the-port-of-https"),
        pytest.param(lambda p: p["home"]["a"]["a2"]["redis"].update(name="a2-ingest"),
                     ["regions[0].racks[0].hosts[1].roles.redis.name: 'a2-ingest' is the name of the node at "
                      "regions[0].racks[0].hosts[1].roles.ingest too: every node needs a name of its own"],
                     id="one-node-name-twice"),
        pytest.param(lambda p: p["home"]["c"].update(a1={}),
                     ["regions[0].racks[2].hosts[1].name: 'a1' is the name of the host at regions[0].racks[0].hosts[0] "
                      "too: every host needs a name of its own"], id="one-host-name-twice"),
        pytest.param(lambda p: p["home"]["c"].update(c2=roles("witness")),
                     ["regions[0].racks[0].hosts[0].roles.app: app on host a1 is in region home, which has a witness: "
                      "a witness site only votes (keeper, sentinel, witness); move one of the two to another region"],
                     id="a-witness-beside-data"),
    ],
)  # fmt: skip
def test_one_site_is_refused(change: Change, said: list[str]) -> None:
    """Each sentence names the key, the host, and what to do; nothing else is said."""
    found = sorted(sentences(faults_of(changed(one_site(), change))))

    if "witness" in said[0]:
        assert said[0] in found
        assert all("which has a witness" in one for one in found)
    else:
        assert found == sorted(said)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(lambda p: p["east"]["ea"]["e1"].update(keeper=p["third"]["ta"]["t1"].pop("keeper")),
                     ["2 of 3 keeper roles are in rack ea", "2 of 3 keeper roles are in region east"],
                     id="a-majority-in-one-region-though-there-is-a-witness"),
        pytest.param(lambda p: p["east"].update(eb={"e9": roles(sentinel=p["third"]["ta"]["t1"].pop("sentinel"))}),
                     ["2 of 3 sentinel roles are in region east: its loss takes the majority; spread them over 3 "
                      "regions"], id="a-majority-in-two-racks-of-one-region"),
        pytest.param(lambda p: p["third"]["ta"]["t1"].update(redis={}),
                     ["redis on host t1 is in region third, which has a witness"], id="redis-beside-the-witness"),
        pytest.param(lambda p: p["third"]["ta"].update(t2=roles("ingest")),
                     ["ingest on host t2 is in region third, which has a witness"], id="ingest-at-the-witness-site"),
        pytest.param(lambda p: p.update(west={"ea": p["west"]["wa"]}),
                     ["'ea' is the name of the rack at regions[0].racks[0] too"], id="one-rack-name-in-two-regions"),
    ],
)  # fmt: skip
def test_two_sites_are_refused(change: Change, said: list[str]) -> None:
    """With a witness site, no region may hold a majority, and it carries no data."""
    found = sentences(faults_of(changed(two_sites(), change)))

    assert all(any(part in one for one in found) for part in said), found


def with_addresses(places: Places, **addresses: str) -> Topology:
    """A cluster in which some hosts have these addresses."""
    whole = values(places)
    for region in whole["regions"]:
        for rack in region["racks"]:
            for host in rack["hosts"]:
                host["address"] = addresses.get(host["name"], host["address"])
    return Topology.model_validate(whole)


@pytest.mark.parametrize(
    ("addresses", "said"),
    [
        ({"b2": "10.0.0.1"}, "racks[1].hosts[1].address: 10.0.0.1 is the address of host a1 too: give b2 its own"),
        ({"b3": "10.0.0.3"}, "shard 1 has all its replicas on host b3 (10.0.0.3): put each on its own host"),
        ({"a1": "127.0.0.1"}, "other hosts can't reach a1 at 127.0.0.1: give the address of one of its interfaces"),
        ({"a1": "::"}, "other hosts can't reach a1 at ::"),
        ({"a1": "ff02::1"}, "other hosts can't reach a1 at ff02::1"),
        ({"a1": "fd00::1", "b1": "fd00:0::1"}, "fd00::1 is the address of host a1 too: give b1 its own"),
    ],
)  # fmt: skip
def test_an_address_belongs_to_one_host_and_can_be_reached(addresses: dict[str, str], said: str) -> None:
    """However it is written; two hosts at one address are one machine."""
    found = sentences(faults_of(with_addresses(one_site(), **addresses)))

    assert any(said in one for one in found), found


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param(lambda p: p["home"]["a"].update(a5=roles("ingest", "app"), a6=roles("ingest")),
                     ["regions[0].racks[0].hosts[4].roles.ingest: 3 of 5 ingest roles are in rack a: the rest must "
                      "carry its load when it is lost; spread them evenly"], id="ingest-crowded"),
        pytest.param(lambda p: [p["home"][r][f"{r}1"].pop("balancer") for r in "ab"],
                     ["regions: no balancer: capture agents must change over by themselves when what they use is lost"],
                     id="no-balancer"),
        pytest.param(lambda p: p["home"]["b"]["b1"].pop("nginx"),
                     ["regions: a single nginx: browsers must change over by themselves when what they use is lost"],
                     id="a-single-nginx"),
        pytest.param(lambda p: p["home"]["b"]["b1"].pop("app"),
                     ["regions[0].racks[0].hosts[0].roles.app: host a1 alone has the role app: give it to another too"],
                     id="a-single-app"),
    ],
)  # fmt: skip
def test_one_site_is_warned(change: Change, said: list[str]) -> None:
    """It works until a certain thing is lost, and the sentence says which."""
    assert sentences(warnings_of(changed(one_site(), change))) == said


def test_two_racks_cannot_spread_a_quorum_and_are_warned_not_refused() -> None:
    """One of them holds a majority, whatever is done."""
    places = one_site()
    places["home"]["b"]["c1"] = places["home"].pop("c")["c1"]
    cluster = topology(places)

    assert faults_of(cluster) == ()
    assert [one.partition(": ")[2] for one in sentences(warnings_of(cluster))] == [
        "2 of 3 keeper roles are in rack b: its loss takes the majority; a third rack must hold some of them",
        "2 of 3 sentinel roles are in rack b: its loss takes the majority; a third rack must hold some of them",
        "2 of 3 ingest roles are in rack b: the rest must carry its load when it is lost; spread them evenly",
    ]


def test_one_rack_is_warned_once() -> None:
    """No rule about racks is held against who has one."""
    places = one_site()
    hosts = {name: its for rack in places["home"].values() for name, its in rack.items()}
    cluster = topology({"home": {"a": hosts}})

    assert faults_of(cluster) == ()
    assert sentences(warnings_of(cluster)) == [
        "regions: all hosts are in rack a: its loss stops everything; add a second rack"
    ]


def test_two_regions_without_a_witness_are_warned() -> None:
    """One of them holds a majority: a third site would be needed."""
    places = two_sites()
    places["west"]["wb"] = {"t1": roles("sentinel", "keeper")}
    del places["third"]
    cluster = topology(places)

    assert faults_of(cluster) == ()
    assert "such as a witness site" in sentences(warnings_of(cluster))[0]


def test_a_shard_in_one_region_of_two_is_warned_not_refused() -> None:
    """Law or distance may want it; whoever does it knows what a lost region takes."""
    places = two_sites()
    places["east"]["eb"] = {"w3": places["west"]["wa"].pop("w3")}
    cluster = topology(places)

    assert faults_of(cluster) == ()
    assert sentences(warnings_of(cluster)) == [
        "regions[0].racks[1].hosts[0].roles.clickhouse: shard 1 is in region east only, and gone when that is lost; "
        "move one to another region unless law or distance forbid"
    ]


def test_a_single_data_region_may_have_a_witness_site() -> None:
    """Its majority of votes goes with the data, which is no loss more."""
    places = one_site()
    places["home"]["c"]["c1"].pop("keeper")
    places["third"] = {"t": {"t1": roles("keeper", "witness")}}

    assert faults_of(topology(places)) == ()


@pytest.mark.parametrize(
    ("timers", "said"),
    [
        ({"suspect_ms": 500}, ["timers.suspect_ms: 500 is too short, need at least 2 x heartbeat_ms (600)"]),
        ({"dead_ms": 1000}, ["timers.suspect_ms: 1000 is too long, need less than dead_ms (1000)",
                             "timers.connect_ms: 1000 is too long, need less than dead_ms (1000)"]),
        ({"keeper_session_ms": 1999}, ["timers.keeper_session_ms: 1999 is too short, need at least 2 x connect_ms"]),
        ({"clickhouse_session_ms": 1000}, ["timers.clickhouse_session_ms: 1000 is too short"]),
        ({"redis_failover_ms": 1300}, ["timers.redis_failover_ms: 1300 is too short"]),
        ({"insert_ms": 500}, ["timers.connect_ms: 1000 is too long, need less than insert_ms (500)",
                              "timers.hedge_ms: 500 is too long, need less than insert_ms (500)"]),
        ({"query_ms": 1000}, ["timers.connect_ms: 1000 is too long, need less than query_ms (1000)"]),
        ({}, []),
    ],
)  # fmt: skip
def test_timers_that_contradict_each_other_are_refused(timers: dict[str, int], said: list[str]) -> None:
    """The one to change is named, with the value it needs."""
    found = sentences(contradictions(Timers.model_validate(timers)))

    assert len(found) == len(said)
    assert all(one.startswith(part) for one, part in zip(found, said, strict=True)), found


@given(st.fixed_dictionaries({name: st.integers(1_200, 20_000) for name in Timers.model_fields}))
def test_timers_without_a_fault_are_in_order(chosen: dict[str, int]) -> None:
    """Nothing gets past the rules."""
    timers = Timers.model_validate(chosen)

    if not list(contradictions(timers)):
        assert 2 * timers.heartbeat_ms <= timers.suspect_ms < timers.dead_ms
        assert max(timers.connect_ms, timers.hedge_ms) < timers.insert_ms


def test_missing_secrets_are_refused_each_by_its_name() -> None:
    """All of them but the key of agents, which is asked for only where it is given."""
    found = sentences(faults_of(topology(one_site(), secrets={"redis": {"file": "r"}})))

    assert [one.partition(": is missing")[0] for one in found] == [
        "secrets.clickhouse", "secrets.interserver", "secrets.session_key", "secrets.admin_token",
    ]  # fmt: skip


def test_one_secret_for_two_things_is_warned() -> None:
    """A convenience that costs twice when it leaks."""
    whole = values(one_site())
    whole["secrets"]["admin_token"] = whole["secrets"]["redis"]

    assert sentences(warnings_of(Topology.model_validate(whole))) == [
        "secrets.admin_token: is the same as secrets.redis: who learns one has both"
    ]


def test_check_raises_every_fault() -> None:
    """One error that lists them."""
    whole: Any = {"cluster": "x", "regions": [{"name": "r", "racks": [{"name": "k", "hosts": [
        {"name": "h", "address": "10.0.0.1", "roles": roles(*FRONT, *CORE)}]}]}]}  # fmt: skip
    cluster = Topology.model_validate(whole)

    with pytest.raises(TopologyError) as caught:
        check(cluster, source="my.yaml")

    assert caught.value.faults == faults_of(cluster)
    assert caught.value.source == "my.yaml"
    assert str(caught.value).startswith("my.yaml: secrets.clickhouse: is missing")
    assert caught.value.exit_code == 2


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(list(HostRoles.model_fields))), max_size=24),
    st.booleans(),
)
def test_whatever_stands_where_is_judged(placed: list[tuple[str, str]], two: bool) -> None:  # noqa: FBT001
    """No cluster makes the judge fall over, and a quorum that passes keeps its majority without any rack."""
    places: Places = {"r": {}, "s": {}}
    for rack, role in placed:
        region = "s" if two and rack in "cd" else "r"
        its = {"clickhouse": {"shard": 1, "replica": 1}} if role == Role.CLICKHOUSE else roles(role)
        hosts = places[region].setdefault(rack, {})
        hosts[f"{rack}{len(hosts)}"] = its
    cluster = topology(
        {region: racks for region, racks in places.items() if racks} or {"r": {"a": {"a0": server(1, 1)}}}
    )
    said = "\n".join(sentences([*faults_of(cluster), *warnings_of(cluster)]))

    for role in (Role.KEEPER, Role.SENTINEL):
        nodes = cluster.nodes_of(role)
        for rack in {node.rack for node in nodes}:
            left = sum(node.rack != rack for node in nodes)
            if left < cluster.majority(role):
                assert (
                    f"{role} roles are in rack {rack}" in said
                    or "all hosts are in rack" in said
                    or len(nodes) not in {3, 5, 7, 9}
                )


def unchanged(_: Any) -> None:  # a cluster
    """The cluster as it is."""


def with_vips(places: Places, **vips: str) -> Topology:
    """A cluster whose first region has VIPs."""
    whole = values(places)
    whole["regions"][0]["vips"] = vips
    return Topology.model_validate(whole)


def test_a_vip_that_two_racks_can_serve_is_right() -> None:
    """Both kinds, with HAProxy beside each balancer."""
    cluster = one_site()
    for host in ("a1", "b1"):
        cluster["home"][host[0]][host]["haproxy"] = {}
    found = with_vips(cluster, balancer="10.0.0.100", nginx="10.0.0.101")

    assert sentences((*faults_of(found), *warnings_of(found))) == []


@pytest.mark.parametrize(
    ("change", "vips", "said"),
    [
        pytest.param(lambda p: p["home"]["b"]["b1"].pop("nginx"), {"nginx": "10.0.0.100"},
                     ["regions[0].vips.nginx: host a1 alone has the role nginx in region home: nobody could take "
                      "10.0.0.100 over; give the role to another host"], id="one-node"),
        pytest.param(lambda p: [p["home"][r][f"{r}1"].pop("nginx") for r in "ab"], {"nginx": "10.0.0.100"},
                     ["regions[0].vips.nginx: no nginx role is in region home: give it to two hosts there, or leave "
                      "the VIP out"], id="no-node"),
        pytest.param(lambda p: (p["home"]["a"]["a2"].update(nginx={}), p["home"]["b"]["b1"].pop("nginx")),
                     {"nginx": "10.0.0.100"},
                     ["regions[0].racks[0].hosts[1].roles.nginx: all 2 nginx roles are in rack a: move one to another "
                      "rack",
                      "regions[0].vips.nginx: all 2 nginx roles in region home are in rack a, and 10.0.0.100 goes with "
                      "it: move one to another rack"], id="one-rack"),
        pytest.param(unchanged, {"nginx": "10.0.0.3"},
                     ["regions[0].vips.nginx: 10.0.0.3 is the address of host a3: need one that no host has"],
                     id="an-address-of-a-host"),
        pytest.param(unchanged, {"nginx": "10.0.0.100", "balancer": "10.0.0.100"},
                     ["regions[0].vips.nginx: 10.0.0.100 is regions[0].vips.balancer too: need one of its own"],
                     id="one-address-twice"),
        pytest.param(unchanged, {"nginx": "127.0.0.9"},
                     ["regions[0].vips.nginx: 127.0.0.9 can't be shared: need a free address of the hosts' network"],
                     id="loopback"),
        pytest.param(unchanged, {"nginx": "fd00::9"},
                     [f"regions[0].vips.nginx: fd00::9 is of another family than 10.0.0.{last} of host {host}: use one "
                      "for both" for last, host in ((1, "a1"), (4, "b1"))], id="another-family"),
        pytest.param(lambda p: p["home"]["a"]["a1"].update(haproxy={}), {"balancer": "10.0.0.100"},
                     ["regions[0].vips.balancer: host b1 can have 10.0.0.100 and has no haproxy, as others have: "
                      "agents over TCP would be refused there; give it to all of them, or to none"],
                     id="haproxy-on-one-of-both"),
        pytest.param(lambda p: p["home"]["a"]["a1"]["nginx"].update(WITH_TLS), {"nginx": "10.0.0.100"},
                     ["regions[0].vips.nginx: host a1 serves 10.0.0.100 by https at port 443, b1 by http at port 80: "
                      "browsers would be refused after a move; give both the same"], id="https-on-one-of-both"),
        pytest.param(lambda p: (p["home"]["a"]["a1"]["nginx"].update(WITH_TLS),
                                p["home"]["b"]["b1"]["nginx"].update(WITH_TLS, https_port=8443)),
                     {"nginx": "10.0.0.100"},
                     ["regions[0].vips.nginx: host a1 serves 10.0.0.100 by https at port 443, b1 by https at port 8443:"
                      " browsers would be refused after a move; give both the same"], id="https-at-two-ports"),
    ],
)  # fmt: skip
def test_a_vip_that_can_not_do_what_it_is_for_is_refused(change: Change, vips: dict[str, str], said: list[str]) -> None:
    """Each sentence names the VIP, and what to do."""
    cluster = one_site()
    change(cluster)

    assert sorted(sentences(faults_of(with_vips(cluster, **vips)))) == sorted(said)


def test_a_vip_in_a_region_of_one_rack_is_warned_of() -> None:
    """It helps against the loss of a host, and not of the rack."""
    cluster = two_sites()
    cluster["east"]["ea"]["e4"] = roles("nginx")

    assert sentences(warnings_of(with_vips(cluster, nginx="10.0.0.100"))) == [
        "regions[0].vips.nginx: all that could have 10.0.0.100 are in the only rack of region east: add a second one"
    ]
