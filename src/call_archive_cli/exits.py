"""How a command ends: exit codes, and every failure as one line that says what to do.

| code | meaning |
|---|---|
| 0 | done, and nothing was found wrong |
| 1 | done, and something is wrong: a recording is incomplete, damaged or missing |
| 2 | the command line is wrong (Click's own code) |
| 3 | AWS, the stream or a file refused: nothing was done, or not all of it |
| 130 | interrupted (128 + SIGINT) |
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import typer
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
    "AWS.SimpleQueueService.NonExistentQueue": "check the queue's URL and the region",
}

messages = Console(stderr=True, highlight=False)
"""Everything that is not the command's result."""


class CommandError(Exception):
    """The command cannot go on: one line says why and what to do."""

    def __init__(self, text: str, exit_code: int = REFUSED) -> None:
        super().__init__(text)
        self.exit_code = exit_code


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
    except (CommandError, ArchiveError, BotoCoreError, ClientError, OSError) as error:
        messages.print(f"[bold red]error:[/] {_escape(_line(error))}", soft_wrap=True)
        raise typer.Exit(getattr(error, "exit_code", REFUSED)) from error


def _line(error: Exception) -> str:
    text = _plain(error)
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _plain(error: Exception) -> str:
    for kind, describe in _DESCRIPTIONS:
        if isinstance(error, kind):
            return describe(error)
    return str(error)


def _refusal(error: ClientError) -> str:
    code = error.response["Error"].get("Code", "")
    text = error.response["Error"].get("Message", "")
    advice = _WHAT_TO_DO.get(code, "")
    return f"{error.operation_name} answered {code}: {text}{f'; {advice}' if advice else ''}"


_DESCRIPTIONS: Final[tuple[tuple[type[Exception], Callable[[Any], str]], ...]] = (
    (ArchiveError, lambda error: error.reason),
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


def _escape(text: str) -> str:
    return text.replace("[", r"\[")
