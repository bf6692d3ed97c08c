"""The command `everline`: what every command has in common."""

import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from everline import __version__
from everline.cli import balance, bench, calls, cluster, config, lab, node, render, replay, store, topology, up
from everline.cli import run as run_node
from everline.errors import EverlineError

app = typer.Typer(
    name="everline",
    help="Call intelligence: HEP and SIP in, call records out.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
up.register(app)
run_node.register(app)
balance.register(app)
render.register(app)
replay.register(app)
calls.register(app)
app.add_typer(config.app, name="config")
app.add_typer(cluster.app, name="cluster")
app.add_typer(node.app, name="node")
app.add_typer(lab.app, name="lab")
app.add_typer(store.app, name="store")
app.add_typer(bench.app, name="bench")
app.add_typer(topology.app, name="topology")


def _print_version(asked: bool) -> None:  # noqa: FBT001 - the shape that Typer calls
    if asked:
        typer.echo(f"everline {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def everline(
    context: typer.Context,
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Call intelligence: HEP and SIP in, call records out."""
    if context.invoked_subcommand is None and not version:
        typer.echo(context.get_help())


def run(arguments: Sequence[str]) -> int:
    """
    Run one command line.

    Returns:
        0; 1 for a failure, 2 for wrong usage or configuration, 3 for a node or port that cannot be had,
        130 after Ctrl-C. A failure prints one line on stderr.
    """
    try:
        code = app(list(arguments), prog_name="everline", standalone_mode=False)
        sys.stdout.flush()
    except EverlineError as error:
        _complain(str(error))
        return error.exit_code
    except typer.TyperException as error:  # Wrong usage; in non-standalone mode Typer leaves the words to us.
        if error.format_message():  # A group without a command has printed its help.
            _complain(f"{error.format_message()} See `everline --help`.")
        return error.exit_code
    except BrokenPipeError:
        # The reader has gone (`| head`): say nothing, and let the interpreter flush into the void at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code if isinstance(code, int) else 0


def main() -> None:
    """Run the command line of this process."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # A ladder is drawn on an ASCII terminal too.
    sys.exit(run(sys.argv[1:]))


def _complain(text: str) -> None:
    print("everline:", " ".join(text.split()), file=sys.stderr)
