"""`report`: recordings → a page with waveforms and a player."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from call_archive_cli.exits import FOUND_WRONG, USAGE, CommandError
from call_archive_cli.files import STDOUT, check_target
from call_archive_cli.options import Overwrite
from call_archive_cli.session import session_of

if TYPE_CHECKING:
    from call_archive_cli.clients import Clients
    from call_archive_cli.report.sources import Problem, Recording


def report(
    context: typer.Context,
    *,
    recordings: Annotated[
        list[str], typer.Argument(metavar="FILE|DIRECTORY|S3_URI...", show_default=False)
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="PAGE.html|DIRECTORY",
            help="One file that includes the audio, or a folder with the page and the recordings.",
        ),
    ] = Path("calls.html"),
    note: Annotated[str, typer.Option(metavar="TEXT", help="A sentence above the calls.")] = "",
    browse: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Create one page from recordings: waveforms, gaps, levels, who talks when, and a player.

    Every recording is compared with its manifest (bytes, sha256), and the page shows the result. A
    file that cannot be used causes a warning and is left out.

    A page needs no other files: it can be mailed, archived and opened offline. Its audio is
    lossless up to ten minutes, and compressed if it is longer; a folder holds the recordings
    themselves. A page contains a person's voice: protect it like a recording.

    Examples:

      call-archive report recordings/ -o calls.html

      call-archive report long-call.wav -o long-call/

      call-archive report s3://BUCKET/recordings/year=2026/month=11/day=23/ --open
    """
    import tempfile
    import webbrowser
    from datetime import UTC, datetime

    from soundfile import LibsndfileError

    from call_archive_cli.console import messages
    from call_archive_cli.report.audio import Form
    from call_archive_cli.report.page import Cover, write_file, write_folder
    from call_archive_cli.words import count

    is_file = output.suffix.lower() in (".html", ".htm")
    _check_output(output, is_file=is_file, overwrite=overwrite)
    with tempfile.TemporaryDirectory(prefix="call-archive-") as scratch:
        found, problems = _gather(session_of(context).clients, recordings, Path(scratch))
        cover = Cover(made_at=datetime.now(UTC), note=note, problems=problems)
        try:
            if is_file:
                page, form = output, write_file(found, cover, output)
            else:
                page, form = write_folder(found, cover, output), Form.WAV
        except (LibsndfileError, ValueError) as error:
            raise CommandError(str(error)) from error
    compressed = ", its audio compressed: -o DIRECTORY keeps it lossless"
    messages.print(
        f"{page}: {count(len(found), 'recording')}, {page.stat().st_size:,} bytes"
        f"{compressed if form is Form.VORBIS else ''}",
        soft_wrap=True,
        markup=False,
    )
    if browse:
        webbrowser.open(page.resolve().as_uri())


def _check_output(output: Path, *, is_file: bool, overwrite: bool) -> None:
    """Refuses what is there, unless it may be replaced; a folder only if it is an earlier page's.

    Raises:
        CommandError: something is there, or the page's directory is not.
    """
    from call_archive_cli.report.page import is_page_folder

    if str(output) == STDOUT:
        raise CommandError("-o - is not for a page: give -o PAGE.html, or a directory", USAGE)
    if is_file and output.is_dir():
        raise CommandError(f"{output} is a directory: give another -o", USAGE)
    if not is_file and output.is_file():
        raise CommandError(f"{output} is a file: give -o PAGE.html, or a directory", USAGE)
    if not is_file and output.is_dir() and any(output.iterdir()) and not is_page_folder(output):
        raise CommandError(f"{output} holds other files: give -o PAGE.html or another one", USAGE)
    if is_file or is_page_folder(output):
        check_target(output, overwrite=overwrite)


def _gather(
    clients: "Clients", names: list[str], scratch: Path
) -> tuple[list["Recording"], list["Problem"]]:
    """The recordings, and the problems, which are said at once.

    Raises:
        CommandError: no recording is left.
    """
    from call_archive_cli.console import print_warning
    from call_archive_cli.report.sources import Problem, find_recordings

    found: list[Recording] = []
    problems: list[Problem] = []
    for one in find_recordings(clients, names, scratch):
        if isinstance(one, Problem):
            problems.append(one)
            print_warning(f"{one.name}: {one.text}")
            continue
        found.append(one)
        if one.damage:
            print_warning(f"{one.name}: {one.damage}")
    if not found:
        raise CommandError("there is no recording for a page", FOUND_WRONG)
    return found, problems
