"""`list`, `get`, `verify` and `redrive`: recordings that are there, and jobs that failed."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from call_archive import aws
from call_archive_cli.archive import ArchivedCall, CallArchive, days_between
from call_archive_cli.arguments import parse_contact_id
from call_archive_cli.deployment import output_of
from call_archive_cli.exits import FOUND_WRONG, CommandError, failures_as_lines, messages
from call_archive_cli.queues import FailedJob, receive_failed, redrive, release
from call_archive_cli.words import clock, count

DEFAULT_DAYS = 7
LONGEST_PRESIGN_S = 7 * 86_400

Bucket = Annotated[
    str | None,
    typer.Option(envvar="ARCHIVE_BUCKET", help=r"The archive's bucket. \[default: of --stack]"),
]
Prefix = Annotated[str, typer.Option(envvar="ARCHIVE_PREFIX", help="What every key starts with.")]
Contact = Annotated[
    str | None,
    typer.Option(metavar="CONTACT_ID", parser=parse_contact_id, help="Only this contact."),
]
Day = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d"], metavar="DATE", help="Only this day (UTC)."),
]
FirstDay = Annotated[
    datetime | None,
    typer.Option(
        "--from",
        formats=["%Y-%m-%d"],
        metavar="DATE",
        help=rf"First day (UTC). \[default: {DEFAULT_DAYS - 1} days ago]",
    ),
]
LastDay = Annotated[
    datetime | None,
    typer.Option(
        "--to", formats=["%Y-%m-%d"], metavar="DATE", help=r"Last day (UTC). \[default: today]"
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def list_recordings(
    context: typer.Context,
    *,
    day: Day = None,
    first: FirstDay = None,
    last: LastDay = None,
    contact: Contact = None,
    incomplete: Annotated[
        bool, typer.Option("--incomplete", help="Only recordings that lack something.")
    ] = False,
    bucket: Bucket = None,
    prefix: Prefix = "",
    as_json: AsJson = False,
) -> None:
    """List the recordings of some days, from their manifests.

    Days are those of the start of streaming, in UTC, as in the keys.

    Examples:

      call-archive --stack call-archive list --day 2026-11-23

      call-archive list --bucket BUCKET --contact 3148efdd-9507-4148-8fab-9e336b74a038

      call-archive list --bucket BUCKET --incomplete --json
    """
    with failures_as_lines():
        archive = _archive(context, bucket, prefix)
        calls = [
            call
            for call in archive.find(_days(day, first, last), contact)
            if not incomplete or not _is_complete(call)
        ]
        if as_json:
            typer.echo(json.dumps([call.manifest or {"key": call.key} for call in calls], indent=2))
        else:
            _print_calls(calls)


def get(
    context: typer.Context,
    *,
    contact: Annotated[
        str, typer.Argument(metavar="CONTACT_ID", parser=parse_contact_id, show_default=False)
    ],
    day: Day = None,
    first: FirstDay = None,
    last: LastDay = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIRECTORY", help="Where the files go.")
    ] = Path(),
    presign: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=LONGEST_PRESIGN_S,
            metavar="SECONDS",
            help="Print URLs instead, by which anybody can download for so long.",
        ),
    ] = None,
    bucket: Bucket = None,
    prefix: Prefix = "",
) -> None:
    """Download a contact's recordings with their manifests, or print URLs of them.

    Examples:

      call-archive --stack call-archive get 3148efdd-9507-4148-8fab-9e336b74a038 -o calls

      call-archive get 3148efdd-9507-4148-8fab-9e336b74a038 --bucket BUCKET --presign 3600
    """
    with failures_as_lines():
        archive = _archive(context, bucket, prefix)
        calls = list(archive.find(_days(day, first, last), contact))
        if not calls:
            messages.print(f"no recording of contact {contact} on these days: give --from or --day")
            raise typer.Exit(FOUND_WRONG)
        for key in (key for call in calls for key in (call.recording_key, call.key)):
            if presign is not None:
                typer.echo(archive.presign(key, presign))
            else:
                typer.echo(str(_download(archive, key, output / contact)))


def verify(
    context: typer.Context,
    *,
    day: Day = None,
    first: FirstDay = None,
    last: LastDay = None,
    contact: Contact = None,
    bucket: Bucket = None,
    prefix: Prefix = "",
    as_json: AsJson = False,
) -> None:
    """Check recordings against their manifests: length, header, every byte (sha256).

    Downloads each recording once. Exit code 1: a recording is damaged or missing. One that is
    incomplete and says so is counted, and is not damaged.

    Examples:

      call-archive --stack call-archive verify --day 2026-11-23

      call-archive verify --bucket BUCKET --from 2026-01-01 --json
    """
    with failures_as_lines():
        archive = _archive(context, bucket, prefix)
        calls = list(archive.find(_days(day, first, last), contact))
        damaged = dict(_verified(archive, calls))
        incomplete = sum(not _is_complete(call) for call in calls)
        if as_json:
            counted = {"recordings": len(calls), "incomplete": incomplete, "damaged": damaged}
            typer.echo(json.dumps(counted, indent=2))
        else:
            for key, what in damaged.items():
                Console().print(f"[bold red]{key}[/]: {what}", soft_wrap=True)
            Console().print(
                f"{count(len(calls), 'recording')} checked: {len(damaged):,} damaged, "
                f"{incomplete:,} incomplete"
            )
        if damaged:
            raise typer.Exit(FOUND_WRONG)


def redrive_jobs(
    context: typer.Context,
    *,
    code: Annotated[
        list[str] | None, typer.Option(metavar="CODE", help="Only jobs that failed with this.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what is there.")] = False,
    failed_queue_url: Annotated[
        str | None, typer.Option(metavar="URL", help=r"FailedJobsQueue. \[default: of --stack]")
    ] = None,
    queue_url: Annotated[
        str | None, typer.Option(metavar="URL", help=r"ArchiveQueue. \[default: of --stack]")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Move failed jobs back for another run; safe at any time, a second run changes nothing.

    Each job is sent before it is deleted, so none is lost. The queue takes jobs from the role that
    the stack's parameter RedriveRoleArn names.

    Examples:

      call-archive --stack call-archive redrive --dry-run

      call-archive --stack call-archive redrive --code KVS_4502
    """
    with failures_as_lines():
        failed_url = output_of(
            context, "FailedJobsQueueUrl", failed_queue_url, "--failed-queue-url"
        )
        target = "" if dry_run else output_of(context, "ArchiveQueueUrl", queue_url, "--queue-url")
        jobs = list(receive_failed(failed_url))
        wanted = [job for job in jobs if not code or job.code in code]
        try:
            for job in () if dry_run else wanted:
                redrive(job, failed_url, target)
        finally:
            for job in jobs if dry_run else [job for job in jobs if job not in wanted]:
                release(job, failed_url)
        _print_redrive(wanted, moved=not dry_run, as_json=as_json)


def _print_redrive(jobs: list[FailedJob], *, moved: bool, as_json: bool) -> None:
    if as_json:
        shown = [{"code": job.code, "reason": job.reason, "moved": moved} for job in jobs]
        typer.echo(json.dumps(shown, indent=2))
        return
    for code, number in Counter(job.code for job in jobs).most_common():
        Console().print(f"{number:6,}  {code}")
    Console().print(f"{count(len(jobs), 'job')} {'moved back' if moved else 'would go back'}")


def _verified(archive: CallArchive, calls: list[ArchivedCall]) -> Iterator[tuple[str, str]]:
    columns = (
        TextColumn("{task.description}"),
        *Progress.get_default_columns()[1:2],
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=messages, disable=not messages.is_terminal) as progress:
        for call in progress.track(calls, description="verifying"):
            if what := archive.verify(call):
                yield call.recording_key, what


def _download(archive: CallArchive, key: str, directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    target = directory / key.rpartition("/")[2]
    partial = target.with_name(f".{target.name}.partial")
    aws.s3_client().download_file(archive.bucket, key, str(partial))
    partial.replace(target)
    return target


def _print_calls(calls: list[ArchivedCall]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("started", "contact", "length", "complete", "gaps", "trigger"):
        table.add_column(heading, overflow="fold")
    for call in calls:
        if call.manifest is None:
            table.add_row("", call.key, "", "[red]not a manifest[/]", "", "")
        else:
            table.add_row(*_cells(call.manifest))
    Console().print(table)
    Console().print(count(len(calls), "recording"))


def _cells(manifest: Any) -> tuple[str, ...]:  # noqa: ANN401 - JSON
    return (
        manifest["startedAt"][:19].replace("T", " "),
        manifest["contactId"],
        clock(manifest["durationMs"]),
        "yes" if manifest["complete"] else "[bold red]no[/]",
        str(len(manifest["gaps"]) or ""),
        manifest["trigger"],
    )


def _is_complete(call: ArchivedCall) -> bool:
    return call.manifest is not None and bool(call.manifest["complete"])


def _archive(context: typer.Context, bucket: str | None, prefix: str) -> CallArchive:
    return CallArchive(output_of(context, "ArchiveBucket", bucket, "--bucket"), prefix)


def _days(day: datetime | None, first: datetime | None, last: datetime | None) -> list[date]:
    if day is not None:
        if first or last:
            raise CommandError("give --day, or --from and --to")
        return [day.date()]
    final = last.date() if last else datetime.now(UTC).date()
    return days_between(first.date() if first else final - timedelta(days=DEFAULT_DAYS - 1), final)
