"""How a command ends: exit codes, and every failure as one line that says what to do.

| code | meaning |
|---|---|
| 0 | done, and nothing was found wrong |
| 1 | done, and something is wrong: a recording is incomplete, damaged or missing |
| 2 | the command line is wrong (Click's own code) |
| 3 | AWS, the stream or a file refused: nothing was done, or not all of it |
| 130 | interrupted (128 + SIGINT) |
| 141 | nobody reads the output any more (128 + SIGPIPE) |
"""

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, override

import typer
from boto3.exceptions import Boto3Error
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ProfileNotFound,
    TokenRetrievalError,
)
from rich.console import Console

from call_archive.errors import ArchiveError

FOUND_WRONG: Final = 1
USAGE: Final = 2
REFUSED: Final = 3
INTERRUPTED: Final = 130
NOBODY_READS: Final = 141

_LOG_IN: Final = "log in (aws sso login), or choose a profile with --profile"
_WHAT_TO_DO: Final = {
    "AccessDenied": "your credentials do not allow it",
    "AccessDeniedException": "your credentials do not allow it",
    "NotAuthorizedException": "your credentials do not allow it",
    "ExpiredToken": _LOG_IN,
    "ExpiredTokenException": _LOG_IN,
    "InvalidClientTokenId": _LOG_IN,
    "UnrecognizedClientException": _LOG_IN,
    "NoSuchBucket": "check --bucket",
    "404": "check --bucket",
    "ResourceNotFoundException": "there is none, or not any more: check the name and the region",
    "InvalidArgumentException": "outside the stream's retention, or the retention is 0",
    "NoDataRetentionException": "set 24 h under Data storage, Live media streaming",
    "AWS.SimpleQueueService.NonExistentQueue": "check the queue's URL and the region",
}

messages = Console(stderr=True, highlight=False)
"""Everything that is not the command's result."""


class _ResultConsole(Console):
    @override
    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def results() -> Console:
    """Where a command's result goes: standard output."""
    return _ResultConsole(highlight=False)


class CommandError(Exception):
    """The command cannot go on: one line says why and what to do."""

    def __init__(self, text: str, exit_code: int = REFUSED) -> None:
        super().__init__(text)
        self.exit_code = exit_code


FAILURES: Final = (CommandError, ArchiveError, Boto3Error, BotoCoreError, ClientError, OSError)
"""What can go wrong without anything being wrong with this program."""


@contextmanager
def failures_as_lines() -> Iterator[None]:
    """Turns every foreseeable failure into one line on stderr and an exit code.

    Raises:
        typer.Exit: with the code of the failure.
    """
    try:
        yield
    except KeyboardInterrupt as interrupt:
        messages.print("interrupted")
        raise typer.Exit(INTERRUPTED) from interrupt
    except BrokenPipeError as error:
        drop_output()
        raise typer.Exit(NOBODY_READS) from error
    except FAILURES as error:
        print_failure(error)
        raise typer.Exit(getattr(error, "exit_code", REFUSED)) from error


def drop_output() -> None:
    """Lets what is still buffered go nowhere: nobody reads standard output any more."""
    # A runner of tests has no file behind standard output.
    with suppress(io.UnsupportedOperation):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_failure(error: Exception) -> None:
    """A foreseeable failure as one line on stderr."""
    messages.print(f"[bold red]error:[/] {escape(_line(error))}", soft_wrap=True)


def print_warning(text: str) -> None:
    """What the command goes on in spite of, as one line on stderr."""
    messages.print(f"[bold yellow]warning:[/] {escape(text)}", soft_wrap=True)


def _line(error: Exception) -> str:
    text = _plain(error)
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _plain(error: Exception) -> str:
    for kind, describe in _DESCRIPTIONS:
        if isinstance(error, kind):
            return describe(error)
    return str(error)


def _failure(error: ArchiveError) -> str:
    """What the functions say; of a refused call, what it means for the person who asked."""
    cause = error.__cause__ or error.__context__
    if isinstance(cause, (ClientError, BotoCoreError)):
        return _plain(cause)
    return str(error.reason)


def _refusal(error: ClientError) -> str:
    code = error.response["Error"].get("Code", "")
    text = error.response["Error"].get("Message", "")
    advice = _WHAT_TO_DO.get(code, "")
    said = ": ".join(part for part in (code, text) if part)
    return f"{error.operation_name} answered {said}{f'; {advice}' if advice else ''}"


_DESCRIPTIONS: Final[tuple[tuple[type[Exception], Callable[[Any], str]], ...]] = (
    (ArchiveError, _failure),
    (ClientError, _refusal),
    (NoCredentialsError, lambda _: f"no usable AWS credentials: {_LOG_IN}"),
    (TokenRetrievalError, lambda _: f"no usable AWS credentials: {_LOG_IN}"),
    (NoRegionError, lambda _: "no AWS region: give --region, or set AWS_DEFAULT_REGION"),
    (ProfileNotFound, lambda error: f"{error}: see ~/.aws/config"),
    (EndpointConnectionError, lambda error: f"{error}: check the region and the network"),
    (FileNotFoundError, lambda error: f"{error.filename}: there is no such file"),
    (
        OSError,
        lambda error: f"{error.filename}: {error.strerror}" if error.filename else str(error),
    ),
)


def escape(text: str) -> str:
    """Text from elsewhere, which is not to be taken for markup."""
    return text.replace("[", r"\[")
