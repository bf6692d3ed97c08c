"""Find programs that are not ours."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

SEARCH_PATH: Final = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
"""Debian keeps servers such as Kamailio where the PATH of a plain user does not look."""


def missing_programs(names: Iterable[str]) -> list[str]:
    """Which of the programs are not installed; a file that one of them loads is named by its whole path."""
    return [name for name in names if not (shutil.which(name, path=SEARCH_PATH) or Path(name).is_file())]
