"""`backfill`: queue past calls that have no recording."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from call_archive_cli.archive import CallArchive
from call_archive_cli.archive_commands import AsJson, Bucket, Prefix
from call_archive_cli.arguments import InstanceArn, parse_moment
from call_archive_cli.backfill import (
    SEARCHES_PER_S,
    Backfill,
    Pace,
    PastContact,
    QueuedBefore,
    Window,
    send,
    split_days,
)
from call_archive_cli.deployment import output_of
from call_archive_cli.exits import USAGE, CommandError, failures_as_lines, messages
from call_archive_cli.streams import moment, now_ms

JOBS_PER_S = 5
"""Half of DescribeContact's ten a second: the other half is for the calls that end meanwhile."""


def backfill(
    context: typer.Context,
    *,
    instance_arn: InstanceArn = None,
    from_time: Annotated[
        int | None,
        typer.Option(
            "--from", metavar="TIME", parser=parse_moment, help="Calls that ended from here on."
        ),
    ] = None,
    to_time: Annotated[
        int | None,
        typer.Option("--to", metavar="TIME", parser=parse_moment, help=r"\[default: now]"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Queue nothing.")] = False,
    rate: Annotated[
        float, typer.Option(min=0.1, max=100, metavar="JOBS", help="Most jobs a second.")
    ] = JOBS_PER_S,
    state: Annotated[
        Path, typer.Option(metavar="FILE", help="What was queued, so that a run can be resumed.")
    ] = Path("call-archive-backfill.jsonl"),
    bucket: Bucket = None,
    prefix: Prefix = "",
    queue_url: Annotated[
        str | None, typer.Option(metavar="URL", help=r"ArchiveQueue. \[default: of --stack]")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Queue the past calls that have no recording; Lambda archives them.

    Only what the streams' retention still holds can be archived. Interrupted, the same command
    goes on where it was.

    Examples:

      call-archive --stack call-archive backfill --instance-arn ARN --from 2026-11-22 --dry-run

      call-archive --stack call-archive backfill --instance-arn ARN --from 2026-11-22 --rate 2
    """
    with failures_as_lines():
        if instance_arn is None or from_time is None:
            raise CommandError("give --instance-arn and --from", USAGE)
        archive = CallArchive(output_of(context, "ArchiveBucket", bucket, "--bucket"), prefix)
        target = "" if dry_run else output_of(context, "ArchiveQueueUrl", queue_url, "--queue-url")
        counts, before = Backfill(), QueuedBefore(state)
        wanted = counts.choose(
            _contacts(instance_arn, from_time, to_time or now_ms(), counts),
            cache(archive.contact_ids),
            before,
        )
        if dry_run:
            counts.queued = sum(1 for _ in wanted)
        else:
            for sent in send(wanted, instance_arn, target, before, Pace(rate)):
                counts.queued += sent
        _print_summary(counts, dry_run=dry_run, as_json=as_json)


def _contacts(
    instance_arn: str, from_ms: int, to_ms: int, counts: Backfill
) -> Iterator[PastContact]:
    """Every contact, with a bar for each day."""
    pace = Pace(SEARCHES_PER_S)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[queued]} to queue"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=messages, disable=not messages.is_terminal) as progress:
        for start_ms, end_ms in split_days(from_ms, to_ms):
            window = Window(instance_arn, start_ms, end_ms, pace)
            day = moment(start_ms).date().isoformat()
            task = progress.add_task(day, total=None, queued="0")
            for contact in window.contacts():
                yield contact
                queued = counts.found - counts.archived - counts.queued_before
                progress.update(task, advance=1, total=window.total, queued=f"{queued:,}")


def _print_summary(counts: Backfill, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(asdict(counts) | {"dryRun": dry_run}))
        return
    Console().print(
        f"{counts.found:,} voice contacts: {counts.archived:,} archived already, "
        f"{counts.queued_before:,} queued by an earlier run, {counts.queued:,} "
        f"{'would be queued' if dry_run else 'queued'}"
    )
