"""A queue message → archive jobs: an ArchiveJob, a contact event or a contact record.

All three may arrive for one contact, in any order, more than once. A contact event only reports
the end of a call, so DescribeContact gives its recordings; a contact record contains them.
Recordings are selected by their storage type, never by their position in the list.

Sources: Amazon Connect administrator guide, "Contact events data model" and "Contact records
data model"; Amazon Connect API reference, RecordingInfo.
"""

import base64
import json
import re
from collections.abc import Callable, Mapping

from call_archive.errors import RequestError
from call_archive.fields import (
    decode_contact_id,
    decode_instance_arn,
)
from call_archive.intake.contact import (
    ArchiveRequest,
    EndedContact,
    holds_unfilled,
    recorded_request,
    request_of_contact,
    saved_request,
)
from call_archive.job import JOB_KIND, Trigger, decode_job
from call_archive.limits import (
    MAX_MESSAGE_BYTES,
    MIN_TIMESTAMP_MS,
)
from call_archive.moments import read_ms
from call_archive.reasons import Code

CLI_SOURCE = "call-archive"
"""The `source` of the contact events that an operator's backfill queues."""

_STRING_OR_EMPTY = re.compile(
    r'(?P<string>"(?:[^"\\]++|\\.)*+(?:"|\Z|\\\Z))|:\s*+(?=[,}])', re.DOTALL
)
"""Matches a whole string, so that its content is skipped, or a key without a value. Reads each
character once."""

_CONTACT_EVENTS = ("Amazon Connect Contact Event", "Connect Customer Contact Event")
_ENDING_EVENTS = ("DISCONNECTED", "COMPLETED")


def read_request(
    body: str,
    describe_contact: Callable[[str, str], Mapping[str, object]],
    check_instance: Callable[[str], None],
    *,
    now_ms: int,
    sent_ms: int,
    accept_partial: bool,
) -> ArchiveRequest:
    """The jobs that a message requests.

    Args:
        body: the message, unchanged.
        describe_contact: instance ARN and contact id → DescribeContact's `Contact`.
        check_instance: raises RequestError for an instance that is not served here.
        now_ms: the time, ms since the epoch.
        sent_ms: when the message entered the queue; used if the end of the call is unknown.
        accept_partial: the attributes that the flow saved are enough.

    Raises:
        RequestError: the message is none of the three, or malformed.
        NotYetError: Connect does not show the recordings yet.
    """
    message = _decode_body(body)
    if message.get("kind") == JOB_KIND:
        job = decode_job(message)
        check_instance(job.instance_arn)
        return ArchiveRequest(Trigger.FLOW, (job,))
    if message.get("detail-type") in _CONTACT_EVENTS:
        trigger, ended = _trigger_of(message), _decode_contact_event(message, sent_ms)
        if ended is None:
            return ArchiveRequest(trigger, ())
        check_instance(ended.instance_arn)
    elif "ContactId" in message and "InstanceARN" in message:
        trigger, ended = Trigger.CONTACT_RECORD, _decode_contact_record(message, sent_ms)
        check_instance(ended.instance_arn)
        if not holds_unfilled(message):
            return recorded_request(trigger, ended, message) or saved_request(
                trigger, ended, message
            )
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
    return request_of_contact(trigger, ended, contact, age_ms=age_ms, accept_partial=accept_partial)


def contact_of(body: str) -> str | None:
    """The contact id of a message, for the log; None if the message has none."""
    try:
        message = _decode_body(body)
        detail = message.get("detail")
        contact = detail if isinstance(detail, Mapping) else message
        return decode_contact_id(contact.get("contactId") or contact.get("ContactId"))
    except RequestError:
        return None


def _decode_body(body: str) -> Mapping[str, object]:
    """The message's JSON object, taken out of a Kinesis record's envelope if it has one."""
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
        message = _load(text)
    except (ValueError, RecursionError) as error:
        raise RequestError(Code.MALFORMED_MESSAGE, "the message is not JSON") from error
    if not isinstance(message, dict):
        raise RequestError(Code.MALFORMED_MESSAGE, "the message is not a JSON object")
    return message


def _load(text: str | bytes) -> object:
    """Reads JSON; a missing value, which a pipe's input template may leave for null, is null.

    Raises:
        ValueError: it is not JSON.
        RecursionError: it is nested too deep.
    """
    try:
        return json.loads(text)
    except ValueError:
        filled = _STRING_OR_EMPTY.sub(_fill, text if isinstance(text, str) else text.decode())
        return json.loads(filled)


def _fill(found: re.Match[str]) -> str:
    return found[0] if found["string"] else ": null"


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
    return _decode_end(
        detail.get("contactId"),
        detail.get("initialContactId"),
        detail.get("instanceArn"),
        detail.get("disconnectTimestamp"),
        sent_ms,
    )


def _decode_contact_record(record: Mapping[str, object], sent_ms: int) -> EndedContact:
    return _decode_end(
        record.get("ContactId"),
        _given(record, "InitialContactId"),
        record.get("InstanceARN"),
        _given(record, "DisconnectTimestamp"),
        sent_ms,
    )


def _given(record: Mapping[str, object], name: str) -> object:
    """A field of a contact record; None also for the text "null", as a pipe may write null."""
    value = record.get(name)
    return None if value == "null" else value


def _decode_end(
    contact_id: object,
    initial_contact_id: object,
    instance_arn: object,
    ended: object,
    sent_ms: int,
) -> EndedContact:
    """The contact that ended; an end that is missing or later than the message is not used."""
    own_id, ended_ms = decode_contact_id(contact_id), read_ms(ended)
    is_known = ended_ms is not None and MIN_TIMESTAMP_MS <= ended_ms <= sent_ms
    return EndedContact(
        contact_id=own_id,
        initial_contact_id=decode_contact_id(initial_contact_id or own_id),
        instance_arn=decode_instance_arn(instance_arn),
        ended_at_ms=ended_ms if is_known and ended_ms is not None else sent_ms,
        end_is_known=is_known,
    )
