"""cluster.yaml as text: every fault at once, each with its path, its line and what to do."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.topology.clusters import Values, one_site, values

from everline.topology.errors import TopologyError
from everline.topology.model import HookEvent, Role
from everline.topology.parse import parse_topology

RIGHT = yaml.safe_dump(values(one_site()), sort_keys=False)


def faults_of(text: str) -> list[str]:
    """What is said about a text."""
    with pytest.raises(TopologyError) as caught:
        parse_topology(text, source="c.yaml")
    return [str(one) for one in caught.value.faults]


def put(path: str, value: Any) -> str:  # whatever YAML can hold
    """The right cluster with one value changed, as text."""
    whole = values(one_site())
    around: Any = whole
    *way, last = [int(one) if one.isdecimal() else one for one in path.split(".")]
    for one in way:
        around = around.setdefault(one, {}) if isinstance(around, dict) else around[one]
    around[last] = value
    return yaml.safe_dump(whole, sort_keys=False)


HOST = "regions.0.racks.0.hosts.0"
FIRST = "regions[0].racks[0].hosts[0]"


@pytest.mark.parametrize(
    ("path", "value", "path_said", "problem"),
    [
        pytest.param("retention", 3, "retention", "is no such key; ", id="unknown-key"),
        pytest.param("timrs", {}, "timrs", "is no such key; did you mean timers?", id="near-key"),
        pytest.param("store.retention", 3, "store.retention", "did you mean retention_days?", id="unknown-in-section"),
        pytest.param(f"{HOST}.roles.ingst", {}, f"{FIRST}.roles.ingst", "is no such role; did you mean ingest?",
                     id="near-role"),
        pytest.param(f"{HOST}.roles.mysql", {}, f"{FIRST}.roles.mysql",
                     "is no such role; there are balancer, haproxy, ingest, app, nginx, redis, sentinel, clickhouse",
                     id="unknown-role"),
        pytest.param("regions.0.racks.0.hosts.2.roles.clickhouse.shrad", 1,
                     "regions[0].racks[0].hosts[2].roles.clickhouse.shrad", "is no such key; did you mean shard?",
                     id="near-option"),
        pytest.param("regions.0.racks.0.hosts.2.roles.clickhouse", {},
                     "regions[0].racks[0].hosts[2].roles.clickhouse.shard", "is missing: Which part of the calls",
                     id="no-shard"),
        pytest.param("regions.0.racks.0.hosts.2.roles.clickhouse.shard", 0,
                     "regions[0].racks[0].hosts[2].roles.clickhouse.shard", "0: Input should be greater",
                     id="shard-0"),
        pytest.param(f"{HOST}.name", "Front_1", f"{FIRST}.name", "'Front_1': need a name of small letters", id="name"),
        pytest.param(f"{HOST}.name", "a-", f"{FIRST}.name", "'a-': need a name", id="name-ends-in-hyphen"),
        pytest.param("cluster", "7calls", "cluster", "need a name that starts with a letter", id="cluster-name"),
        pytest.param(f"{HOST}.name", 7, f"{FIRST}.name", "7: need a name of small letters, digits and hyphens (not at "
                     "the ends), such as fra1-a; put it in quotes", id="name-is-a-number"),
        pytest.param(f"{HOST}.name", "x" * 41, f"{FIRST}.name", "String should have at most 40", id="long-host"),
        pytest.param("cluster", "x" * 25, "cluster", "String should have at most 24", id="long-cluster"),
        pytest.param(f"{HOST}.address", "10.0.0.256", f"{FIRST}.address", "'10.0.0.256': need an IP address", id="ip"),
        pytest.param(f"{HOST}.address", "front.example", f"{FIRST}.address", "need an IP address", id="host-name"),
        pytest.param(f"{HOST}.roles.app.http_port", 70_000, f"{FIRST}.roles.app.http_port", "70000: Input should be "
                     "less than or equal to 65535", id="port-too-high"),
        pytest.param(f"{HOST}.roles.app.http_port", "80", f"{FIRST}.roles.app.http_port",
                     "'80': need a whole number, not in quotes", id="port-in-quotes"),
        pytest.param(f"{HOST}.roles.app.http_port", True, f"{FIRST}.roles.app.http_port", "need a whole number",
                     id="port-is-true"),
        pytest.param(f"{HOST}.roles.app.data_dir", "data", f"{FIRST}.roles.app.data_dir", "need an absolute path",
                     id="relative-directory"),
        pytest.param(f"{HOST}.roles.app.data_dir", "/data/../etc", f"{FIRST}.roles.app.data_dir",
                     "need an absolute path", id="directory-with-dots"),
        pytest.param(f"{HOST}.roles", ["app"], f"{FIRST}.roles", "need keys below it", id="roles-are-a-list"),
        pytest.param("regions", [], "regions", "need at least one", id="no-region"),
        pytest.param("regions", {"name": "a"}, "regions", "need a list", id="regions-are-keys"),
        pytest.param("regions.0.racks.0.hosts", [], "regions[0].racks[0].hosts", "need at least one", id="no-host"),
        pytest.param("secrets.redis", "hunter2hunter2", "secrets.redis", "need keys below it", id="secret-itself"),
        pytest.param("secrets.redis", {"file": "x", "env": "Y"}, "secrets.redis", "need either file: PATH or env: NAME",
                     id="secret-twice"),
        pytest.param("secrets.redis", {}, "secrets.redis", "need either file: PATH or env: NAME", id="secret-nowhere"),
        pytest.param("secrets.redis", {"env": "NO SPACE"}, "secrets.redis.env", "String should match", id="variable"),
        pytest.param("secrets.redis", {"file": "a\0b"}, "secrets.redis.file", "String should match", id="zero-byte"),
        pytest.param("hooks", [{"on": "all"}], "hooks[0]", "need either command: [PROGRAM, …] or webhook: URL",
                     id="hook-that-does-nothing"),
        pytest.param("hooks", [{"on": "all", "command": ["tell"]}], "hooks[0]", "absolute path", id="hook-command"),
        pytest.param("hooks", [{"on": "all", "webhook": "ftp://x"}], "hooks[0]", "starts with http://", id="hook-url"),
        pytest.param("hooks", [{"on": ["lunch"], "webhook": "http://x"}], "hooks[0].on[0]", "'leader_elected'",
                     id="hook-event"),
        pytest.param("timers.heartbeat_ms", 0, "timers.heartbeat_ms", "0: Input should be greater", id="timer"),
        pytest.param(
            "timers.redis_down_after_ms", 500, "timers.redis_down_after_ms", "500: Input should be greater",
            id="doubts-a-new-primary-before-it-is-asked",
        ),
        pytest.param("calls.stale_ringing_s", 1, "calls.stale_ringing_s", "1: Input should be greater", id="calls"),
    ],
)  # fmt: skip
def test_a_fault_names_its_key_and_what_to_do(path: str, value: Any, path_said: str, problem: str) -> None:  # YAML
    """The path, the line, what was found and what was needed; nothing else is said."""
    said = faults_of(put(path, value))

    assert any(one.startswith(f"{path_said} (line ") and problem in one for one in said), said
    assert all(one.startswith(path_said.rpartition(".")[0]) for one in said), said


def test_all_faults_are_reported_together_in_the_order_of_the_file() -> None:
    """One round is enough to mend them all; those of the whole cluster are among them."""
    text = RIGHT.replace("cluster: test", "cluster: test\nclutser: x").replace("10.0.0.2", "10.0.0.1", 1)
    text += "timers: {heartbeat_ms: 900, heartbeat_ms: 800}\nlog: {colour: true}\n"

    said = faults_of(text)

    assert [one.partition(" (")[0] for one in said] == [
        "clutser", "regions[0].racks[0].hosts[1].address", "timers.heartbeat_ms", "timers.suspect_ms", "log.colour",
    ]  # fmt: skip
    assert "stands twice (first in line" in said[2]
    assert "900 is" not in said[3]


def test_nothing_of_a_secret_or_a_webhook_is_repeated() -> None:
    """Whoever wrote it in the wrong place does not want it in a log too."""
    text = put("secrets.redis", {"file": 12345678, "env": "hunter 2"}) + "hooks: [{on: all, webhook: tok-en}]\n"

    said = "\n".join(faults_of(text))

    assert "12345678" not in said
    assert "hunter" not in said
    assert "tok-en" not in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("a: [1\nb: 2", "text (line 2): is not YAML: column 2:", id="syntax"),
        pytest.param("a: 1\n b: 2", "text (line 2): is not YAML: column 3:", id="indent"),
        pytest.param("a: 1\n---\nb: 2", "text (line 2): is not YAML: column 1:", id="two-documents"),
        pytest.param("a: \x07", "text: is not YAML: unacceptable character", id="control-character"),
        pytest.param("[" * 3000, "text: is nested too deeply", id="depth"),
        pytest.param("- a", "text (line 1): need keys below it", id="a-list"),
        pytest.param("? [a]\n: 1", "text (line 1): has a key that is no text", id="odd-key"),
        pytest.param("timers: &t {<<: *t}", "timers.<< (line 1): is not read", id="merge-key"),
        pytest.param("hooks: &h [*h]", "hooks[0] (line 1): is an alias of what it stands in", id="alias-of-itself"),
        pytest.param('"\\e[31m": 1', "'\\x1b[31m' (line 1): is no such key", id="escape-sequence"),
        pytest.param("cluster: !tag x", "cluster (line 1): has the tag '!tag'", id="a-tag"),
        pytest.param("cluster: !!python/name:os.system x", "cluster (line 1): has the tag", id="a-tag-makes-nothing"),
        pytest.param("", "cluster: is missing", id="nothing"),
    ],
)
def test_what_is_no_yaml_is_told_with_its_line(text: str, said: str) -> None:
    """Not a traceback."""
    assert any(one.startswith(said) for one in faults_of(text)), faults_of(text)


def test_aliases_cannot_make_a_small_text_endless() -> None:
    """A billion values in ten lines."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]

    assert any("is one value too many" in one for one in faults_of("\n".join(lines)))


def test_words_that_yaml_once_took_for_booleans_are_words() -> None:
    """`on` is a key of hooks, and a rack may be called `no`."""
    text = RIGHT.replace("- name: a\n", "- name: no\n", 1)
    text += "hooks: [{on: [node_dead], command: [/bin/true]}, {on: all, webhook: 'https://x.example/y'}]\n"

    topology = parse_topology(text, source="c.yaml")

    assert topology.regions[0].racks[0].name == "no"
    assert topology.hooks[0].on == (HookEvent.NODE_DEAD,)
    assert topology.hooks[1].on == tuple(HookEvent)


def test_an_anchor_may_give_several_roles_the_same_options() -> None:
    """What YAML is written with."""
    text = RIGHT.replace("ingest: {}", "ingest: &in {http_port: 9999}", 1).replace("ingest: {}", "ingest: *in")

    ingest = parse_topology(text, source="c.yaml").nodes_of(Role.INGEST)

    assert {node.options.ports()[-1].port for node in ingest} == {9999}


@given(st.data())
def test_whatever_one_value_becomes_it_is_a_cluster_or_a_fault(data: st.DataObject) -> None:
    """Nothing but TopologyError is raised."""
    junk = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
        max_leaves=4,
    )
    whole = values(one_site(), timers={"dead_ms": 3000}, hooks=[{"on": ["node_dead"], "webhook": "http://x"}])
    around, key = data.draw(st.sampled_from(list(_places(whole))))
    around[key] = data.draw(junk)

    try:
        parse_topology(yaml.safe_dump(whole, sort_keys=False), source="c.yaml")
    except TopologyError as error:
        faults = error.faults
    else:
        return
    assert all(one.path and one.problem for one in faults)


@given(st.text(max_size=200))
def test_whatever_the_text_is_it_is_a_cluster_or_a_fault(text: str) -> None:
    """Nothing but TopologyError is raised."""
    with pytest.raises(TopologyError):
        parse_topology(text, source="c.yaml")


def _places(value: Any) -> list[tuple[Any, Any]]:  # see above
    found: list[tuple[Any, Any]] = []
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            found.append((value, key))
            found.extend(_places(value[key]))
    return found


def test_the_right_cluster_is_right() -> None:
    """What the tests above change is accepted unchanged."""
    whole: Values = values(one_site())

    assert len(parse_topology(yaml.safe_dump(whole), source="c.yaml").hosts) == 7
