"""`everline render`: every file that the programs of a cluster read."""

import difflib
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Final

import typer

from everline.cli.rendered_tree import Change, apply, changes_of
from everline.cluster_file import load_topology, resolve_secrets
from everline.errors import EverlineError
from everline.topology.errors import TopologyError
from everline.topology.render import Places, Programs, RenderedFile, render

_HIDDEN: Final = re.compile(
    r"(?<=^requirepass )\S+|(?<=^masterauth )\S+|(?<=^sentinel auth-pass )(?P<service>\S+ )\S+|(?<=#)[0-9a-f]{64}"
    r"|(?<=<password>)[^<]+|(?<=<password_sha256_hex>)[^<]+",
    re.MULTILINE,
)
"""Where secrets stand in rendered files. By place, not by value: an old file has secrets that are no longer known."""


class ProgramError(EverlineError):
    """--program names no program."""

    exit_code = 2


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="render")(command)


def command(
    cluster: Annotated[Path, typer.Argument(metavar="CLUSTER.YAML", help="The file that describes the cluster.")],
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the files are written: DIR/<host>/…")],
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit code 1 if a file would change.")] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="Write nothing; show what would change, secrets as ***.")
    ] = False,
    program: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=PATH", help="A program that is not where Debian has it; may be given again."),
    ] = None,
    user: Annotated[str, typer.Option(help="User that systemd starts the programs as.")] = Places().user,
) -> None:
    """Write the files of Redis, Sentinel, ClickHouse, its Keeper, ZooKeeper and systemd for every host."""
    places = Places(user=user, programs=_programs(program or []))
    try:
        topology = load_topology(cluster)
        secrets = resolve_secrets(topology, cluster.parent, os.environ)
    except TopologyError as error:
        for fault in error.faults:
            print(f"everline: {error.source}: {fault}", file=sys.stderr)
        raise typer.Exit(error.exit_code) from error
    wanted = render(topology, secrets, places)
    changes = changes_of(out, wanted)
    if diff:
        print("".join(line for change in changes for line in diff_of(change)), end="")
    if changes and not (check or diff):
        apply(out, wanted, changes)
    if not diff:
        print("\n".join(summary_of(changes, len(wanted))))
    if check and changes:
        raise typer.Exit(1)


def summary_of(changes: tuple[Change, ...], files: int) -> list[str]:
    """One line a file that differs, and one that counts them."""
    if not changes:
        return [f"nothing changed: {files} files"]
    count = Counter(change.what for change in changes)
    counted = ", ".join(f"{count[what]} {what}" for what in ("added", "changed", "removed"))
    same = files - count["added"] - count["changed"]
    return [*(f"{change.what:<7} {change.path}" for change in changes), f"{counted}, {same} as before"]


def diff_of(change: Change) -> Iterator[str]:
    """The change as lines of a unified diff, without any secret; a note where only what is hidden differs."""
    before, after = (hidden(file.text) if file else "" for file in (change.before, change.after))
    names = (
        f"a/{change.path}" if change.before else "/dev/null",
        f"b/{change.path}" if change.after else "/dev/null",
    )
    lines = difflib.unified_diff(before.splitlines(keepends=True), after.splitlines(keepends=True), *names)
    yield from lines
    if change.before and change.after:
        yield from _notes(change.path, change.before, change.after)


def _notes(path: str, before: RenderedFile, after: RenderedFile) -> Iterator[str]:
    if before.mode != after.mode:
        yield f"# {path}: mode {before.mode:04o} becomes {after.mode:04o}\n"
    if _secrets_in(before.text) != _secrets_in(after.text):
        yield f"# {path}: a secret has changed\n"


def hidden(text: str) -> str:
    """The text of a rendered file with *** for each secret and each hash of one."""
    return _HIDDEN.sub(lambda found: f"{found['service'] or ''}***", text)


def _secrets_in(text: str) -> set[str]:
    return {found.group() for found in _HIDDEN.finditer(text)}


def _programs(given: list[str]) -> Programs:
    known = [field.name for field in fields(Programs)]
    programs = Programs()
    for one in given:
        name, _, path = one.partition("=")
        if name not in known or not path:
            raise ProgramError(f"--program {one!r}: need NAME=PATH, with one of the names {', '.join(known)}")
        programs = replace(programs, **{name: path})
    return programs
