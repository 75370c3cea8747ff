"""The command line: the commands, their shared options, and the format of their help.

Nothing here or in `commands` loads boto3, Rich, NumPy or the decoder until a command runs: help and
completion answer at once.
"""

import re
from collections.abc import Callable
from inspect import getdoc
from typing import Annotated, Any, Final, override

import typer
from typer.core import TyperGroup

from call_archive import __version__
from call_archive_cli.commands.backfill import backfill
from call_archive_cli.commands.doctor import doctor
from call_archive_cli.commands.erase import erase
from call_archive_cli.commands.explain import explain
from call_archive_cli.commands.fetch import fetch
from call_archive_cli.commands.follow import follow
from call_archive_cli.commands.get import get
from call_archive_cli.commands.hold import hold, release
from call_archive_cli.commands.inspect import inspect
from call_archive_cli.commands.join import join
from call_archive_cli.commands.list import list_recordings
from call_archive_cli.commands.redrive import redrive
from call_archive_cli.commands.rehearse import rehearse
from call_archive_cli.commands.report import report
from call_archive_cli.commands.verify import verify
from call_archive_cli.exits import with_failures_as_lines
from call_archive_cli.session import open_session

COMMANDS: Final[tuple[tuple[str, Callable[..., None]], ...]] = (
    ("follow", follow),
    ("fetch", fetch),
    ("inspect", inspect),
    ("report", report),
    ("list", list_recordings),
    ("get", get),
    ("join", join),
    ("verify", verify),
    ("backfill", backfill),
    ("doctor", doctor),
    ("rehearse", rehearse),
    ("explain", explain),
    ("redrive", redrive),
    ("erase", erase),
    ("hold", hold),
    ("release", release),
)
SHARED_OPTIONS: Final = ("--profile", "--region", "--stack")
WIDEST_HELP: Final = 100


class Commands(TyperGroup):
    """The commands; the shared options may appear anywhere on the command line."""

    @override
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, shared_first(args))


def shared_first(arguments: list[str]) -> list[str]:
    """The arguments, with the shared options and their values first; unchanged behind `--`."""
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
    """A command's docstring as help: paragraphs are wrapped, examples have one line each."""
    paragraphs = (getdoc(command) or "").split("\n\n")
    prose = [paragraph for paragraph in paragraphs if not paragraph.startswith("  ")]
    examples = [paragraph for paragraph in paragraphs if paragraph.startswith("  ")]
    # Click wraps paragraphs, except one that begins with \b.
    return "\n\n".join((*prose[:-1], "\n".join(("\b", prose[-1], *examples))))


def summary(command: Callable[..., None]) -> str:
    """The first line of a command's docstring, cut to the width of a list of commands."""
    line = (getdoc(command) or "").partition("\n")[0]
    return re.split(r": |;", line)[0].rstrip(".")


# Without Rich: its help renderer alone takes longer to load than all of the commands.
app = typer.Typer(
    name="call-archive",
    cls=Commands,
    help="Follow, fetch, inspect and manage the recordings of Amazon Connect calls.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": WIDEST_HELP},
)
for name, command in COMMANDS:
    app.command(name, help=help_text(command), short_help=summary(command))(
        with_failures_as_lines(command)
    )


def _print_version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"call-archive {__version__}")
        raise typer.Exit


@app.callback(
    epilog="Exit codes: 0 success, 1 a problem was found in a recording or the set-up, "
    "2 wrong command line, 3 AWS or a file refused, 130 interrupted, "
    "141 output closed."
)
def configure(
    context: typer.Context,
    *,
    profile: Annotated[
        str | None,
        typer.Option(
            help="Profile in ~/.aws; overrides keys in the environment. [env var: AWS_PROFILE]"
        ),
    ] = None,
    region: Annotated[
        str | None, typer.Option(envvar=["AWS_REGION", "AWS_DEFAULT_REGION"], help="AWS region.")
    ] = None,
    stack: Annotated[
        str | None,
        typer.Option(
            envvar="CALL_ARCHIVE_STACK",
            help="The deployed stack; provides the bucket and the queues.",
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Options of all commands; they may appear anywhere on the command line."""
    del version
    open_session(context, profile, region, stack)
