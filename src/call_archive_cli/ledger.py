"""The progress of a long run, on the disk, so that the next run continues from it.

A file of JSON lines, each an object. A line is on the disk before `write` returns; a line that a
killed run did not finish is cut off by the next one.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Final

from call_archive_cli.exits import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

_END: Final = b"\n"
_LONGEST_LINE: Final = 65_536


class Ledger[T]:
    """One such file.

    Attributes:
        path: of the file; it need not exist.
    """

    def __init__(self, path: Path, decode: Callable[[Any], T], command: str) -> None:
        self.path = path
        self._decode = decode
        self._command = command

    def read(self) -> Iterator[T]:
        """The lines of earlier runs, without an unfinished last line.

        Raises:
            CommandError: a line was written by another command.
            OSError: the file cannot be read.
        """
        if not self.path.exists():
            return
        with self.path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    yield self._decode(json.loads(line))
                except (ValueError, KeyError, TypeError, RecursionError) as error:
                    if line.startswith(b"{") and not line.endswith(_END):
                        return
                    raise CommandError(
                        f"{self.path}:{number} is not a line of {self._command}: "
                        "give another --state"
                    ) from error

    def prepare(self) -> None:
        """Makes sure that lines can be written, before there is anything to write.

        Raises:
            OSError: the file cannot be written.
        """
        with self.path.open("ab+") as lines:
            size = lines.seek(0, os.SEEK_END)
            lines.seek(max(0, size - _LONGEST_LINE))
            last = lines.read().rpartition(_END)[2]
            if not last:
                return
            if _is_json(last):
                lines.write(_END)
            else:
                lines.truncate(size - len(last))

    def write(self, entries: Iterable[Mapping[str, object]]) -> None:
        """Adds lines, on the disk before this returns.

        Raises:
            OSError: the file cannot be written.
        """
        with self.path.open("ab") as lines:
            lines.writelines(json.dumps(entry).encode() + _END for entry in entries)
            lines.flush()
            os.fsync(lines.fileno())


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
