"""Where results are written: one rule for existing files and for standard output."""

import sys
from pathlib import Path
from typing import BinaryIO, Final

from call_archive_cli.exits import USAGE, CommandError

STDOUT: Final = "-"
"""Used instead of a file's name."""


def check_target(path: Path, *, overwrite: bool) -> None:
    """Refuses an existing file, unless it may be replaced.

    Raises:
        CommandError: it exists, or its directory does not.
    """
    if path.exists() and not overwrite:
        raise CommandError(f"{path} already exists: give --overwrite or another -o", USAGE)
    if not path.parent.is_dir():
        raise CommandError(f"{path.parent}: there is no such directory", USAGE)


def open_stdout() -> BinaryIO:
    """Standard output, for bytes.

    Raises:
        CommandError: it is a terminal.
    """
    if sys.stdout.isatty():
        raise CommandError(
            "standard output is a terminal: pipe it to a player, or give -o FILE", USAGE
        )
    return sys.stdout.buffer
