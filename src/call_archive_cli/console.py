"""Output for people: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING, Any, Final, override

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from call_archive_cli.errors import describe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

UNCUT: Final = 10_000
"""Columns of a file or a pipe: none of our tables is wider."""

messages = Console(stderr=True, highlight=False)
"""Everything that is not the command's result."""


class _ResultConsole(Console):
    @override
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def results() -> Console:
    """Where a command's result goes: standard output, not cut if that is no terminal."""
    console = _ResultConsole(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = UNCUT
    return console


def with_progress[T](
    things: Iterable[T], noun: str, total: Callable[[], int] | None = None
) -> Iterator[T]:
    """The things, with a bar on stderr that has their rate and the time left; on a terminal only.

    Args:
        things: what is counted.
        noun: what they are, behind their number.
        total: asks how many there will be; in its own thread, which may fail.
    """
    if not messages.is_terminal:
        yield from things
        return
    columns = (
        SpinnerColumn(),
        _CountColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        RateColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=messages, transient=True) as progress:
        task = progress.add_task(noun, total=None)
        if total is not None:
            threading.Thread(
                target=lambda: progress.update(task, total=total()), daemon=True
            ).start()
        for thing in things:
            yield thing
            progress.advance(task)


class _CountColumn(ProgressColumn):
    """How many, of how many if that is known."""

    def render(self, task: Task) -> Text:
        of_total = "" if task.total is None else f" of {task.total:,.0f}"
        return Text(f"{task.completed:,.0f}{of_total}")


class RateColumn(ProgressColumn):
    """Things a second."""

    def render(self, task: Task) -> Text:
        """The rate of the last half minute; nothing before there is one."""
        rate = task.finished_speed or task.speed
        return Text("" if rate is None else f"{rate:,.1f}/s")


def print_failure(error: Exception) -> None:
    """Prints an expected failure as one line on stderr."""
    print_error(describe(error))


def print_error(text: str) -> None:
    """Prints an error as one line on stderr."""
    messages.print(f"[bold red]error:[/] {escape(one_line(text))}", soft_wrap=True)


def print_warning(text: str) -> None:
    """Prints a problem that does not stop the command, as one line on stderr."""
    messages.print(f"[bold yellow]warning:[/] {escape(one_line(text))}", soft_wrap=True)


def print_json(documents: Iterable[Any]) -> None:
    """A JSON array on standard output, one element at a time: an archive is larger than memory."""
    print_json_texts(json.dumps(document, indent=2) for document in documents)


def print_json_texts(texts: Iterable[str]) -> None:
    """Prints a JSON array of encoded elements."""
    separator = "["
    for text in texts:
        typer.echo(f"{separator}\n{text}", nl=False)
        separator = ","
    typer.echo("[]" if separator == "[" else "\n]")


def one_line(text: str) -> str:
    """The text without line ends and control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
