"""`doctor`: is everything set up so that calls are archived?"""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from call_archive_cli.archive_commands import AsJson
from call_archive_cli.arguments import InstanceArn
from call_archive_cli.deployment import stack_of
from call_archive_cli.doctor import Finding, Verdict, examine, read_setup
from call_archive_cli.exits import (
    FOUND_WRONG,
    USAGE,
    CommandError,
    escape,
    failures_as_lines,
    results,
)

_SIGNS = {
    Verdict.GOOD: "[green]✓[/]",
    Verdict.DOUBTFUL: "[yellow]![/]",
    Verdict.WRONG: "[bold red]✗[/]",
    Verdict.UNKNOWN: "[dim]?[/]",
}


def doctor(
    context: typer.Context,
    *,
    instance_arn: InstanceArn = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Doubtful findings count as wrong.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check the set-up with your credentials; each finding comes with its mend. Changes nothing.

    Looks at media streaming, retention, key, association, permission, queues, event source,
    contact events and the bucket. Exit code 1: something is wrong.

    Examples:

      call-archive --stack call-archive doctor

      call-archive --stack call-archive doctor --instance-arn ARN --json
    """
    with failures_as_lines():
        if not (stack := stack_of(context)):
            raise CommandError("give --stack STACK_NAME", USAGE)
        findings = list(examine(read_setup(stack, instance_arn)))
        if as_json:
            typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
        else:
            for finding in findings:
                _print(finding)
        bad = {Verdict.WRONG, Verdict.DOUBTFUL} if strict else {Verdict.WRONG}
        if any(finding.verdict in bad for finding in findings):
            raise typer.Exit(FOUND_WRONG)


def _print(finding: Finding) -> None:
    console = results()
    console.print(
        f"{_SIGNS[finding.verdict]} [bold]{finding.subject}[/]: {escape(finding.text)}",
        soft_wrap=True,
    )
    if finding.mend:
        console.print(f"    → {escape(finding.mend)}", soft_wrap=True)
