"""`fetch`: a contact's recordings, or a range of a stream, to this machine."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from call_archive.errors import ArchiveError
from call_archive_cli.exits import FOUND_WRONG, REFUSED, USAGE, CommandError
from call_archive_cli.options import (
    AsJson,
    Directory,
    InstanceArn,
    Overwrite,
    Stream,
    Track,
    TrackOption,
    parse_contact_id,
    parse_fragment_number,
    required,
)
from call_archive_cli.session import session_of

if TYPE_CHECKING:
    from call_archive.intake.contact import ArchiveRequest
    from call_archive_cli.clients import Clients
    from call_archive_cli.manifests import StoredManifest


def fetch(
    context: typer.Context,
    *,
    contact: Annotated[
        str | None,
        typer.Argument(metavar="CONTACT_ID", parser=parse_contact_id, show_default=False),
    ] = None,
    instance_arn: InstanceArn = None,
    stream: Stream = None,
    start: Annotated[
        int | None,
        typer.Option(
            metavar="NUMBER", parser=parse_fragment_number, help="The first fragment, inclusive."
        ),
    ] = None,
    stop: Annotated[
        int | None,
        typer.Option(
            metavar="NUMBER",
            parser=parse_fragment_number,
            help="The last fragment, inclusive. [default: the contact's last]",
        ),
    ] = None,
    track: TrackOption = Track.CUSTOMER,
    output: Directory = Path(),
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Fetch a contact's recording, or a range of a stream, to this machine; print its manifest.

    Uses the archive's own selection, clock and manifest. Files: DIRECTORY/CONTACT_ID/START.wav and
    .json. A complete recording is kept; any other existing file is replaced only with --overwrite.
    Exit code 1: the recording is not complete; its manifest says why.

    Examples:

      call-archive fetch CONTACT_ID --instance-arn ARN

      call-archive fetch --stream NAME --start 9134… --stop 9134… -o calls
    """
    from call_archive_cli.console import print_error, results
    from call_archive_cli.errors import describe
    from call_archive_cli.fetch import StreamRange, find_jobs, find_range
    from call_archive_cli.streams import find_stream
    from call_archive_cli.words import manifest_table

    session = session_of(context)
    clients = session.clients
    if contact is not None and stream is None:
        if start is not None or stop is not None:
            raise CommandError("--start and --stop need --stream", USAGE)
        arn = session.instance_arn(instance_arn) or None
        request = find_jobs(clients, contact, required(arn, "--instance-arn or --stack"))
    else:
        wanted = StreamRange(
            stream_arn=find_stream(clients, required(stream, "CONTACT_ID or --stream")),
            start=required(start, "--start"),
            stop=stop,
            contact_id=contact,
            instance_arn=instance_arn,
        )
        request = find_range(clients, wanted)
    failures: list[ArchiveError | CommandError] = [*request.refusals]
    manifests = list(_fetch_each(clients, request, Target(output, track, overwrite), failures))
    if as_json:
        typer.echo(json.dumps([stored.document for stored in manifests], indent=2))
    for stored in () if as_json else manifests:
        results().print(manifest_table(stored.manifest))
    for told, times in Counter(map(describe, failures)).items():
        print_error(f"{told} ({times} recordings)" if times > 1 else told)
    if failures:
        raise typer.Exit(max(getattr(failure, "exit_code", REFUSED) for failure in failures))
    if not all(stored.manifest.is_complete for stored in manifests):
        raise typer.Exit(FOUND_WRONG)


@dataclass(frozen=True, slots=True)
class Target:
    """Where recordings are written, and which tracks they hold."""

    directory: Path
    track: Track
    overwrite: bool


def _fetch_each(
    clients: "Clients",
    request: "ArchiveRequest",
    target: Target,
    failures: list[ArchiveError | CommandError],
) -> Iterator["StoredManifest"]:
    """Yields the manifests; a recording that fails does not stop the others."""
    from call_archive_cli.console import messages
    from call_archive_cli.fetch import fetch_job
    from call_archive_cli.manifests import decode_manifest
    from call_archive_cli.streams import directions_of

    for job in request.jobs:
        try:
            with messages.status(f"fetching contact {job.contact_id}"):
                archive = fetch_job(
                    clients,
                    job,
                    target.directory,
                    directions_of(target.track),
                    overwrite=target.overwrite,
                )
        except (ArchiveError, CommandError) as failure:
            failures.append(failure)
        else:
            yield decode_manifest(archive.manifest.read_bytes())
