"""What a load took → what that many concurrent calls need of Lambda and of every quota: arithmetic.

Nothing here measures, and nothing here is AWS's own: a figure comes from a `LoadResult`, from the
template, or from a quota that is here with the name that AWS gives it.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from bench.prices import price
from call_archive.errors import NotYetError
from call_archive.intake.message import read_request
from local.demo_call import CONTACT_ID, INSTANCE_ARN

HOUR_S: Final = 3600
MEAN_CALL_S: Final = 300

GET_DATA_ENDPOINT_PER_S: Final = 300
GET_DATA_ENDPOINT_OF_A_STREAM_PER_S: Final = 5
FRAGMENT_MEDIA_OF_A_STREAM_PER_S: Final = 500
FRAGMENT_METADATA_OF_A_STREAM_PER_S: Final = 10_000
STREAMS: Final = 10_000
DESCRIBE_CONTACT_PER_S: Final = 10
IN_FLIGHT_MESSAGES: Final = 120_000
S3_WRITES_OF_A_PREFIX_PER_S: Final = 3_500
S3_READS_OF_A_PREFIX_PER_S: Final = 5_500
EVENTBRIDGE_INVOCATIONS_PER_S: Final = 750
CONCURRENT_EXECUTIONS: Final = 1_000
UNRESERVED_EXECUTIONS: Final = 100

FLOW_INVOCATIONS_A_CALL: Final = 2
"""After Start and after Stop media streaming."""
FLOW_DURATION_S: Final = 1.0
"""Assumed, long: as if every invocation were a cold start that loads boto3."""
HEADROOM: Final = 2
"""Twice what arrives, so that the backlog of an outage is gone after as long again."""
SQS_REQUESTS_A_JOB: Final = 3
"""Send, receive, delete; the pollers of an idle queue come on top."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallNeeds:
    """What archiving one call takes: measured, but for the duration, which is estimated from it.

    Attributes:
        duration_s: of ArchiveFunction on Lambda, warm.
        data_endpoints, s3_writes, s3_reads: calls of GetDataEndpoint; PUT; GET and HEAD.
    """

    duration_s: float
    fragments: int
    media_bytes: int
    data_endpoints: float
    s3_writes: float
    s3_reads: float


@dataclass(frozen=True, slots=True)
class Demand:
    """What this many concurrent calls need in a steady state.

    Attributes:
        ends_per_s: calls that end, and begin.
        archive_runs: ArchiveFunctions running at a time, on average.
        maximum_concurrency: to set, with headroom.
        flow_runs: FlowFunctions running at a time, on average.
        reserved_for_flow: to reserve, with headroom.
    """

    ends_per_s: float
    archive_runs: float
    maximum_concurrency: int
    flow_runs: float
    reserved_for_flow: int


def estimate_demand(concurrent_calls: int, duration_s: float, mean_call_s: float) -> Demand:
    """Little's law, twice: calls that last so long, runs that last so long."""
    ends_per_s = concurrent_calls / mean_call_s
    archive_runs = ends_per_s * duration_s
    flow_runs = ends_per_s * FLOW_INVOCATIONS_A_CALL * FLOW_DURATION_S
    return Demand(
        ends_per_s=ends_per_s,
        archive_runs=archive_runs,
        # A maximum below 2 cannot be set.
        maximum_concurrency=max(2, math.ceil(archive_runs * HEADROOM)),
        flow_runs=flow_runs,
        reserved_for_flow=math.ceil(flow_runs * HEADROOM),
    )


def drain_s(outage_s: float, arrivals_per_s: float, concurrency: int, duration_s: float) -> float:
    """How long the backlog of an outage takes to go while calls go on ending; may be infinite."""
    spare_per_s = concurrency / duration_s - arrivals_per_s
    return outage_s * arrivals_per_s / spare_per_s if spare_per_s > 0 else math.inf


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that is not below this percentage of all values (nearest rank)."""
    rank = max(1, math.ceil(len(values) * percent / 100))
    return sorted(values)[rank - 1]


def count_looks(first_look_s: float) -> int:
    """DescribeContact calls for a contact that was never streamed: counted on the deployed code."""
    return len(look_ages_s(first_look_s))


def look_ages_s(first_look_s: float) -> list[float]:
    """When, after the end of a contact that was never streamed, DescribeContact is asked."""
    ended_s = 1_767_258_000
    body = json.dumps(_contact_event(ended_s))
    age_s = first_look_s
    ages_s: list[float] = []
    while True:
        ages_s.append(age_s)
        try:
            read_request(
                body,
                lambda *_: {"Recordings": [], "Attributes": {}},
                lambda _: None,
                now_ms=round((ended_s + age_s) * 1000),
                sent_ms=ended_s * 1000,
                accept_partial=False,
            )
        except NotYetError as not_yet:
            if not_yet.retry_after_s is None:
                raise
            age_s += not_yet.retry_after_s
        else:
            return ages_s


def doubling_ages_s(first_look_s: float, wait_s: float, first_delay_s: float) -> list[float]:
    """The same for a message that came back like any job: after a delay that doubles."""
    ages_s = [first_look_s]
    while ages_s[-1] < wait_s:
        ages_s.append(ages_s[-1] + first_delay_s * 2 ** (len(ages_s) - 1))
    return ages_s


def describe_calls_per_s(contacts_per_hour: float, streamed: float, looks: int) -> float:
    """DescribeContact calls a second, if contact events are a trigger.

    Args:
        contacts_per_hour: voice contacts that end.
        streamed: the share of them that was streamed; their first look shows it.
        looks: calls for one that was not.
    """
    return contacts_per_hour * (streamed + (1 - streamed) * looks) / HOUR_S


def most_contacts_per_hour(streamed: float, looks: int) -> float:
    """What DescribeContact's quota carries."""
    return DESCRIBE_CONTACT_PER_S * HOUR_S / (streamed + (1 - streamed) * looks)


def cost_of_1000_calls(needs: CallNeeds, memory_mb: int) -> Mapping[str, tuple[float, float]]:
    """Driver → amount and USD, for a thousand calls."""
    gb_s = 1000 * needs.duration_s * memory_mb / 1024
    writes, reads = 1000 * needs.s3_writes, 1000 * needs.s3_reads
    consumed_gb = 1000 * needs.media_bytes / 1e9
    sqs = 1000 * SQS_REQUESTS_A_JOB
    return {
        "KVS, GB consumed": (consumed_gb, consumed_gb * price("consume")),
        "S3, PUT requests": (writes, writes * price("put")),
        "Lambda, GB-seconds": (gb_s, gb_s * price("lambda")),
        "SQS, requests": (sqs, sqs * price("sqs")),
        "S3, GET and HEAD requests": (reads, reads * price("get")),
        "Lambda, requests": (1000, 1000 * price("invoke")),
    }


def _contact_event(ended_s: int) -> dict[str, object]:
    ended = datetime.fromtimestamp(ended_s, UTC)
    return {
        "detail-type": "Amazon Connect Contact Event",
        "detail": {
            "eventType": "DISCONNECTED",
            "contactId": CONTACT_ID,
            "instanceArn": INSTANCE_ARN,
            "channel": "VOICE",
            "disconnectTimestamp": f"{ended:%Y-%m-%dT%H:%M:%SZ}",
        },
    }


@dataclass(frozen=True, slots=True)
class Quota:
    """One quota and what a demand takes of it.

    Attributes:
        used: by a demand.
        source: the name that AWS gives it.
    """

    name: str
    limit: float
    used: Callable[[Demand], float]
    source: str


def quotas(needs: CallNeeds, looks: int, wait_s: float, streamed: float) -> Sequence[Quota]:
    """Every quota on the way of a call.

    A stream's own quotas are what one run asks of it at most in a second.

    Args:
        needs: of one call.
        looks: DescribeContact calls for a contact that was not streamed.
        wait_s: how long such a contact's message is in flight.
        streamed: the share of contacts that is streamed, if contact events are a trigger.
    """
    # Streamed calls are those that the demand counts; the others come on top.
    others = (1 - streamed) / streamed
    return (
        Quota(
            "Lambda concurrent executions",
            CONCURRENT_EXECUTIONS,
            lambda demand: demand.archive_runs + demand.flow_runs,
            "Lambda, Concurrent executions",
        ),
        Quota(
            "KVS streams",
            STREAMS,
            lambda demand: demand.ends_per_s * MEAN_CALL_S,
            "Kinesis Video Streams, streams per account [s]",
        ),
        Quota(
            "GetDataEndpoint a second, account",
            GET_DATA_ENDPOINT_PER_S,
            lambda demand: demand.ends_per_s * needs.data_endpoints,
            "Kinesis Video Streams, GetDataEndpoint, account limit [h]",
        ),
        Quota(
            "GetDataEndpoint a second, stream and API",
            GET_DATA_ENDPOINT_OF_A_STREAM_PER_S,
            lambda _: 1,
            "Kinesis Video Streams, GetDataEndpoint, stream-level limit [h]",
        ),
        Quota(
            "fragments read a second, stream",
            FRAGMENT_MEDIA_OF_A_STREAM_PER_S,
            lambda _: min(needs.fragments, FRAGMENT_MEDIA_OF_A_STREAM_PER_S),
            "Kinesis Video Streams, fragment-media quota [h]",
        ),
        Quota(
            "fragments listed a second, stream",
            FRAGMENT_METADATA_OF_A_STREAM_PER_S,
            lambda _: 1000,
            "Kinesis Video Streams, fragment-metadata quota [h]",
        ),
        Quota(
            "DescribeContact a second, contact events off",
            DESCRIBE_CONTACT_PER_S,
            lambda _: 0,
            "Amazon Connect, DescribeContact, RateLimit 10, BurstLimit 15",
        ),
        Quota(
            "DescribeContact a second, contact events on, every contact streamed",
            DESCRIBE_CONTACT_PER_S,
            lambda demand: demand.ends_per_s,
            "the same",
        ),
        Quota(
            f"DescribeContact a second, contact events on, {streamed:.0%} streamed",
            DESCRIBE_CONTACT_PER_S,
            lambda demand: demand.ends_per_s * (1 + others * looks),
            "the same",
        ),
        Quota(
            f"SQS messages in flight, contact events on, {streamed:.0%} streamed",
            IN_FLIGHT_MESSAGES,
            lambda demand: demand.archive_runs + demand.ends_per_s * others * wait_s,
            "SQS, Messages per queue (in flight)",
        ),
        Quota(
            "S3 PUT a second, prefix",
            S3_WRITES_OF_A_PREFIX_PER_S,
            lambda demand: demand.ends_per_s * needs.s3_writes,
            "S3, PUT/COPY/POST/DELETE per partitioned prefix",
        ),
        Quota(
            "S3 GET a second, prefix",
            S3_READS_OF_A_PREFIX_PER_S,
            lambda demand: demand.ends_per_s * needs.s3_reads,
            "S3, GET/HEAD per partitioned prefix",
        ),
        Quota(
            f"EventBridge invocations a second, contact events on, {streamed:.0%} streamed",
            EVENTBRIDGE_INVOCATIONS_PER_S,
            lambda demand: demand.ends_per_s / streamed,
            "EventBridge, Invocations throttle limit, of the smallest regions",
        ),
    )
