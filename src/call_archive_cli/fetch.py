"""One contact's recordings → WAV and manifest in a directory, by the archive's own pipeline."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from call_archive.aws.contacts import Contacts
from call_archive.errors import RequestError
from call_archive.fields import account_of, decode_contact_id, decode_instance_arn, region_of
from call_archive.intake.contact import ArchiveRequest
from call_archive.intake.message import read_request
from call_archive.job import ArchiveJob, Trigger, check_job
from call_archive.media.likeness import MediaFragment
from call_archive.media.matroska import decode_tags
from call_archive.media.pcm import Direction
from call_archive.recording.pipeline import Conditions, archive_call
from call_archive.recording.publishing import Nothing, plan
from call_archive_cli.directory import DirectoryArchive
from call_archive_cli.exits import USAGE, CommandError
from call_archive_cli.reasons import CommandCode
from call_archive_cli.streams import fetch_fragment, now_ms, open_reader

if TYPE_CHECKING:
    from call_archive_cli.clients import Clients

CONTACT_EVENT = "Amazon Connect Contact Event"


def find_jobs(clients: "Clients", contact_id: str, instance_arn: str) -> ArchiveRequest:
    """The contact's jobs, from Connect or from the attributes that the flow saved.

    Raises:
        ArchiveError: Connect refuses, or nothing was streamed.
    """
    event = {
        "detail-type": CONTACT_EVENT,
        "detail": {
            "eventType": "DISCONNECTED",
            "contactId": contact_id,
            "instanceArn": instance_arn,
        },
    }
    now = now_ms()
    request = read_request(
        json.dumps(event),
        Contacts(clients.connect(region_of(instance_arn))).describe,
        lambda _: None,
        now_ms=now,
        sent_ms=now,
        accept_partial=True,
    )
    if not request.jobs and not request.refusals:
        raise RequestError(
            CommandCode.NOTHING_STREAMED, f"no media of contact {contact_id} was streamed"
        )
    return request


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRange:
    """A requested range of a stream.

    Attributes:
        start: the first fragment, inclusive.
        stop: the last one, inclusive; None for as long as the contact's fragments go on.
        contact_id: whose; None for the start fragment's.
        instance_arn: None for the start fragment's.
    """

    stream_arn: str
    start: int
    stop: int | None
    contact_id: str | None
    instance_arn: str | None


def find_range(clients: "Clients", wanted: StreamRange) -> ArchiveRequest:
    """The job for a range of a stream; its first fragment gives contact and start time.

    Raises:
        ArchiveError: KVS does not have its ends, or their tags lack required values.
    """
    first = fetch_fragment(clients, wanted.stream_arn, wanted.start)
    tags = dict(decode_tags(first.fragment))
    contact_id = decode_contact_id(wanted.contact_id or tags.get("ContactId"))
    job = check_job(
        ArchiveJob(
            contact_id=contact_id,
            initial_contact_id=contact_id,
            instance_arn=wanted.instance_arn or _instance_arn(wanted.stream_arn, tags),
            stream_arn=wanted.stream_arn,
            start_fragment_number=wanted.start,
            start_timestamp_ms=_server_ms(first),
            stop_fragment_number=wanted.stop,
            stop_timestamp_ms=(
                None
                if wanted.stop is None
                else _server_ms(fetch_fragment(clients, wanted.stream_arn, wanted.stop))
            ),
            requested_at_ms=now_ms(),
        )
    )
    return ArchiveRequest(Trigger.CLI, (job,))


def fetch_job(
    clients: "Clients",
    job: ArchiveJob,
    directory: Path,
    directions: tuple[Direction, ...],
    *,
    overwrite: bool,
) -> DirectoryArchive:
    """Archives a job into `directory/CONTACT_ID/START.wav`, with its manifest beside it.

    A complete recording is kept; any other existing file is replaced only if that is allowed.

    Raises:
        CommandError: another file exists there.
        ArchiveError: there is no audio of the contact, or KVS refuses.
        OSError: the directory cannot be written.
    """
    stem = directory / job.contact_id / str(job.start_fragment_number)
    archive = DirectoryArchive(
        stem.with_suffix(".wav"),
        stem.with_suffix(".json"),
        directions,
        is_open_ended=job.stop_fragment_number is None,
    )
    is_there = archive.recording.exists() or archive.manifest.exists()
    if is_there and not overwrite and not isinstance(plan(job, archive.look()), Nothing):
        raise CommandError(
            f"{archive.recording} already exists, and is not complete or does not match the "
            "request: give --overwrite or another -o",
            USAGE,
        )
    conditions = Conditions(
        tracks=directions,
        trigger=Trigger.CLI,
        accept_partial=True,
        now_ms=now_ms,
        check_time=lambda: None,
    )
    archive_call(job, open_reader(clients, job.stream_arn), archive, conditions)
    return archive


def _instance_arn(stream_arn: str, tags: Mapping[str, str]) -> str:
    try:
        return decode_instance_arn(
            f"arn:aws:connect:{region_of(stream_arn)}:{account_of(stream_arn)}"
            f":instance/{tags.get('InstanceId', '')}"
        )
    except RequestError as error:
        raise RequestError(
            CommandCode.NO_INSTANCE_ID,
            "the fragment does not name its instance: give --instance-arn",
        ) from error


def _server_ms(fragment: MediaFragment) -> int:
    if fragment.server_timestamp_ms:
        return fragment.server_timestamp_ms
    raise RequestError(
        CommandCode.NO_TIMESTAMP, f"fragment {fragment.number} does not say when it came"
    )
