"""The book of a cluster: in Keeper, so that no two nodes can make the same change, and none is lost with a node."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from everline.access.book import ENDED, FOLDERS, HEAD, TOKENS, USERS, Change, Contents, Leaf
from everline.access.errors import BookConflictError, BookUnavailableError
from everline.cluster.keeper import Keeper, KeeperError, KeeperRefusedError, Link, ZnodeChange

log = logging.getLogger(__name__)

_SEEN: Final = (USERS, TOKENS, ENDED)
"""Folders that `contents` is made of."""
LOOK_AGAIN_S: Final = 5.0
"""A watch tells at once; this is for a watch that was lost."""


class KeeperBook:
    """
    Every commit changes the head of the audit log, so one watch there tells of all.

    `run` must run while `contents` is asked. While Keeper is away, what it said before holds.
    """

    def __init__(self, keeper: Keeper, cluster: str) -> None:
        self._keeper = keeper
        self._root = f"/everline/{cluster}/access"
        self._contents: Contents | None = None
        self._poked = asyncio.Event()
        self._looking = asyncio.Lock()
        self._has_folders = False

    @property
    def contents(self) -> Contents | None:
        """As last seen; None before Keeper was reached for the first time."""
        return self._contents

    async def read(self, path: str) -> Leaf | None:
        """What a path has now."""
        try:
            found = await self._keeper.get(self._at(path))
        except KeeperError as fault:
            raise _unavailable(fault) from fault
        return Leaf(found.data.decode("utf-8", "replace"), found.version) if found else None

    async def folder(self, name: str) -> dict[str, Leaf]:
        """All of a folder, by name."""
        try:
            found = await self._keeper.below(self._at(name))
        except KeeperError as fault:
            raise _unavailable(fault) from fault
        return {
            one.path.rpartition("/")[2]: Leaf(one.data.decode("utf-8", "replace"), one.version)
            for one in found
            if not self._is_folder(one.path)
        }

    async def commit(self, changes: Sequence[Change]) -> None:
        """
        Make all changes, or none; this node sees them when this returns, the others a moment later.

        Raises:
            BookConflictError: One finds another version.
            BookUnavailableError: No majority of Keeper answers; whether they were made is not known.
        """
        acts = [
            ZnodeChange(self._at(one.path), None if one.text is None else one.text.encode(), one.version)
            for one in changes
        ]
        try:
            await self._make_folders()
            refused = await self._keeper.commit(acts)
            if refused is not None:
                raise BookConflictError(changes[refused].path)
            if any(one.path.startswith(_SEEN) for one in changes):
                await self._look()
        except KeeperError as fault:
            raise _unavailable(fault) from fault

    async def run(self) -> None:
        """Keep `contents` up to date, for ever."""
        self._keeper.listen(lambda _: self._poked.set())
        was_refused = False
        while True:
            self._poked.clear()
            try:
                if self._keeper.link is Link.CONNECTED:
                    await self._make_folders()
                    await self._look()
                    was_refused = False
            except KeeperError as fault:
                is_refused = isinstance(fault, KeeperRefusedError)
                level = logging.WARNING if is_refused and not was_refused else logging.DEBUG
                was_refused = was_refused or is_refused
                log.log(level, "access.unknown", extra={"why": str(fault)})
            try:
                async with asyncio.timeout(LOOK_AGAIN_S):
                    await self._poked.wait()
            except TimeoutError:
                continue

    async def _look(self) -> None:
        async with self._looking:
            # The watch first: what changes while the rest is read is told again.
            await self._keeper.get(self._at(HEAD), watch=self._poked.set)
            leaves: dict[str, Leaf] = {}
            for folder in (USERS, TOKENS):
                leaves |= {f"{folder}/{name}": leaf for name, leaf in (await self.folder(folder)).items()}
            # Of ended sessions the names say all, and there may be many.
            leaves |= {f"{ENDED}/{name}": Leaf("") for name in await self._keeper.children(self._at(ENDED))}
            self._contents = Contents.of(leaves)

    async def _make_folders(self) -> None:
        if not self._has_folders:
            for folder in FOLDERS:
                await self._keeper.create(self._at(folder))
            self._has_folders = True

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _is_folder(self, path: str) -> bool:
        return path.removeprefix(f"{self._root}/") in FOLDERS


def _unavailable(fault: KeeperError) -> BookUnavailableError:
    return BookUnavailableError(f"Users and tokens are in Keeper, which can't be asked now: {fault}")
