"""`list`: the recordings of some days, from their manifests."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Final

import typer

from call_archive_cli.options import AsJson, Bucket, Contact, Day, FirstDay, LastDay, Prefix
from call_archive_cli.session import session_of

if TYPE_CHECKING:
    from call_archive_cli.archive import ArchivedCall

WIDE: Final = 100
"""Columns of a terminal in which the whole list has room; `--json` has everything."""


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

      call-archive list --bucket BUCKET --contact CONTACT_ID

      call-archive list --bucket BUCKET --incomplete --json
    """
    from call_archive_cli.archive import choose_days
    from call_archive_cli.console import print_json

    archive = session_of(context).archive(bucket, prefix)
    calls = (
        call
        for call in archive.find(choose_days(day, first, last), contact)
        if not incomplete or not call.is_complete
    )
    if as_json:
        print_json(call.manifest or {"key": call.key} for call in calls)
    else:
        _print_calls(calls)


def _print_calls(calls: Iterable["ArchivedCall"]) -> None:
    """A line each, at once: the width of a column cannot depend on what is still to come."""
    from call_archive_cli.console import results
    from call_archive_cli.words import count

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


def _line(call: "ArchivedCall", *, is_wide: bool) -> str:
    from rich.markup import escape

    from call_archive_cli.words import clock

    manifest = call.manifest
    if manifest is None:
        return f"[red]not a manifest: {escape(call.key)}[/]"
    started = str(manifest["startedAt"])[:19].replace("T", " ")
    length = clock(manifest["durationMs"]).partition(".")[0]
    complete = "yes     " if manifest["complete"] else "[bold red]NO[/]      "
    more = f"  {len(manifest['gaps']) or '':>4}  {manifest['trigger']}" if is_wide else ""
    return f"{started:19}  {escape(manifest['contactId']):36}  {length:>9}  {complete}{more}"
