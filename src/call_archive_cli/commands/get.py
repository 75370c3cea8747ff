"""`get`: a contact's recordings and manifests to this machine, or URLs of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from call_archive_cli.exits import FOUND_WRONG, CommandError
from call_archive_cli.options import (
    Bucket,
    ContactArgument,
    Day,
    Directory,
    FirstDay,
    LastDay,
    Prefix,
)
from call_archive_cli.session import session_of

if TYPE_CHECKING:
    from call_archive_cli.archive import CallArchive

LONGEST_PRESIGN_S: Final = 7 * 86_400


def get(
    context: typer.Context,
    *,
    contact: ContactArgument,
    day: Day = None,
    first: FirstDay = None,
    last: LastDay = None,
    output: Directory = Path(),
    presign: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=LONGEST_PRESIGN_S,
            metavar="SECONDS",
            help="Print URLs instead, by which anybody can download for so long.",
        ),
    ] = None,
    bucket: Bucket = None,
    prefix: Prefix = None,
) -> None:
    """Download a contact's recordings with their manifests, or print URLs of them.

    Examples:

      call-archive --stack call-archive get CONTACT_ID -o calls

      call-archive get CONTACT_ID --bucket BUCKET --presign 3600
    """
    from call_archive_cli.archive import choose_days

    archive = session_of(context).archive(bucket, prefix)
    found = 0
    for call in archive.find(choose_days(day, first, last), contact):
        found += 1
        for key in (call.recording_key, call.key):
            if presign is not None:
                typer.echo(archive.presign(key, presign))
            else:
                typer.echo(str(_download(archive, key, output / contact)))
    if not found:
        raise CommandError(
            f"no recording of contact {contact} on these days: give --from or --day", FOUND_WRONG
        )


def _download(archive: "CallArchive", key: str, directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    target = directory / key.rpartition("/")[2]
    partial = target.with_name(f".{target.name}.partial")
    try:
        archive.clients.s3().download_file(archive.bucket, key, str(partial))
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target
