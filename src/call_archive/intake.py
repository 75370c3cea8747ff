"""A queue message → archive jobs: an ArchiveJob, a contact event or a contact record.

All three may arrive for one contact, in any order, more than once. A contact event only says
that a call has ended, so what it streamed is asked of DescribeContact; a contact record holds
it. Recordings are picked by their storage type, never by their place in the list.

Sources: Amazon Connect administrator guide, "Contact events data model" and "Contact records
data model"; Amazon Connect API reference, RecordingInfo.
"""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from call_archive.errors import NotYetError, RequestError
from call_archive.job import (
    JOB_KIND,
    ArchiveJob,
    Trigger,
    check_job,
    decode_contact_id,
    decode_fragment_number,
    decode_instance_arn,
    decode_job,
    decode_stream_arn,
    decode_timestamp_ms,
)
from call_archive.limits import MAX_MESSAGE_BYTES, MIN_TIMESTAMP_MS

RECORDINGS_WAIT_MS = 600_000
"""How long after the end of a call DescribeContact is asked for a recording that it lacks."""

KVS_STORAGE = "KINESIS_VIDEO_STREAM"

_CONTACT_EVENTS = ("Amazon Connect Contact Event", "Connect Customer Contact Event")
_ENDING_EVENTS = ("DISCONNECTED", "COMPLETED")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedContact:
    """A contact that may have been streamed."""

    contact_id: str
    initial_contact_id: str
    instance_arn: str
    ended_at_ms: int


@dataclass(frozen=True, slots=True)
class Order:
    """What a message asks for; no jobs where the contact was never streamed."""

    trigger: Trigger
    jobs: tuple[ArchiveJob, ...]


def take_in(
    body: str,
    describe_contact: Callable[[str, str], Mapping[str, object]],
    check_instance: Callable[[str], None],
    *,
    now_ms: int,
    settle: bool,
) -> Order:
    """The jobs that a message asks for.

    Args:
        body: the message, as it came.
        describe_contact: instance ARN and contact id → DescribeContact's `Contact`.
        check_instance: raises RequestError for an instance that is not served here.
        now_ms: the time, ms since the epoch.
        settle: be content with what the flow saved as attributes.

    Raises:
        RequestError: the message is none of the three, or malformed.
        NotYetError: Connect does not show yet what was streamed.
    """
    message = _decode_body(body)
    if message.get("kind") == JOB_KIND:
        job = decode_job(message)
        check_instance(job.instance_arn)
        return Order(Trigger.FLOW, (job,))
    if message.get("detail-type") in _CONTACT_EVENTS:
        event = _decode_contact_event(message, now_ms)
        if event is None:
            return Order(Trigger.CONTACT_EVENT, ())
        check_instance(event.instance_arn)
        contact = describe_contact(event.instance_arn, event.contact_id)
        jobs = _jobs_of_event(event, contact, now_ms=now_ms, settle=settle)
        return Order(Trigger.CONTACT_EVENT, jobs)
    if "ContactId" in message and "InstanceARN" in message:
        record = _decode_contact_record(message, now_ms)
        check_instance(record.instance_arn)
        jobs = _recorded_jobs(record, message) or _saved_jobs(record, message)
        return Order(Trigger.CONTACT_RECORD, jobs)
    raise RequestError(
        "UNKNOWN_MESSAGE",
        "the message is neither an ArchiveJob nor a contact event nor a contact record",
    )


def _decode_body(body: str) -> Mapping[str, object]:
    """The message's JSON object, out of a Kinesis record's envelope where it has one."""
    if len(body.encode(errors="replace")) > MAX_MESSAGE_BYTES:
        raise RequestError("MESSAGE_TOO_LARGE", f"a message has at most {MAX_MESSAGE_BYTES} bytes")
    message = _decode_json(body)
    if message.get("eventSource") == "aws:kinesis" and isinstance(message.get("data"), str):
        try:
            return _decode_json(base64.b64decode(str(message["data"]), validate=True))
        except ValueError as error:
            raise RequestError("MALFORMED_MESSAGE", "a Kinesis record is not base64") from error
    return message


def _decode_json(text: str | bytes) -> Mapping[str, object]:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RequestError("MALFORMED_MESSAGE", "the message is not JSON") from error
    if not isinstance(message, dict):
        raise RequestError("MALFORMED_MESSAGE", "the message is not a JSON object")
    return message


def _decode_contact_event(message: Mapping[str, object], now_ms: int) -> EndedContact | None:
    """The contact whose end an EventBridge event reports; None for any other event."""
    detail = message.get("detail")
    if not isinstance(detail, Mapping):
        raise RequestError("MALFORMED_CONTACT_EVENT", "the contact event has no detail object")
    if detail.get("eventType") not in _ENDING_EVENTS or (
        str(detail.get("channel", "VOICE")).upper() != "VOICE"
    ):
        return None
    contact_id = decode_contact_id(detail.get("contactId"))
    return EndedContact(
        contact_id=contact_id,
        initial_contact_id=decode_contact_id(detail.get("initialContactId") or contact_id),
        instance_arn=decode_instance_arn(detail.get("instanceArn")),
        ended_at_ms=_ended_at_ms(detail.get("disconnectTimestamp"), now_ms),
    )


def _decode_contact_record(record: Mapping[str, object], now_ms: int) -> EndedContact:
    contact_id = decode_contact_id(record.get("ContactId"))
    return EndedContact(
        contact_id=contact_id,
        initial_contact_id=decode_contact_id(record.get("InitialContactId") or contact_id),
        instance_arn=decode_instance_arn(record.get("InstanceARN")),
        ended_at_ms=_ended_at_ms(record.get("DisconnectTimestamp"), now_ms),
    )


def _jobs_of_event(
    ended: EndedContact, contact: Mapping[str, object], *, now_ms: int, settle: bool
) -> tuple[ArchiveJob, ...]:
    """The jobs that DescribeContact's answer gives, as soon as it gives any.

    Raises:
        NotYetError: it shows no recording, and the call ended too recently to give up.
    """
    if jobs := _recorded_jobs(ended, contact):
        return jobs
    saved = _saved_jobs(ended, contact)
    if saved and settle:
        return saved
    if now_ms - ended.ended_at_ms < RECORDINGS_WAIT_MS:
        raise NotYetError("NO_RECORDING_YET", "DescribeContact shows no KVS recording yet")
    return saved


def _recorded_jobs(ended: EndedContact, contact: Mapping[str, object]) -> tuple[ArchiveJob, ...]:
    """A job for every filled KVS entry of `Recordings`."""
    recordings = contact.get("Recordings")
    if not isinstance(recordings, Sequence):
        return ()
    return tuple(
        _recorded_job(ended, recording)
        for recording in recordings
        if isinstance(recording, Mapping)
        and recording.get("StorageType") == KVS_STORAGE
        and recording.get("FragmentStartNumber")
        and _moment_ms(recording.get("StartTimestamp"))
    )


def _recorded_job(ended: EndedContact, recording: Mapping[str, object]) -> ArchiveJob:
    start_ms = _moment_ms(recording.get("StartTimestamp"))
    stop_ms = _moment_ms(recording.get("StopTimestamp"))
    stop_number = recording.get("FragmentStopNumber")
    return check_job(
        ArchiveJob(
            contact_id=ended.contact_id,
            initial_contact_id=ended.initial_contact_id,
            instance_arn=ended.instance_arn,
            stream_arn=decode_stream_arn(recording.get("Location")),
            start_fragment_number=decode_fragment_number(recording.get("FragmentStartNumber")),
            start_timestamp_ms=decode_timestamp_ms(start_ms),
            stop_fragment_number=decode_fragment_number(stop_number) if stop_number else None,
            stop_timestamp_ms=None if stop_ms is None else decode_timestamp_ms(stop_ms),
            requested_at_ms=ended.ended_at_ms,
        )
    )


def _saved_jobs(ended: EndedContact, contact: Mapping[str, object]) -> tuple[ArchiveJob, ...]:
    """The job that the flow's saved answers describe; where it stopped, only where saved."""
    attributes = contact.get("Attributes")
    if not isinstance(attributes, Mapping) or not attributes.get("startFragmentNumber"):
        return ()
    message = {
        "kind": JOB_KIND,
        "version": 1,
        "contactId": ended.contact_id,
        "initialContactId": ended.initial_contact_id,
        "instanceArn": ended.instance_arn,
        "streamArn": attributes.get("streamArn"),
        "startFragmentNumber": attributes.get("startFragmentNumber"),
        "startTimestamp": attributes.get("startTimestamp"),
        "stopFragmentNumber": attributes.get("stopFragmentNumber"),
        "stopTimestamp": attributes.get("stopTimestamp"),
        "requestedAt": ended.ended_at_ms,
    }
    return (decode_job(message),)


def _ended_at_ms(field: object, now_ms: int) -> int:
    """When the call ended; now, where the message does not say, or says what cannot be."""
    moment_ms = _moment_ms(field)
    if moment_ms is None or not MIN_TIMESTAMP_MS <= moment_ms <= now_ms:
        return now_ms
    return moment_ms


def _moment_ms(field: object) -> int | None:
    """An ISO 8601 time, or boto3's datetime, as ms since the epoch; None where there is none."""
    if isinstance(field, str):
        try:
            field = datetime.fromisoformat(field)
        except ValueError:
            return None
    if not isinstance(field, datetime):
        return None
    aware = field if field.tzinfo else field.replace(tzinfo=UTC)
    return round((aware - _EPOCH) / timedelta(milliseconds=1))
