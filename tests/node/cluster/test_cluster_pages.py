"""The cluster on the pages of an app node, and behind them."""

import re

import httpx2
from tests.rigs.cluster import ClusterRig, until
from tests.topology.rendered import SECRETS

from everline.topology.model import Role

SIGNED_IN = {"Authorization": f"Bearer {SECRETS.admin_token}", "Accept": "text/html"}


def text_of(rig: ClusterRig, node: str, path: str) -> str:
    """A page, without its tags."""
    answer = rig.http.get(f"http://127.0.0.1:{rig.port(node, 'http_port')}{path}", headers=SIGNED_IN)
    assert answer.status_code == 200, answer.text
    return " ".join(re.sub(r"<[^>]+>", " ", answer.text).split())


def when_well(rig: ClusterRig, node: str) -> str:
    """The map of a cluster, once it says that all is well."""
    said = text_of(rig, node, "/cluster")
    return said if "programs serve; " in said else ""


def test_the_map_shows_every_program_and_who_leads(rig: ClusterRig) -> None:
    """The same on every app node."""
    [(leader, token)] = rig.leaders().items()
    names = [node.name for node in rig.cluster.topology.nodes]
    until(lambda: rig.status(code=0), "every node is heard")

    for node in rig.names(Role.APP):
        said = until(lambda node=node: when_well(rig, node), f"{node} sees that all is well")  # type: ignore[misc]
        assert f"All {len(names)} programs serve; {leader} leads." in said
        assert f"leads, token {token}" in said
        assert "Ingest 2/2" in said
        assert f"leader {leader}" in said
        api = rig.api(node, "cluster")
        assert (api["leader"], api["meanings"]) == ({"node": leader, "token": token}, [])
        assert [one["node"] for one in api["programs"]] == names


def test_what_dies_is_on_the_map_with_what_it_means(rig: ClusterRig) -> None:
    """And in the failover log, once it is back too."""
    rig.kill("h2-ingest")
    until(lambda: "balancers send to the others" in text_of(rig, "h1-app", "/cluster"), "the map has the loss")
    assert rig.api("h1-app", "cluster")["meanings"] == ["Ingest 1 of 2: balancers send to the others."]

    def logged(sentence: str) -> bool:
        return sentence in text_of(rig, "h1-app", "/failovers")

    until(lambda: logged("h2-ingest was dead"), "the log has it")
    rig.start("h2-ingest")
    until(lambda: logged("h2-ingest was dead; over after"), "the log has its end")
    told = rig.api("h2-app", "failovers", hours=1)
    [dead] = [one for one in told["episodes"] if (one["kind"], one["node"]) == ("node_dead", "h2-ingest")]
    assert dead["recover_s"] >= dead["detect_s"] > 0
    assert {"node_dead", "leader_elected"} <= {one["kind"] for one in told["entries"]}


def test_an_open_page_hears_of_it_by_the_strip(rig: ClusterRig) -> None:
    """Which it asks for again and again, whatever page it is."""
    rig.kill("h1-ingest")

    def strip() -> dict[str, str]:
        return {one["text"]: one["state"] for one in rig.api("h2-app", "node")["strip"]}

    until(lambda: strip().get("Ingest 1/2") == "degraded", "the strip has the loss")


def test_a_node_is_drained_on_its_page_and_taken_back(rig: ClusterRig) -> None:
    """What that does is said before; who did it and why, after. Twice is as once."""
    assert "Balancers send its packets to others at once" in text_of(rig, "h1-app", "/nodes/h2-ingest")
    for _ in range(2):
        answer = posted(rig, "h1-app", "/nodes/h2-ingest/drain", reason="new <b>disk</b>")
        assert (answer.status_code, answer.headers["location"]) == (303, "/nodes/h2-ingest")

    until(lambda: rig.readiness("h2-ingest").startswith("drained"), "the node says so")
    until(lambda: "Take h2-ingest back" in text_of(rig, "h2-app", "/nodes/h2-ingest"), "the other app node shows it")
    [drain] = (rig.status(code=1) or until(lambda: rig.status(code=1), "all are heard"))["drains"]
    assert (drain["node"], drain["reason"]) == ("h2-ingest", "new <b>disk</b>")
    assert drain["who"] == "the admin token at 127.0.0.1, through h1-app"

    assert posted(rig, "h2-app", "/api/v1/nodes/h2-ingest/undrain").json() == {"node": "h2-ingest", "drained": False}
    until(lambda: rig.readiness("h2-ingest") == "ready", "the node is in service")
    until(lambda: "node undrained" in text_of(rig, "h1-app", "/nodes/h2-ingest"), "its page tells what happened")


def test_what_can_not_be_drained_is_refused_with_a_next_step(rig: ClusterRig) -> None:
    """And whoever is not signed in, or comes from another site, does nothing."""
    assert posted(rig, "h1-app", "/api/v1/nodes/h9-ingest/drain").json()["next_step"] == "See /cluster for their names."
    engine = posted(rig, "h1-app", "/api/v1/nodes/h1-redis/drain")
    assert (engine.status_code, engine.json()["detail"]) == (409, "h1-redis is redis.")
    path = f"http://127.0.0.1:{rig.port('h1-app', 'http_port')}/api/v1/nodes/h1-ingest/drain"
    assert rig.http.post(path, headers={"Authorization": ""}).status_code == 401
    assert rig.http.post(path, headers=SIGNED_IN | {"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert rig.readiness("h1-ingest") == "ready"


def posted(rig: ClusterRig, node: str, path: str, **form: str) -> httpx2.Response:
    """What is answered to a POST."""
    address = f"http://127.0.0.1:{rig.port(node, 'http_port')}{path}"
    return rig.http.post(address, data=form, headers=SIGNED_IN, follow_redirects=False)
