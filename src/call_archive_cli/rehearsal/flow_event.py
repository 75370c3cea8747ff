"""The contact event of a flow's Lambda block, as Amazon Connect sends it for a rehearsed contact.

Source: Amazon Connect administrator guide, "Invoke AWS Lambda functions", and published events.
"""

from dataclasses import dataclass
from typing import Any

from call_archive.fields import region_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """What was streamed of the contact, by Kinesis Video's clock and numbers."""

    contact_id: str
    instance_arn: str
    stream_arn: str
    start_fragment_number: str
    start_timestamp_ms: int
    stop_fragment_number: str
    stop_timestamp_ms: int


def build_flow_event(streamed: Streamed, *, is_stopped: bool) -> dict[str, Any]:
    """The event after Start media streaming, or after Stop; every value of Audio is a string."""
    audio = {
        "StreamARN": streamed.stream_arn,
        "StartTimestamp": str(streamed.start_timestamp_ms),
        "StartFragmentNumber": streamed.start_fragment_number,
    }
    if is_stopped:
        audio |= {
            "StopTimestamp": str(streamed.stop_timestamp_ms),
            "StopFragmentNumber": streamed.stop_fragment_number,
        }
    contact = {
        "Attributes": {},
        "AwsRegion": region_of(streamed.instance_arn),
        "Channel": "VOICE",
        "ContactId": streamed.contact_id,
        "CustomerEndpoint": None,
        "CustomerId": None,
        "Description": None,
        "InitialContactId": streamed.contact_id,
        "InitiationMethod": "API",
        "InstanceARN": streamed.instance_arn,
        "LanguageCode": "en-US",
        "MediaStreams": {"Customer": {"Audio": audio}},
        "Name": None,
        "PreviousContactId": streamed.contact_id,
        "Queue": None,
        "References": {},
        "SystemEndpoint": None,
        "Tags": {},
    }
    return {"Details": {"ContactData": contact, "Parameters": {}}, "Name": "ContactFlowEvent"}
