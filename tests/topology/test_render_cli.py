"""`everline render`: what it writes, what it says, what it leaves alone."""

import json
from pathlib import Path

import pytest

from everline.cli.entry import run
from everline.cli.rendered_tree import MANIFEST

GOLDEN = Path(__file__).parent / "golden" / "cluster.yaml"
NAMES = ("clickhouse", "redis", "interserver", "admin-token")
SESSION_KEY = "a-session-key-0123456789"


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The golden cluster in a file of its own, with secrets that exist."""
    path = tmp_path / "cluster.yaml"
    path.write_text(GOLDEN.read_text(encoding="utf-8").replace("/run/keys/redis", "secrets/redis"), encoding="utf-8")
    (tmp_path / "secrets").mkdir()
    for name in NAMES:
        set_secret(path, name, f"{name}-0123456789abcdef")
    monkeypatch.setenv("EVERLINE_SESSION_KEY", SESSION_KEY)
    return path


def set_secret(cluster: Path, name: str, secret: str) -> None:
    """Write the file of a secret."""
    file = cluster.parent / "secrets" / name
    file.write_text(f"{secret}\n", encoding="utf-8")
    file.chmod(0o600)


def change(cluster: Path, old: str, new: str) -> None:
    """Change the cluster file."""
    text = cluster.read_text(encoding="utf-8")
    assert old in text
    cluster.write_text(text.replace(old, new), encoding="utf-8")


def render(cluster: Path, *more: str) -> int:
    """Run the command into `out` beside the cluster file."""
    return run(["render", str(cluster), "--out", str(out_of(cluster)), *more])


def out_of(cluster: Path) -> Path:
    """Where `render` writes."""
    return cluster.parent / "out"


def state_of(directory: Path) -> dict[str, tuple[str, int, int]]:
    """Text, mode and inode of each file: a file that is written anew has another inode."""
    return {
        str(file.relative_to(directory)): (file.read_text("utf-8"), file.stat().st_mode & 0o777, file.stat().st_ino)
        for file in directory.rglob("*")
        if file.is_file()
    }


def test_the_first_run_writes_all_and_the_second_nothing(cluster: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each file with its mode; each is named once."""
    assert render(cluster) == 0
    said = capsys.readouterr().out.splitlines()
    before = state_of(out_of(cluster))

    assert said[0] == "added   e1/e1-balancer/call_id.js"
    assert said[-1] == f"{len(said) - 1} added, 0 changed, 0 removed, 0 as before"
    assert set(before) == {line.split()[1] for line in said[:-1]} | {MANIFEST}
    assert before["e1/e1-redis/redis.conf"][1] == 0o600
    assert before["e1/systemd/everline-redis.service"][1] == 0o644

    assert render(cluster) == 0
    assert capsys.readouterr().out == f"nothing changed: {len(said) - 1} files\n"
    assert state_of(out_of(cluster)) == before


def test_a_change_writes_what_it_changes_and_removes_what_is_no_longer_there(
    cluster: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the directories that this leaves empty; what others put there stays."""
    assert render(cluster) == 0
    (out_of(cluster) / "t1" / "notes").write_text("mine", encoding="utf-8")
    change(cluster, "clickhouse: {shard: 1, replica: 2}", "clickhouse: {shard: 1, replica: 2, http_port: 8124}")
    change(cluster, "roles: {sentinel: , keeper: , witness: }", "roles: {keeper: {name: third}, sentinel: , witness: }")
    capsys.readouterr()

    assert render(cluster) == 0

    said = capsys.readouterr().out.splitlines()
    assert "changed w1/w1-clickhouse/config.xml" in said
    assert "removed t1/t1-keeper/zoo.cfg" in said
    assert "added   t1/third/zoo.cfg" in said
    assert not (out_of(cluster) / "t1" / "t1-keeper").exists()
    assert (out_of(cluster) / "t1" / "notes").exists()
    assert render(cluster) == 0
    assert capsys.readouterr().out.startswith("nothing changed")


def test_a_file_changed_by_hand_and_a_mode_too_open_are_put_right(
    cluster: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Change cluster.yaml, not the file."""
    assert render(cluster) == 0
    capsys.readouterr()
    (out_of(cluster) / "e1/e1-redis/redis.conf").chmod(0o644)
    (out_of(cluster) / "e1/e1-keeper/zoo.cfg").write_text("tickTime=1\n", encoding="utf-8")
    (out_of(cluster) / "e1/e1-keeper/myid").unlink()

    assert render(cluster) == 0

    assert capsys.readouterr().out.splitlines()[:-1] == [
        "added   e1/e1-keeper/myid", "changed e1/e1-keeper/zoo.cfg", "changed e1/e1-redis/redis.conf",
    ]  # fmt: skip
    assert (out_of(cluster) / "e1/e1-redis/redis.conf").stat().st_mode & 0o777 == 0o600


def test_check_writes_nothing_and_tells_by_its_exit_code(cluster: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For CI: 1 while something would change, 0 afterwards."""
    assert render(cluster, "--check") == 1
    assert not out_of(cluster).exists()
    assert "added   e1/e1-redis/redis.conf" in capsys.readouterr().out

    assert render(cluster) == 0
    assert render(cluster, "--check") == 0


def test_diff_shows_a_change_without_a_secret_and_writes_nothing(
    cluster: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither new nor old secrets nor their hashes; that one has changed is said."""
    assert render(cluster) == 0
    before = state_of(out_of(cluster))
    change(cluster, "redis_down_after_ms: 1300", "redis_down_after_ms: 1400")
    for name in NAMES:
        set_secret(cluster, name, f"{name}-fedcba9876543210")
    capsys.readouterr()

    assert render(cluster, "--diff") == 0

    said = capsys.readouterr().out
    assert "--- a/e1/e1-sentinel/sentinel.conf\n+++ b/e1/e1-sentinel/sentinel.conf\n" in said
    assert "-sentinel down-after-milliseconds calls 1300\n+sentinel down-after-milliseconds calls 1400\n" in said
    assert "# e1/e1-clickhouse/users.xml: a secret has changed\n" in said
    assert "0123456789abcdef" not in said
    assert "fedcba9876543210" not in said
    assert state_of(out_of(cluster)) == before


def test_diff_of_a_first_render_hides_each_secret_too(cluster: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every line of every file is shown then; no run of 64 hexadecimal digits is a hash of one."""
    assert render(cluster, "--diff") == 0

    said = capsys.readouterr().out
    assert "+masterauth ***\n" in said
    assert "0123456789abcdef" not in said
    assert SESSION_KEY not in said
    assert "<password_sha256_hex>***<" in said
    assert "user default reset on #*** ~everline:*" in said


def test_what_others_wrote_is_not_written_over(cluster: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Such as when --out names a directory that is in use; nothing is written then."""
    other = out_of(cluster) / "e1" / "e1-redis" / "redis.conf"
    other.parent.mkdir(parents=True)
    other.write_text("port 1\n", encoding="utf-8")

    assert render(cluster) == 1

    assert "redis.conf was not written by `everline render`: move it away" in capsys.readouterr().err
    assert set(state_of(out_of(cluster))) == {"e1/e1-redis/redis.conf"}


@pytest.mark.parametrize(
    "manifest", ["{", "[]", '{"files": 7}', '{"files": ["../../etc/passwd"]}', '{"files": ["/etc/passwd"]}']
)
def test_a_damaged_list_of_files_is_never_followed(
    cluster: Path, capsys: pytest.CaptureFixture[str], manifest: str
) -> None:
    """It names what may be removed."""
    assert render(cluster) == 0
    (out_of(cluster) / MANIFEST).write_text(manifest, encoding="utf-8")

    assert render(cluster) == 1
    assert "is damaged: remove it and all that was rendered there" in capsys.readouterr().err


def test_a_directory_that_cannot_be_written_is_one_line(cluster: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file is where the directory should be, or a directory where a file should be."""
    out_of(cluster).write_text("a file", encoding="utf-8")
    assert render(cluster) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1

    out_of(cluster).unlink()
    (out_of(cluster) / "e1" / "e1-keeper" / "myid").mkdir(parents=True)
    assert render(cluster) == 1
    assert "myid cannot be read: Is a directory" in capsys.readouterr().err


def test_a_run_that_was_interrupted_is_completed_by_the_next(
    cluster: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has written is known as ours, and no half a file is left."""
    replace, written = Path.replace, iter(range(20))

    def replace_some(file: Path, target: Path) -> Path:
        if next(written, None) is None:
            raise OSError(28, "No space left on device", str(target))
        return replace(file, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", replace_some)
        assert render(cluster) == 1
    assert "cannot be written: No space left on device" in capsys.readouterr().err
    assert not list(out_of(cluster).rglob("*.new"))

    assert render(cluster) == 0
    assert render(cluster, "--check") == 0
    known = json.loads((out_of(cluster) / MANIFEST).read_text(encoding="utf-8"))["files"]
    assert set(known) | {MANIFEST} == set(state_of(out_of(cluster)))


def test_every_fault_of_the_cluster_is_told(cluster: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line each, exit code 2, and nothing is written."""
    for name in ("redis", "clickhouse"):
        (cluster.parent / "secrets" / name).unlink()
    assert render(cluster) == 2
    said = capsys.readouterr().err.splitlines()
    assert [line.split()[2] for line in said] == ["secrets.clickhouse:", "secrets.redis:"]

    change(cluster, "address: 10.0.2.1", "address: 10.0.1.1")
    assert render(cluster) == 2
    assert "10.0.1.1" in capsys.readouterr().err
    assert not out_of(cluster).exists()


def test_programs_may_be_elsewhere(cluster: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Current ClickHouse has its server in /usr/bin."""
    assert render(cluster, "--program", "clickhouse_server=/usr/bin/clickhouse-server", "--user", "voice") == 0
    unit = (out_of(cluster) / "e1/systemd/everline-clickhouse.service").read_text(encoding="utf-8")
    assert "\nExecStart=/usr/bin/clickhouse-server --config-file=" in unit
    assert "\nUser=voice\n" in unit

    capsys.readouterr()
    assert render(cluster, "--program", "clickhouse=/usr/bin/clickhouse-server") == 2
    assert "need NAME=PATH, with one of the names everline, redis_server" in capsys.readouterr().err
