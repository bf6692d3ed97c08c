"""`everline store repair` of a server that has lost its disk, and what it says of one that is not there."""

from tests.node.cluster.traffic import Calls
from tests.rigs.cluster import ClusterRig, until

from everline.store.cluster_schema import CLUSTER_TABLES

REPAIRED_S = 180.0
"""ClickHouse 18.16 pauses a table's fetches for 10 s after each part that it looks for and that nobody has any more."""
KEYS = {
    "messages_local": "call_id, captured_us, event_key",
    "calls_local": "in_call, hour, call_id",
    "lookup_local": "kind, value, hour, call_id",
    "failovers": "at_us, entry_id",
}
"""What tells the rows of each table apart."""


def rows(rig: ClusterRig, server: str) -> dict[str, tuple[object, ...]]:
    """How many different rows one server has of each table, and a digest of them."""
    return {
        table: rig.ask(
            server, f"SELECT count(), sum(h) FROM (SELECT DISTINCT cityHash64({keys}) AS h FROM everline.{table})"
        )[0]
        for table, keys in KEYS.items()
    }


def test_a_wiped_server_has_every_row_again(rig: ClusterRig) -> None:
    """Down, it is named and nothing is done; wiped and started, it gets its tables and all rows from its partner."""
    calls = Calls(20)
    calls.send(rig, "h1-ingest", "h2-ingest")
    calls.until_known(rig, "h1-app")
    rig.kill("h2-clickhouse")

    said = rig.everline("store", "repair", "h2-clickhouse")

    assert (said.returncode, said.stdout) == (1, "")
    assert "h2-clickhouse: 127.0.0.1:" in said.stderr
    assert "gives no answer" in said.stderr
    assert "start h2-clickhouse, and run this again" in said.stderr
    said = rig.everline("store", "repair")
    assert (said.returncode, said.stdout) == (1, "")
    assert "not every copy could be compared (h2-clickhouse: " in said.stderr

    rig.wipe("h2-clickhouse")
    rig.start("h2-clickhouse")
    until(lambda: rig.ask("h2-clickhouse", "SELECT 1"), "the empty server answers")
    assert rig.ask("h2-clickhouse", "SELECT count() FROM system.tables WHERE database = 'everline'") == [(0,)]

    said = rig.everline("store", "repair", "h2-clickhouse", within_s=REPAIRED_S)

    assert said.returncode == 0, said.stderr
    assert said.stdout == (
        f"h2-clickhouse: {len(CLUSTER_TABLES)} tables made anew ({', '.join(sorted(CLUSTER_TABLES))}), "
        "rows fetched from its partner\nall copies are equal\n"
    )
    until(lambda: rows(rig, "h1-clickhouse") == rows(rig, "h2-clickhouse"), "both servers have the same rows")
    [(messages,)] = rig.ask("h2-clickhouse", "SELECT uniqExact(event_key) FROM everline.messages_local")
    assert messages >= len(calls.messages)
    said = rig.everline("store", "repair", "h2-clickhouse")
    assert (said.returncode, said.stdout) == (0, "h2-clickhouse has all its tables\nall copies are equal\n")
