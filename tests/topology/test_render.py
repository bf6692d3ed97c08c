"""What `everline render` makes of a cluster: the same every time, no secret in the open, a change shown as a change."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import pytest
import yaml
from tests.topology.clusters import one_site, topology

from everline.cluster_file import Secrets
from everline.topology.model import ClickHouseOptions, RedisOptions, Role, Topology
from everline.topology.parse import parse_topology
from everline.topology.render import Places, RenderedFile, render
from everline.topology.render.files import sha256_hex
from everline.topology.render.systemd import _line

GOLDEN: Final = Path(__file__).parent / "golden"
CLUSTER: Final = (GOLDEN / "cluster.yaml").read_text(encoding="utf-8")
SECRETS: Final = Secrets(
    clickhouse="golden-clickhouse-secret", redis="golden-redis-secret", interserver="golden-interserver-secret",
    session_key="golden-session-key", admin_token="golden-admin-token", hep_key="golden-hep-key",
)  # fmt: skip
SECRET_VALUES: Final = ("clickhouse", "redis", "interserver", "session-key", "admin-token", "hep-key")
WITHOUT_COMMENTS: Final = {"myid", "users.acl"}
"""Files whose readers know no comments."""


def golden_cluster(**changes: Any) -> Topology:  # whatever the settings are
    """The cluster of the golden files, with some of its settings changed."""
    return parse_topology(yaml.safe_dump(yaml.safe_load(CLUSTER) | changes), source="cluster.yaml")


def rendered(cluster: Topology | None = None, places: Places | None = None) -> dict[str, RenderedFile]:
    """All files of a cluster; of the golden one as in production unless told otherwise."""
    return render(cluster or golden_cluster(), SECRETS, places or Places())


def differing(before: Mapping[str, RenderedFile], after: Mapping[str, RenderedFile]) -> set[str]:
    """Files that are not the same in both."""
    return {path for path in {*before, *after} if before.get(path) != after.get(path)}


def in_golden() -> dict[str, str]:
    """The golden files by path."""
    return {
        str(file.relative_to(GOLDEN)): file.read_text(encoding="utf-8")
        for file in GOLDEN.rglob("*")
        if file.is_file() and file.name != "cluster.yaml"
    }


def test_each_file_is_as_it_was_looked_at_last() -> None:
    """Golden files: a change of a template shows in review as what it does to each file."""
    files = rendered()
    if os.environ.get("EVERLINE_WRITE_GOLDEN"):
        for path in in_golden():
            (GOLDEN / path).unlink()
        for path, file in files.items():
            (GOLDEN / path).parent.mkdir(parents=True, exist_ok=True)
            (GOLDEN / path).write_text(file.text, encoding="utf-8")

    assert {path: file.text for path, file in files.items()} == in_golden()


def test_rendering_twice_makes_the_same_in_the_same_order() -> None:
    """Nothing depends on a clock, on chance, or on the order of a set."""
    assert list(rendered().items()) == list(rendered().items())


def test_each_file_says_where_it_comes_from_and_ends_with_its_last_line() -> None:
    """So that nobody changes it by hand for long."""
    for path, file in rendered().items():
        assert file.text.endswith("\n"), path
        assert not file.text.endswith("\n\n"), path
        if path.rpartition("/")[2] not in WITHOUT_COMMENTS:
            first = file.text.partition("\n")[0]
            assert "rendered from calls — change cluster.yaml, not this file" in first, path


def test_no_secret_is_in_a_file_that_others_may_read() -> None:
    """Nor its hash, which can be tried offline. Everline's own secrets are in no file at all."""
    files = rendered()

    assert {file.mode for file in files.values()} == {0o600, 0o644}
    for name in SECRET_VALUES:
        secret = getattr(SECRETS, name.replace("-", "_"))
        holding = {path for path, file in files.items() if secret in file.text or sha256_hex(secret) in file.text}
        assert bool(holding) == (name in {"clickhouse", "redis", "interserver"}), name
        assert {files[path].mode for path in holding} <= {0o600}, name


def test_every_node_with_a_program_has_its_files_and_a_unit() -> None:
    """A balancer has two, of which one runs: Everline's own, or NGINX in its place."""
    paths = set(rendered())

    assert {path.split("/")[2] for path in paths if path.startswith("e1/systemd/")} == {
        "everline-app.service", "everline-balancer.service",
        "everline-clickhouse-keeper.service", "everline-clickhouse.service",
        "everline-haproxy.service", "everline-ingest.service", "everline-nginx-stream.service",
        "everline-nginx.service", "everline-redis.service", "everline-sentinel.service", "everline-zookeeper.service",
    }  # fmt: skip
    assert {path.split("/")[1] for path in paths if path.startswith("t1/")} == {"t1-keeper", "t1-sentinel", "systemd"}


def test_a_changed_timer_changes_the_files_that_name_it_and_no_other() -> None:
    """So the diff of a render tells what has to be restarted."""
    timers = {"redis_down_after_ms": 1500, "clickhouse_session_ms": 4500}

    assert differing(rendered(), rendered(golden_cluster(timers=timers))) == {
        "e1/e1-sentinel/sentinel.conf", "w1/w1-sentinel/sentinel.conf", "t1/t1-sentinel/sentinel.conf",
    }  # fmt: skip


def test_a_clickhouse_server_more_is_told_to_all_of_them() -> None:
    """And each lets its host in."""
    wider = one_site()
    wider["home"]["c"]["c2"] = {"clickhouse": {"shard": 2, "replica": 1}}

    changed = differing(rendered(topology(one_site())), rendered(topology(wider)))

    names = ("config.xml", "users.xml")
    assert {path for path in changed if not path.startswith("c2/")} == {
        f"{host}/{host}-clickhouse/{name}" for host in ("a3", "b3") for name in names
    }


def test_a_server_asks_those_that_are_near_first() -> None:
    """Itself, then its rack, then its region: replicas in order, and keepers so that the nearest is asked first."""
    files = rendered()
    for host, order in (("e1", ["10.0.1.1", "10.0.2.1"]), ("w1", ["10.0.2.1", "10.0.1.1"])):
        config = ElementTree.fromstring(files[f"{host}/{host}-clickhouse/config.xml"].text)  # noqa: S314 - our own
        assert [one.text for one in config.findall("./remote_servers/calls/shard/replica/host")] == order
        assert [one.text for one in config.findall("./zookeeper/node/host")] == [*order, "[fd00::3]"]


def test_clickhouse_keeper_has_all_members_and_its_own_number() -> None:
    """Its program is not here to be asked (it is in no Debian package): the file is read as XML only."""
    config = ElementTree.fromstring(rendered()["w1/w1-keeper/keeper.xml"].text)  # noqa: S314 - our own
    members = config.findall("./keeper_server/raft_configuration/server")

    assert config.findtext("./keeper_server/server_id") == "2"
    assert [[part.text for part in member] for member in members] == [
        ["1", "10.0.1.1", "9234"], ["2", "10.0.2.1", "9234"], ["3", "fd00::3", "9234"],
    ]  # fmt: skip


def test_a_secret_is_escaped_where_xml_needs_it() -> None:
    """cluster_file refuses such secrets; nobody relies on it here."""
    odd = Secrets(clickhouse="a<b>&\"c'", redis="r", interserver="i", session_key="s", admin_token="t")
    files = render(golden_cluster(), odd, Places())

    config = ElementTree.fromstring(files["e1/e1-clickhouse/config.xml"].text)  # noqa: S314 - our own
    assert config.findtext("./remote_servers/calls/shard/replica/password") == odd.clickhouse


def test_the_first_redis_of_the_file_is_followed_by_the_others_until_sentinel_says_otherwise() -> None:
    """In the part that Sentinel rewrites; in what is rendered anew nobody is named."""
    files = rendered()

    assert "replicaof" not in files["e1/e1-redis/first.conf"].text
    assert files["w1/w1-redis/first.conf"].text.endswith("\nreplicaof 10.0.1.1 6379\n")
    assert all("replicaof" not in file.text for path, file in files.items() if path.endswith("/redis.conf"))
    assert files["t1/t1-sentinel/first.conf"].text.endswith("\nsentinel monitor calls 10.0.1.1 6379 2\n")


def test_redis_has_room_for_the_calls_that_may_be_live() -> None:
    """live.max_calls decides: 256 MiB and 8 KiB a call."""
    text = rendered(golden_cluster(live={"max_calls": 1_000}))["e1/e1-redis/redis.conf"].text

    assert f"\nmaxmemory {(256 << 20) + 1_000 * 8_192}\n" in text


def unit(name: str, *, host: str = "e1", places: Places | None = None, **changes: Any) -> list[str]:  # settings
    """The lines of a unit of the golden cluster."""
    return rendered(golden_cluster(**changes), places)[f"{host}/systemd/everline-{name}.service"].text.splitlines()


def test_a_low_port_needs_a_capability_and_no_other_unit_of_ours_has_one() -> None:
    """w1's app node listens on 443."""
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE" in unit("app", host="w1")
    assert "AmbientCapabilities=" in unit("app", host="e1")


def test_secrets_reach_our_processes_as_the_cluster_says() -> None:
    """Files as credentials, which only root has to read; variables from a file that the operator makes."""
    lines = unit("ingest")

    assert [line for line in lines if line.startswith(("LoadCredential", "EnvironmentFile"))] == [
        "LoadCredential=clickhouse:/etc/everline/secrets/clickhouse",
        "LoadCredential=redis:/run/keys/redis",
        "LoadCredential=interserver:/etc/everline/secrets/interserver",
        "LoadCredential=admin_token:/etc/everline/secrets/admin-token",
        "EnvironmentFile=/etc/everline/secrets.env",
    ]
    files = {name: {"file": f"secrets/{name}"} for name in ("clickhouse", "redis", "interserver")}
    more = {"session_key": {"file": "secrets/session"}, "admin_token": {"file": "secrets/admin"}}
    assert not [line for line in unit("ingest", secrets=files | more) if line.startswith("EnvironmentFile")]


def test_a_data_directory_outside_of_var_lib_is_opened_to_its_unit() -> None:
    """Systemd makes those below /var/lib itself."""
    assert "ReadWritePaths=/srv/everline/ingest" in unit("ingest", host="e1")
    assert "StateDirectory=everline/ingest" in unit("ingest", host="w1")
    assert "StateDirectory=everline/clickhouse" in unit("clickhouse")
    assert "LogsDirectory=everline/e1-clickhouse" in unit("clickhouse")


def test_a_hook_that_is_a_program_may_be_of_any_kind() -> None:
    """It runs in the sandbox of the leader, and some runtimes make machine code."""
    hooks = [{"on": "all", "command": ["/usr/local/bin/page-someone"]}]

    assert "MemoryDenyWriteExecute=yes" in unit("app")
    assert "MemoryDenyWriteExecute=no" in unit("app", hooks=hooks)


def test_our_processes_are_stopped_after_the_time_they_need_to_drain() -> None:
    """And are started after the engines beside them, so that they stop before them."""
    assert "TimeoutStopSec=50" in unit("ingest", ingest={"drain_s": 29.5})
    after = next(line for line in unit("app") if line.startswith("After="))
    assert {"everline-redis.service", "everline-clickhouse.service", "everline-zookeeper.service"} < set(after.split())


def test_clickhouse_is_restarted_after_its_session_has_ended() -> None:
    """Earlier, it would find its own old session and stay read-only for ten seconds."""
    assert "RestartSec=6" in unit("clickhouse")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("/bin/true", "plain-1_2.3:/x,y@z=+"), "/bin/true plain-1_2.3:/x,y@z=+"),
        (("/bin/true", "100%", "$HOME"), "/bin/true 100%% $$HOME"),
        (("/bin/true", 'a "b" \\c', ""), '/bin/true "a \\"b\\" \\\\c" ""'),
    ],
    ids=["plain", "nothing-is-expanded", "quoted"],
)
def test_a_command_is_written_as_systemd_reads_it(words: tuple[str, ...], line: str) -> None:
    """Its specifiers, variables and quotes are its own (systemd.service(5))."""
    assert _line(words) == line


def test_a_lab_puts_all_hosts_on_one_machine() -> None:
    """Directories of its own, whatever cluster.yaml says; more addresses that may ask ClickHouse."""
    places = Places(
        config_root="/lab/etc", data_root="/lab/data", log_root="/lab/log", run_root="/lab/run",
        power_safe=False, trusted_networks=("10.9.9.1",),
    )  # fmt: skip
    files = rendered(places=places)

    assert "forceSync=no\n" in files["e1/e1-keeper/zoo.cfg"].text
    assert "forceSync=yes\n" in rendered()["e1/e1-keeper/zoo.cfg"].text
    assert "old_parts_lifetime" in files["e1/e1-clickhouse/config.xml"].text
    assert "old_parts_lifetime" not in rendered()["e1/e1-clickhouse/config.xml"].text
    assert "<ip>10.9.9.1</ip>" in files["e1/e1-clickhouse/users.xml"].text
    config = [file.text for path, file in files.items() if "/systemd/" not in path]
    for place in ("/etc/everline", "/run/everline", "/var/", "/srv/"):
        assert not [text for text in config if place in text]


def test_the_examples_render(request: pytest.FixtureRequest) -> None:
    """With the primary that they say: the first Redis of the file."""
    for file in sorted((request.config.rootpath / "examples").glob("*.yaml")):
        cluster = parse_topology(file.read_text(encoding="utf-8"), source=file.name)
        files = rendered(cluster)
        primary = cluster.nodes_of(Role.REDIS)[0]
        port = primary.options_as(RedisOptions).port
        following = [path for path, one in files.items() if f"\nreplicaof {primary.address} {port}\n" in one.text]
        assert len(following) == len(cluster.nodes_of(Role.REDIS)) - 1
        macros = [(n.options_as(ClickHouseOptions).shard, n.name) for n in cluster.nodes_of(Role.CLICKHOUSE)]
        assert all(f"<shard>{shard}</shard>" in files[f"{name[:-11]}/{name}/config.xml"].text for shard, name in macros)
        assert json.dumps(list(files)), "paths are plain text"


def test_a_hash_in_a_file_is_that_of_the_password() -> None:
    """As `echo -n … | sha256sum` prints it."""
    assert sha256_hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
