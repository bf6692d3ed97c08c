"""
Millions of calls in an embedded store, for measuring searches: made by the engine itself, without their messages.

Rows of `calls` and `lookup` are made by the very selects that make them of messages, out of messages that exist only
while they are selected. So what a search meets is what it would meet after years of traffic.
"""

# ruff: noqa: S608 - SQL is made of numbers and our own text.

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from everline.calls.event import SIP, Event
from everline.store.engine import Engine
from everline.store.schema import COLUMN_TYPES, DATABASE, DAY_US, calls_select, lookup_select

BLOCK: Final = 250_000
"""Calls in one statement: what a statement holds in memory grows with them."""
NUMBERS: Final = 1_000_000
"""Different callers, and as many callees; the thousandth part of them makes a tenth of the calls."""

_INVITE: Final = "(toUInt64(0), 1, 'INVITE', 0, 1, 0)"
_RINGING: Final = "(toUInt64(180000 + h % 900000), 0, 'INVITE', 180, 1, 1)"
_STEPS: Final = f"""multiIf(
    luck < 600, [{_INVITE}, {_RINGING}, (ring_us, 0, 'INVITE', 200, 1, 1), (ring_us + talk_us, 1, 'BYE', 0, 2, 1)],
    luck < 700, [{_INVITE}, {_RINGING}, (ring_us, 1, 'CANCEL', 0, 1, 0), (ring_us + 2000, 0, 'INVITE', 487, 1, 1)],
    [{_INVITE}, (ring_us, 0, 'INVITE', multiIf(luck < 820, 486, luck < 900, 404, luck < 950, 480, luck < 980, 603, 503),
        1, 1)])"""
"""After how long, by the caller or not, CSeq method, status, CSeq number, with a To tag or without."""

_COLUMNS: Final[Mapping[str, str]] = {
    "call_id": "concat(lower(hex(h)), '-', toString(n), '@pbx.example.com')",
    "captured_us": "start_us + step.1",
    "event_key": "cityHash64(n, step.1, step.2)",
    "received_us": "start_us + step.1",
    "protocol": str(SIP),
    "ip_proto": "17",
    "src_ip": "if(step.2 = 1, near, far)",
    "src_port": "5060",
    "dst_ip": "if(step.2 = 1, far, near)",
    "dst_port": "5060",
    "method": "step.3",
    "status": "step.4",
    "cseq": "step.5",
    "from_user": "caller",
    "from_host": "'voice.example.com'",
    "from_tag": "lower(hex(bitShiftRight(h, 32)))",
    "to_user": "callee",
    "to_host": "'voice.example.com'",
    "to_tag": "if(step.6 = 1, concat('b', toString(n % 100000)), '')",
    "user_agent": "if(step.2 = 1, concat('Handset/4.', toString(h % 20)), concat('Media Gateway ', toString(h % 7)))",
    "codecs": "if(step.3 = 'INVITE' AND step.4 IN (0, 200), 'PCMA,PCMU,G729', '')",
    "cause": "if(step.3 = 'BYE', 16, 0)",
    "agent": "concat('sbc-', toString(h % 4))",
    "correlation_id": "''",
    "node": "'bench'",
    "payload": "''",
}


@dataclass(frozen=True, slots=True)
class ManyCalls:
    """
    Calls that begin one after the other, evenly, over some days.

    Attributes:
        first_us: When the first begins, epoch microseconds.
    """

    calls: int
    first_us: int
    days: int

    @property
    def last_us(self) -> int:
        """After the beginning of the last."""
        return self.first_us + self.days * DAY_US

    def messages(self, first: int, count: int) -> str:
        """A select of the messages of some of the calls: the columns of `Event`, and `day`."""
        columns = ", ".join(f"CAST({_COLUMNS[name]} AS {COLUMN_TYPES[name]}) AS {name}" for name in Event._fields)
        every_us = self.days * DAY_US // self.calls
        skewed = "leftPad(toString(toUInt64(pow(bitAnd({0}, 1048575) / 1048576, 4) * " + str(NUMBERS) + ")), 7, '0')"
        return (
            f"SELECT {columns}, toDate(toUInt16(intDiv(captured_us, {DAY_US}))) AS day FROM (SELECT number AS n, "
            f"cityHash64(n) AS h, h % 1000 AS luck, toUInt64({self.first_us} + n * {every_us}) AS start_us, "
            "toUInt64(1500000 + bitShiftRight(h, 8) % 20000000) AS ring_us, "
            "toUInt64(bitShiftRight(h, 16) % 600000000) AS talk_us, "
            "concat('192.0.2.', toString(h % 200)) AS near, "
            "concat('198.51.100.', toString(bitShiftRight(h, 10) % 50)) AS far, "
            f"concat('+1202', {skewed.format('bitShiftRight(h, 20)')}) AS caller, "
            f"concat('+4930', {skewed.format('bitShiftRight(h, 40)')}) AS callee, {_STEPS} AS steps "
            f"FROM numbers({first}, {count})) ARRAY JOIN steps AS step"
        )


def make_calls(store: Path, wanted: ManyCalls) -> Iterator[int]:
    """Put the calls into the store of a data directory that nobody uses; gives how many are there, again and again."""
    engine = Engine.open(store)
    try:
        for first in range(0, wanted.calls, BLOCK):
            count = min(BLOCK, wanted.calls - first)
            messages = f"({wanted.messages(first, count)})"
            for table, select in (("calls", calls_select(messages)), ("lookup", lookup_select(messages))):
                names = engine.select(f"SELECT name FROM system.columns WHERE database = '{DATABASE}' AND "
                                      f"table = '{table}' ORDER BY position", limit_s=10).column("name")  # fmt: skip
                listed = ", ".join(map(str, names))
                engine.execute(f"INSERT INTO {DATABASE}.{table} ({listed}) SELECT {listed} FROM ({select})")
            yield first + count
    finally:
        engine.close()
