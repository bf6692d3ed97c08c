"""`everline bench`: measure this machine."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Measure what this machine can do.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
Seconds = Annotated[float, typer.Option("--seconds", min=0.1, max=3600, help="How long to measure.")]

# The benchmarks load the decoder or the engine: only who measures waits for that.


@app.command()
def decode(*, as_json: AsJson = False, seconds: Seconds = 5.0) -> None:
    """Decode HEP and SIP into event columns on one core."""
    from everline.bench.decode import run  # noqa: PLC0415 - see above

    run(as_json=as_json, seconds=seconds)


@app.command()
def ingest(*, as_json: AsJson = False, seconds: Seconds = 10.0) -> None:
    """Receive, decode, store and merge, in one process."""
    from everline.bench.ingest import run  # noqa: PLC0415 - see above

    run(as_json=as_json, seconds=seconds)


@app.command()
def balance(*, as_json: AsJson = False, seconds: Seconds = 9.0) -> None:
    """Receive datagrams, read their Call-IDs and send them to one owner or two, on one core."""
    from everline.bench.balance import run  # noqa: PLC0415 - see above

    run(as_json=as_json, seconds=seconds)


@app.command("app")
def app_(
    *,
    as_json: AsJson = False,
    calls: Annotated[int, typer.Option("--calls", min=1_000, max=100_000_000, help="Calls to search in.")] = 10_000_000,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="Keep the calls here, for the next time.")
    ] = None,
    streams: Annotated[int, typer.Option("--streams", min=1, max=5_000, help="Readers of events.")] = 500,
    asked: Annotated[int, typer.Option("--asked", min=6, max=10_000, help="Questions of each kind.")] = 60,
) -> None:
    """Search among millions of calls, show live calls, tell many readers of an event."""
    from everline.bench.app import run  # noqa: PLC0415 - see above

    run(as_json=as_json, calls=calls, data=data, streams=streams, asked=asked)
