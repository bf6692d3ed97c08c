"""
Run as a program with a new directory: puts calls into a store, and prints what is found of them, as JSON.

With `made` the engine makes them; with `told` their messages come in, as from a node.
"""

import asyncio
import json
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from everline.bench.many_calls import ManyCalls, make_calls
from everline.calls.event import Event, EventBatch
from everline.store.embedded import EmbeddedStore
from everline.store.filters import CallFilter
from everline.store.rows import events_of

WANTED = ManyCalls(400, 1_500_000_000_000_000, days=3)


async def main(how: str, data: Path) -> None:
    """Print all calls, and the Call-IDs that some searches find."""
    if how == "made":
        list(make_calls(data, WANTED))
    store = EmbeddedStore.open(data)
    if how == "told":
        sql = f"SELECT {', '.join(Event._fields)} FROM ({WANTED.messages(0, WANTED.calls)})"
        await store.insert(EventBatch.of(events_of(await store.ask(sql))))
    found = list((await store.search(CallFilter(), limit=1_000)).records)
    number = Counter(one.caller for one in found).most_common(1)[0][0]
    searches = CallFilter(status=486), CallFilter(number=number), CallFilter(ip=found[0].src_ip)
    pages = [[one.call_id for one in (await store.search(wanted)).records] for wanted in searches]
    print(json.dumps({"calls": [asdict(one) for one in found], "pages": pages}))
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
