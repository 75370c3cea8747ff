"""`report`: recordings → a page to look at and to listen to."""

from pathlib import Path
from typing import Annotated

import typer

from call_archive_cli.exits import CommandError
from call_archive_cli.session import session_of


def report(
    context: typer.Context,
    *,
    recordings: Annotated[
        list[str], typer.Argument(metavar="FILE|DIRECTORY|S3_URI...", show_default=False)
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="PAGE.html", help="The page.")
    ] = Path("calls.html"),
    browse: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
) -> None:
    """Make one page of recordings: waveforms, gaps, levels, who talks when, and a player.

    The page holds its audio and needs nothing else: it can be mailed, archived, opened offline.
    It is somebody's voice: treat it as the recording itself.

    Examples:

      call-archive report recordings/ -o calls.html

      call-archive report s3://BUCKET/recordings/year=2026/month=11/day=23/ --open
    """
    import webbrowser
    from datetime import UTC, datetime

    from call_archive_cli.console import messages
    from call_archive_cli.report.page import build_page
    from call_archive_cli.report.sources import open_recordings
    from call_archive_cli.words import count

    with open_recordings(session_of(context).clients, recordings) as found:
        try:
            page = build_page(found, datetime.now(UTC))
        except (ValueError, RuntimeError) as error:
            raise CommandError(str(error)) from error
        output.write_text(page, encoding="utf-8")
        messages.print(
            f"{output}: {count(len(found), 'recording')}, {output.stat().st_size:,} bytes"
        )
        if browse:
            webbrowser.open(output.resolve().as_uri())
