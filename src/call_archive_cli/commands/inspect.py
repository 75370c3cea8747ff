"""`inspect`: what is in a saved media body, or in a stream."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from call_archive_cli.exits import FOUND_WRONG, USAGE, CommandError
from call_archive_cli.options import AsJson, parse_moment, parse_stream_arn
from call_archive_cli.session import session_of

if TYPE_CHECKING:
    from call_archive_cli.clients import Clients
    from call_archive_cli.inspect import Inspection


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
            help="Of a stream, by KVS's clock. [default: an hour ago]",
        ),
    ] = None,
    to_time: Annotated[
        int | None,
        typer.Option(
            "--to", metavar="TIME", parser=parse_moment, help="Up to here. [default: now]"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what is in a saved media body, or in a stream: fragments, contacts, tracks, tags, gaps.

    Says in words what is wrong: retention, key, no audio, another contact's audio, cut bodies,
    error documents, clocks. Exit code 1: something is. Fragments that are alike share a row;
    --json has each of them, with all its tags.

    Examples:

      call-archive inspect body.mkv

      call-archive inspect ARN --from 2026-11-23T09:00 --to 2026-11-23T09:10
    """
    from call_archive_cli.streams import HOUR_MS, now_ms

    clients = session_of(context).clients
    to_ms = to_time or now_ms()
    inspections = {
        source: _inspect(clients, source, from_time or to_ms - HOUR_MS, to_ms)
        for source in _files_of(sources)
    }
    if as_json:
        typer.echo(json.dumps(list(_as_json(inspections)), indent=2))
    else:
        for source, inspection in inspections.items():
            _print(source, inspection)
    if any(inspection.findings for inspection in inspections.values()):
        raise typer.Exit(FOUND_WRONG)


def _files_of(sources: list[str]) -> Iterator[str]:
    """The sources, with the media bodies of a directory in place of the directory."""
    for source in sources:
        if source.startswith("arn:") or not Path(source).is_dir():
            yield source
            continue
        bodies = sorted(map(str, Path(source).glob("*.mkv")))
        if not bodies:
            raise CommandError(f"{source}: there is no .mkv file in it", USAGE)
        yield from bodies


def _inspect(clients: "Clients", source: str, from_ms: int, to_ms: int) -> "Inspection":
    from call_archive_cli.inspect import inspect_file, inspect_stream

    if source.startswith("arn:"):
        return inspect_stream(clients, parse_stream_arn(source), from_ms, to_ms)
    return inspect_file(Path(source))


def _as_json(inspections: Mapping[str, "Inspection"]) -> Iterator[dict[str, object]]:
    for source, inspection in inspections.items():
        yield {
            "source": source,
            "contacts": dict(inspection.contacts()),
            "findings": inspection.findings,
            "fragments": [fragment.as_json() for fragment in inspection.fragments],
        }


def _print(source: str, inspection: "Inspection") -> None:
    from rich.markup import escape

    from call_archive_cli.console import results
    from call_archive_cli.inspection_table import contact_lines, fragment_table

    console = results()
    console.print(f"[bold]{escape(source)}[/]", soft_wrap=True)
    if inspection.fragments:
        console.print(fragment_table(inspection))
        for line in contact_lines(inspection):
            console.print(line, soft_wrap=True)
    for finding in inspection.findings:
        console.print(f"[bold yellow]![/] {escape(finding)}", soft_wrap=True)
