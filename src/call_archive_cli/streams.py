"""A KVS stream as the commands see it: the functions' own reader, and what DescribeStream says."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from botocore.exceptions import ClientError

from call_archive.aws import clients as aws_clients
from call_archive.aws.faults import stream_fault
from call_archive.aws.kvs import DataEndpoints, StreamReader
from call_archive.errors import StreamFaultError
from call_archive.fields import region_of
from call_archive.media.likeness import MediaFragment
from call_archive.recording.listing import ListedFragment, ReceivedFragment

HOUR_MS = 3_600_000
NOT_THERE = frozenset(
    ("NOT_IN_STREAM", "KVS_InvalidArgumentException", "KVS_NoDataRetentionException")
)
"""Codes of a fragment that KVS does not have, or not any more, or never kept."""


@dataclass(frozen=True, slots=True)
class StreamDescription:
    """What matters of a stream's settings.

    Attributes:
        retention_hours: 0 where KVS keeps nothing.
        kms_key: the key's id, ARN or alias.
    """

    retention_hours: int
    kms_key: str


def open_reader(stream_arn: str) -> StreamReader:
    """The reader that ArchiveFunction uses; a person decides when time is up."""
    region = region_of(stream_arn)
    endpoints = DataEndpoints(
        aws_clients.kinesis_video_client(region), partial(aws_clients.archived_media_client, region)
    )
    return StreamReader(endpoints, stream_arn, check_time=lambda: None)


def describe_stream(stream_arn: str) -> StreamDescription:
    """The stream's retention and key.

    Raises:
        StreamFaultError: KVS refuses; the stream does not exist, for one.
    """
    client = aws_clients.kinesis_video_client(region_of(stream_arn))
    try:
        described = client.describe_stream(StreamARN=stream_arn)["StreamInfo"]
    except ClientError as error:
        raise stream_fault("DescribeStream", error) from error
    return StreamDescription(described["DataRetentionInHours"], described.get("KmsKeyId", ""))


def fetch_fragment(stream_arn: str, number: int) -> MediaFragment:
    """One fragment, by its number.

    Raises:
        StreamFaultError: KVS does not have it, or not any more, or refuses.
    """
    listed = ListedFragment(number, server_timestamp_ms=0, duration_ms=0, size_bytes=0)
    (delivery,) = open_reader(stream_arn).fetch([listed])
    if isinstance(delivery, ReceivedFragment):
        return delivery.media
    code, text = delivery.reason
    if code in NOT_THERE:
        text = (
            "KVS does not have it: it is not of this stream, or older than the stream's retention"
        )
    raise StreamFaultError(code, f"fragment {number}: {text}")


def list_fragments(stream_arn: str, from_ms: int, to_ms: int) -> Iterator[ListedFragment]:
    """What KVS began to receive in the range, in any order."""
    return open_reader(stream_arn).list_fragments(from_ms, to_ms)


def moment(timestamp_ms: int) -> datetime:
    """A time as boto3 takes it."""
    return datetime.fromtimestamp(timestamp_ms / 1000, UTC)


def now_ms() -> int:
    """The time, ms since the epoch."""
    return time.time_ns() // 1_000_000
