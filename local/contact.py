"""What is known of one contact → the documents in which Connect tells of it.

The flow's Lambda event, the contact event on EventBridge, the contact record and DescribeContact's
answer, with the keys and the value types that real ones have (in the flow event every media stream
value is a string; DescribeContact sends epoch seconds; the record has ISO times of one second).
Phone numbers are from the ranges kept for fiction.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal

type Json = dict[str, Any]
type FlowState = Literal["not_started", "started", "stopped", "stopped_without_stop_keys"]

ACCOUNT: Final = "123456789012"
CALLER_NUMBER: Final = "+441632960123"
SERVICE_NUMBER: Final = "+15550100"


def iso_seconds(epoch_ms: int) -> str:
    """`2026-01-01T09:00:00Z`: what contact records and contact events use."""
    return datetime.fromtimestamp(epoch_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """One voice contact whose customer audio was streamed.

    Attributes:
        contact_id: of this contact.
        initial_contact_id: of the first contact of a chain of transfers.
        instance_arn: of the Connect instance.
        stream_arn: of the Kinesis video stream.
        start_timestamp_ms: when media streaming started, epoch milliseconds.
        stop_timestamp_ms: when it stopped.
        start_fragment_number: the first fragment with the contact's audio.
        stop_fragment_number: the last one.
        attributes: contact attributes, as Set contact attributes left them.
    """

    contact_id: str
    initial_contact_id: str
    instance_arn: str
    stream_arn: str
    start_timestamp_ms: int
    stop_timestamp_ms: int
    start_fragment_number: int
    stop_fragment_number: int
    attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def instance_id(self) -> str:
        """The last part of the instance's ARN."""
        return self.instance_arn.rpartition("/")[2]

    @property
    def region(self) -> str:
        """The region of the instance."""
        return self.instance_arn.split(":")[3]

    @property
    def stream_name(self) -> str:
        """The name inside the stream's ARN."""
        return self.stream_arn.split("/")[1]

    def flow_event(
        self, state: FlowState = "stopped", parameters: Mapping[str, str] | None = None
    ) -> Json:
        """The event of an "Invoke AWS Lambda function" block.

        Args:
            state: how far media streaming has got; `stopped_without_stop_keys` is what a block sees
                that runs before the stop has taken effect.
            parameters: the block's own inputs.
        """
        return {
            "Details": {
                "ContactData": {
                    "Attributes": dict(self.attributes),
                    "AwsRegion": self.region,
                    "Channel": "VOICE",
                    "ContactId": self.contact_id,
                    "CustomerEndpoint": _phone(CALLER_NUMBER),
                    "CustomerId": None,
                    "Description": None,
                    "InitialContactId": self.initial_contact_id,
                    "InitiationMethod": "INBOUND",
                    "InstanceARN": self.instance_arn,
                    "LanguageCode": "en-GB",
                    "MediaStreams": {"Customer": {"Audio": self._audio(state)}},
                    "Name": None,
                    "PreviousContactId": self.initial_contact_id,
                    "Queue": None,
                    "References": {},
                    "SegmentAttributes": {"connect:Subtype": {"ValueString": "connect:Telephony"}},
                    "SystemEndpoint": _phone(SERVICE_NUMBER),
                    "Tags": {"aws:connect:instanceId": self.instance_id},
                },
                "Parameters": dict(parameters or {}),
            },
            "Name": "ContactFlowEvent",
        }

    def _audio(self, state: FlowState) -> dict[str, str] | None:
        if state == "not_started":
            return None
        audio = {
            "StartFragmentNumber": str(self.start_fragment_number),
            "StartTimestamp": str(self.start_timestamp_ms),
            "StreamARN": self.stream_arn,
        }
        if state == "stopped":
            audio["StopFragmentNumber"] = str(self.stop_fragment_number)
            audio["StopTimestamp"] = str(self.stop_timestamp_ms)
        return audio

    def archive_job(self, requested_at_ms: int | None = None) -> Json:
        """The ArchiveJob that the flow function queues, a second after the stop by default."""
        return {
            "kind": "ArchiveJob",
            "version": 1,
            "contactId": self.contact_id,
            "initialContactId": self.initial_contact_id,
            "instanceArn": self.instance_arn,
            "streamArn": self.stream_arn,
            "startFragmentNumber": str(self.start_fragment_number),
            "startTimestamp": self.start_timestamp_ms,
            "stopFragmentNumber": str(self.stop_fragment_number),
            "stopTimestamp": self.stop_timestamp_ms,
            "requestedAt": requested_at_ms or self.stop_timestamp_ms + 1000,
        }

    def contact_event(
        self, event_type: Literal["DISCONNECTED", "COMPLETED"] = "DISCONNECTED"
    ) -> Json:
        """The EventBridge event; it names no stream and no fragments."""
        disconnected = iso_seconds(self.stop_timestamp_ms)
        identity = f"{self.contact_id} {event_type}"
        return {
            "version": "0",
            "id": str(uuid.uuid5(uuid.NAMESPACE_OID, identity)),
            "detail-type": "Amazon Connect Contact Event",
            "source": "aws.connect",
            "account": ACCOUNT,
            "time": disconnected,
            "region": self.region,
            "resources": [self.instance_arn, f"{self.instance_arn}/contact/{self.contact_id}"],
            "detail": {
                "eventType": event_type,
                "contactId": self.contact_id,
                "initialContactId": self.initial_contact_id,
                "instanceArn": self.instance_arn,
                "channel": "VOICE",
                "initiationMethod": "INBOUND",
                "initiationTimestamp": iso_seconds(self.start_timestamp_ms - 2000),
                "connectedToSystemTimestamp": iso_seconds(self.start_timestamp_ms - 1000),
                "disconnectTimestamp": disconnected,
                "disconnectReason": "CUSTOMER_DISCONNECT",
                "tags": {"aws:connect:instanceId": self.instance_id},
            },
        }

    def contact_record(self) -> Json:
        """The contact record that a Kinesis data stream carries."""
        started = iso_seconds(self.start_timestamp_ms - 2000)
        stopped = iso_seconds(self.stop_timestamp_ms)
        return {
            "AWSAccountId": ACCOUNT,
            "AWSContactTraceRecordFormatVersion": "2017-03-10",
            "Agent": None,
            "AgentConnectionAttempts": 0,
            "AnsweringMachineDetectionStatus": None,
            "Attributes": dict(self.attributes),
            "Campaign": {"CampaignId": None},
            "Channel": "VOICE",
            "ConnectedToSystemTimestamp": started,
            "ContactDetails": {},
            "ContactId": self.contact_id,
            "CustomerEndpoint": _phone(CALLER_NUMBER),
            "DisconnectReason": "CUSTOMER_DISCONNECT",
            "DisconnectTimestamp": stopped,
            "InitialContactId": self.initial_contact_id,
            "InitiationMethod": "INBOUND",
            "InitiationTimestamp": started,
            "InstanceARN": self.instance_arn,
            "LastUpdateTimestamp": iso_seconds(self.stop_timestamp_ms + 60_000),
            "MediaStreams": [{"Type": "AUDIO"}],
            "NextContactId": None,
            "PreviousContactId": None,
            "Queue": None,
            "Recording": {
                "DeletionReason": None,
                "Location": self._recording_key(),
                "Status": "AVAILABLE",
                "Type": "AUDIO",
            },
            "Recordings": [
                {
                    "FragmentStartNumber": None,
                    "FragmentStopNumber": None,
                    "Location": self._recording_key(),
                    "MediaStreamType": "AUDIO",
                    "ParticipantType": None,
                    "StartTimestamp": None,
                    "Status": "AVAILABLE",
                    "StopTimestamp": None,
                    "StorageType": "S3",
                },
                {
                    "FragmentStartNumber": str(self.start_fragment_number),
                    "FragmentStopNumber": str(self.stop_fragment_number),
                    "Location": self.stream_arn,
                    "MediaStreamType": "VIDEO",
                    "ParticipantType": "CUSTOMER",
                    "StartTimestamp": iso_seconds(self.start_timestamp_ms),
                    "Status": None,
                    "StopTimestamp": stopped,
                    "StorageType": "KINESIS_VIDEO_STREAM",
                },
            ],
            "References": [],
            "ScheduledTimestamp": None,
            "SegmentAttributes": {"connect:Subtype": {"ValueString": "connect:Telephony"}},
            "SystemEndpoint": _phone(SERVICE_NUMBER),
            "Tags": {"aws:connect:instanceId": self.instance_id},
            "TransferCompletedTimestamp": None,
            "TransferredToEndpoint": None,
        }

    def describe_contact(self) -> Json:
        """The body of DescribeContact's answer: `{"Contact": …}`, times in epoch seconds."""
        return {
            "Contact": {
                "Arn": f"{self.instance_arn}/contact/{self.contact_id}",
                "Id": self.contact_id,
                "InitialContactId": self.initial_contact_id,
                "InitiationMethod": "INBOUND",
                "Channel": "VOICE",
                "InitiationTimestamp": _epoch_seconds(self.start_timestamp_ms - 2000),
                "DisconnectTimestamp": _epoch_seconds(self.stop_timestamp_ms),
                "LastUpdateTimestamp": _epoch_seconds(self.stop_timestamp_ms + 60_000),
                "Attributes": dict(self.attributes),
                "DisconnectReason": "CUSTOMER_DISCONNECT",
                "Tags": {"aws:connect:instanceId": self.instance_id},
                "Recordings": [
                    {
                        "Location": self._recording_key(),
                        "MediaStreamType": "AUDIO",
                        "Status": "AVAILABLE",
                        "StorageType": "S3",
                    },
                    {
                        "FragmentStartNumber": str(self.start_fragment_number),
                        "FragmentStopNumber": str(self.stop_fragment_number),
                        "Location": self.stream_arn,
                        "MediaStreamType": "VIDEO",
                        "ParticipantType": "CUSTOMER",
                        "StartTimestamp": _epoch_seconds(self.start_timestamp_ms),
                        "StopTimestamp": _epoch_seconds(self.stop_timestamp_ms),
                        "StorageType": "KINESIS_VIDEO_STREAM",
                    },
                ],
            }
        }

    def _recording_key(self) -> str:
        # Connect's own recording, which is not ours: a bucket and a key in one string.
        day = datetime.fromtimestamp(self.start_timestamp_ms // 1000, UTC)
        return (
            f"connect-0123456789ab/connect/demo/CallRecordings/{day:%Y/%m/%d}/"
            f"{self.contact_id}_{day:%Y%m%dT%H:%M}_UTC.wav"
        )


def _phone(number: str) -> Json:
    return {"Address": number, "Type": "TELEPHONE_NUMBER"}


def _epoch_seconds(epoch_ms: int) -> float:
    return float(epoch_ms // 1000)
