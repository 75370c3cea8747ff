"""A KVS stream for the commands: the functions' own reader, and DescribeStream."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from call_archive.aws.endpoints import DataEndpoints
from call_archive.aws.faults import stream_fault
from call_archive.aws.stream_reader import StreamReader
from call_archive.errors import StreamFaultError
from call_archive.fields import decode_stream_arn, region_of
from call_archive.media.likeness import MediaFragment
from call_archive.media.pcm import Direction
from call_archive.reasons import Code, Refusal, Service
from call_archive.recording.listing import ListedFragment, ReceivedFragment
from call_archive_cli.options import Track

if TYPE_CHECKING:
    from call_archive_cli.clients import Clients

HOUR_MS: Final = 3_600_000
_DIRECTIONS: Final = {
    Track.CUSTOMER: (Direction.FROM_CUSTOMER,),
    Track.AGENT: (Direction.TO_CUSTOMER,),
    Track.BOTH: (Direction.FROM_CUSTOMER, Direction.TO_CUSTOMER),
}
NOT_THERE: Final = frozenset(
    (
        Code.NOT_IN_STREAM,
        Refusal(Service.KVS, "InvalidArgumentException"),
        Refusal(Service.KVS, "NoDataRetentionException"),
    )
)
"""Codes of a fragment that KVS does not have, no longer has, or never kept."""


@dataclass(frozen=True, slots=True)
class StreamDescription:
    """The relevant settings of a stream.

    Attributes:
        retention_hours: 0 if KVS keeps nothing.
        kms_key: the key's id, ARN or alias.
    """

    retention_hours: int
    kms_key: str


def open_reader(clients: "Clients", stream_arn: str) -> StreamReader:
    """The reader that ArchiveFunction uses; a person decides when time is up."""
    region = region_of(stream_arn)
    endpoints = DataEndpoints(
        clients.kinesis_video(region), partial(clients.archived_media, region)
    )
    return StreamReader(endpoints, stream_arn, check_time=lambda: None)


def find_stream(clients: "Clients", stream: str) -> str:
    """The ARN of a stream that is given by name or ARN.

    Raises:
        StreamFaultError: there is no such stream in the region, or KVS refuses.
    """
    if stream.startswith("arn:"):
        return stream
    client = clients.named("kinesisvideo")
    try:
        arn: str = client.describe_stream(StreamName=stream)["StreamInfo"]["StreamARN"]
    except ClientError as error:
        raise stream_fault("DescribeStream", error) from error
    return decode_stream_arn(arn)


def describe_stream(clients: "Clients", stream_arn: str) -> StreamDescription:
    """The stream's retention and key.

    Raises:
        StreamFaultError: KVS refuses, for example because the stream does not exist.
    """
    client = clients.kinesis_video(region_of(stream_arn))
    try:
        described = client.describe_stream(StreamARN=stream_arn)["StreamInfo"]
    except ClientError as error:
        raise stream_fault("DescribeStream", error) from error
    return StreamDescription(described["DataRetentionInHours"], described.get("KmsKeyId", ""))


def fetch_fragment(clients: "Clients", stream_arn: str, number: int) -> MediaFragment:
    """One fragment, by its number.

    Raises:
        StreamFaultError: KVS does not have it, no longer has it, or refuses.
    """
    listed = ListedFragment(number, server_timestamp_ms=0, duration_ms=0, size_bytes=0)
    (delivery,) = open_reader(clients, stream_arn).fetch([listed])
    if isinstance(delivery, ReceivedFragment):
        return delivery.media
    code, text = delivery.reason
    if code in NOT_THERE:
        text = (
            "KVS does not have it: it is not of this stream, or older than the stream's retention"
        )
    raise StreamFaultError(code, f"fragment {number}: {text}")


def directions_of(track: Track) -> tuple[Direction, ...]:
    """The requested tracks, in channel order."""
    return _DIRECTIONS[track]


def moment(timestamp_ms: int) -> datetime:
    """A time in the form that boto3 accepts."""
    return datetime.fromtimestamp(timestamp_ms / 1000, UTC)


def now_ms() -> int:
    """The time, ms since the epoch."""
    return time.time_ns() // 1_000_000
