"""`get`: a contact's recordings and manifests to this machine, or URLs of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from call_archive_cli.exits import FOUND_WRONG, USAGE, CommandError
from call_archive_cli.files import STDOUT, open_stdout
from call_archive_cli.options import (
    AsJson,
    Bucket,
    ContactArgument,
    Day,
    FirstDay,
    LastDay,
    Overwrite,
    Prefix,
)
from call_archive_cli.session import session_of

if TYPE_CHECKING:
    from call_archive_cli.archive import ArchivedCall, CallArchive
    from call_archive_cli.download import Download

LONGEST_PRESIGN_S: Final = 7 * 86_400


def get(
    context: typer.Context,
    *,
    contact: ContactArgument,
    day: Day = None,
    first: FirstDay = None,
    last: LastDay = None,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="DIRECTORY",
            help="Directory for the files; - writes a single recording to standard output.",
        ),
    ] = ".",
    presign: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=LONGEST_PRESIGN_S,
            metavar="SECONDS",
            help="Print download URLs instead; anyone can use them for this long.",
        ),
    ] = None,
    overwrite: Overwrite = False,
    bucket: Bucket = None,
    prefix: Prefix = None,
    as_json: AsJson = False,
) -> None:
    """Download a contact's recordings with their manifests, or print URLs of them.

    Searches every day of the archive, unless days are given. Compares length, header and every byte
    (sha256) with the manifest. Exit code 1: a recording is damaged; it is not kept. An identical
    existing file is kept.

    Examples:

      call-archive --stack call-archive get CONTACT_ID -o calls

      call-archive get CONTACT_ID --bucket BUCKET --presign 3600

      call-archive get CONTACT_ID --bucket BUCKET -o - | ffplay -nodisp -
    """
    from call_archive_cli.days import choose_days

    if output == STDOUT and (presign is not None or as_json):
        raise CommandError(
            "-o - writes the audio, so --presign and --json cannot be used with it", USAGE
        )
    wanted = choose_days(day, first, last, contact=contact)
    archive = session_of(context).archive(bucket, prefix)
    days = archive.choose(wanted)
    calls = list(archive.find(archive.entries(days, contact)))
    if not calls:
        raise CommandError(
            f"no recording of contact {contact} {wanted.describe(days)} in {archive.describe()}",
            FOUND_WRONG,
        )
    calls.sort(key=lambda call: call.entry.tail)
    if presign is not None:
        _print_urls(archive, calls, presign, as_json=as_json)
    elif output == STDOUT:
        _write_to_stdout(archive, calls)
    else:
        _download(archive, calls, Path(output) / contact, overwrite=overwrite, as_json=as_json)


def _print_urls(
    archive: "CallArchive", calls: list["ArchivedCall"], seconds: int, *, as_json: bool
) -> None:
    from call_archive_cli.console import print_json

    urls = [
        [archive.presign(key, seconds) for key in (c.entry.recording_key, c.entry.manifest_key)]
        for c in calls
    ]
    if as_json:
        print_json({"recording": recording, "manifest": manifest} for recording, manifest in urls)
    else:
        for pair in urls:
            for url in pair:
                typer.echo(url)


def _write_to_stdout(archive: "CallArchive", calls: list["ArchivedCall"]) -> None:
    from call_archive_cli.download import write_recording

    if len(calls) > 1:
        keys = ", ".join(call.entry.recording_key for call in calls)
        raise CommandError(
            f"-o - takes one recording, and these are {len(calls)}: give --day, or -o DIRECTORY: "
            f"{keys}",
            USAGE,
        )
    damage = write_recording(archive, calls[0], open_stdout())
    if damage:
        raise CommandError(f"{calls[0].entry.recording_key}: {damage}", FOUND_WRONG)


def _download(
    archive: "CallArchive",
    calls: list["ArchivedCall"],
    directory: Path,
    *,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Downloads every recording; one that fails does not stop the others."""
    from call_archive_cli.console import print_error, print_json, with_progress
    from call_archive_cli.download import download_each

    directory.mkdir(parents=True, exist_ok=True)
    problems: list[Download] = []

    def done() -> Iterator["Download"]:
        downloads = download_each(archive, calls, directory, overwrite=overwrite)
        for download in with_progress(downloads, "recordings", lambda: len(calls)):
            if download.problem:
                problems.append(download)
                print_error(f"{download.name}: {download.problem}")
            else:
                yield download

    if as_json:
        print_json(_as_json(download) for download in done())
    else:
        for download in done():
            typer.echo(str(download.recording))
            typer.echo(str(download.manifest))
    if problems:
        # Damage is worse than what could not be read or was in the way.
        raise typer.Exit(min(download.exit_code for download in problems))


def _as_json(download: "Download") -> dict[str, Any]:
    return {"recording": str(download.recording), "manifest": str(download.manifest)}
