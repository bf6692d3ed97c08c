"""cluster.yaml and its secrets on disk: what can't be read or used is told, all at once, and never shown."""

import os
import stat
from pathlib import Path

import pytest
import yaml
from tests.topology.clusters import SECRETS, one_site, topology, values

from everline.cluster_file import MOST_FILE_BYTES, Secrets, load_topology, make_secret_files, resolve_secrets
from everline.topology.errors import TopologyError
from everline.topology.model import Topology

GOOD = {name.upper(): f"{name}-0123456789abcdef" for name in SECRETS}


def referring(**places: dict[str, str]) -> Topology:
    """A cluster whose secrets are in the environment, but for those given."""
    return topology(one_site(), secrets={**{name: {"env": name.upper()} for name in SECRETS}, **places})


def faults_of(cluster: Topology, base: Path, **environ: str) -> list[str]:
    """What is said about the secrets of a cluster; those not named are right."""
    with pytest.raises(TopologyError) as caught:
        resolve_secrets(cluster, base, {**GOOD, **environ})
    return [str(one) for one in caught.value.faults]


def private(path: Path, content: str | bytes, mode: int = 0o600) -> Path:
    """A file of that content and mode."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)
    return path


def test_a_cluster_file_is_loaded(tmp_path: Path) -> None:
    """The way from disk to topology."""
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump(values(one_site())), "utf-8")

    assert load_topology(path).cluster == "test"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "file: cannot be read: No such file or directory; name a readable cluster.yaml"),
        (b"cluster: \xff", "file: is not UTF-8 at byte 9"),
        (b"#" * (MOST_FILE_BYTES + 1), "file: is longer than 1048576 bytes"),
        (b"cluster: [", "text (line 1): is not YAML: column 11"),
    ],
    ids=["missing", "not-utf-8", "huge", "no-yaml"],
)
def test_a_file_that_is_none_is_a_fault(content: bytes | None, said: str, tmp_path: Path) -> None:
    """With the path as its source."""
    path = tmp_path / "cluster.yaml"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(TopologyError) as caught:
        load_topology(path)

    assert str(caught.value.faults[0]).startswith(said)
    assert caught.value.source == str(path)


def test_secrets_come_from_files_and_the_environment(tmp_path: Path) -> None:
    """A file's first line; a relative path starts at the directory of the cluster file."""
    private(tmp_path / "redis", "from-a-file-0123456789\nnot this\n")
    absolute = private(tmp_path / "hep", "absolute-0123456789")
    cluster = referring(redis={"file": "redis"}, hep_key={"file": str(absolute)})

    found = resolve_secrets(cluster, tmp_path, GOOD)

    assert (found.redis, found.clickhouse) == ("from-a-file-0123456789", GOOD["CLICKHOUSE"])
    assert found.hep_key == "absolute-0123456789"
    assert resolve_secrets(referring(), tmp_path, GOOD).hep_key is None


def test_secrets_are_never_shown() -> None:
    """Not by repr, str or a log line that formats them."""
    secrets = Secrets("c" * 16, "r" * 16, "i" * 16, "s" * 16, "a" * 16)

    assert repr(secrets) == str(secrets) == f"{secrets}" == "Secrets(***)"


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        pytest.param(None, 0, "cannot be read: No such file or directory", id="missing"),
        pytest.param("", 0o600, "is empty: put a secret of 16 characters or more there", id="empty"),
        pytest.param("\nsecond-line-0123456789", 0o600, "is empty", id="empty-first-line"),
        pytest.param("short", 0o600, "has 5 characters, need 16 or more", id="short"),
        pytest.param("0123456789abcdef", 0o640, "is open to others (mode 0640): run chmod 600", id="group"),
        pytest.param("0123456789abcdef", 0o604, "is open to others (mode 0604): run chmod 600", id="world"),
        *(
            pytest.param(f"0123456789{bad}abcdef", 0o600, "has characters that break configuration files", id=repr(bad))
            for bad in ("'", '"', "\\", " ", "<", ">", "&", "`", "\t", "\x7f", "é")
        ),
        pytest.param(b"0123456789\xff\xfeabcdef", 0o600, "has characters that break", id="not-utf-8"),
    ],
)
def test_a_secret_that_cannot_be_used_is_told(
    content: str | bytes | None, mode: int, said: str, tmp_path: Path
) -> None:
    """With its key, its file and what to do; without any of it."""
    if content is not None:
        private(tmp_path / "redis", content, mode)

    [fault] = faults_of(referring(redis={"file": "redis"}), tmp_path)

    assert fault.startswith(f"secrets.redis: {tmp_path / 'redis'} {said}")
    assert "0123456789" not in fault


def test_all_that_is_wrong_with_secrets_is_told_together(tmp_path: Path) -> None:
    """Missing references, variables, directories and short ones in one round."""
    references = {"clickhouse": {"env": "NOPE"}, "redis": {"file": "."}, "session_key": {"env": "SHORT"}}
    cluster = topology(one_site(), secrets={**references, "admin_token": {"env": "BLANK"}})

    assert faults_of(cluster, tmp_path, SHORT="abc", BLANK="  ") == [
        "secrets.clickhouse: the environment variable NOPE is not set: set it, or refer to a file",
        f"secrets.redis: {tmp_path} is no plain file: name one whose first line is the secret",
        "secrets.interserver: is missing: give file: PATH or env: NAME",
        "secrets.session_key: the environment variable SHORT has 3 characters, need 16 or more: use a longer secret",
        "secrets.admin_token: the environment variable BLANK is empty: put a secret of 16 characters or more there",
    ]


def test_secret_files_are_made_once_and_for_their_owner(tmp_path: Path) -> None:
    """What is there already stays; each is another; all can be used."""
    cluster = topology(one_site(), secrets={name: {"file": f"secrets/{name}"} for name in SECRETS})
    (tmp_path / "secrets").mkdir()
    private(tmp_path / "secrets" / "redis", "mine-0123456789abcdef")
    before = os.umask(0)
    try:
        made = make_secret_files(cluster, tmp_path)
    finally:
        os.umask(before)

    assert [path.name for path in made] == ["clickhouse", "interserver", "session_key", "admin_token"]
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in made)
    found = resolve_secrets(cluster, tmp_path, {})
    assert found.redis == "mine-0123456789abcdef"
    assert len({getattr(found, name) for name in SECRETS}) == 5
    assert make_secret_files(cluster, tmp_path) == ()


def test_secrets_of_the_environment_are_left_to_it(tmp_path: Path) -> None:
    """No file is made for them."""
    assert make_secret_files(referring(), tmp_path) == ()


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """With the key and the path."""
    (tmp_path / "secrets").write_text("a file", "utf-8")
    cluster = referring(redis={"file": "secrets/redis"})

    with pytest.raises(TopologyError, match=r"secrets\.redis: .*secrets/redis cannot be made"):
        make_secret_files(cluster, tmp_path)


def test_what_systemd_hands_over_takes_the_place_of_the_file(tmp_path: Path) -> None:
    """LoadCredential=redis:… makes a file of that name; the ACL for the service's user looks like a group's."""
    handed = tmp_path / "credentials"
    handed.mkdir()
    private(handed / "redis", "handed-over-0123456789\n", 0o440)
    cluster = referring(redis={"file": "only-root-reads-it"}, clickhouse={"file": "clickhouse"})
    private(tmp_path / "clickhouse", "from-a-file-0123456789\n")

    found = resolve_secrets(cluster, tmp_path, {**GOOD, "CREDENTIALS_DIRECTORY": str(handed)})

    assert (found.redis, found.clickhouse) == ("handed-over-0123456789", "from-a-file-0123456789")
