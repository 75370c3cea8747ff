"""`redrive`: failed jobs back into the queue."""

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final

import typer

from call_archive_cli.exits import FOUND_WRONG
from call_archive_cli.options import AsJson, QueueUrl
from call_archive_cli.session import session_of

if TYPE_CHECKING:
    from call_archive_cli.queues import FailedJob

LISTED_REASONS: Final = 20


def redrive(
    context: typer.Context,
    *,
    code: Annotated[
        list[str] | None, typer.Option(metavar="CODE", help="Only jobs that failed with this.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what is there.")] = False,
    failed_queue_url: Annotated[
        str | None, typer.Option(metavar="URL", help="FailedJobsQueue. [default: of --stack]")
    ] = None,
    queue_url: QueueUrl = None,
    as_json: AsJson = False,
) -> None:
    """Move failed jobs back for another run; safe at any time, a second run changes nothing.

    Each job is sent before it is deleted, so none is lost. The queue takes jobs from the role that
    the stack's parameter RedriveRoleArn names. Exit code 1: a message stays that holds no job.

    Examples:

      call-archive --stack call-archive redrive --dry-run

      call-archive --stack call-archive redrive --code KVS_4502
    """
    from call_archive_cli.queues import FailedJobs

    session = session_of(context)
    failed_url = session.output("FailedJobsQueueUrl", failed_queue_url, "--failed-queue-url")
    target = "" if dry_run else session.output("ArchiveQueueUrl", queue_url, "--queue-url")
    failed = FailedJobs(session.clients.sqs(), failed_url)
    wanted: list[FailedJob] = []
    kept: list[FailedJob] = []
    try:
        for job in failed.receive():
            is_wanted = not code or job.code in code
            without_body = replace(job, body="")
            if is_wanted and job.can_run and not dry_run:
                failed.redrive(job, target)
            else:
                kept.append(without_body)
            if is_wanted:
                wanted.append(without_body)
    finally:
        for job in kept:
            failed.release(job)
    _print(wanted, dry_run=dry_run, as_json=as_json)
    if not all(job.can_run for job in wanted):
        raise typer.Exit(FOUND_WRONG)


def _print(jobs: list["FailedJob"], *, dry_run: bool, as_json: bool) -> None:
    from rich.markup import escape

    from call_archive_cli.console import print_json, print_warning, results
    from call_archive_cli.words import count

    if as_json:
        print_json(
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
