"""`redrive`: failed jobs back into the queue."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Final

import typer

from call_archive_cli.exits import FOUND_WRONG
from call_archive_cli.options import AsJson, QueueUrl
from call_archive_cli.session import session_of

if TYPE_CHECKING:
    from call_archive_cli.failed_jobs import Batches, FailedJob, FailedJobs

LISTED_REASONS: Final = 20


def redrive(
    context: typer.Context,
    *,
    code: Annotated[
        list[str] | None, typer.Option(metavar="CODE", help="Only jobs that failed with this code.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be moved; change nothing.")
    ] = False,
    failed_queue_url: Annotated[
        str | None, typer.Option(metavar="URL", help="FailedJobsQueue. [default: of --stack]")
    ] = None,
    queue_url: QueueUrl = None,
    as_json: AsJson = False,
) -> None:
    """Move failed jobs back to the queue; safe at any time and safe to repeat.

    Each job is sent before it is deleted, so none is lost. The queue accepts jobs from the role
    that the stack's parameter RedriveRoleArn names. Exit code 1: a message without a job remains,
    or no job has the code.

    Examples:

      call-archive --stack call-archive redrive --dry-run

      call-archive --stack call-archive redrive --code KVS_4502
    """
    from call_archive_cli.console import with_progress
    from call_archive_cli.failed_jobs import FailedJobs

    session = session_of(context)
    failed_url = session.output("FailedJobsQueueUrl", failed_queue_url, "--failed-queue-url")
    target = "" if dry_run else session.output("ArchiveQueueUrl", queue_url, "--queue-url")
    failed = FailedJobs(session.clients.sqs(), failed_url)
    run = Redrive(codes=frozenset(code or ()), is_dry=dry_run)
    visible, run.in_flight = _count(failed)
    try:
        with failed.batches() as batches:
            for job in with_progress(_each(batches, run, target), "jobs", lambda: visible or 0):
                run.add(job)
    except BaseException:
        run.is_cut_short = True
        if run.jobs:
            _print(run, as_json=as_json)
        raise
    _print(run, as_json=as_json)
    if run.unknown_codes or not all(job.can_run for job in run.jobs):
        raise typer.Exit(FOUND_WRONG)


@dataclass(slots=True)
class Looked:
    """A failed job that was selected."""

    code: str
    reason: str
    can_run: bool
    is_moved: bool


@dataclass(slots=True)
class Redrive:
    """One run.

    Attributes:
        codes: only jobs that failed with one of these; empty for all.
        in_flight: messages that other receivers hide; None if counting them is not allowed.
        jobs: those that were asked for.
        other_codes: of jobs that were not asked for.
    """

    codes: frozenset[str]
    is_dry: bool
    in_flight: int | None = None
    jobs: list[Looked] = field(default_factory=list)
    other_codes: Counter[str] = field(default_factory=Counter)
    is_cut_short: bool = False

    def wants(self, job: "FailedJob") -> bool:
        """Whether the job was asked for; counts it if not."""
        is_wanted = not self.codes or job.code in self.codes
        self.other_codes[job.code] += not is_wanted
        return is_wanted

    def add(self, job: Looked) -> None:
        """Counts a job that was asked for."""
        self.jobs.append(job)

    @property
    def unknown_codes(self) -> list[str]:
        """Codes that were asked for, and that no job has."""
        return sorted(self.codes - {job.code for job in self.jobs})


def _each(batches: "Batches", run: Redrive, target: str) -> Iterator[Looked]:
    for batch in batches:
        wanted = [job for job in batch if run.wants(job)]
        able = [job for job in wanted if job.can_run]
        moved = {job.message_id for job in batches.move(able, target)} if not run.is_dry else set()
        for job in wanted:
            yield Looked(job.code, job.reason, job.can_run, job.message_id in moved)


def _count(failed: "FailedJobs") -> tuple[int | None, int | None]:
    """Visible and in flight, as far as the credentials may count them."""
    from botocore.exceptions import ClientError

    from call_archive_cli.console import print_warning
    from call_archive_cli.errors import describe

    try:
        return failed.count()
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"AccessDenied", "AccessDeniedException"}:
            raise
        print_warning(f"messages in flight cannot be counted: {describe(error)}")
        return None, None


def _print(run: Redrive, *, as_json: bool) -> None:
    from rich.markup import escape

    from call_archive_cli.console import print_json, print_warning, results
    from call_archive_cli.words import count

    if as_json:
        print_json(
            {"code": job.code, "reason": job.reason, "moved": job.is_moved} for job in run.jobs
        )
    else:
        groups = Counter((job.code, job.reason) for job in run.jobs)
        for (code, reason), number in groups.most_common(LISTED_REASONS):
            # Our own reasons begin with their code.
            told = reason if reason.startswith(code) else f"{code}: {reason}" if reason else code
            results().print(f"{number:6,}  {escape(told)}", soft_wrap=True)
        if len(groups) > LISTED_REASONS:
            results().print(f"        and {len(groups) - LISTED_REASONS:,} more reasons: --json")
        able = sum(job.can_run if run.is_dry else job.is_moved for job in run.jobs)
        what = "would go back" if run.is_dry else "moved back"
        results().print(
            f"{count(able, 'job')} {what}{', then it ended' if run.is_cut_short else ''}"
        )
    if run.unknown_codes:
        others = ", ".join(f"{code} ({n:,})" for code, n in run.other_codes.most_common())
        print_warning(
            f"no failed job that can be seen has the code {', '.join(run.unknown_codes)}"
            f"{f'; there are: {others}' if others else ''}"
        )
    if run.in_flight:
        print_warning(
            f"not looked at: {count(run.in_flight, 'message')} in flight, which another receiver "
            "(`receive-message`, for example) hides until its visibility timeout ends; run this "
            "again then"
        )
    if unsent := sum(job.can_run and not job.is_moved for job in run.jobs) * (not run.is_dry):
        print_warning(f"SQS did not take {count(unsent, 'job')}: they stay; run this again")
    if pipe := sum(not job.can_run for job in run.jobs):
        print_warning(
            f"{count(pipe, 'message')} of the contact record pipe stay: they name records in the "
            "Kinesis data stream and do not hold them; backfill archives the calls"
        )
