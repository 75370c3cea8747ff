"""`doctor`: is everything set up so that calls are archived?"""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Final

import typer

from call_archive_cli.exits import FOUND_WRONG
from call_archive_cli.options import AsJson, InstanceArn
from call_archive_cli.session import session_of

if TYPE_CHECKING:
    from call_archive_cli.doctor import Finding

_SIGNS: Final = {
    "good": "[green]✓[/]",
    "doubtful": "[yellow]![/]",
    "wrong": "[bold red]✗[/]",
    "unknown": "[dim]?[/]",
}


def doctor(
    context: typer.Context,
    *,
    instance_arn: InstanceArn = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check the set-up with your credentials; each finding says how to fix it. Read-only.

    Checks media streaming, retention, key, association, permission, queues, event source, contact
    events and the bucket. Exit code 1: a check failed.

    Examples:

      call-archive --stack call-archive doctor

      call-archive --stack call-archive doctor --instance-arn ARN --json
    """
    from call_archive_cli.doctor import Verdict, examine, read_setup

    findings = list(examine(read_setup(session_of(context), instance_arn)))
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            _print(finding)
    bad = {Verdict.WRONG, Verdict.DOUBTFUL} if strict else {Verdict.WRONG}
    if any(finding.verdict in bad for finding in findings):
        raise typer.Exit(FOUND_WRONG)


def _print(finding: "Finding") -> None:
    from rich.markup import escape

    from call_archive_cli.console import results

    console = results()
    console.print(
        f"{_SIGNS[finding.verdict]} [bold]{finding.subject}[/]: {escape(finding.text)}",
        soft_wrap=True,
    )
    if finding.fix:
        console.print(f"    → {escape(finding.fix)}", soft_wrap=True)
