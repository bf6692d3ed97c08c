"""The book of a node that is alone: in memory, and in one file."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence

from everline.access.book import Change, Contents, Leaf
from everline.access.errors import BookConflictError, BookUnavailableError


async def _in_memory(_: str) -> None:
    """Kept nowhere else."""


class LocalBook:
    """
    The only one who changes it is this process.

    Args:
        kept: What `keep` was given last, in an earlier life.
        keep: Brings the whole book to the disk; raises OSError when it can't.

    Raises:
        ValueError: `kept` is no book.
    """

    def __init__(self, kept: str = "", *, keep: Callable[[str], Awaitable[None]] = _in_memory) -> None:
        self._keep = keep
        self._leaves = _parsed(kept)
        self._turn = asyncio.Lock()
        self._contents = Contents.of(self._leaves)

    @property
    def contents(self) -> Contents:
        """As it is."""
        return self._contents

    async def read(self, path: str) -> Leaf | None:
        """What a path has."""
        return self._leaves.get(path)

    async def folder(self, name: str) -> dict[str, Leaf]:
        """All of a folder, by name."""
        start = f"{name}/"
        below = {path.removeprefix(start): leaf for path, leaf in self._leaves.items() if path.startswith(start)}
        return dict(sorted((one, leaf) for one, leaf in below.items() if "/" not in one))

    async def commit(self, changes: Sequence[Change]) -> None:
        """
        Make all changes, or none.

        Raises:
            BookConflictError: One finds another version.
            BookUnavailableError: The disk does not take it.
        """
        async with self._turn:
            changed = dict(self._leaves)
            for one in changes:
                found = changed.get(one.path)
                if (found.version if found else None) != one.version:
                    raise BookConflictError(one.path)
                if one.text is None:
                    del changed[one.path]
                else:
                    changed[one.path] = Leaf(one.text, 0 if found is None else found.version + 1)
            try:
                await self._keep(_text_of(changed))
            except OSError as fault:
                raise BookUnavailableError(f"Users can't be written to the disk: {fault.strerror}.") from fault
            self._leaves = changed
            self._contents = Contents.of(changed)

    async def run(self) -> None:
        """Nobody else changes it."""
        await asyncio.Event().wait()


def _text_of(leaves: dict[str, Leaf]) -> str:
    return json.dumps({path: [leaf.text, leaf.version] for path, leaf in sorted(leaves.items())}, indent=0) + "\n"


def _parsed(kept: str) -> dict[str, Leaf]:
    try:
        return {path: Leaf(str(text), int(version)) for path, (text, version) in json.loads(kept or "{}").items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"it holds no users and tokens: {error}") from error
