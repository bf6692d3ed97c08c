"""Searches as files: page by page, so that memory does not grow with the answer."""

import json
from collections.abc import AsyncIterator
from typing import Final

from everline.app.call_json import call_json, csv_rows
from everline.app.services import CallStore
from everline.calls.record import CallRecord
from everline.store.filters import CallFilter

PAGE: Final = 1000


async def csv_export(store: CallStore, wanted: CallFilter) -> AsyncIterator[str]:
    """The calls as CSV (RFC 4180), a header line first."""
    yield csv_rows([], header=True)
    async for records in _pages(store, wanted):
        yield csv_rows(records)


async def jsonl_export(store: CallStore, wanted: CallFilter) -> AsyncIterator[str]:
    """The calls as JSON, one object a line."""
    async for records in _pages(store, wanted):
        yield "".join(json.dumps(call_json(record)) + "\n" for record in records)


async def _pages(store: CallStore, wanted: CallFilter) -> AsyncIterator[list[CallRecord]]:
    after = None
    while True:
        found = await store.search(wanted, limit=PAGE, after=after)
        yield list(found.records)
        after = found.next
        if after is None:
            return
