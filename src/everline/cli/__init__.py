"""The command line."""

from everline.cli.entry import main

__all__ = ["main"]
