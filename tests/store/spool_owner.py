"""Run as a program: owns a spool, for the tests that need another process, or one to kill."""

import random
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from everline.store.errors import StoreError
from everline.store.spool import Spool

MAX_BYTES = 64 << 20
WRITERS = 3


def record_of(name: str) -> bytes:
    """A record of a size and of bytes that its name tells."""
    chance = random.Random(name)
    return f"{name} ".encode() + chance.randbytes(chance.choice([0, 10, 5_000, 300_000]))


def name_of(record: bytes) -> str:
    """The name of a record; fails if the bytes are not those of its name."""
    name = record.split(b" ")[0].decode()
    assert record == record_of(name)
    return name


def fill(spool: Spool, run: str) -> None:
    """Append record after record from several threads, and say of each when it is kept."""

    def write(writer: int) -> None:
        for number in range(sys.maxsize):
            name = f"{run}-{writer}-{number}"
            spool.append(record_of(name))
            print(f"{name}\n", end="", flush=True)

    with ThreadPoolExecutor(WRITERS) as threads:
        for one in [threads.submit(write, writer) for writer in range(WRITERS)]:
            one.result()


def main() -> None:
    """`PATH fill RUN` or `PATH hold`."""
    path, what, *rest = sys.argv[1:]
    try:
        spool = Spool.open(Path(path), max_bytes=MAX_BYTES)
    except StoreError as error:
        print(type(error).__name__, error, flush=True)
        return
    print("open", flush=True)
    if what == "fill":
        fill(spool, rest[0])
    else:
        sys.stdin.readline()
    spool.close()


if __name__ == "__main__":
    main()
