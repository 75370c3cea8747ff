"""`backfill`: queue past calls that have no recording."""

import json
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Annotated

import typer
from botocore.exceptions import ClientError
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from call_archive_cli.archive_commands import AsJson, Bucket, Prefix, archive_of
from call_archive_cli.arguments import InstanceArn, parse_moment
from call_archive_cli.backfill import (
    SEARCHES_PER_S,
    Backfill,
    Pace,
    PastContact,
    QueuedBefore,
    Window,
    retention_hours,
    send,
    split_days,
)
from call_archive_cli.deployment import output_of
from call_archive_cli.exits import (
    USAGE,
    CommandError,
    failures_as_lines,
    messages,
    print_warning,
    results,
)
from call_archive_cli.streams import HOUR_MS, moment, now_ms

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
        typer.Option(
            "--to", metavar="TIME", parser=parse_moment, help=r"… up to here. \[default: now]"
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Queue nothing.")] = False,
    rate: Annotated[
        float, typer.Option(min=0.1, max=100, metavar="JOBS", help="Most jobs a second.")
    ] = JOBS_PER_S,
    search_rate: Annotated[
        float,
        typer.Option(
            min=0.1, max=1000, metavar="CALLS", help="SearchContacts calls a second, your quota."
        ),
    ] = SEARCHES_PER_S,
    state: Annotated[
        Path, typer.Option(metavar="FILE", help="What was queued, so that a run can be resumed.")
    ] = Path("call-archive-backfill.jsonl"),
    bucket: Bucket = None,
    prefix: Prefix = None,
    queue_url: Annotated[
        str | None, typer.Option(metavar="URL", help=r"ArchiveQueue. \[default: of --stack]")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Queue the past calls that have no recording; Lambda archives them.

    Only what the streams' retention still holds can be archived. A call with a recording, complete
    or not, is left alone. Interrupted, the same command goes on where it was. The queue takes jobs
    from the role that the stack's parameter RedriveRoleArn names.

    Examples:

      call-archive --stack call-archive backfill --instance-arn ARN --from 2026-11-22 --dry-run

      call-archive --stack call-archive backfill --instance-arn ARN --from 2026-11-22 --rate 2
    """
    with failures_as_lines():
        if instance_arn is None or from_time is None:
            raise CommandError("give --instance-arn and --from", USAGE)
        archive = archive_of(context, bucket, prefix)
        target = "" if dry_run else output_of(context, "ArchiveQueueUrl", queue_url, "--queue-url")
        _warn_of_retention(instance_arn, from_time)
        counts, before = Backfill(), QueuedBefore(state)
        wanted = counts.choose(
            _contacts(
                instance_arn, split_days(from_time, to_time or now_ms()), Pace(search_rate), counts
            ),
            cache(archive.contact_ids),
            before,
        )
        if dry_run:
            counts.queued = sum(1 for _ in wanted)
        else:
            for sent in send(wanted, instance_arn, target, before, Pace(rate)):
                counts.queued += sent
        _print_summary(counts, dry_run=dry_run, as_json=as_json)


def _warn_of_retention(instance_arn: str, from_ms: int) -> None:
    try:
        hours = retention_hours(instance_arn)
    except ClientError:
        print_warning("your credentials do not show how long the streams keep audio")
        return
    kept_from_ms = now_ms() - (hours or 0) * HOUR_MS
    if hours is None:
        print_warning("the instance streams no media: live media streaming is off")
    elif from_ms < kept_from_ms:
        print_warning(
            f"the streams keep audio for {hours} h: of calls before "
            f"{moment(kept_from_ms):%Y-%m-%d %H:%M} UTC there is nothing left to archive"
        )


class _RateColumn(ProgressColumn):
    """Contacts a second."""

    def render(self, task: Task) -> Text:
        """The rate of the last half minute; nothing before there is one."""
        rate = task.finished_speed or task.speed
        return Text("" if rate is None else f"{rate:.1f}/s")


def _contacts(
    instance_arn: str, stretches: Iterable[tuple[int, int]], pace: Pace, counts: Backfill
) -> Iterator[PastContact]:
    """Every contact, with a bar for each stretch of time."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[queued]} to queue"),
        _RateColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=messages, disable=not messages.is_terminal) as progress:
        for start_ms, end_ms in stretches:
            window = Window(instance_arn, start_ms, end_ms, pace)
            day = moment(start_ms).date().isoformat()
            task = progress.add_task(day, total=None, queued="0")
            for contact in window.contacts():
                yield contact
                queued = counts.found - counts.archived - counts.queued_before
                progress.update(task, advance=1, total=window.total, queued=f"{queued:,}")


def _print_summary(counts: Backfill, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        figures = {
            "found": counts.found,
            "archived": counts.archived,
            "queuedBefore": counts.queued_before,
            "queued": counts.queued,
            "dryRun": dry_run,
        }
        typer.echo(json.dumps(figures, indent=2))
        return
    results().print(
        f"{counts.found:,} voice contacts: {counts.archived:,} archived already, "
        f"{counts.queued_before:,} queued by an earlier run, {counts.queued:,} "
        f"{'would be queued' if dry_run else 'queued'}"
    )
