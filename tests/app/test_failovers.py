"""The failover log as page and files: filtered by the address, drills marked, whole in every form."""

import csv
import io
import json

import pytest
from fastapi.testclient import TestClient
from tests.app.calls_for_test import NOW
from tests.app.cluster_for_test import ListSight, client_of

from everline.cluster.entry import Entry, Kind, make_entry

HTML = {"Accept": "text/html"}
EVIL = "=cmd|'/C calc'!A0"


def entry(kind: Kind, ago_s: float, node: str, *, reason: str = "", token: int = 0) -> Entry:
    """An entry of so long ago."""
    return make_entry(kind, int((NOW - ago_s) * 1e6), node=node, by="w1", reason=reason, token=token)


LOG = [
    entry(Kind.SPOOL_STARTED, 900, "a2-ingest", reason="no ClickHouse server answers"),
    entry(Kind.SPOOL_DRAINED, 850, "a2-ingest"),
    entry(Kind.DRILL_STARTED, 600, "rack-b", reason=EVIL),
    entry(Kind.NODE_DEAD, 500, "b1-app", reason="no heartbeat", token=7),
    entry(Kind.NODE_BACK, 400, "b1-app", token=7),
    entry(Kind.DRILL_ENDED, 300, "rack-b"),
    entry(Kind.LEADER_LOST, 200, "a1-app", reason="session ended"),
    entry(Kind.LEADER_ELECTED, 198, "b1-app", token=8),
]  # fmt: skip


@pytest.fixture(name="client")
def made() -> TestClient:
    """With that log."""
    return client_of(ListSight(log=LOG))


@pytest.mark.parametrize(
    ("query", "kinds", "episodes"),
    [
        pytest.param("", [str(one.kind) for one in LOG],
                     ["spool_started", "drill_started", "node_dead", "leader_lost"], id="all"),
        pytest.param("kind=node_dead", ["node_dead"], ["node_dead"], id="kind"),
        pytest.param("node=b1-app", ["node_dead", "node_back", "leader_elected"], ["node_dead"], id="node"),
        pytest.param("q=HEARTBEAT", ["node_dead"], ["node_dead"], id="text-case-aside"),
        pytest.param("q=w1&kind=leader_lost&node=a1-app", ["leader_lost"], ["leader_lost"], id="all-of-them"),
        pytest.param("hours=0.06", ["leader_lost", "leader_elected"], ["leader_lost"], id="time"),
        pytest.param("limit=1", ["leader_elected"], ["leader_elected"], id="limit"),
        pytest.param("node=nobody", [], [], id="nothing"),
    ],
)  # fmt: skip
def test_the_log_is_filtered(client: TestClient, query: str, kinds: list[str], episodes: list[str]) -> None:
    """Entries and episodes alike; an episode is whole, though its end would not match."""
    told = client.get(f"/api/v1/failovers?{query}").json()

    assert ([one["kind"] for one in told["entries"]], [one["kind"] for one in told["episodes"]]) == (kinds, episodes)
    if query == "kind=node_dead":
        assert (told["episodes"][0]["recover_s"], told["episodes"][0]["token"]) == (100.0, 7)


@pytest.mark.parametrize(
    "path", ["/failovers", "/api/v1/failovers", "/api/v1/failovers.csv", "/api/v1/failovers.jsonl"]
)
@pytest.mark.parametrize(
    "query",
    ["kind=dancing", "hours=0", "hours=nan", "hours=inf", "hours=-1", "hours=1e99", "limit=0", "limit=9999", "who=me",
     "node=" + 300 * "x", "q=" + 300 * "x"],
)  # fmt: skip
def test_a_filter_that_makes_no_sense_is_named(client: TestClient, path: str, query: str) -> None:
    """400, before the log is read."""
    answer = client.get(f"{path}?{query}")

    assert (answer.status_code, query.partition("=")[0] in answer.json()["detail"]) == (400, True)


def test_drills_are_marked_in_every_form(client: TestClient) -> None:
    """What began while one was held, and it itself."""
    told = client.get("/api/v1/failovers").json()
    table = list(csv.DictReader(io.StringIO(client.get("/api/v1/failovers.csv").text)))
    lines = [json.loads(line) for line in client.get("/api/v1/failovers.jsonl").text.splitlines()]
    text = client.get("/failovers", headers=HTML).text

    expected = ["drill_started", "node_dead", "node_back", "drill_ended"]
    assert {one["kind"] for one in told["episodes"] if one["drill"]} == {"drill_started", "node_dead"}
    assert [one["kind"] for one in told["entries"] if one["drill"]] == expected
    assert [one["kind"] for one in lines if one["drill"]] == expected
    assert [one["kind"] for one in table if one["drill"] == "True"] == expected
    assert text.count("▷ drill") == 2
    assert "4 episodes, 0 of them not over, 2 during drills." in text


def test_files_hold_what_is_filtered(client: TestClient) -> None:
    """Under a name of their own, and no cell is a formula."""
    answer = client.get("/api/v1/failovers.csv?q=cmd")
    [row] = csv.DictReader(io.StringIO(answer.text))

    assert (row["node"], row["reason"]) == ("rack-b", f"'{EVIL}")
    assert 'filename="failovers.csv"' in answer.headers["content-disposition"]
    assert client.get("/api/v1/failovers.jsonl?q=nothing").text == ""


def test_the_page_keeps_its_filters_in_its_address(client: TestClient) -> None:
    """Ranges, files and chips go on from what is chosen."""
    text = client.get("/failovers?hours=24&kind=node_dead&q=b1", headers=HTML).text

    assert '<a href="/failovers?hours=168&amp;kind=node_dead&amp;q=b1">7 days</a>' in text
    assert '<a href="/failovers?hours=24&amp;q=b1" aria-label="Remove the filter kind">' in text
    assert 'href="/api/v1/failovers.csv?hours=24&amp;limit=500&amp;kind=node_dead&amp;q=b1"' in text
    assert '<option value="node_dead" selected>' in text
    assert 'href="/?since=' in text


def test_a_page_of_key_figures_opens_from_an_episode(client: TestClient) -> None:
    """Its range is one that the overview takes."""
    text = client.get("/failovers?kind=leader_lost", headers=HTML).text
    path = text.split('class="think" href="')[1].split('"')[0].replace("&amp;", "&")

    assert client.get(path, headers=HTML).status_code == 200
