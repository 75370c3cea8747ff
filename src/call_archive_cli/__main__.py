"""`call-archive COMMAND`: what an operator does at a terminal."""

from typing import Annotated

import typer

from call_archive import __version__
from call_archive_cli import (
    archive_commands,
    backfill_command,
    doctor_command,
    media_commands,
    report_command,
)
from call_archive_cli.clients import choose_session

app = typer.Typer(
    name="call-archive",
    help="Follow, fetch, inspect and look after the recordings of Amazon Connect calls.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    media_commands.follow,
    media_commands.fetch,
    media_commands.inspect,
    report_command.report,
):
    app.command()(command)
app.command("list")(archive_commands.list_recordings)
app.command("get")(archive_commands.get)
app.command("verify")(archive_commands.verify)
app.command("backfill")(backfill_command.backfill)
app.command("doctor")(doctor_command.doctor)
app.command("redrive")(archive_commands.redrive_jobs)


def _print_version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"call-archive {__version__}")
        raise typer.Exit


@app.callback(
    epilog="Exit codes: 0 well, 1 something is wrong with what was looked at, "
    "2 wrong command line, 3 AWS or a file refused, 130 interrupted."
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
    """What all commands share."""
    del stack, version
    choose_session(profile, region)


def main() -> None:
    """The entry point that the package installs."""
    app()


if __name__ == "__main__":
    main()
