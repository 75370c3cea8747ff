"""Rows in any order → sorted, in constant memory: what is too much waits in temporary files."""

from __future__ import annotations

import heapq
import json
import tempfile
from contextlib import ExitStack
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

RUN_CHARACTERS: Final = 16_000_000
"""Text that is sorted in memory at a time."""

type Row = tuple[str, ...]


def sort_rows(rows: Iterable[Row], run_characters: int = RUN_CHARACTERS) -> Iterator[Row]:
    """The rows, sorted by their texts from left to right."""
    with ExitStack() as files:
        runs: list[IO[str]] = []
        waiting: list[Row] = []
        size = 0
        for row in rows:
            waiting.append(row)
            size += sum(map(len, row))
            if size >= run_characters:
                runs.append(_write(sorted(waiting), files))
                waiting, size = [], 0
        waiting.sort()
        yield from heapq.merge(*map(_read, runs), waiting)


def _write(rows: Iterable[Row], files: ExitStack) -> IO[str]:
    file = files.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8"))  # noqa: SIM115 - the stack does
    file.writelines(json.dumps(row) + "\n" for row in rows)
    return file


def _read(file: IO[str]) -> Iterator[Row]:
    file.seek(0)
    return (tuple(json.loads(line)) for line in file)
