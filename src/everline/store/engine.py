"""The embedded engine: one chDB data directory, its lock, its version, and its errors as ours."""

# ruff: noqa: S608 - SQL is made here; values become text in `literals` alone.

import errno
import fcntl
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, Final, Self

import pyarrow as pa
from chdb.session import Session

from everline.store import schema
from everline.store.answer import AS_BYTES, Answer, plain
from everline.store.errors import (
    StoreDeadlineError,
    StoreError,
    StoreFullError,
    StoreLockedError,
    StoreTooNewError,
    StoreUnwritableError,
)
from everline.store.literals import text

_connect: Final[Callable[[str], Any]] = Session
"""The library has no types."""

# What chDB takes by default is meant for a server of its own; these keep it small beside the rest of the process.
_START: Final = {
    "mark_cache_size": 64 << 20,
    "index_mark_cache_size": 8 << 20,
    "primary_index_cache_size": 64 << 20,
    "uncompressed_cache_size": 0,
    "background_pool_size": 2,
    "background_merges_mutations_concurrency_ratio": 2,
    "background_schedule_pool_size": 4,
    "background_fetches_pool_size": 1,
    "background_common_pool_size": 2,
    "background_move_pool_size": 1,
}
_SETTINGS: Final = {
    # A batch is merged in the background, not once more while it is written.
    "optimize_on_insert": 0,
    "insert_deduplicate": 0,
    "max_partitions_per_insert_block": 0,
    "max_query_size": 16 << 20,
    "max_ast_elements": 1_000_000,
    "max_expanded_ast_elements": 1_000_000,
    "output_format_arrow_string_as_string": 0,
    "output_format_arrow_compression_method": "'none'",
    "input_format_parallel_parsing": 0,
}
# What one question may take before it goes on with the help of the disk, and before it ends.
_SPILL_BYTES: Final = 128 << 20
_MEMORY_BYTES: Final = 512 << 20

_LOAD_ROWS: Final = 50_000
"""So many rows are written at a time: more take more memory and gain nothing."""

_FULL: Final = frozenset({243})
_LATE: Final = frozenset({159, 160, 241})
"""Timeout, too slow, and out of the memory that one question may take."""


class Engine:
    """
    One open data directory. Not for two threads at once; `another` gives a second session for a second thread.

    Statements raise StoreError or one of its kinds.
    """

    def __init__(self, path: Path, lock: IO[str] | None) -> None:
        self.path = path
        self._lock = lock
        options = "&".join(f"{name}={value}" for name, value in _START.items())
        self._session = _connect(f"{path / 'data'}?{options}")
        for name, value in _SETTINGS.items():
            self._session.query(f"SET {name} = {value}")

    @classmethod
    def open(cls, path: Path) -> Self:
        """
        Open a data directory, and make it if it is not there.

        Raises:
            StoreLockedError: Another process, or another store of this one, has it.
            StoreTooNewError: A later version has written it.
            StoreUnwritableError: It cannot be made or written.
        """
        path = path.absolute()
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = (path / "lock").open("a")
        except OSError as error:
            raise StoreUnwritableError(path, error.strerror or str(error)) from error
        try:
            _take(lock, path)
            _check_version(path)
            engine = cls(path, lock)
            for statement in schema.statements(schema.EMBEDDED):
                engine.execute(statement)
            _write_version(path)
        except BaseException as error:
            lock.close()
            if isinstance(error, (StoreError, KeyboardInterrupt)):
                raise
            raise StoreUnwritableError(path, str(error).splitlines()[0]) from error
        return engine

    def another(self) -> Self:
        """A second session on the same data."""
        return type(self)(self.path, None)

    def execute(self, sql: str) -> None:
        """Run a statement that gives nothing back."""
        try:
            self._session.query(sql)
        except RuntimeError as error:
            raise _translated(error, self.path) from error

    def select(self, sql: str, *, limit_s: float) -> Answer:
        """The answer to a question. Raises StoreDeadlineError beyond `limit_s` or the memory for one."""
        try:
            answer = self._session.query(
                f"{sql} SETTINGS max_execution_time = {limit_s:g}, max_memory_usage = {_MEMORY_BYTES}, "
                f"max_bytes_before_external_group_by = {_SPILL_BYTES}",
                "Arrow",
            )
            table = pa.ipc.open_file(pa.py_buffer(answer.bytes())).read_all()
        except RuntimeError as error:
            self._forget_answer()
            raise _translated(error, self.path, limit_s=limit_s) from error
        return Answer({name: _values(name, table.column(name)) for name in table.column_names})

    def _forget_answer(self) -> None:
        """What a question that failed has answered already would stand before the answer to the next one."""
        self._session.query("SELECT 1", "TabSeparated")

    def load(self, table: str, rows: pa.Table) -> None:
        """
        Write rows into a table; they are there, in all that is made of them, when this returns.

        They are handed over in a file, so that the interpreter is free while they are written.
        """
        for start in range(0, rows.num_rows, _LOAD_ROWS):
            self._load(table, rows.slice(start, _LOAD_ROWS))

    def close(self) -> None:
        """Give the data directory back."""
        self._session.close()
        if self._lock is not None:
            self._lock.close()

    def _load(self, table: str, rows: pa.Table) -> None:
        file = self.path / "incoming.arrow"
        try:
            with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, rows.schema) as writer:
                writer.write_table(rows)
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise StoreFullError(self.path, code=0) from error
            raise StoreUnwritableError(self.path, error.strerror or str(error)) from error
        names = ", ".join(rows.schema.names)
        self.execute(
            f"INSERT INTO {table} ({names}) SELECT {names} FROM file({text(str(file))}, 'Arrow') "
            "SETTINGS max_threads = 1, max_insert_threads = 1"
        )


def _values(name: str, column: pa.ChunkedArray) -> Sequence[Any]:  # see Answer
    values = column.to_pylist()
    return values if name in AS_BYTES or pa.types.is_primitive(column.type) else [plain(value) for value in values]


def _take(lock: IO[str], path: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise StoreLockedError(path) from error


def _check_version(path: Path) -> None:
    try:
        found = int((path / "version").read_text())
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise StoreUnwritableError(path, f"its file 'version' cannot be read: {error}") from error
    if found > schema.VERSION:
        raise StoreTooNewError(path, found=found, known=schema.VERSION)


def _write_version(path: Path) -> None:
    draft = path / "version.new"
    with draft.open("w") as file:
        file.write(f"{schema.VERSION}\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path / "version")


def _translated(error: RuntimeError, path: Path, *, limit_s: float = 0) -> StoreError:
    said = str(error)
    match = re.search(r"Code: (\d+)", said)
    code = int(match[1]) if match else 0
    if code in _FULL or "No space left on device" in said:
        return StoreFullError(path, code=code)
    if code in _LATE and limit_s:
        return StoreDeadlineError(limit_s, code=code)
    return StoreError(f"the store of {path} refused a statement: {said[:500]}", code=code)
