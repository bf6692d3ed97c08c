"""`everline config`: look at a configuration before a node uses it."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from everline.config import effective_values
from everline.config_load import ConfigError, load_config

app = typer.Typer(help="Check and show the configuration of a node.", no_args_is_help=True)

ConfigFile = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Configuration file (TOML).")]


@app.command()
def check(config: ConfigFile = None) -> None:
    """List every fault of the configuration with its key path; exit code 2 if there is one."""
    try:
        load_config(config, environ=os.environ, flags={})
    except ConfigError as error:
        for fault in error.faults:
            print(f"everline: {fault}", file=sys.stderr)
        raise typer.Exit(error.exit_code) from error
    print("configuration: no fault found")


@app.command()
def show(
    config: ConfigFile = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object by key path.")] = False,
) -> None:
    """Print the value of every key and where it came from; secrets as ***."""
    loaded = load_config(config, environ=os.environ, flags={})
    values = effective_values(loaded.config)
    if as_json:
        print(json.dumps(values, indent=2))
        return
    for key, value in values.items():
        shown = "(not set)" if value is None else json.dumps(value)
        print(f"{key} = {shown}  # {loaded.sources[key]}")
