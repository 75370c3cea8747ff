"""`list`, `get`, `verify` and `redrive`: recordings that are there, and jobs that failed."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn

from call_archive.aws import clients as aws_clients
from call_archive_cli.archive import ArchivedCall, CallArchive, ahead, days_between
from call_archive_cli.arguments import parse_contact_id
from call_archive_cli.deployment import output_of, stack_of, stack_parameters
from call_archive_cli.exits import (
    FOUND_WRONG,
    USAGE,
    CommandError,
    escape,
    failures_as_lines,
    messages,
    print_warning,
    results,
)
from call_archive_cli.queues import FailedJob, receive_failed, redrive, release
from call_archive_cli.words import clock, count

DEFAULT_DAYS = 7
LONGEST_PRESIGN_S = 7 * 86_400
VERIFIERS = 4
LISTED_REASONS = 20
WIDE = 100
"""Columns of a terminal in which the whole list has room; `--json` has everything."""

Bucket = Annotated[
    str | None,
    typer.Option(envvar="ARCHIVE_BUCKET", help=r"The archive's bucket. \[default: of --stack]"),
]
Prefix = Annotated[
    str | None,
    typer.Option(
        envvar="ARCHIVE_PREFIX", help=r"What every key starts with. \[default: of --stack]"
    ),
]
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
    prefix: Prefix = None,
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
        archive = archive_of(context, bucket, prefix)
        calls = (
            call
            for call in archive.find(_days(day, first, last), contact)
            if not incomplete or not _is_complete(call)
        )
        if as_json:
            _print_json(call.manifest or {"key": call.key} for call in calls)
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
    prefix: Prefix = None,
) -> None:
    """Download a contact's recordings with their manifests, or print URLs of them.

    Examples:

      call-archive --stack call-archive get 3148efdd-9507-4148-8fab-9e336b74a038 -o calls

      call-archive get 3148efdd-9507-4148-8fab-9e336b74a038 --bucket BUCKET --presign 3600
    """
    with failures_as_lines():
        archive = archive_of(context, bucket, prefix)
        found = 0
        for call in archive.find(_days(day, first, last), contact):
            found += 1
            for key in (call.recording_key, call.key):
                if presign is not None:
                    typer.echo(archive.presign(key, presign))
                else:
                    typer.echo(str(_download(archive, key, output / contact)))
        if not found:
            raise CommandError(
                f"no recording of contact {contact} on these days: give --from or --day",
                FOUND_WRONG,
            )


def verify(
    context: typer.Context,
    *,
    day: Day = None,
    first: FirstDay = None,
    last: LastDay = None,
    contact: Contact = None,
    bucket: Bucket = None,
    prefix: Prefix = None,
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
        archive = archive_of(context, bucket, prefix)
        counts = Verification()
        found = _counted(archive.find(_days(day, first, last), contact), counts)
        for key, what in _verified(archive, found):
            counts.damaged[key] = what
            if not as_json:
                results().print(f"[bold red]{escape(key)}[/]: {what}", soft_wrap=True)
        if as_json:
            typer.echo(json.dumps(asdict(counts), indent=2))
        else:
            results().print(
                f"{count(counts.recordings, 'recording')} checked: {len(counts.damaged):,} "
                f"damaged, {counts.incomplete:,} incomplete"
            )
        if counts.damaged:
            raise typer.Exit(FOUND_WRONG)


@dataclass(slots=True)
class Verification:
    """Counts of a run; of the damaged recordings, what is wrong by key."""

    recordings: int = 0
    incomplete: int = 0
    damaged: dict[str, str] = field(default_factory=dict)


def _counted(calls: Iterable[ArchivedCall], counts: Verification) -> Iterator[ArchivedCall]:
    for call in calls:
        counts.recordings += 1
        counts.incomplete += not _is_complete(call)
        yield call


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
    the stack's parameter RedriveRoleArn names. Exit code 1: a message stays that holds no job.

    Examples:

      call-archive --stack call-archive redrive --dry-run

      call-archive --stack call-archive redrive --code KVS_4502
    """
    with failures_as_lines():
        failed_url = output_of(
            context, "FailedJobsQueueUrl", failed_queue_url, "--failed-queue-url"
        )
        target = "" if dry_run else output_of(context, "ArchiveQueueUrl", queue_url, "--queue-url")
        wanted: list[FailedJob] = []
        kept: list[FailedJob] = []
        try:
            for job in receive_failed(failed_url):
                is_wanted = not code or job.code in code
                without_body = replace(job, body="")
                if is_wanted and job.can_run and not dry_run:
                    redrive(job, failed_url, target)
                else:
                    kept.append(without_body)
                if is_wanted:
                    wanted.append(without_body)
        finally:
            for job in kept:
                release(job, failed_url)
        _print_redrive(wanted, dry_run=dry_run, as_json=as_json)
        if not all(job.can_run for job in wanted):
            raise typer.Exit(FOUND_WRONG)


def _print_redrive(jobs: list[FailedJob], *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        _print_json(
            {"code": job.code, "reason": job.reason, "moved": job.can_run and not dry_run}
            for job in jobs
        )
        return
    groups = Counter((job.code, job.reason) for job in jobs)
    for (code, reason), number in groups.most_common(LISTED_REASONS):
        # Our own reasons begin with their code.
        told = reason if reason.startswith(code) else f"{code}: {reason}" if reason else code
        results().print(f"{number:6,}  {escape(told)}", soft_wrap=True)
    if len(groups) > LISTED_REASONS:
        results().print(f"        and {len(groups) - LISTED_REASONS:,} more reasons: --json")
    able = sum(job.can_run for job in jobs)
    results().print(f"{count(able, 'job')} {'would go back' if dry_run else 'moved back'}")
    if able < len(jobs):
        print_warning(
            f"{count(len(jobs) - able, 'message')} of the contact record pipe stay: they name "
            "records in the Kinesis data stream and do not hold them; backfill archives the calls"
        )


def _verified(archive: CallArchive, calls: Iterable[ArchivedCall]) -> Iterator[tuple[str, str]]:
    """Keys of damaged recordings and what is wrong; how many there will be is not known."""
    columns = (SpinnerColumn(), TextColumn("{task.completed:,.0f} recordings verified"))
    with (
        Progress(*columns, console=messages, disable=not messages.is_terminal) as progress,
        ThreadPoolExecutor(VERIFIERS) as pool,
    ):
        task = progress.add_task("", total=None)
        for call, what in ahead(pool, lambda call: (call, archive.verify(call)), calls):
            progress.advance(task)
            if what:
                yield call.recording_key, what


def _download(archive: CallArchive, key: str, directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    target = directory / key.rpartition("/")[2]
    partial = target.with_name(f".{target.name}.partial")
    try:
        aws_clients.s3_client().download_file(archive.bucket, key, str(partial))
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def _print_json(documents: Iterable[Any]) -> None:
    """A JSON array, one element at a time: an archive is larger than memory."""
    separator = "[\n"
    for document in documents:
        typer.echo(separator + json.dumps(document, indent=2), nl=False)
        separator = ",\n"
    typer.echo("[]" if separator == "[\n" else "\n]")


def _print_calls(calls: Iterable[ArchivedCall]) -> None:
    """A line each, at once: the width of a column cannot depend on what is still to come."""
    console = results()
    is_wide = console.width >= WIDE
    number = 0
    for call in calls:
        if not number:
            headings = f"{'started (UTC)':19}  {'contact':36}  {'length':>9}  {'complete':8}"
            console.print(f"[bold]{headings}{'  gaps  trigger' if is_wide else ''}[/]")
        number += 1
        console.print(_line(call, is_wide=is_wide), soft_wrap=True)
    console.print(count(number, "recording"))


def _line(call: ArchivedCall, *, is_wide: bool) -> str:
    manifest = call.manifest
    if manifest is None:
        return f"[red]not a manifest: {escape(call.key)}[/]"
    started = str(manifest["startedAt"])[:19].replace("T", " ")
    length = clock(manifest["durationMs"]).partition(".")[0]
    complete = "yes     " if manifest["complete"] else "[bold red]NO[/]      "
    more = f"  {len(manifest['gaps']) or '':>4}  {manifest['trigger']}" if is_wide else ""
    return f"{started:19}  {escape(manifest['contactId']):36}  {length:>9}  {complete}{more}"


def _is_complete(call: ArchivedCall) -> bool:
    return call.manifest is not None and bool(call.manifest["complete"])


def archive_of(context: typer.Context, bucket: str | None, prefix: str | None) -> CallArchive:
    """The archive that was named; of `--stack` what was not.

    Raises:
        CommandError: neither `--bucket` nor `--stack` was given.
    """
    if prefix is None and (stack := stack_of(context)):
        prefix = stack_parameters(stack).get("ArchivePrefix", "")
    return CallArchive(output_of(context, "ArchiveBucket", bucket, "--bucket"), prefix or "")


def _days(day: datetime | None, first: datetime | None, last: datetime | None) -> list[date]:
    if day is not None:
        if first or last:
            raise CommandError("give --day, or --from and --to", USAGE)
        return [day.date()]
    final = last.date() if last else datetime.now(UTC).date()
    try:
        start = first.date() if first else final - timedelta(days=DEFAULT_DAYS - 1)
    except OverflowError as error:
        raise CommandError("--to is too early: give --from, too", USAGE) from error
    return days_between(start, final)
