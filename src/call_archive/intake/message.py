"""A queue message → archive jobs: an ArchiveJob, a contact event or a contact record.

All three may arrive for one contact, in any order, more than once. A contact event only says
that a call has ended, so what it streamed is asked of DescribeContact; a contact record holds
it. Recordings are picked by their storage type, never by their place in the list.

Sources: Amazon Connect administrator guide, "Contact events data model" and "Contact records
data model"; Amazon Connect API reference, RecordingInfo.
"""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from call_archive.errors import NotYetError, RequestError
from call_archive.fields import (
    decode_contact_id,
    decode_fragment_number,
    decode_instance_arn,
    decode_stream_arn,
    decode_timestamp_ms,
)
from call_archive.job import JOB_KIND, ArchiveJob, Trigger, check_job, decode_job
from call_archive.limits import (
    MAX_MESSAGE_BYTES,
    MAX_RECORDINGS_PER_CONTACT,
    MIN_TIMESTAMP_MS,
)
from call_archive.reasons import Code

RECORDINGS_WAIT_MS = 600_000
"""How long after the end of a call DescribeContact is asked for a recording that it lacks."""

SECOND_LOOK_MS = 100_000
"""When, after its end, a contact that shows no sign of streaming is looked at again.

Most such contacts were never streamed, and DescribeContact takes 10 calls a second from the whole
account: so they are looked at three times, at once, then, and when the wait is over.
"""

KVS_STORAGE = "KINESIS_VIDEO_STREAM"

CLI_SOURCE = "call-archive"
"""The `source` of the contact events that an operator's backfill queues."""

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
    """What a message asks for; no jobs where the contact was never streamed.

    Attributes:
        refusals: what is wrong with recordings that could not be made jobs of.
    """

    trigger: Trigger
    jobs: tuple[ArchiveJob, ...]
    refusals: tuple[RequestError, ...] = ()


def take_in(
    body: str,
    describe_contact: Callable[[str, str], Mapping[str, object]],
    check_instance: Callable[[str], None],
    *,
    now_ms: int,
    sent_ms: int,
    settle: bool,
) -> Order:
    """The jobs that a message asks for.

    Args:
        body: the message, as it came.
        describe_contact: instance ARN and contact id → DescribeContact's `Contact`.
        check_instance: raises RequestError for an instance that is not served here.
        now_ms: the time, ms since the epoch.
        sent_ms: when the message came into the queue; stands in for the end of the call.
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
        trigger, ended = _trigger_of(message), _decode_contact_event(message, sent_ms)
        if ended is None:
            return Order(trigger, ())
        check_instance(ended.instance_arn)
    elif "ContactId" in message and "InstanceARN" in message:
        trigger, ended = Trigger.CONTACT_RECORD, _decode_contact_record(message, sent_ms)
        check_instance(ended.instance_arn)
        if not _holds_unfilled(message):
            return _order(trigger, ended, message) or _saved_order(trigger, ended, message)
    elif "KinesisBatchInfo" in message:
        raise RequestError(
            Code.UNDELIVERED_BATCH,
            "this says which contact records the pipe did not deliver: get them from the stream",
        )
    else:
        raise RequestError(
            Code.UNKNOWN_MESSAGE,
            "the message is neither an ArchiveJob nor a contact event nor a contact record",
        )
    contact = describe_contact(ended.instance_arn, ended.contact_id)
    age_ms = now_ms - ended.ended_at_ms
    return _order_of_contact(trigger, ended, contact, age_ms=age_ms, settle=settle)


def contact_of(body: str) -> str | None:
    """The id of the contact that a message is about, for the log; None where it does not say."""
    try:
        message = _decode_body(body)
        detail = message.get("detail")
        contact = detail if isinstance(detail, Mapping) else message
        return decode_contact_id(contact.get("contactId") or contact.get("ContactId"))
    except RequestError:
        return None


def _decode_body(body: str) -> Mapping[str, object]:
    """The message's JSON object, out of a Kinesis record's envelope where it has one."""
    if len(body.encode(errors="replace")) > MAX_MESSAGE_BYTES:
        raise RequestError(
            Code.MESSAGE_TOO_LARGE,
            f"a message has at most {MAX_MESSAGE_BYTES} bytes: SQS takes no more, see who sent it",
        )
    message = _decode_json(body)
    if message.get("eventSource") == "aws:kinesis" and isinstance(message.get("data"), str):
        try:
            return _decode_json(base64.b64decode(str(message["data"]), validate=True))
        except ValueError as error:
            raise RequestError(Code.MALFORMED_MESSAGE, "a Kinesis record is not base64") from error
    return message


def _decode_json(text: str | bytes) -> Mapping[str, object]:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RequestError(Code.MALFORMED_MESSAGE, "the message is not JSON") from error
    if not isinstance(message, dict):
        raise RequestError(Code.MALFORMED_MESSAGE, "the message is not a JSON object")
    return message


def _trigger_of(event: Mapping[str, object]) -> Trigger:
    return Trigger.CLI if event.get("source") == CLI_SOURCE else Trigger.CONTACT_EVENT


def _decode_contact_event(message: Mapping[str, object], sent_ms: int) -> EndedContact | None:
    """The contact whose end an EventBridge event reports; None for any other event."""
    detail = message.get("detail")
    if not isinstance(detail, Mapping):
        raise RequestError(Code.MALFORMED_CONTACT_EVENT, "the contact event has no detail object")
    channel = detail.get("channel", "VOICE")
    is_voice = isinstance(channel, str) and channel.upper() == "VOICE"
    if detail.get("eventType") not in _ENDING_EVENTS or not is_voice:
        return None
    contact_id = decode_contact_id(detail.get("contactId"))
    return EndedContact(
        contact_id=contact_id,
        initial_contact_id=decode_contact_id(detail.get("initialContactId") or contact_id),
        instance_arn=decode_instance_arn(detail.get("instanceArn")),
        ended_at_ms=_ended_at_ms(detail.get("disconnectTimestamp"), sent_ms),
    )


def _decode_contact_record(record: Mapping[str, object], sent_ms: int) -> EndedContact:
    contact_id = decode_contact_id(record.get("ContactId"))
    return EndedContact(
        contact_id=contact_id,
        initial_contact_id=decode_contact_id(_given(record, "InitialContactId") or contact_id),
        instance_arn=decode_instance_arn(record.get("InstanceARN")),
        ended_at_ms=_ended_at_ms(_given(record, "DisconnectTimestamp"), sent_ms),
    )


def _given(record: Mapping[str, object], name: str) -> object:
    """A field of a contact record; None also for the text "null", as which a pipe may pass null."""
    value = record.get(name)
    return None if value == "null" else value


def _order_of_contact(
    trigger: Trigger,
    ended: EndedContact,
    contact: Mapping[str, object],
    *,
    age_ms: int,
    settle: bool,
) -> Order:
    """What DescribeContact's answer gives, as soon as it gives anything.

    Raises:
        NotYetError: it shows no recording, and the call ended too recently to give up.
        RequestError: it shows a recording that Connect never filled in.
    """
    if not _holds_unfilled(contact) and (order := _order(trigger, ended, contact)):
        return order
    if age_ms < RECORDINGS_WAIT_MS and not (settle and _has_saved(ended, contact)):
        was_streamed = bool(_kvs_recordings(contact)) or _has_saved(ended, contact)
        raise NotYetError(
            Code.NO_RECORDING_YET,
            "DescribeContact shows no KVS recording yet",
            retry_after_s=None if was_streamed else _until_next_look_s(age_ms),
        )
    if _holds_unfilled(contact) and not _has_saved(ended, contact):
        raise RequestError(
            Code.UNFILLED_RECORDING, "Connect names a KVS recording and not where it starts"
        )
    return _saved_order(trigger, ended, contact)


def _until_next_look_s(age_ms: int) -> int:
    """Until a contact without any sign of streaming is looked at again."""
    look_ms = SECOND_LOOK_MS if age_ms < SECOND_LOOK_MS else RECORDINGS_WAIT_MS
    return -(-(look_ms - age_ms) // 1000)


def _kvs_recordings(contact: Mapping[str, object]) -> list[Mapping[str, object]]:
    listed = contact.get("Recordings")
    recordings = [
        recording
        for recording in (listed if isinstance(listed, list) else ())
        if isinstance(recording, Mapping) and recording.get("StorageType") == KVS_STORAGE
    ]
    if len(recordings) > MAX_RECORDINGS_PER_CONTACT:
        raise RequestError(
            Code.TOO_MANY_RECORDINGS,
            f"Connect names more than {MAX_RECORDINGS_PER_CONTACT} KVS recordings of the contact: "
            "send each as an ArchiveJob",
        )
    return recordings


def _holds_unfilled(contact: Mapping[str, object]) -> bool:
    """Whether Connect names a KVS recording without saying where or when it starts."""
    return not all(
        recording.get("FragmentStartNumber") and recording.get("StartTimestamp")
        for recording in _kvs_recordings(contact)
    )


def _order(trigger: Trigger, ended: EndedContact, contact: Mapping[str, object]) -> Order | None:
    """A job for every KVS entry of `Recordings`; None where there is no such entry."""
    jobs: list[ArchiveJob] = []
    refusals: list[RequestError] = []
    for recording in _kvs_recordings(contact):
        try:
            jobs.append(_recorded_job(ended, recording))
        except RequestError as refusal:
            refusals.append(refusal)
    return Order(trigger, tuple(jobs), tuple(refusals)) if jobs or refusals else None


def _recorded_job(ended: EndedContact, recording: Mapping[str, object]) -> ArchiveJob:
    start_ms = decode_timestamp_ms(_moment_ms(recording.get("StartTimestamp")))
    stop_ms = _moment_ms(recording.get("StopTimestamp"))
    stop_number = recording.get("FragmentStopNumber")
    return check_job(
        ArchiveJob(
            contact_id=ended.contact_id,
            initial_contact_id=ended.initial_contact_id,
            instance_arn=ended.instance_arn,
            stream_arn=decode_stream_arn(recording.get("Location")),
            start_fragment_number=decode_fragment_number(recording.get("FragmentStartNumber")),
            start_timestamp_ms=start_ms,
            stop_fragment_number=decode_fragment_number(stop_number) if stop_number else None,
            stop_timestamp_ms=None if stop_ms is None else decode_timestamp_ms(stop_ms),
            requested_at_ms=max(ended.ended_at_ms, start_ms),
        )
    )


def _has_saved(ended: EndedContact, contact: Mapping[str, object]) -> bool:
    """Whether the flow saved FlowFunction's answer as contact attributes."""
    return _saved_attributes(ended, contact) is not None


def _saved_attributes(
    ended: EndedContact, contact: Mapping[str, object]
) -> Mapping[str, object] | None:
    """FlowFunction's answer as the flow saved it; None where it is not this contact's.

    A transferred contact takes over the attributes of the one before it, whose own end archives
    what was streamed before this one began.
    """
    attributes = contact.get("Attributes")
    if not isinstance(attributes, Mapping) or not attributes.get("startFragmentNumber"):
        return None
    began_ms = _moment_ms(contact.get("InitiationTimestamp"))
    if ended.contact_id == ended.initial_contact_id or began_ms is None:
        return attributes
    return attributes if decode_timestamp_ms(attributes.get("startTimestamp")) >= began_ms else None


def _saved_order(trigger: Trigger, ended: EndedContact, contact: Mapping[str, object]) -> Order:
    """The job that the flow's saved answer describes; none where it saved nothing."""
    attributes = _saved_attributes(ended, contact)
    if attributes is None:
        return Order(trigger, ())
    start_ms = decode_timestamp_ms(attributes.get("startTimestamp"))
    message = {
        "kind": JOB_KIND,
        "version": 1,
        "contactId": ended.contact_id,
        "initialContactId": ended.initial_contact_id,
        "instanceArn": ended.instance_arn,
        "streamArn": attributes.get("streamArn"),
        "startFragmentNumber": attributes.get("startFragmentNumber"),
        "startTimestamp": start_ms,
        "stopFragmentNumber": attributes.get("stopFragmentNumber"),
        "stopTimestamp": attributes.get("stopTimestamp"),
        # The end of a call is known to the second, its start to the millisecond.
        "requestedAt": max(ended.ended_at_ms + 999, start_ms),
    }
    return Order(trigger, (decode_job(message),))


def _ended_at_ms(field: object, sent_ms: int) -> int:
    """When the call ended; when the message was sent, where it does not say, or cannot be right."""
    moment_ms = _moment_ms(field)
    if moment_ms is None or not MIN_TIMESTAMP_MS <= moment_ms <= sent_ms:
        return sent_ms
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
