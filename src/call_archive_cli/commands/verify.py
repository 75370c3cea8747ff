"""`verify`: recordings against their manifests."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from call_archive_cli.exits import (
    FOUND_WRONG,
    INTERRUPTED,
    REFUSED,
    USAGE,
    CommandError,
    failures,
)
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
from call_archive_cli.session import Session, session_of

if TYPE_CHECKING:
    from call_archive_cli.archive import Checked, Entry
    from call_archive_cli.verified import Verified


@dataclass(slots=True)
class Verification:
    """Of a run, together with the earlier runs that it continues.

    Attributes:
        recordings: compared with their manifests, by this run or an earlier one.
        incomplete: of those, that say themselves that something is missing.
        gone: deleted while the run was on its way.
        twice: keys of second recordings of one stretch, under the day after the first one's.
        damaged: key → what is wrong.
        unread: key → why it could not be compared.
    """

    recordings: int = 0
    incomplete: int = 0
    gone: int = 0
    earlier: int = 0
    damaged: dict[str, str] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)
    twice: list[str] = field(default_factory=list)
    is_interrupted: bool = False

    def add(self, checked: "Checked") -> None:
        """Counts one."""
        if checked.is_gone:
            self.gone += 1
        elif checked.unread:
            self.unread[checked.entry.recording_key] = checked.unread
        else:
            self.recordings += 1
            self.incomplete += not checked.is_complete
            if checked.damage:
                self.damaged[checked.entry.recording_key] = checked.damage

    def as_json(self, where: str) -> Mapping[str, Any]:
        """For `--json`."""
        return {
            "recordings": self.recordings,
            "incomplete": self.incomplete,
            "damaged": self.damaged,
            "unread": self.unread,
            "recordedTwice": self.twice,
            "deletedMeanwhile": self.gone,
            "verifiedEarlier": self.earlier,
            "interrupted": self.is_interrupted,
            "looked": where,
        }

    def describe(self, where: str) -> str:
        """In words."""
        from call_archive_cli.words import count

        parts = [f"{len(self.damaged):,} damaged", f"{self.incomplete:,} incomplete"]
        if self.unread:
            parts.append(f"{len(self.unread):,} not read")
        if self.twice:
            parts.append(f"{len(self.twice):,} recorded twice")
        if self.gone:
            parts.append(f"{self.gone:,} deleted meanwhile")
        earlier = f" ({self.earlier:,} by an earlier run)" if self.earlier else ""
        stopped = "interrupted after " if self.is_interrupted else ""
        return (
            f"{stopped}{count(self.recordings, 'recording')} checked{earlier}: "
            f"{', '.join(parts)} {where}"
        )


def verify(
    context: typer.Context,
    *,
    day: Day = None,
    first: FirstDay = None,
    last: LastDay = None,
    everything: All = False,
    contact: Contact = None,
    state: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File of verified recordings; the same command continues from it.",
        ),
    ] = None,
    erased: Annotated[
        bool,
        typer.Option("--erased", help="Check instead that nothing of any erased contact is left."),
    ] = False,
    bucket: Bucket = None,
    prefix: Prefix = None,
    as_json: AsJson = False,
) -> None:
    """Check recordings against their manifests: length, header, every byte (sha256).

    Downloads each recording once. Exit code 1: a recording is damaged or missing, or no manifest
    describes it. A recording that is marked incomplete is counted and is not damaged; likewise a
    second recording, under the other day, of a stretch that starts at midnight UTC. Exit code 3: an
    object could not be read, and no damage was found in the others.

    Examples:

      call-archive --stack call-archive verify --day 2026-11-23

      call-archive verify --bucket BUCKET --all --state verified.jsonl

      call-archive --stack call-archive verify --erased
    """
    if erased:
        _verify_erased(
            session_of(context),
            bucket,
            prefix,
            contact,
            has_days=any((day, first, last, everything, state)),
            as_json=as_json,
        )
        return
    from call_archive_cli.archive import stop_if_nothing_can_be_read
    from call_archive_cli.console import with_progress
    from call_archive_cli.days import choose_days
    from call_archive_cli.verified import Verified

    wanted = choose_days(day, first, last, everything=everything, contact=contact)
    archive = session_of(context).archive(bucket, prefix)
    counts = Verification()
    days = archive.choose(wanted)
    verified = Verified(state)

    def listed() -> "Iterator[Entry]":
        return archive.entries(days, contact, recordings=True)

    entries = _noting_twice(listed(), counts)
    try:
        for checked in with_progress(
            stop_if_nothing_can_be_read(archive.verify_each(_left(entries, verified, counts))),
            "recordings verified",
            lambda: sum(verified.find(entry) is None for entry in listed()),
        ):
            counts.add(checked)
            verified.add(checked)
            if not as_json:
                _print_problem(checked)
    except KeyboardInterrupt:
        counts.is_interrupted = True
    except failures():
        if counts.recordings or counts.unread:
            counts.is_interrupted = True
            _print_summary(counts, wanted.describe(days), as_json=as_json)
        raise
    finally:
        verified.close()
    _print_summary(counts, wanted.describe(days), as_json=as_json)
    _leave(counts)


def _leave(counts: Verification) -> None:
    """Ends with the exit code of what was found."""
    if counts.is_interrupted:
        raise typer.Exit(INTERRUPTED)
    if counts.damaged:
        raise typer.Exit(FOUND_WRONG)
    if counts.unread:
        raise typer.Exit(REFUSED)


def _verify_erased(
    session: Session,
    bucket: str | None,
    prefix: str | None,
    contact: str | None,
    *,
    has_days: bool,
    as_json: bool,
) -> None:
    from call_archive_cli.commands.erase import verify_erased

    if has_days:
        raise CommandError("--erased checks every day: do not give days or --state", USAGE)
    verify_erased(session, bucket, prefix, contact, as_json=as_json)


def _noting_twice(entries: Iterable["Entry"], counts: Verification) -> Iterator["Entry"]:
    """Notes stretches that are archived under two consecutive days: they start at midnight.

    Two triggers may have rounded it to two days. Of a day only a hash of each key is kept.
    """
    day, stretches, before = "", set[int](), set[int]()
    for entry in entries:
        if entry.day != day:
            day, stretches, before = entry.day, set(), stretches
        stretch = hash(entry.tail.removeprefix(entry.day))
        if stretch in before:
            counts.twice.append(entry.recording_key)
        stretches.add(stretch)
        yield entry


def _print_summary(counts: Verification, where: str, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(counts.as_json(where), indent=2))
    else:
        for key in counts.twice:
            typer.echo(f"{key}: the day before has a recording of the same stretch, too")
        typer.echo(counts.describe(where))


def _left(
    entries: Iterable["Entry"], verified: "Verified", counts: Verification
) -> Iterator["Entry"]:
    """Yields the recordings that no earlier run found to be sound; counts the others."""
    for entry in entries:
        was_complete = verified.find(entry)
        if was_complete is None:
            yield entry
        else:
            counts.earlier += 1
            counts.recordings += 1
            counts.incomplete += not was_complete


def _print_problem(checked: "Checked") -> None:
    from rich.markup import escape

    from call_archive_cli.console import results

    what = checked.damage or (f"not read: {checked.unread}" if checked.unread else "")
    if what:
        results().print(
            f"[bold red]{escape(checked.entry.recording_key)}[/]: {escape(what)}", soft_wrap=True
        )
