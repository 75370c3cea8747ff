"""Where results go: the one rule for a file that is there already, and for standard output."""

import sys
from pathlib import Path
from typing import BinaryIO, Final

from call_archive_cli.exits import USAGE, CommandError

STDOUT: Final = "-"
"""In place of a file's name."""


def check_target(path: Path, *, overwrite: bool) -> None:
    """Refuses a file that is there, unless it may be replaced.

    Raises:
        CommandError: it is there, or its directory is not.
    """
    if path.exists() and not overwrite:
        raise CommandError(f"{path} is there already: give --overwrite or another -o", USAGE)
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
