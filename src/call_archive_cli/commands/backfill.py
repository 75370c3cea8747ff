"""`backfill`: queue past calls that have no recording."""

import json
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from call_archive_cli.exits import USAGE, CommandError
from call_archive_cli.options import AsJson, Bucket, InstanceArn, Prefix, QueueUrl, parse_moment
from call_archive_cli.session import session_of

if TYPE_CHECKING:
    from call_archive_cli.backfill import Backfill, PastContact, Window
    from call_archive_cli.clients import Clients

JOBS_PER_S: Final = 5
"""Half of DescribeContact's ten calls a second: the other half is for calls that end meanwhile."""

CLOCKS_APART_MS: Final = 60_000
"""How far a person's clock may be from AWS's."""

SEARCHES_PER_S: Final = 0.5
"""SearchContacts takes one call in two seconds (Amazon Connect service quotas)."""


def backfill(
    context: typer.Context,
    *,
    instance_arn: InstanceArn = None,
    from_time: Annotated[
        int | None,
        typer.Option("--from", metavar="TIME", parser=parse_moment, help="Earliest end of a call."),
    ] = None,
    to_time: Annotated[
        int | None,
        typer.Option(
            "--to", metavar="TIME", parser=parse_moment, help="Latest end of a call. [default: now]"
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Queue nothing.")] = False,
    rate: Annotated[
        float, typer.Option(min=0.1, max=100, metavar="JOBS", help="Maximum jobs a second.")
    ] = JOBS_PER_S,
    search_rate: Annotated[
        float,
        typer.Option(
            min=0.1, max=1000, metavar="CALLS", help="SearchContacts calls a second (your quota)."
        ),
    ] = SEARCHES_PER_S,
    state: Annotated[
        Path, typer.Option(metavar="FILE", help="File of queued contacts, to resume a run.")
    ] = Path("call-archive-backfill.jsonl"),
    bucket: Bucket = None,
    prefix: Prefix = None,
    queue_url: QueueUrl = None,
    as_json: AsJson = False,
) -> None:
    """Queue the past calls that have no recording; Lambda archives them.

    Calls can be archived only within the streams' retention. A call that has a recording, complete
    or not, is skipped. After an interruption, the same command continues where it stopped. The
    queue accepts jobs from the role that the stack's parameter RedriveRoleArn names.

    Examples:

      call-archive --stack call-archive backfill --from 2026-11-22 --dry-run

      call-archive --stack call-archive backfill --from 2026-11-22 --rate 2
    """
    from call_archive_cli.backfill import (
        Backfill,
        Pace,
        QueuedBefore,
        Window,
        send,
        split_days,
    )
    from call_archive_cli.streams import moment, now_ms

    if from_time is None:
        raise CommandError("give --from, the earliest end of a call", USAGE)
    to_ms = to_time or now_ms()
    if not from_time < to_ms <= now_ms() + CLOCKS_APART_MS:
        raise CommandError(
            "--from must be before --to, and --to must not be in the future: "
            f"{moment(from_time):%Y-%m-%dT%H:%M:%SZ} to {moment(to_ms):%Y-%m-%dT%H:%M:%SZ}",
            USAGE,
        )
    session = session_of(context)
    instance_arn = session.instance_arn(instance_arn)
    if not instance_arn:
        raise CommandError("give --instance-arn, or --stack of a stack that has one", USAGE)
    archive = session.archive(bucket, prefix)
    target = "" if dry_run else session.output("ArchiveQueueUrl", queue_url, "--queue-url")
    _warn_of_retention(session.clients, instance_arn, from_time)
    counts, before, pace = Backfill(), QueuedBefore(state), Pace(search_rate)
    windows = [
        Window(session.clients, instance_arn, start_ms, end_ms, pace)
        for start_ms, end_ms in split_days(from_time, to_ms)
    ]
    wanted = counts.choose(_contacts(windows, counts), cache(archive.contact_ids), before)
    queued = (
        (1 for _ in wanted)
        if dry_run
        else send(session.clients, wanted, instance_arn, target, before, Pace(rate))
    )
    try:
        for sent in queued:
            counts.queued += sent
    except BaseException:
        counts.is_cut_short = True
        if counts.found:
            _print_summary(counts, dry_run=dry_run, as_json=as_json)
        raise
    _print_summary(counts, dry_run=dry_run, as_json=as_json)


def _warn_of_retention(clients: "Clients", instance_arn: str, from_ms: int) -> None:
    from botocore.exceptions import ClientError

    from call_archive_cli.backfill import retention_hours
    from call_archive_cli.console import print_warning
    from call_archive_cli.streams import HOUR_MS, moment, now_ms

    try:
        hours = retention_hours(clients, instance_arn)
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


def _contacts(windows: Sequence["Window"], counts: "Backfill") -> Iterator["PastContact"]:
    """Yields every contact, with a progress bar of the days that are searched."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from call_archive_cli.console import messages
    from call_archive_cli.streams import moment

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("days searched, {task.fields[found]} calls, {task.fields[queued]} to queue"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=messages, disable=not messages.is_terminal) as progress:
        task = progress.add_task("", total=len(windows), found="0", queued="0")
        for window in windows:
            day = moment(window.from_ms).date().isoformat()
            progress.update(task, description=day)
            for contact in window.contacts():
                yield contact
                queued = counts.found - counts.archived - counts.queued_before
                progress.update(task, found=f"{counts.found:,}", queued=f"{queued:,}")
            progress.advance(task)


def _print_summary(counts: "Backfill", *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        figures = {
            "found": counts.found,
            "archived": counts.archived,
            "queuedBefore": counts.queued_before,
            "queued": counts.queued,
            "dryRun": dry_run,
            "complete": not counts.is_cut_short,
        }
        typer.echo(json.dumps(figures, indent=2))
        return
    from call_archive_cli.console import results

    end = ""
    if counts.is_cut_short:
        again = "" if dry_run else ": the same command continues"
        end = f"; it ended before it had searched every day{again}"
    results().print(
        f"{counts.found:,} voice contacts: {counts.archived:,} archived already, "
        f"{counts.queued_before:,} queued by an earlier run, {counts.queued:,} "
        f"{'would be queued' if dry_run else 'queued'}"
        f"{end}",
        soft_wrap=True,
    )
