"""Defaults < file < environment < flags; every fault at once; secrets never."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from everline.config import KEYS, Endpoint, NodeConfig, effective_values, environment_name, parse_endpoint
from everline.config_load import ConfigError, load_config

DOCS = Path(__file__).parent.parent / "docs" / "configuration.md"


def faults_of(text: str, tmp_path: Path, **environ: str) -> list[str]:
    """The faults of a configuration file, as `key: problem`."""
    file = tmp_path / "everline.toml"
    file.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(file, environ=environ, flags={})
    return [f"{fault.key}: {fault.problem}" for fault in caught.value.faults]


def test_each_source_overrides_the_one_before(tmp_path: Path) -> None:
    """A flag beats the environment, which beats the file, which beats the default."""
    file = tmp_path / "everline.toml"
    file.write_text('name = "file"\n[ingest]\nbatch_ms = 1\nbatch_events = 1\nqueue_events = 2000\n', "utf-8")
    environ = {"EVERLINE_INGEST_BATCH_MS": "2", "EVERLINE_INGEST_BATCH_EVENTS": "2"}

    loaded = load_config(file, environ=environ, flags={"ingest.batch_ms": 3, "ingest.hep": None})

    ingest = loaded.config.ingest
    assert (ingest.hep, ingest.queue_events, ingest.batch_events, ingest.batch_ms) == (
        Endpoint("127.0.0.1", 9060), 2000, 2, 3,
    )  # fmt: skip
    assert loaded.sources["ingest.hep"] == "default"
    assert loaded.sources["ingest.queue_events"] == str(file)
    assert loaded.sources["ingest.batch_events"] == "EVERLINE_INGEST_BATCH_EVENTS"
    assert loaded.sources["ingest.batch_ms"] == "command line"


@pytest.mark.parametrize("written", ["file", "environment"])
def test_networks_are_a_list_or_text_with_commas(written: str, tmp_path: Path) -> None:
    """In the file as TOML has lists; the environment has none."""
    file = tmp_path / "everline.toml"
    file.write_text("[ingest]\nproxies = ['10.0.0.1', 'fd00::/8']\n" if written == "file" else "", "utf-8")
    environ = {} if written == "file" else {"EVERLINE_INGEST_PROXIES": "10.0.0.1, fd00::/8"}

    config = load_config(file, environ=environ, flags={}).config

    assert config.ingest.proxies == (ip_network("10.0.0.1"), ip_network("fd00::/8"))
    assert effective_values(config)["ingest.proxies"] == "10.0.0.1/32, fd00::/8"


def test_all_faults_are_reported_together(tmp_path: Path) -> None:
    """Bad values, unknown keys, keys that need each other: one round is enough to mend them all."""
    text = """
    nmae = "x"
    http = 5173
    [ingest]
    hep = "nowhere"
    batch_ms = -1
    batch_evens = 3
    tls_key = "/does/not/exist.key"
    """
    got = faults_of(text, tmp_path, EVERLINE_STORE_RETENTION_DAYS="many", EVERLINE_HTTP_LISTN="x")

    assert [one.partition(":")[0] for one in got] == [
        "EVERLINE_HTTP_LISTN", "http", "ingest.batch_evens", "ingest.batch_ms", "ingest.hep",
        "ingest.tls_certificate", "ingest.tls_key", "nmae", "store.retention_days",
    ]  # fmt: skip
    assert "did you mean ingest.batch_events?" in got[2]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        pytest.param("a = = 1", "--config: is not TOML", id="broken-toml"),
        pytest.param("name = 'no spaces'", "name: 'no spaces': String should match", id="bad-name"),
        pytest.param("[ingest]\nhep = '127.0.0.1:70000'", "ingest.hep: '127.0.0.1:70000': need HOST:PORT", id="port"),
        pytest.param("[ingest]\nhep = '::1:9060'", "ingest.hep: '::1:9060': need HOST:PORT", id="ipv6-needs-brackets"),
        pytest.param("[ingest]\ntls = '0.0.0.0:9061'", "ingest.tls: needs ingest.tls_certificate", id="tls-alone"),
        pytest.param("[ingest]\nauth_key_file = '/no'", "ingest.auth_key_file: '/no' cannot be read", id="no-key-file"),
        pytest.param("[ingest]\nauth_key_file = '/dev/null'", "ingest.auth_key_file: is empty", id="empty-key-file"),
        pytest.param("[live]\nmax_calls = 'x'", "live.max_calls: 'x': Input should be a valid integer", id="type"),
        pytest.param("[ingest.hep]\nport = 1", "ingest.hep:", id="table-for-a-value"),
        pytest.param(
            "[ingest]\nproxies = ['10.0.0.1/8']",
            "ingest.proxies: ['10.0.0.1/8']: 10.0.0.1/8 has host bits",
            id="no-network",
        ),
        pytest.param("[ingest]\nproxies = 1", "ingest.proxies: 1: need a list of addresses", id="no-list"),
    ],
)
def test_a_fault_names_its_key(text: str, fault: str, tmp_path: Path) -> None:
    """The key path, what was found, what was needed."""
    assert fault in faults_of(text, tmp_path)[0]


def test_a_file_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    """Not a traceback, and not the defaults."""
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "none.toml", environ={}, flags={})


def test_variables_of_a_service_named_everline_are_ignored() -> None:
    """Kubernetes sets them in every pod beside such a service."""
    environ = {"EVERLINE_SERVICE_HOST": "10.0.0.1", "EVERLINE_PORT_9060_UDP_ADDR": "10.0.0.1", "EVERLINE_URL": "x"}

    assert load_config(None, environ=environ, flags={}).config.http == NodeConfig().http


def test_the_key_of_agents_is_read_from_its_file_and_never_shown(tmp_path: Path) -> None:
    """The first line counts."""
    file = tmp_path / "hep.key"
    file.write_text("s3cret\nsecond line\n", "utf-8")

    config = load_config(None, environ={}, flags={"ingest.auth_key_file": file}).config

    assert config.ingest.hep_key() == b"s3cret"
    assert "s3cret" not in f"{config!r} {config} {effective_values(config)}"
    assert effective_values(config)["ingest.auth_key"] == "***"


def test_a_wrong_secret_is_not_printed(tmp_path: Path) -> None:
    """What is wrong with a secret is said without the secret."""
    assert "77123" not in " ".join(faults_of("[ingest]\nauth_key = 77123", tmp_path))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("127.0.0.1:9060", Endpoint("127.0.0.1", 9060), id="ipv4"),
        pytest.param("[::1]:9060", Endpoint("::1", 9060), id="ipv6"),
        pytest.param("sbc.example.com:0", Endpoint("sbc.example.com", 0), id="name-and-any-port"),
    ],
)
def test_an_endpoint_is_read_and_written_alike(text: str, expected: Endpoint) -> None:
    """HOST:PORT."""
    assert parse_endpoint(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize("key", KEYS)
def test_every_key_is_described_and_documented(key: str) -> None:
    """A key that the docs do not name does not exist for its users."""
    assert KEYS[key]
    assert f"| `{key}` |" in DOCS.read_text("utf-8")
    assert environment_name(key).isupper()
