"""Run as a program with a new directory: does the duties of a node on an embedded store, and prints what came of it."""

import asyncio
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from time import time_ns

from tests.store.making import DAY_US, SECOND_US, answered, event, insert

from everline.bus.memory import MemoryBus
from everline.calls.timeout import Patience
from everline.duties import close_silent_calls, drop_old_days
from everline.store.embedded import EmbeddedStore

PATIENCE = Patience(ringing_us=300 * SECOND_US, answered_us=3_600 * SECOND_US)


async def main() -> None:
    """Print one JSON object."""
    store, bus = EmbeddedStore.open(Path(sys.argv[1])), MemoryBus()
    now_us = time_ns() // 1000
    ago = {name: now_us - seconds * SECOND_US for name, seconds in (("long", 600), ("just", 60), ("hours", 7_200))}
    await insert(
        store,
        [event("ringing-long", ago["long"])],
        [event("ringing-just", ago["just"])],
        answered("answered-long", ago["long"])[:3],
        answered("answered-hours", ago["hours"])[:3],
        answered("ended", ago["hours"]),
        [event("ping", ago["hours"], "OPTIONS")],
        answered("old", now_us - 40 * DAY_US),
        answered("kept", now_us - 20 * DAY_US),
    )
    closed = [await close_silent_calls(store, bus, PATIENCE, node="n1")]
    records = {
        name: await store.call(name) for name in ("ringing-long", "ringing-just", "answered-long", "answered-hours")
    }
    messages = len(await store.messages("ringing-long"))
    # Another node had the same idea: what it makes is the same event.
    silent = [one for one in await store.messages("ringing-long") if one.method == "TIMEOUT"]
    await insert(store, [one._replace(node="n2", received_us=one.received_us + 1) for one in silent])
    again = await store.call("ringing-long")
    closed.append(await close_silent_calls(store, bus, PATIENCE, node="n2"))
    dropped = await drop_old_days(store, retention_days=30)
    dropped_again = await drop_old_days(store, retention_days=30)
    told = await bus.transitions_after(replace(await bus.position(), stream_id="0")) or []
    print(json.dumps({
        "closed": closed,
        "records": {name: asdict(one) if one else None for name, one in records.items()},
        "same": again == records["ringing-long"],
        "messages": [messages, len(await store.messages("ringing-long"))],
        "told": [one.call_id for one in told if one.event_type == "call_hangup"],
        "dropped": [dropped > 0, dropped_again],
        "old": await store.call("old") is not None,
        "kept": await store.call("kept") is not None,
        "ended_us": {name: now_us - one.ended_us for name, one in records.items() if one and one.ended_us},
    }))  # fmt: skip
    await store.close()


if __name__ == "__main__":
    asyncio.run(main())
