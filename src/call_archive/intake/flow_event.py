"""The event of a flow's "Invoke AWS Lambda function" block → the fields that Call Archive needs.

Real events omit keys, hold nulls in places where documentation shows objects, and name undocumented
channels. So each level is looked up separately, and the rest of the event is not checked.
Source: Amazon Connect administrator guide, "Invoke AWS Lambda functions", and published events.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from call_archive.errors import RequestError
from call_archive.fields import (
    decode_contact_id,
    decode_fragment_number,
    decode_instance_arn,
    decode_stream_arn,
    decode_timestamp_ms,
)
from call_archive.job import ArchiveJob, Stretch, check_job
from call_archive.reasons import Code

ARCHIVE_PARAMETER = "archive"
ARCHIVE_NOW = "now"


@dataclass(frozen=True, slots=True)
class NotStreaming:
    """The contact's audio was not streamed, or not yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Streaming(Stretch):
    """The contact's audio is, or was, copied into a KVS stream.

    Attributes:
        archive_now: the block's parameter says that streaming has just been stopped, whether
            or not the event shows it already.
    """

    archive_now: bool

    @property
    def is_stopped(self) -> bool:
        """Whether Connect has named the last fragment."""
        return self.stop_timestamp_ms is not None or self.stop_fragment_number is not None


def decode_flow_event(event: object) -> NotStreaming | Streaming:
    """Reads `MediaStreams.Customer.Audio` of a flow's event.

    Raises:
        RequestError: it is not a flow event, or its stream fields are malformed.
    """
    details = _child(event, "Details")
    contact = _child(details, "ContactData")
    if not contact:
        raise RequestError(
            Code.NOT_A_FLOW_EVENT,
            "Details.ContactData is missing: invoke this function from a Connect flow",
        )
    audio = _audio(contact)
    if not audio:
        return NotStreaming()
    contact_id = decode_contact_id(contact.get("ContactId"))
    return Streaming(
        contact_id=contact_id,
        initial_contact_id=decode_contact_id(contact.get("InitialContactId") or contact_id),
        instance_arn=decode_instance_arn(contact.get("InstanceARN")),
        stream_arn=decode_stream_arn(audio.get("StreamARN")),
        start_fragment_number=decode_fragment_number(audio.get("StartFragmentNumber")),
        start_timestamp_ms=decode_timestamp_ms(audio.get("StartTimestamp")),
        stop_fragment_number=(
            decode_fragment_number(audio["StopFragmentNumber"])
            if audio.get("StopFragmentNumber")
            else None
        ),
        stop_timestamp_ms=(
            decode_timestamp_ms(audio["StopTimestamp"]) if audio.get("StopTimestamp") else None
        ),
        archive_now=_wants_archive(_child(details, "Parameters")),
    )


def contact_of(event: object) -> str | None:
    """The contact id of an event, for the log; None if the event has none."""
    try:
        return decode_contact_id(_child(_child(event, "Details"), "ContactData").get("ContactId"))
    except RequestError:
        return None


def build_job(streaming: Streaming, requested_at_ms: int) -> ArchiveJob:
    """The archive job of a stopped stream.

    Raises:
        RequestError: the event contradicts itself, for example stops before it starts.
    """
    return check_job(
        ArchiveJob(
            contact_id=streaming.contact_id,
            initial_contact_id=streaming.initial_contact_id,
            instance_arn=streaming.instance_arn,
            stream_arn=streaming.stream_arn,
            start_fragment_number=streaming.start_fragment_number,
            start_timestamp_ms=streaming.start_timestamp_ms,
            stop_fragment_number=streaming.stop_fragment_number,
            stop_timestamp_ms=streaming.stop_timestamp_ms,
            # Never before the start, however the two clocks differ.
            requested_at_ms=max(requested_at_ms, streaming.start_timestamp_ms),
        )
    )


def _audio(contact: Mapping[str, object]) -> Mapping[str, object]:
    """`MediaStreams.Customer.Audio`: {} if streaming never started, in any form of the event."""
    media_streams = _child(contact, "MediaStreams")
    customer = _child(media_streams, "Customer")
    return _child(customer, "Audio")


def _wants_archive(parameters: Mapping[str, object]) -> bool:
    wish = parameters.get(ARCHIVE_PARAMETER)
    return isinstance(wish, str) and wish.strip().lower() == ARCHIVE_NOW


def _child(parent: object, key: str) -> Mapping[str, object]:
    """The object under `key`; an empty one if it is missing, null or empty."""
    child = parent.get(key) if isinstance(parent, Mapping) else None
    if child is None:
        return {}
    if not isinstance(child, Mapping):
        raise RequestError(Code.NOT_A_FLOW_EVENT, f"{key} must be a JSON object")
    return child
