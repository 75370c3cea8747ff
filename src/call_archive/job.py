"""ArchiveJob, the contract between the functions: JSON → ArchiveJob → JSON."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from call_archive.errors import RequestError
from call_archive.fields import (
    decode_contact_id,
    decode_fragment_number,
    decode_instance_arn,
    decode_stream_arn,
    decode_timestamp_ms,
    place_of,
)
from call_archive.limits import MAX_CALL_MS
from call_archive.reasons import Code

JOB_KIND = "ArchiveJob"
JOB_VERSION = 1


class Trigger(StrEnum):
    """What created the job; recorded in the manifest."""

    FLOW = "flow"
    CONTACT_EVENT = "contactEvent"
    CONTACT_RECORD = "contactRecord"
    CLI = "cli"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """One streamed stretch of one contact, as Connect describes it.

    Attributes:
        start_timestamp_ms: when Connect started streaming, ms since the epoch.
        stop_fragment_number: the last fragment, inclusive; None if Connect did not name it.
        stop_timestamp_ms: when Connect stopped streaming; None if Connect did not say.
    """

    contact_id: str
    initial_contact_id: str
    instance_arn: str
    stream_arn: str
    start_fragment_number: int
    start_timestamp_ms: int
    stop_fragment_number: int | None
    stop_timestamp_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveJob(Stretch):
    """What to archive.

    Attributes:
        requested_at_ms: when the job was created: no fragment of the job starts after it.
        end_is_known: False if a message's time is used because Connect gave no end. Then it
            bounds the search and proves nothing. Not part of the message.
    """

    requested_at_ms: int
    end_is_known: bool = field(default=True, compare=False)

    @property
    def end_bound_ms(self) -> int:
        """The latest time at which a fragment of the job may start, by Connect's clock."""
        if self.stop_timestamp_ms is not None:
            return self.stop_timestamp_ms
        return min(self.requested_at_ms, self.start_timestamp_ms + MAX_CALL_MS)

    @property
    def contact_ids(self) -> frozenset[str]:
        """The ContactId tags that prove a fragment to be this job's."""
        return frozenset((self.contact_id, self.initial_contact_id))


def decode_job(message: Mapping[str, object]) -> ArchiveJob:
    """Checks a decoded ArchiveJob message.

    Raises:
        RequestError: a key is missing or malformed, the version is unknown, or the job's range
            is empty or longer than a contact can last.
    """
    if message.get("kind") != JOB_KIND or message.get("version") != JOB_VERSION:
        raise RequestError(
            Code.UNKNOWN_JOB,
            f"this is not an {JOB_KIND} of version {JOB_VERSION}: deploy one version",
        )
    contact_id = decode_contact_id(message.get("contactId"))
    return check_job(
        ArchiveJob(
            contact_id=contact_id,
            initial_contact_id=decode_contact_id(message.get("initialContactId") or contact_id),
            instance_arn=decode_instance_arn(message.get("instanceArn")),
            stream_arn=decode_stream_arn(message.get("streamArn")),
            start_fragment_number=decode_fragment_number(message.get("startFragmentNumber")),
            start_timestamp_ms=decode_timestamp_ms(message.get("startTimestamp")),
            stop_fragment_number=_known(decode_fragment_number, message.get("stopFragmentNumber")),
            stop_timestamp_ms=_known(decode_timestamp_ms, message.get("stopTimestamp")),
            requested_at_ms=decode_timestamp_ms(message.get("requestedAt")),
        )
    )


def check_job(job: ArchiveJob) -> ArchiveJob:
    """Returns the job if its parts agree with each other.

    Raises:
        RequestError: the range is reversed or too long, or the stream is not where the instance is.
    """
    if job.stop_fragment_number is not None and (
        job.stop_fragment_number < job.start_fragment_number
    ):
        raise RequestError(Code.REVERSED_RANGE, "the stop fragment comes before the start fragment")
    if job.end_bound_ms < job.start_timestamp_ms:
        raise RequestError(Code.REVERSED_RANGE, "streaming stopped before it started")
    if job.end_bound_ms - job.start_timestamp_ms > MAX_CALL_MS:
        raise RequestError(Code.CALL_TOO_LONG, f"the range is longer than {MAX_CALL_MS} ms")
    if place_of(job.stream_arn) != place_of(job.instance_arn):
        raise RequestError(
            Code.FOREIGN_STREAM, "the stream and the instance have different regions or accounts"
        )
    return job


def build_job_message(job: ArchiveJob) -> dict[str, object]:
    """The job as the JSON object that travels through the queue."""
    message: dict[str, object] = {
        "kind": JOB_KIND,
        "version": JOB_VERSION,
        "contactId": job.contact_id,
        "initialContactId": job.initial_contact_id,
        "instanceArn": job.instance_arn,
        "streamArn": job.stream_arn,
        "startFragmentNumber": str(job.start_fragment_number),
        "startTimestamp": job.start_timestamp_ms,
        "requestedAt": job.requested_at_ms,
    }
    if job.stop_fragment_number is not None:
        message["stopFragmentNumber"] = str(job.stop_fragment_number)
    if job.stop_timestamp_ms is not None:
        message["stopTimestamp"] = job.stop_timestamp_ms
    return message


def _known[T](decode: Callable[[object], T], field: object) -> T | None:
    return None if field is None or field == "" else decode(field)
