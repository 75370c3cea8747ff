"""What a person reads: results on standard output, every other word on standard error."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, override

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
from rich.markup import escape
from rich.progress import ProgressColumn, Task
from rich.text import Text

from call_archive.errors import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

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


class RateColumn(ProgressColumn):
    """Things a second."""

    def render(self, task: Task) -> Text:
        """The rate of the last half minute; nothing before there is one."""
        rate = task.finished_speed or task.speed
        return Text("" if rate is None else f"{rate:,.1f}/s")


def print_failure(error: Exception) -> None:
    """A foreseeable failure as one line on stderr."""
    messages.print(f"[bold red]error:[/] {escape(one_line(describe(error)))}", soft_wrap=True)


def print_warning(text: str) -> None:
    """What the command goes on in spite of, as one line on stderr."""
    messages.print(f"[bold yellow]warning:[/] {escape(one_line(text))}", soft_wrap=True)


def print_json(documents: Iterable[Any]) -> None:
    """A JSON array on standard output, one element at a time: an archive is larger than memory."""
    separator = "[\n"
    for document in documents:
        typer.echo(separator + json.dumps(document, indent=2), nl=False)
        separator = ",\n"
    typer.echo("[]" if separator == "[\n" else "\n]")


def one_line(text: str) -> str:
    """The text without line ends and control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def describe(error: Exception) -> str:
    """A failure in words for the person who asked."""
    for kind, describe_kind in _DESCRIPTIONS:
        if isinstance(error, kind):
            return describe_kind(error)
    return str(error)


def _failure(error: ArchiveError) -> str:
    """What the functions say; of a refused call, what it means for the person who asked."""
    cause = error.__cause__ or error.__context__
    if isinstance(cause, (ClientError, BotoCoreError)):
        return describe(cause)
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
