"""Exit codes, and every failure as one line that says what to do.

| code | meaning |
|---|---|
| 0 | done; no problem was found |
| 1 | done; a problem was found: a recording is incomplete, damaged or missing |
| 2 | the command line is wrong (Click's own code) |
| 3 | AWS, the stream or a file refused: nothing was done, or not all of it |
| 130 | interrupted (128 + SIGINT) |
| 141 | the output was closed (128 + SIGPIPE) |
"""

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from typing import Final

import typer

from call_archive.errors import ArchiveError

FOUND_WRONG: Final = 1
USAGE: Final = 2
REFUSED: Final = 3
INTERRUPTED: Final = 130
NOBODY_READS: Final = 141


class CommandError(Exception):
    """The command cannot continue: one line says why and what to do."""

    def __init__(self, text: str, exit_code: int = REFUSED) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def failures() -> tuple[type[Exception], ...]:
    """Exceptions that are not defects of this program.

    Called after a failure: if it came from AWS, botocore is already loaded.
    """
    own = (CommandError, ArchiveError, OSError)
    if "botocore" not in sys.modules:
        return own
    from boto3.exceptions import Boto3Error  # noqa: PLC0415 - help and completion need none
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - help and completion need none

    return (*own, Boto3Error, BotoCoreError, ClientError)


@contextmanager
def failures_as_lines() -> Iterator[None]:
    """Turns every expected failure into one line on stderr and an exit code.

    Raises:
        typer.Exit: with the code of the failure.
    """
    try:
        yield
    except KeyboardInterrupt as interrupt:
        typer.echo("interrupted", err=True)
        raise typer.Exit(INTERRUPTED) from interrupt
    except BrokenPipeError as error:
        drop_output()
        raise typer.Exit(NOBODY_READS) from error
    except failures() as error:
        from call_archive_cli.console import print_failure  # noqa: PLC0415 - loads Rich

        print_failure(error)
        raise typer.Exit(getattr(error, "exit_code", REFUSED)) from error


def with_failures_as_lines[**P](command: Callable[P, None]) -> Callable[P, None]:
    """The command, inside `failures_as_lines`."""

    @wraps(command)
    def run(*arguments: P.args, **options: P.kwargs) -> None:
        with failures_as_lines():
            command(*arguments, **options)

    return run


def confirm(question: str, otherwise: str) -> None:
    """Asks a person to confirm with y.

    Args:
        question: on stderr.
        otherwise: what has not happened, if the answer is another one.

    Raises:
        CommandError: the answer is another one, or there is no terminal to ask.
        KeyboardInterrupt: Ctrl-C, which Click turns into the same exception as the end of input.
    """
    try:
        is_confirmed = typer.confirm(question, err=True)
    except typer.Abort as abort:
        if isinstance(abort.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from abort
        typer.echo(err=True)
        is_confirmed = False
    if not is_confirmed:
        raise CommandError(f"{otherwise}: answer y, or give --yes", FOUND_WRONG)


def drop_output() -> None:
    """Discards buffered output: standard output is closed."""
    # In a test runner standard output is not a file.
    with suppress(io.UnsupportedOperation):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
