"""The command line: the commands, what all of them share, and how their help looks."""

from collections.abc import Callable
from typing import Annotated, Any, override

import typer
from typer.core import TyperGroup

from call_archive import __version__
from call_archive_cli import (
    archive_commands,
    backfill_command,
    doctor_command,
    media_commands,
    report_command,
)
from call_archive_cli.clients import choose_session

SHARED_OPTIONS = ("--profile", "--region", "--stack")


class Commands(TyperGroup):
    """The commands; the options that they share may stand anywhere on the command line."""

    @override
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, shared_first(args))


def shared_first(arguments: list[str]) -> list[str]:
    """The arguments, with the shared options and their values in front; behind `--` as they are."""
    shared: list[str] = []
    others: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument in SHARED_OPTIONS:
            shared += [argument, *(value for value in (next(rest, None),) if value is not None)]
        elif argument.partition("=")[0] in SHARED_OPTIONS:
            shared.append(argument)
        elif argument == "--":
            others += [argument, *rest]
        else:
            others.append(argument)
    return shared + others


def help_text(command: Callable[..., None]) -> str:
    """A command's docstring: paragraphs that flow, examples a line each."""
    paragraphs = (command.__doc__ or "").strip().split("\n\n")
    flowing = [
        paragraph.rstrip() if paragraph.startswith("      ") else " ".join(paragraph.split())
        for paragraph in paragraphs
    ]
    prose = [paragraph for paragraph in flowing if not paragraph.startswith("      ")]
    examples = [f"  {line.strip()}" for line in flowing if line.startswith("      ")]
    return "\n\n".join((*prose[:-1], "\n".join((prose[-1], *examples))))


app = typer.Typer(
    name="call-archive",
    cls=Commands,
    help="Follow, fetch, inspect and look after the recordings of Amazon Connect calls.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for name, command in (
    ("follow", media_commands.follow),
    ("fetch", media_commands.fetch),
    ("inspect", media_commands.inspect),
    ("report", report_command.report),
    ("list", archive_commands.list_recordings),
    ("get", archive_commands.get),
    ("verify", archive_commands.verify),
    ("backfill", backfill_command.backfill),
    ("doctor", doctor_command.doctor),
    ("redrive", archive_commands.redrive_jobs),
):
    app.command(name, help=help_text(command))(command)


def _print_version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"call-archive {__version__}")
        raise typer.Exit


@app.callback(
    epilog="Exit codes: 0 well, 1 something is wrong with what was looked at, "
    "2 wrong command line, 3 AWS or a file refused, 130 interrupted, "
    "141 nobody reads the output."
)
def configure(
    *,
    profile: Annotated[
        str | None, typer.Option(envvar="AWS_PROFILE", help="Credentials from ~/.aws.")
    ] = None,
    region: Annotated[
        str | None, typer.Option(envvar=["AWS_REGION", "AWS_DEFAULT_REGION"], help="AWS region.")
    ] = None,
    stack: Annotated[
        str | None,
        typer.Option(
            envvar="CALL_ARCHIVE_STACK",
            help="The deployed stack: tells the bucket and the queues to commands that need them.",
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """What all commands share; these options may stand anywhere on the command line."""
    del stack, version
    choose_session(profile, region)
