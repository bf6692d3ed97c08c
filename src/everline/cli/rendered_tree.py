"""A directory of rendered files: what is in it, what would change, and the change, each file at once."""

import json
import os
import stat
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from everline.errors import EverlineError
from everline.topology.render import RenderedFile

MANIFEST: Final = ".everline-render.json"
"""Names the files that were written, so that those which are no longer wanted can be removed, and no others."""


class RenderedTreeError(EverlineError):
    """The directory can't be read or written, or holds what is not ours."""


@dataclass(frozen=True, slots=True)
class Change:
    """One file that differs: `before` is None when it is added, `after` is None when it is removed."""

    path: str
    before: RenderedFile | None
    after: RenderedFile | None

    @property
    def what(self) -> str:
        """`added`, `changed` or `removed`."""
        if self.before is None:
            return "added"
        return "changed" if self.after is not None else "removed"


def changes_of(root: Path, wanted: Mapping[str, RenderedFile]) -> tuple[Change, ...]:
    """
    What has to change below a directory, by path.

    Raises:
        RenderedTreeError: A file is in the way that no render has written, or something can't be read.
    """
    try:
        ours = _manifest(root)
        changes = [Change(path, _load(root / path), wanted.get(path)) for path in sorted({*ours, *wanted})]
    except OSError as error:
        raise RenderedTreeError(f"{error.filename} cannot be read: {error.strerror}; choose another --out") from error
    changes = [change for change in changes if change.before != change.after]
    for change in changes:
        if change.before is not None and change.path not in ours:
            raise RenderedTreeError(
                f"{root / change.path} was not written by `everline render`: move it away, or choose another --out"
            )
    return tuple(changes)


def apply(root: Path, wanted: Mapping[str, RenderedFile], changes: Iterable[Change]) -> None:
    """
    Make a directory hold the wanted files; whoever reads one meanwhile sees the old text or the new one.

    Raises:
        RenderedTreeError: Something can't be written. What was not done is done by the next run.
    """
    changes = tuple(changes)
    try:
        root.mkdir(parents=True, exist_ok=True)
        # First, so that after an interruption every file that was written is known as ours.
        _write(root / MANIFEST, _manifest_file({*wanted, *(change.path for change in changes)}))
        for change in changes:
            if change.after is not None:
                _write(root / change.path, change.after)
            else:
                _remove(root, change.path)
        _write(root / MANIFEST, _manifest_file(wanted))
    except OSError as error:
        raise RenderedTreeError(f"{error.filename} cannot be written: {error.strerror}") from error


def _manifest_file(paths: Iterable[str]) -> RenderedFile:
    return RenderedFile(json.dumps({"files": sorted(paths)}, indent=1) + "\n")


def _manifest(root: Path) -> frozenset[str]:
    """The files that the last run wrote; a path that leads out of the directory is none."""
    file = root / MANIFEST
    found = _load(file)
    try:
        paths = [] if found is None else json.loads(found.text)["files"]
        if any(PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts for path in paths):
            raise ValueError("a path leads out of the directory")
    except (ValueError, TypeError, KeyError) as error:
        raise RenderedTreeError(f"{file} is damaged: remove it and all that was rendered there") from error
    return frozenset(paths)


def _load(path: Path) -> RenderedFile | None:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        return RenderedFile(path.read_text(encoding="utf-8", errors="replace"), mode)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _write(path: Path, file: RenderedFile) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=".", suffix=".new", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as writing:
            writing.write(file.text)
            os.fchmod(descriptor, file.mode)
            writing.flush()
            os.fsync(descriptor)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _remove(root: Path, path: str) -> None:
    """Remove a file, and the directories that it leaves empty."""
    file = root / path
    file.unlink(missing_ok=True)
    for directory in file.parents:
        if directory == root or any(directory.iterdir()):
            return
        directory.rmdir()
