"""Run as a program: owns a data directory, for the tests that need another process, or one to kill."""

import asyncio
import sys
from pathlib import Path

from tests.store.making import answered, insert

from everline.store.embedded import EmbeddedStore
from everline.store.errors import StoreError
from everline.store.filters import CallFilter

CALLS = 50
START_US = 1_700_000_000_000_000


def name_of(batch: int, call: int) -> str:
    """The Call-ID of a call that `fill` makes."""
    return f"batch{batch}-call{call}"


async def fill(store: EmbeddedStore, first: int) -> None:
    """Insert batch after batch, and say which are in."""
    for batch in range(first, sys.maxsize):
        calls = (answered(name_of(batch, call), START_US + batch) for call in range(CALLS))
        await insert(store, [event for call in calls for event in call])
        print(batch, flush=True)


async def count(store: EmbeddedStore) -> None:
    """Say how many calls there are, and how many messages of each."""
    found: dict[str, int] = {}
    after = None
    while True:
        page = await store.search(CallFilter(), limit=1000, after=after)
        found |= {record.call_id: record.messages for record in page.records}
        after = page.next
        if after is None:
            break
    for name, messages in found.items():
        print(name, messages, len(await store.messages(name)) if name.endswith("call0") else messages, flush=True)


async def main() -> None:
    """`PATH fill FIRST`, `PATH count` or `PATH hold`."""
    path, what, *rest = sys.argv[1:]
    try:
        store = EmbeddedStore.open(Path(path))
    except StoreError as error:
        print(type(error).__name__, error, flush=True)
        return
    print("open", flush=True)
    if what == "fill":
        await fill(store, int(rest[0]))
    elif what == "count":
        await count(store)
    else:
        sys.stdin.readline()
    await store.close()


if __name__ == "__main__":
    asyncio.run(main())
