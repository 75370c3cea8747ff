"""`verify`: recordings against their manifests."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Final

import typer

from call_archive_cli.exits import FOUND_WRONG
from call_archive_cli.options import AsJson, Bucket, Contact, Day, FirstDay, LastDay, Prefix
from call_archive_cli.session import session_of

if TYPE_CHECKING:
    from call_archive_cli.archive import ArchivedCall, CallArchive

VERIFIERS: Final = 4


@dataclass(slots=True)
class Verification:
    """Counts of a run; of the damaged recordings, what is wrong by key."""

    recordings: int = 0
    incomplete: int = 0
    damaged: dict[str, str] = field(default_factory=dict)


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
    from rich.markup import escape

    from call_archive_cli.archive import choose_days
    from call_archive_cli.console import results
    from call_archive_cli.words import count

    archive = session_of(context).archive(bucket, prefix)
    counts = Verification()
    found = _counted(archive.find(choose_days(day, first, last), contact), counts)
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


def _counted(calls: Iterable["ArchivedCall"], counts: Verification) -> Iterator["ArchivedCall"]:
    for call in calls:
        counts.recordings += 1
        counts.incomplete += not call.is_complete
        yield call


def _verified(archive: "CallArchive", calls: Iterable["ArchivedCall"]) -> Iterator[tuple[str, str]]:
    """Keys of damaged recordings and what is wrong; how many there will be is not known."""
    from concurrent.futures import ThreadPoolExecutor

    from rich.progress import Progress, SpinnerColumn, TextColumn

    from call_archive_cli.archive import ahead
    from call_archive_cli.console import messages

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
