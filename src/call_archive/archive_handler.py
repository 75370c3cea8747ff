"""Entrypoint 2: an SQS batch → one archive run a job, and the messages that have to come back.

A message leaves the queue when its calls are archived, or when it lies in the failed-jobs queue
with its reason. Everything else comes back by its own visibility: in seconds at first, later in
minutes. From the fifth time on a run archives what there is instead of waiting for the rest.
"""

from __future__ import annotations

import gc

gc.disable()  # nothing that is loaded here is garbage; see the last lines

import re
import time
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from call_archive.aws import clients
from call_archive.aws.contacts import Contacts
from call_archive.aws.kvs import DataEndpoints, StreamReader
from call_archive.aws.queues import FailedJobsQueue, RetryQueue
from call_archive.aws.s3_recording import S3Archive
from call_archive.config import Tracks, read_archive_settings
from call_archive.errors import (
    ArchiveError,
    IncompleteRecordingError,
    NotYetError,
    OutOfTimeError,
    QueueFaultError,
    RequestError,
)
from call_archive.fields import account_of, check_instance, instance_id_of, region_of
from call_archive.intake.message import Order, contact_of, take_in
from call_archive.keys import manifest_key, recording_key
from call_archive.media.pcm import Direction
from call_archive.observability import MetricUnit, logger, metrics
from call_archive.reasons import Code
from call_archive.recording.pipeline import AlreadyArchived, Archived, Conditions, archive_call

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from call_archive.job import ArchiveJob

SETTLE_AT_RECEIVE = 5
GIVE_UP_AT_RECEIVE = 10
FIRST_DELAY_S = 5
LONGEST_DELAY_S = 300
SPARE_TIME_MS = 60_000
"""A run ends itself when this much of the function's time is left: more than one call can take."""

_DIRECTIONS = {
    Tracks.CUSTOMER: (Direction.FROM_CUSTOMER,),
    Tracks.BOTH: (Direction.FROM_CUSTOMER, Direction.TO_CUSTOMER),
}

_NUMBER = re.compile(r"[0-9]{1,18}")

settings = read_archive_settings()
_endpoints: dict[str, DataEndpoints] = {}


@metrics.log_metrics
def handler(event: object, context: LambdaContext) -> dict[str, object]:
    """Works off one SQS batch.

    Returns:
        `batchItemFailures`: the messages that stay in the queue.

    Raises:
        RequestError: the event is no SQS batch.
    """
    records = event.get("Records") if isinstance(event, Mapping) else None
    if not isinstance(records, list):
        raise RequestError(Code.NOT_AN_SQS_EVENT, "Records is missing: SQS invokes this function")
    logger.append_keys(requestId=context.aws_request_id)
    return {
        "batchItemFailures": [
            {"itemIdentifier": record["messageId"]}
            for record in records
            if not _settle_message(record, context)
        ]
    }


def _settle_message(record: Mapping[str, object], context: LambdaContext) -> bool:
    """Whether the message is done with: archived, not worth a job, or handed over as failed."""
    logger.set_correlation_id(contact_of(str(record.get("body", ""))))
    receives = _receives(record)
    try:
        _archive_message(record, context, settle=receives >= SETTLE_AT_RECEIVE)
    except ArchiveError as error:
        failure = error
    except Exception as error:  # noqa: BLE001 - an entrypoint: an unforeseen error loses no job
        logger.exception("unforeseen error")
        failure = ArchiveError(Code.UNFORESEEN, type(error).__name__, retryable=True)
    else:
        return True
    try:
        return _dispose(record, failure, receives)
    except QueueFaultError:
        logger.exception("the message comes back after the queue's own visibility timeout")
        return False


def _dispose(record: Mapping[str, object], failure: ArchiveError, receives: int) -> bool:
    """Lets a message come back, or hands it over; True where it is done with."""
    comes_back = failure.retryable and receives < GIVE_UP_AT_RECEIVE
    logger.warning(
        "job comes back" if comes_back else "job failed",
        extra={
            "code": failure.code,
            "reason": str(failure.reason),
            "receives": receives,
            "messageId": str(record.get("messageId", "")),
        },
    )
    metrics.add_metric("JobsRetried" if comes_back else "JobsFailed", MetricUnit.Count, 1)
    if comes_back:
        RetryQueue(clients.sqs_client(), settings.failed_jobs_queue_url).hold(
            str(record.get("eventSourceARN", "")),
            str(record.get("receiptHandle", "")),
            _delay_s(failure, receives),
        )
        return False
    FailedJobsQueue(clients.sqs_client(), settings.failed_jobs_queue_url).send(
        str(record.get("body", "")), failure, str(record.get("messageId", ""))
    )
    return True


def _delay_s(failure: ArchiveError, receives: int) -> int:
    """When a message comes back: as the failure says, or doubling with each receive."""
    if isinstance(failure, NotYetError) and failure.retry_after_s is not None:
        return failure.retry_after_s
    return min(FIRST_DELAY_S << (receives - 1), LONGEST_DELAY_S)


def _archive_message(record: Mapping[str, object], context: LambdaContext, *, settle: bool) -> None:
    """Archives every call that the message asks for.

    Raises:
        ArchiveError: the first failure, at the end; one that can get better before one that cannot,
            because the message comes back whole.
    """
    account_id = account_of(context.invoked_function_arn)
    order = take_in(
        str(record.get("body", "")),
        lambda *contact: Contacts(clients.connect_client()).describe(*contact),
        partial(
            check_instance,
            allowed_instance_arn=settings.location.instance_arn,
            account_id=account_id,
        ),
        now_ms=_now_ms(),
        sent_ms=_sent_ms(record),
        settle=settle,
    )
    if not order.jobs and not order.refusals:
        logger.info("no recording to archive", extra={"trigger": order.trigger})
        metrics.add_metric("ContactsNotStreamed", MetricUnit.Count, 1)
    failures: list[ArchiveError] = [*order.refusals]
    for job in order.jobs:
        try:
            _archive(job, order, context, settle=settle)
        except ArchiveError as error:
            failures.append(error)
            _measure_age(job)
    for failure in sorted(failures, key=lambda failure: not failure.retryable):
        raise failure


def _archive(job: ArchiveJob, order: Order, context: LambdaContext, *, settle: bool) -> None:
    """Runs one job and reports it.

    Raises:
        ArchiveError: nothing was published, or what was published is not complete.
    """
    location = settings.location
    outcome = archive_call(
        job,
        StreamReader(
            _data_endpoints(job.stream_arn), job.stream_arn, partial(_check_time, context)
        ),
        S3Archive(
            clients.s3_client(),
            location.bucket,
            recording_key(location.prefix, job),
            manifest_key(location.prefix, job),
            instance_id_of(job.instance_arn),
        ),
        Conditions(
            tracks=_DIRECTIONS[settings.tracks],
            trigger=order.trigger,
            settle=settle,
            now_ms=_now_ms,
            check_time=partial(_check_time, context),
        ),
    )
    if isinstance(outcome, AlreadyArchived):
        logger.info("already archived", extra={"trigger": order.trigger})
        metrics.add_metric("DuplicateJobs", MetricUnit.Count, 1)
        return
    _report(job, order, outcome)
    if not outcome.call.is_complete:
        raise IncompleteRecordingError(
            Code.INCOMPLETE,
            "the recording is published without everything: "
            f"{'; '.join(map(str, outcome.call.reasons))}",
            retryable=outcome.call.may_improve,
        )
    _measure_age(job)


def _report(job: ArchiveJob, order: Order, outcome: Archived) -> None:
    call, counts = outcome.call, outcome.call.fragments
    delay_ms = max(0, _now_ms() - job.end_bound_ms)
    gap_ms = sum(gap.length_ms for gap in call.gaps)
    logger.info(
        "recording published" if outcome.is_published else "earlier recording kept",
        extra={
            "trigger": order.trigger,
            "startFragmentNumber": str(job.start_fragment_number),
            "durationMs": call.duration_ms,
            "delayMs": delay_ms,
            "complete": call.is_complete,
            "reasons": [str(reason) for reason in call.reasons],
            "accepted": counts.accepted,
            "foreign": counts.foreign,
            "untagged": counts.untagged,
            "missing": len(counts.missing),
            "gaps": len(call.gaps),
            "gapMs": gap_ms,
        },
    )
    if not outcome.is_published:
        return
    for name, unit, value in (
        ("CallsArchived", MetricUnit.Count, 1),
        ("IncompleteRecordings", MetricUnit.Count, int(not call.is_complete)),
        ("AudioSeconds", MetricUnit.Seconds, call.duration_ms / 1000),
        ("ArchiveDelay", MetricUnit.Seconds, delay_ms / 1000),
        ("MediaBytes", MetricUnit.Bytes, call.media_bytes),
        ("ForeignFragments", MetricUnit.Count, counts.foreign),
        ("UntaggedFragments", MetricUnit.Count, counts.untagged),
        ("MissingFragments", MetricUnit.Count, len(counts.missing)),
        ("Gaps", MetricUnit.Count, len(call.gaps)),
        ("GapSeconds", MetricUnit.Seconds, gap_ms / 1000),
    ):
        metrics.add_metric(name, unit, value)


def _measure_age(job: ArchiveJob) -> None:
    """How old the call's first audio is: the stream's retention removes it first."""
    age_ms = max(0, _now_ms() - job.start_timestamp_ms)
    metrics.add_metric("AudioAge", MetricUnit.Seconds, age_ms / 1000)


def _data_endpoints(stream_arn: str) -> DataEndpoints:
    """The data endpoints of a region, kept as long as this process lives."""
    region = region_of(stream_arn)
    if region not in _endpoints:
        _endpoints[region] = DataEndpoints(
            clients.kinesis_video_client(region), partial(clients.archived_media_client, region)
        )
    return _endpoints[region]


def _check_time(context: LambdaContext) -> None:
    if context.get_remaining_time_in_millis() < SPARE_TIME_MS:
        raise OutOfTimeError(Code.OUT_OF_TIME, "the function's time is nearly over")


def _receives(record: Mapping[str, object]) -> int:
    """How often SQS has delivered this message, this time included."""
    return _attribute(record, "ApproximateReceiveCount") or 1


def _sent_ms(record: Mapping[str, object]) -> int:
    """When the message was first sent."""
    return _attribute(record, "SentTimestamp") or _now_ms()


def _attribute(record: Mapping[str, object], name: str) -> int | None:
    attributes = record.get("attributes")
    value = attributes.get(name) if isinstance(attributes, Mapping) else None
    return int(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _prepare() -> None:
    """Makes the clients that every job needs while Lambda still lends a whole processor."""
    clients.s3_client()
    if settings.region:
        clients.kinesis_video_client(settings.region)


_prepare()
gc.freeze()
gc.enable()
