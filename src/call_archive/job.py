"""ArchiveJob: the contract between the functions, and the object keys that follow from it.

JSON → ArchiveJob → JSON. Equal jobs give equal keys, and nothing enters a key before it was
checked against the patterns here: an id with a slash never becomes a path.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from call_archive.errors import RequestError
from call_archive.limits import (
    MAX_CALL_MS,
    MAX_CONTACT_ID_CHARACTERS,
    MAX_FRAGMENT_NUMBER_DIGITS,
    MAX_INSTANCE_ARN_CHARACTERS,
    MAX_INSTANCE_ID_CHARACTERS,
    MAX_STREAM_ARN_CHARACTERS,
    MAX_STREAM_NAME_CHARACTERS,
    MAX_TIMESTAMP_MS,
    MIN_TIMESTAMP_MS,
)

JOB_KIND = "ArchiveJob"
JOB_VERSION = 1

_CONTACT_ID = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,{MAX_CONTACT_ID_CHARACTERS - 1}}}")
_FRAGMENT_NUMBER = re.compile(rf"[0-9]{{1,{MAX_FRAGMENT_NUMBER_DIGITS}}}")
_TIMESTAMP = re.compile(r"[0-9]{1,16}")
_REGION = "[a-z]{2,}(?:-[a-z]+)+-[0-9]{1,2}"
"""It becomes part of a host name."""
_INSTANCE_ARN = re.compile(
    rf"arn:aws[a-z-]*:connect:{_REGION}:[0-9]{{12}}"
    rf":instance/[A-Za-z0-9-]{{1,{MAX_INSTANCE_ID_CHARACTERS}}}"
)
_STREAM_ARN = re.compile(
    rf"arn:aws[a-z-]*:kinesisvideo:{_REGION}:[0-9]{{12}}"
    rf":stream/[a-zA-Z0-9_.-]{{1,{MAX_STREAM_NAME_CHARACTERS}}}/[0-9]{{1,20}}"
)


class Trigger(StrEnum):
    """What made the job: the manifest says it."""

    FLOW = "flow"
    CONTACT_EVENT = "contactEvent"
    CONTACT_RECORD = "contactRecord"
    CLI = "cli"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveJob:
    """One streamed stretch of one contact: what to archive.

    Attributes:
        start_timestamp_ms: when Connect started streaming, ms since the epoch.
        stop_fragment_number: the last fragment, inclusive; None where Connect did not say.
        stop_timestamp_ms: when Connect stopped streaming; None where Connect did not say.
        requested_at_ms: when the job was made: no fragment of the job starts after it.
    """

    contact_id: str
    initial_contact_id: str
    instance_arn: str
    stream_arn: str
    start_fragment_number: int
    start_timestamp_ms: int
    stop_fragment_number: int | None
    stop_timestamp_ms: int | None
    requested_at_ms: int

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
            "UNKNOWN_JOB", f"this is not an {JOB_KIND} of version {JOB_VERSION}: deploy one version"
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
        raise RequestError("REVERSED_RANGE", "the stop fragment comes before the start fragment")
    if job.end_bound_ms < job.start_timestamp_ms:
        raise RequestError("REVERSED_RANGE", "streaming stopped before it started")
    if job.end_bound_ms - job.start_timestamp_ms > MAX_CALL_MS:
        raise RequestError("CALL_TOO_LONG", f"the range is longer than {MAX_CALL_MS} ms")
    if _place_of(job.stream_arn) != _place_of(job.instance_arn):
        raise RequestError(
            "FOREIGN_STREAM", "the stream and the instance have different regions or accounts"
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


def recording_key(prefix: str, job: ArchiveJob) -> str:
    """The S3 key of the job's WAV."""
    return f"{prefix}recordings/{_key_tail(job)}.wav"


def manifest_key(prefix: str, job: ArchiveJob) -> str:
    """The S3 key of the job's manifest."""
    return f"{prefix}manifests/{_key_tail(job)}.json"


def _key_tail(job: ArchiveJob) -> str:
    date = datetime.fromtimestamp(job.start_timestamp_ms / 1000, UTC)
    return (
        f"year={date:%Y}/month={date:%m}/day={date:%d}/{job.contact_id}/{job.start_fragment_number}"
    )


def decode_contact_id(field: object) -> str:
    """A contact id that may enter an object key.

    Raises:
        RequestError: it is missing, or holds anything but letters, digits, `-` and `_`.
    """
    if isinstance(field, str) and _CONTACT_ID.fullmatch(field):
        return field
    raise RequestError(
        "MALFORMED_CONTACT_ID",
        f"ContactId must be 1-{MAX_CONTACT_ID_CHARACTERS} letters, digits, - or _",
    )


def decode_instance_arn(field: object) -> str:
    """A Connect instance ARN; the doubled colon of some documentation samples is mended.

    Raises:
        RequestError: it is missing or malformed.
    """
    arn = field.replace("::connect:", ":connect:") if isinstance(field, str) else ""
    if len(arn) <= MAX_INSTANCE_ARN_CHARACTERS and _INSTANCE_ARN.fullmatch(arn):
        return arn
    raise RequestError(
        "MALFORMED_INSTANCE_ARN",
        "InstanceARN must look like arn:aws:connect:REGION:ACCOUNT:instance/ID, in at most "
        f"{MAX_INSTANCE_ARN_CHARACTERS} characters",
    )


def decode_stream_arn(field: object) -> str:
    """A KVS stream ARN.

    Raises:
        RequestError: it is missing or malformed.
    """
    if (
        isinstance(field, str)
        and len(field) <= MAX_STREAM_ARN_CHARACTERS
        and _STREAM_ARN.fullmatch(field)
    ):
        return field
    raise RequestError(
        "MALFORMED_STREAM_ARN",
        "StreamARN must look like arn:aws:kinesisvideo:REGION:ACCOUNT:stream/NAME/CREATION_MS, in "
        f"at most {MAX_STREAM_ARN_CHARACTERS} characters",
    )


def decode_fragment_number(field: object) -> int:
    """A fragment number: a string of up to 128 digits, compared as an integer.

    Raises:
        RequestError: it is missing, not a string of digits, or 0.
    """
    if isinstance(field, str) and _FRAGMENT_NUMBER.fullmatch(field) and int(field):
        return int(field)
    raise RequestError(
        "MALFORMED_FRAGMENT_NUMBER",
        f"a fragment number must be 1-{MAX_FRAGMENT_NUMBER_DIGITS} digits",
    )


def decode_timestamp_ms(field: object) -> int:
    """Milliseconds since the epoch, from the digits that Connect sends or from a number.

    Raises:
        RequestError: it is missing, not digits, or not between 2015 and 2100.
    """
    timestamp_ms = -1
    if isinstance(field, str) and _TIMESTAMP.fullmatch(field):
        timestamp_ms = int(field)
    elif isinstance(field, int) and not isinstance(field, bool):
        timestamp_ms = field
    if MIN_TIMESTAMP_MS <= timestamp_ms <= MAX_TIMESTAMP_MS:
        return timestamp_ms
    raise RequestError(
        "MALFORMED_TIMESTAMP", "a timestamp must be milliseconds since 1970, from 2015 to 2100"
    )


def account_of(arn: str) -> str:
    """The account id of a checked ARN."""
    return arn.split(":")[4]


def _place_of(arn: str) -> tuple[str, str, str]:
    """Partition, region and account: Connect streams into its own instance's."""
    _, partition, _, region, account, _ = arn.split(":", 5)
    return partition, region, account


def region_of(arn: str) -> str:
    """The region of a checked ARN."""
    return arn.split(":")[3]


def instance_id_of(instance_arn: str) -> str:
    """The instance id of a checked Connect instance ARN."""
    return instance_arn.rpartition("/")[2]


def check_instance(instance_arn: str, allowed_instance_arn: str, account_id: str) -> None:
    """Refuses what another instance, or another account's, sent.

    Args:
        instance_arn: the checked ARN of the event or the message.
        allowed_instance_arn: the one instance that is served, "" for any of the account.
        account_id: the account that the function runs in, "" where that is not known.

    Raises:
        RequestError: the instance is not served here.
    """
    if allowed_instance_arn:
        served = instance_arn == allowed_instance_arn
    else:
        served = account_id in ("", account_of(instance_arn))
    if not served:
        raise RequestError("FOREIGN_INSTANCE", "this Connect instance is not served here")


def _known[T](decode: Callable[[object], T], field: object) -> T | None:
    return None if field is None or field == "" else decode(field)
