"""`join`: all stretches of a call in one file."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from call_archive_cli.exits import FOUND_WRONG, CommandError
from call_archive_cli.files import check_target
from call_archive_cli.options import (
    AsJson,
    Bucket,
    ContactArgument,
    InstanceArn,
    Overwrite,
    Prefix,
)
from call_archive_cli.session import Session, session_of

if TYPE_CHECKING:
    from call_archive_cli.archive import ArchivedCall, CallArchive


def join(
    context: typer.Context,
    contact: ContactArgument,
    *,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="The WAV; its manifest beside it."),
    ],
    related: Annotated[
        bool, typer.Option("--related", help="With the contacts that share the initial contact.")
    ] = False,
    overwrite: Overwrite = False,
    instance_arn: InstanceArn = None,
    bucket: Bucket = None,
    prefix: Prefix = None,
    as_json: AsJson = False,
) -> None:
    """Join all recordings of a contact on one clock, with silence between, into one WAV.

    Every part is compared with its manifest first (sha256); a damaged part ends the command with
    exit code 1, and nothing is written. A part that lacks something, and a related contact that is
    erased, are named. The manifest beside the WAV names the parts.

    Examples:

      call-archive --stack call-archive join CONTACT_ID -o call.wav --related
    """
    from call_archive_cli.console import print_warning
    from call_archive_cli.joining import join as join_calls

    check_target(output, overwrite=overwrite)
    check_target(output.with_suffix(".json"), overwrite=overwrite)
    session = session_of(context)
    archive = session.archive(bucket, prefix)
    contacts, notes = _contacts(session, archive, contact, instance_arn, related=related)
    calls, erased = _calls(archive, contacts)
    for note in notes:
        print_warning(note)
    for contact_id in erased:
        print_warning(f"contact {contact_id} is erased: nothing of it is in the call")
    if not calls:
        raise CommandError(
            f"no recording of contact {contact} on any day of {archive.describe()}", FOUND_WRONG
        )
    document = join_calls(archive, calls, output, erased)
    _print(document, output, as_json=as_json)


def _contacts(
    session: Session,
    archive: "CallArchive",
    contact: str,
    instance_arn: str | None,
    *,
    related: bool,
) -> tuple[list[str], tuple[str, ...]]:
    if not related:
        return [contact], ()
    from call_archive_cli.relatives import RelativesOf

    found = RelativesOf(archive, session.instance_arn(instance_arn))(frozenset((contact,)))
    return sorted(found.contact_ids), found.notes


def _calls(archive: "CallArchive", contacts: list[str]) -> tuple[list["ArchivedCall"], list[str]]:
    """The recordings of these contacts; and those of them that are erased."""
    from call_archive.keys import tombstone_key
    from call_archive_cli.days import Wanted
    from call_archive_cli.stored import S3Store

    store = S3Store(archive.clients, archive.bucket, archive.prefix)
    days = archive.choose(Wanted(None, None))
    calls: list[ArchivedCall] = []
    erased: list[str] = []
    for contact_id in contacts:
        if store.read_mark(tombstone_key(archive.prefix, contact_id)) is not None:
            erased.append(contact_id)
        else:
            calls += archive.find(archive.entries(days, contact_id))
    return calls, erased


def _print(document: dict[str, Any], output: Path, *, as_json: bool) -> None:
    from call_archive_cli.console import print_warning, results
    from call_archive_cli.words import clock, count

    if as_json:
        typer.echo(json.dumps(document, indent=2))
    else:
        for part in document["parts"]:
            results().print(
                f"{clock(part['atMs']):>12}  {clock(part['lengthMs']):>12}  {part['contactId']}"
                f"{'' if part['complete'] else '  INCOMPLETE'}",
                soft_wrap=True,
                markup=False,
            )
        results().print(
            f"{output}: {clock(document['durationMs'])}, {count(len(document['parts']), 'part')}",
            soft_wrap=True,
            markup=False,
        )
    for part in document["parts"]:
        if not part["complete"]:
            reasons = "; ".join(map(str, part["reasons"] or []))
            print_warning(f"{part['recordingUri']} is incomplete: {reasons}")
        if part["movedMs"]:
            print_warning(
                f"{part['recordingUri']} begins {part['movedMs']:,} ms before the part in front of "
                "it has ended: it follows it"
            )
