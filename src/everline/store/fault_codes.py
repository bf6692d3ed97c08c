"""What a batch's writer does about each error of a server: the one table of all that are known."""

from collections.abc import Mapping
from enum import StrEnum
from struct import error as StructError  # noqa: N812 - a class with a small name
from typing import Final

from everline.store.errors import StoreError


class Act(StrEnum):
    """What to do."""

    AGAIN = "again"
    """Ask the same server once more, at once: the connection broke, which says little about the server."""
    ELSEWHERE = "elsewhere"
    """Ask another server now, and this one later."""
    SPOOL = "spool"
    """Keep the batch: no server takes it until somebody does something, and no row is to blame."""
    REJECT = "reject"
    """Some row can never be stored: find it, count it, keep the others."""


KNOWN: Final[Mapping[Act, Mapping[int, str]]] = {
    Act.AGAIN: {
        32: "ATTEMPT_TO_READ_AFTER_EOF",
        101: "UNEXPECTED_PACKET_FROM_CLIENT",
        102: "UNEXPECTED_PACKET_FROM_SERVER",
        210: "NETWORK_ERROR: refused, reset, hung up, no route",
    },
    Act.ELSEWHERE: {
        # Time and load.
        159: "TIMEOUT_EXCEEDED",
        160: "TOO_SLOW",
        202: "TOO_MANY_SIMULTANEOUS_QUERIES",
        203: "NO_FREE_CONNECTION",
        209: "SOCKET_TIMEOUT: no answer within the deadline",
        241: "MEMORY_LIMIT_EXCEEDED",
        252: "TOO_MANY_PARTS",
        394: "QUERY_WAS_CANCELLED",
        439: "CANNOT_SCHEDULE_TASK",
        # Disk.
        74: "CANNOT_READ_FROM_FILE_DESCRIPTOR",
        75: "CANNOT_WRITE_TO_FILE_DESCRIPTOR",
        76: "CANNOT_OPEN_FILE",
        88: "CANNOT_TRUNCATE_FILE",
        243: "NOT_ENOUGH_SPACE",
        40: "CHECKSUM_DOESNT_MATCH",
        246: "CORRUPTED_DATA",
        # Coordination. A server that is cut off from Keeper says so, while others may have it.
        225: "NO_ZOOKEEPER",
        242: "TABLE_IS_READ_ONLY",
        244: "UNEXPECTED_ZOOKEEPER_ERROR",
        253: "REPLICA_IS_ALREADY_EXIST",
        254: "NO_ACTIVE_REPLICAS",
        279: "ALL_CONNECTION_TRIES_FAILED",
        285: "TOO_LESS_LIVE_REPLICAS",
        286: "UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE",
        319: "UNKNOWN_STATUS_OF_INSERT",
        999: "KEEPER_EXCEPTION",
        # It is not set up, or not yet again.
        60: "UNKNOWN_TABLE",
        81: "UNKNOWN_DATABASE",
        192: "UNKNOWN_USER",
        193: "WRONG_PASSWORD",
        194: "REQUIRED_PASSWORD",
        195: "IP_ADDRESS_NOT_ALLOWED",
        516: "AUTHENTICATION_FAILED",
        # It is ending, or broken.
        49: "LOGICAL_ERROR",
        173: "CANNOT_ALLOCATE_MEMORY",
        236: "ABORTED",
        1000: "POCO_EXCEPTION",
        1001: "STD_EXCEPTION",
        1002: "UNKNOWN_EXCEPTION",
    },
    # The statement is wrong for the tables as they are: a migration has yet to run, or a later one has.
    Act.SPOOL: {
        16: "NO_SUCH_COLUMN_IN_TABLE",
        20: "NUMBER_OF_COLUMNS_DOESNT_MATCH",
        46: "UNKNOWN_FUNCTION",
        47: "UNKNOWN_IDENTIFIER",
        48: "NOT_IMPLEMENTED",
        50: "UNKNOWN_TYPE",
        62: "SYNTAX_ERROR",
        115: "UNKNOWN_SETTING",
        164: "READONLY",
        291: "DATABASE_ACCESS_DENIED",
        497: "ACCESS_DENIED",
    },
    Act.REJECT: {
        6: "CANNOT_PARSE_TEXT",
        26: "CANNOT_PARSE_QUOTED_STRING",
        27: "CANNOT_PARSE_INPUT_ASSERTION_FAILED",
        33: "CANNOT_READ_ALL_DATA",
        38: "CANNOT_PARSE_DATE",
        41: "CANNOT_PARSE_DATETIME",
        43: "ILLEGAL_TYPE_OF_ARGUMENT",
        53: "TYPE_MISMATCH",
        69: "ARGUMENT_OUT_OF_BOUND",
        70: "CANNOT_CONVERT_TYPE",
        72: "CANNOT_PARSE_NUMBER",
        117: "INCORRECT_DATA",
        128: "TOO_LARGE_ARRAY_SIZE",
        131: "TOO_LARGE_STRING_SIZE",
        190: "SIZES_OF_ARRAYS_DOESNT_MATCH",
        349: "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN",
    },
}


ACTS: Final[Mapping[int, Act]] = {code: act for act, codes in KNOWN.items() for code in codes}
"""By ClickHouse's error code. One that is not here: `ELSEWHERE`, since a batch that is kept can be looked at later."""

UNENCODABLE: Final = (ValueError, TypeError, AttributeError, OverflowError, StructError)
"""What the driver raises over a value that the column's type has no room for. Not a word was sent then."""
_BROKEN: Final = (EOFError, ConnectionError)
_LATE: Final = (TimeoutError,)  # socket.timeout is the same class.


def act_on(error: Exception) -> Act:
    """What to do about an error of an insert, whether it is translated or still the driver's."""
    if isinstance(error, StoreError):
        return ACTS.get(error.code, Act.ELSEWHERE)
    if isinstance(error, _LATE):
        return Act.ELSEWHERE
    if isinstance(error, _BROKEN):
        return Act.AGAIN
    code = getattr(error, "code", None)  # The driver's own errors.
    if isinstance(code, int):
        return ACTS.get(code, Act.ELSEWHERE)
    return Act.REJECT if isinstance(error, UNENCODABLE) else Act.ELSEWHERE


def reason_of(error: Exception) -> str:
    """A short name for a counter: the code's, or the kind of error."""
    code = getattr(error, "code", 0)
    for names in KNOWN.values():
        if code in names:
            return names[code].partition(":")[0].lower()
    return f"code_{code}" if code else type(error).__name__
