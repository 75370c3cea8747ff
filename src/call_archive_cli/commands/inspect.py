"""`inspect`: what is in a saved media body, or in a stream."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from call_archive_cli.exits import FOUND_WRONG, USAGE, CommandError
from call_archive_cli.options import AsJson, parse_moment, parse_stream_arn
from call_archive_cli.session import session_of

if TYPE_CHECKING:
    from call_archive_cli.clients import Clients
    from call_archive_cli.inspect import InspectedFragment, Inspection, Report


def inspect(
    context: typer.Context,
    *,
    sources: Annotated[
        list[str], typer.Argument(metavar="FILE|DIRECTORY|STREAM_ARN...", show_default=False)
    ],
    from_time: Annotated[
        int | None,
        typer.Option(
            "--from",
            metavar="TIME",
            parser=parse_moment,
            help="Start of the range, by KVS's clock. [default: an hour ago]",
        ),
    ] = None,
    to_time: Annotated[
        int | None,
        typer.Option(
            "--to", metavar="TIME", parser=parse_moment, help="End of the range. [default: now]"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the fragments, contacts, tracks, tags and gaps in a saved media body or in a stream.

    Explains problems: retention, key, no audio, another contact's audio, cut bodies, error
    documents, clocks. Exit code 1: there is a problem. Similar fragments share a row; --json lists
    each one with all its tags.

    Examples:

      call-archive inspect body.mkv

      call-archive inspect ARN --from 2026-11-23T09:00 --to 2026-11-23T09:10
    """
    from call_archive_cli.streams import HOUR_MS, now_ms

    to_ms = to_time or now_ms()
    from_ms = from_time or to_ms - HOUR_MS
    if from_ms >= to_ms:
        raise CommandError("--from must be before --to", USAGE)
    found = _show(session_of(context).clients, sources, (from_ms, to_ms), as_json=as_json)
    if found:
        raise typer.Exit(FOUND_WRONG)


def _files_of(sources: list[str]) -> Iterator[str]:
    """The sources; a directory is replaced by its media bodies."""
    for source in sources:
        if source.startswith("arn:") or not Path(source).is_dir():
            yield source
            continue
        bodies = sorted(map(str, Path(source).glob("*.mkv")))
        if not bodies:
            raise CommandError(f"{source}: there is no .mkv file in it", USAGE)
        yield from bodies


def _show(clients: "Clients", sources: list[str], times: tuple[int, int], *, as_json: bool) -> bool:
    """Shows each source; returns whether one of them has a problem."""
    has_findings = False
    for place, source in enumerate(_files_of(sources)):
        if as_json:
            inspection = _show_json(clients, source, times, "," if place else "[")
        else:
            inspection = _inspect(clients, source, times, lambda _: None)
            _print(source, inspection)
        has_findings |= bool(inspection.findings)
    if as_json:
        typer.echo("]")
    return has_findings


def _inspect(
    clients: "Clients", source: str, times: tuple[int, int], report: "Report"
) -> "Inspection":
    from call_archive_cli.inspect import inspect_file, inspect_stream

    if source.startswith("arn:"):
        return inspect_stream(clients, parse_stream_arn(source), *times, report)
    return inspect_file(Path(source), report)


def _show_json(
    clients: "Clients", source: str, times: tuple[int, int], before: str
) -> "Inspection":
    """An object whose fragments are printed as they come: there may be more than memory holds."""
    separator = f'{before}{{"source": {json.dumps(source)}, "fragments": ['

    def report(fragment: "InspectedFragment") -> None:
        nonlocal separator
        typer.echo(f"{separator}\n{json.dumps(fragment.as_json())}", nl=False)
        separator = ","

    inspection = _inspect(clients, source, times, report)
    if separator != ",":
        typer.echo(separator, nl=False)
    contacts = {contact_id: own.fragments for contact_id, own in inspection.contacts.items()}
    rest = f'"contacts": {json.dumps(contacts)}, "findings": {json.dumps(inspection.findings)}'
    typer.echo(f"], {rest}}}", nl=False)
    return inspection


def _print(source: str, inspection: "Inspection") -> None:
    from rich.markup import escape

    from call_archive_cli.console import results
    from call_archive_cli.inspection_table import contact_lines, fragment_table

    console = results()
    console.print(f"[bold]{escape(source)}[/]", soft_wrap=True)
    if inspection.runs:
        console.print(fragment_table(inspection))
        for line in contact_lines(inspection):
            console.print(line, soft_wrap=True)
    for finding in inspection.findings:
        console.print(f"[bold yellow]![/] {escape(finding)}", soft_wrap=True)
