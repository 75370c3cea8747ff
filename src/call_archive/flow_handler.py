"""Entrypoint 1: the event of a Connect flow → flat attributes, and a queued job after the stop.

The response always contains every key, and every value is a string, so a flow can save the response
as it is. A bad event gets a response, never an exception. Only a queue that does not accept the job
raises, because Connect then invokes the block again.
"""

from __future__ import annotations

import gc

gc.disable()  # loading makes no garbage to collect; the last lines freeze it

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from call_archive.aws import clients
from call_archive.aws.queues import ArchiveQueue
from call_archive.config import ArchiveLocation, FlowSettings, read_flow_settings
from call_archive.errors import RequestError
from call_archive.fields import account_of, check_instance
from call_archive.intake.flow_event import (
    NotStreaming,
    Streaming,
    build_job,
    contact_of,
    decode_flow_event,
)
from call_archive.keys import recording_key
from call_archive.moments import now_ms
from call_archive.observability import MetricUnit, logger, metrics
from call_archive.retry import first_delay_s

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from call_archive.job import ArchiveJob

settings = read_flow_settings()


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowAnswer:
    """What the flow reads as `$.External.<key>`; the field names are those keys.

    Attributes:
        mediaStreaming: NOT_STARTED, STARTED or STOPPED; "" if the event does not say.
        archiveStatus: NONE, PENDING, QUEUED or REJECTED.
        archiveUri: where the recording will be.
        reason: `CODE: text` of a rejection.
    """

    mediaStreaming: str = ""  # noqa: N815 - the contract's names
    streamArn: str = ""  # noqa: N815 - the contract's names
    startFragmentNumber: str = ""  # noqa: N815 - the contract's names
    startTimestamp: str = ""  # noqa: N815 - the contract's names
    stopFragmentNumber: str = ""  # noqa: N815 - the contract's names
    stopTimestamp: str = ""  # noqa: N815 - the contract's names
    archiveStatus: str = "NONE"  # noqa: N815 - the contract's names
    archiveUri: str = ""  # noqa: N815 - the contract's names
    reason: str = ""

    def as_attributes(self) -> dict[str, str]:
        """The flat map that Connect's STRING_MAP and JSON response types both take."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@metrics.log_metrics
def handler(event: object, context: LambdaContext) -> dict[str, str]:
    """Answers one invocation of the flow's Lambda block.

    Raises:
        QueueFaultError: the job could not be queued; Connect retries.
    """
    logger.set_correlation_id(contact_of(event))
    logger.append_keys(requestId=getattr(context, "aws_request_id", ""))
    answer = answer_event(event, _account_of(context), settings)
    metrics.add_metric(f"FlowEvent{answer.archiveStatus.title()}", MetricUnit.Count, 1)
    logger.info("flow event answered", extra={"answer": answer.as_attributes()})
    return answer.as_attributes()


def answer_event(event: object, account_id: str, settings: FlowSettings) -> FlowAnswer:
    """Reads the event, queues the job if streaming has stopped, and reports what it did."""
    try:
        streaming = decode_flow_event(event)
        if isinstance(streaming, NotStreaming):
            return FlowAnswer(mediaStreaming="NOT_STARTED")
        check_instance(streaming.instance_arn, settings.location.instance_arn, account_id)
        job = build_job(streaming, requested_at_ms=now_ms())
    except RequestError as refusal:
        return FlowAnswer(archiveStatus="REJECTED", reason=str(refusal.reason))
    wants_job = streaming.is_stopped or streaming.archive_now
    if wants_job:
        queue = ArchiveQueue(clients.flow_sqs_client(), settings.archive_queue_url)
        queue.send(job, _first_delay_s(job))
    return _describe(streaming, job, settings.location, "QUEUED" if wants_job else "PENDING")


def _describe(
    streaming: Streaming, job: ArchiveJob, location: ArchiveLocation, archive_status: str
) -> FlowAnswer:
    stop_fragment, stop_timestamp = job.stop_fragment_number, job.stop_timestamp_ms
    return FlowAnswer(
        mediaStreaming="STOPPED" if streaming.is_stopped else "STARTED",
        streamArn=job.stream_arn,
        startFragmentNumber=str(job.start_fragment_number),
        startTimestamp=str(job.start_timestamp_ms),
        stopFragmentNumber="" if stop_fragment is None else str(stop_fragment),
        stopTimestamp="" if stop_timestamp is None else str(stop_timestamp),
        archiveStatus=archive_status,
        archiveUri=f"s3://{location.bucket}/{recording_key(location.prefix, job)}",
    )


def _first_delay_s(job: ArchiveJob) -> int | None:
    """How long to wait for the tail of a stopped call; None leaves the delay to the queue."""
    stopped_ms = job.stop_timestamp_ms
    return None if stopped_ms is None else first_delay_s(stopped_ms, now_ms())


def _account_of(context: LambdaContext) -> str:
    """The account that the function runs in; "" if the runtime does not say."""
    function_arn = getattr(context, "invoked_function_arn", "")
    return account_of(function_arn) if function_arn.count(":") > 4 else ""


gc.freeze()
gc.enable()
