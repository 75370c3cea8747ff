"""`list`: the recordings of some days, from their manifests."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from call_archive.moments import format_utc, to_datetime
from call_archive_cli.exits import INTERRUPTED, REFUSED
from call_archive_cli.options import (
    All,
    AsJson,
    Bucket,
    Contact,
    Day,
    FirstDay,
    LastDay,
    Prefix,
)
from call_archive_cli.session import session_of

if TYPE_CHECKING:
    from call_archive.recording.manifest import Manifest
    from call_archive_cli.archive import ArchivedCall, CallArchive, Entry

WIDE: Final = 100
"""Columns of a terminal in which the whole list has room; `--json` has everything."""


@dataclass(slots=True)
class Counts:
    """Of what was listed."""

    recordings: int = 0
    foreign: int = 0
    unread: int = 0
    rehearsals: int = 0
    is_interrupted: bool = False

    def add(self, call: "ArchivedCall") -> None:
        """Counts a call."""
        self.recordings += call.stored is not None
        self.foreign += call.is_foreign
        self.unread += bool(call.unread)

    def describe(self) -> str:
        """The counts in words."""
        from call_archive_cli.words import count

        parts = [count(self.recordings, "recording")]
        if self.foreign:
            parts.append(f"{count(self.foreign, 'foreign object')} among the manifests")
        if self.unread:
            parts.append(f"{count(self.unread, 'manifest')} not read")
        if self.rehearsals:
            parts.append(f"{count(self.rehearsals, 'rehearsal')} left out (--rehearsals)")
        if self.is_interrupted:
            parts.append("interrupted before the rest was read")
        return ", ".join(parts)


def list_recordings(
    context: typer.Context,
    *,
    day: Day = None,
    first: FirstDay = None,
    last: LastDay = None,
    everything: All = False,
    contact: Contact = None,
    incomplete: Annotated[
        bool, typer.Option("--incomplete", help="Only incomplete recordings.")
    ] = False,
    held: Annotated[
        bool, typer.Option("--held", help="Only contacts that are held; on every day.")
    ] = False,
    rehearsals: Annotated[
        bool, typer.Option("--rehearsals", help="Include recordings made by `rehearse`.")
    ] = False,
    bucket: Bucket = None,
    prefix: Prefix = None,
    as_json: AsJson = False,
) -> None:
    """List the recordings of some days, from their manifests, sorted by time.

    A day is the UTC day on which streaming started, as in the keys. The default is the last week;
    with --contact it is every day of the archive, at one LIST request a day (2,555 for seven years:
    about a cent). Exit code 3: a manifest cannot be read; the others are listed. Ctrl-C ends the
    command with what it has read.

    Examples:

      call-archive --stack call-archive list --day 2026-11-23

      call-archive list --bucket BUCKET --contact CONTACT_ID

      call-archive list --bucket BUCKET --all --incomplete --json
    """
    from call_archive_cli.archive import stop_if_nothing_can_be_read
    from call_archive_cli.console import messages, print_json_texts, results, with_progress
    from call_archive_cli.days import choose_days
    from call_archive_cli.words import count

    wanted = choose_days(day, first, last, everything=everything, contact=contact)
    if held and wanted.is_default:
        wanted = choose_days(None, None, None, everything=True)
    archive = session_of(context).archive(bucket, prefix)
    days = archive.choose(wanted)
    counts = Counts()
    entries = archive.entries(days, contact)
    marks: set[str] = set()
    if held:
        entries = _held(entries, archive, marks)
    if not (rehearsals or contact):
        entries = _without_rehearsals(entries, counts)
    found = with_progress(
        stop_if_nothing_can_be_read(archive.find(entries)),
        "manifests read",
        lambda: archive.count(days, contact),
    )
    calls = _until_interrupted(found, counts)
    listed = _counted((c for c in calls if not (incomplete and c.is_complete)), counts)
    if as_json:
        print_json_texts(_sorted(listed, _as_json))
    else:
        _print_lines(_sorted(listed, _as_line))
    place = "" if counts.recordings else f", in {archive.describe()}"
    told = f"{counts.describe()} {wanted.describe(days)}{place}"
    if as_json:
        messages.print(told, soft_wrap=True)
    else:
        results().print(told, soft_wrap=True)
    if counts.is_interrupted:
        raise typer.Exit(INTERRUPTED)
    if marks and wanted.is_everything and not contact:
        messages.print(
            f"{count(len(marks), 'more contact')} held, of which nothing is archived yet",
            soft_wrap=True,
        )
    if counts.unread:
        raise typer.Exit(REFUSED)


def _without_rehearsals(entries: Iterable["Entry"], counts: Counts) -> Iterator["Entry"]:
    from call_archive_cli.rehearsal.script import PREFIX

    for entry in entries:
        if entry.contact_id.startswith(PREFIX):
            counts.rehearsals += 1
        else:
            yield entry


def _held(
    entries: Iterable["Entry"], archive: "CallArchive", unseen: set[str]
) -> Iterator["Entry"]:
    """The entries of contacts with a hold's marker; the markers without an entry stay unseen."""
    from call_archive_cli.stored import S3Store, hash_of

    hashes = frozenset(S3Store(archive.clients, archive.bucket, archive.prefix).marks("holds"))
    unseen |= hashes
    for entry in entries:
        if (hashed := hash_of(entry.contact_id)) in hashes:
            unseen.discard(hashed)
            yield entry


def _until_interrupted(calls: Iterable["ArchivedCall"], counts: Counts) -> Iterator["ArchivedCall"]:
    """The calls that were read before Ctrl-C; what was read is then listed."""
    try:
        yield from calls
    except KeyboardInterrupt:
        counts.is_interrupted = True


def _counted(calls: Iterable["ArchivedCall"], counts: Counts) -> Iterator["ArchivedCall"]:
    for call in calls:
        counts.add(call)
        yield call


def _sorted(
    calls: Iterable["ArchivedCall"], text_of: Callable[["ArchivedCall"], str]
) -> Iterator[str]:
    """The texts, by day and time; a day may be larger than memory."""
    from call_archive_cli.spill import sort_rows

    for _, of_day in groupby(calls, key=lambda call: call.entry.day):
        rows = ((_started(call), call.entry.tail, text_of(call)) for call in of_day)
        yield from (text for _, _, text in sort_rows(rows))


def _started(call: "ArchivedCall") -> str:
    return "" if call.stored is None else format_utc(call.stored.manifest.started_at_ms)


def _as_json(call: "ArchivedCall") -> str:
    document: Any = (
        {"key": call.entry.manifest_key, "problem": call.problem}
        if call.stored is None
        else call.stored.document
    )
    return json.dumps(document, indent=2)


def _as_line(call: "ArchivedCall") -> str:
    from rich.markup import escape

    if call.stored is None:
        what = "not a manifest" if call.is_foreign else "not read"
        return f"[red]{what}: {escape(call.entry.manifest_key)} ({escape(call.problem)})[/]"
    return _columns(call.stored.manifest)


def _columns(manifest: "Manifest") -> str:
    """All columns; `_print_lines` leaves out the last ones if the terminal is too narrow."""
    from rich.markup import escape

    from call_archive_cli.words import clock

    length = clock(manifest.duration_ms).partition(".")[0]
    started = f"{to_datetime(manifest.started_at_ms):%Y-%m-%d %H:%M:%S}"
    complete = "yes     " if manifest.is_complete else "[bold red]NO[/]      "
    return (
        f"{started}  {escape(manifest.contact_id):36}  {length:>9}  {complete}"
        f"{_MORE}  {len(manifest.gaps) or '':>4}  {escape(manifest.trigger)}"
    )


_MORE: Final = "\0"
"""Where the columns begin for which only a wide terminal has room."""


def _print_lines(lines: Iterable[str]) -> None:
    """A line each, at once: the width of a column cannot depend on what is still to come."""
    from call_archive_cli.console import results

    console = results()
    is_wide = console.width >= WIDE
    headings = (
        f"[bold]{'started (UTC)':19}  {'contact':36}  {'length':>9}  {'complete':8}"
        f"{'  gaps  trigger' if is_wide else ''}[/]"
    )
    for line in lines:
        if headings:
            console.print(headings)
            headings = ""
        basis, _, more = line.partition(_MORE)
        console.print(basis + more if is_wide else basis, soft_wrap=True)
