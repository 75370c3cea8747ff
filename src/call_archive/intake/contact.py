"""A contact that has ended → archive jobs, from Connect's records or what the flow saved.

Recordings are selected by their storage type, never by their position in the list. Until Connect
shows them, the contact is described again. When the wait is over, the contact attributes that the
flow saved are enough.

Source: Amazon Connect API reference, RecordingInfo.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from call_archive.errors import NotYetError, RequestError
from call_archive.fields import decode_fragment_number, decode_stream_arn, decode_timestamp_ms
from call_archive.job import JOB_KIND, ArchiveJob, Trigger, check_job, decode_job
from call_archive.limits import MAX_RECORDINGS_PER_CONTACT
from call_archive.moments import read_ms
from call_archive.reasons import Code

RECORDINGS_WAIT_MS = 600_000
"""How long after the end of a call to wait for DescribeContact to show its recording."""

SECOND_LOOK_MS = 100_000
"""When, after its end, a contact without any sign of streaming is described again.

Most such contacts were never streamed, and DescribeContact allows 10 calls a second for the whole
account. So they are described three times: at once, after this time, and when the wait is over.
"""

KVS_STORAGE = "KINESIS_VIDEO_STREAM"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedContact:
    """A contact that may have been streamed.

    Attributes:
        ended_at_ms: the contact's end as Connect gives it; otherwise when the message was sent.
        end_is_known: whether Connect gave the end.
    """

    contact_id: str
    initial_contact_id: str
    instance_arn: str
    ended_at_ms: int
    end_is_known: bool = True


@dataclass(frozen=True, slots=True)
class ArchiveRequest:
    """What a message requests; no jobs if the contact was never streamed.

    Attributes:
        refusals: why some recordings could not become jobs.
    """

    trigger: Trigger
    jobs: tuple[ArchiveJob, ...]
    refusals: tuple[RequestError, ...] = ()


def request_of_contact(
    trigger: Trigger,
    ended: EndedContact,
    contact: Mapping[str, object],
    *,
    age_ms: int,
    accept_partial: bool,
) -> ArchiveRequest:
    """The jobs that DescribeContact's response gives, as soon as it shows a recording.

    Raises:
        NotYetError: it shows no recording, and the call ended too recently to give up.
        RequestError: it shows a recording whose fields Connect never filled in.
    """
    if not holds_unfilled(contact) and (request := recorded_request(trigger, ended, contact)):
        return request
    if age_ms < RECORDINGS_WAIT_MS and not (accept_partial and _has_saved(ended, contact)):
        was_streamed = bool(_kvs_recordings(contact)) or _has_saved(ended, contact)
        raise NotYetError(
            Code.NO_RECORDING_YET,
            "DescribeContact shows no KVS recording yet",
            retry_after_s=None if was_streamed else _until_next_look_s(age_ms),
        )
    if holds_unfilled(contact) and not _has_saved(ended, contact):
        raise RequestError(
            Code.UNFILLED_RECORDING, "Connect names a KVS recording without its start"
        )
    return saved_request(trigger, ended, contact)


def _until_next_look_s(age_ms: int) -> int:
    """How long until a contact without any sign of streaming is described again."""
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


def holds_unfilled(contact: Mapping[str, object]) -> bool:
    """Whether Connect names a KVS recording without saying where or when it starts."""
    return not all(
        recording.get("FragmentStartNumber") and recording.get("StartTimestamp")
        for recording in _kvs_recordings(contact)
    )


def recorded_request(
    trigger: Trigger, ended: EndedContact, contact: Mapping[str, object]
) -> ArchiveRequest | None:
    """A job for every KVS entry of `Recordings`; None if there is no such entry."""
    jobs: list[ArchiveJob] = []
    refusals: list[RequestError] = []
    for recording in _kvs_recordings(contact):
        try:
            jobs.append(_recorded_job(ended, recording))
        except RequestError as refusal:
            refusals.append(refusal)
    return ArchiveRequest(trigger, tuple(jobs), tuple(refusals)) if jobs or refusals else None


def _recorded_job(ended: EndedContact, recording: Mapping[str, object]) -> ArchiveJob:
    start_ms = decode_timestamp_ms(read_ms(recording.get("StartTimestamp")))
    stop_ms = read_ms(recording.get("StopTimestamp"))
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
            end_is_known=ended.end_is_known or stop_ms is not None,
        )
    )


def _has_saved(ended: EndedContact, contact: Mapping[str, object]) -> bool:
    """Whether the flow saved FlowFunction's answer as contact attributes."""
    return _saved_attributes(ended, contact) is not None


def _saved_attributes(
    ended: EndedContact, contact: Mapping[str, object]
) -> Mapping[str, object] | None:
    """FlowFunction's response as the flow saved it; None if it belongs to another contact.

    A transferred contact inherits the attributes of the previous contact, whose own end archives
    the audio streamed before this contact began.
    """
    attributes = contact.get("Attributes")
    if not isinstance(attributes, Mapping) or not attributes.get("startFragmentNumber"):
        return None
    began_ms = read_ms(contact.get("InitiationTimestamp"))
    if ended.contact_id == ended.initial_contact_id or began_ms is None:
        return attributes
    return attributes if decode_timestamp_ms(attributes.get("startTimestamp")) >= began_ms else None


def saved_request(
    trigger: Trigger, ended: EndedContact, contact: Mapping[str, object]
) -> ArchiveRequest:
    """The job that the flow's saved response describes; none if the flow saved nothing."""
    attributes = _saved_attributes(ended, contact)
    if attributes is None:
        return ArchiveRequest(trigger, ())
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
    job = decode_job(message)
    end_is_known = ended.end_is_known or job.stop_timestamp_ms is not None
    return ArchiveRequest(trigger, (replace(job, end_is_known=end_is_known),))
