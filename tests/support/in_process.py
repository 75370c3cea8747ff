"""ArchiveFunction in this process: an SQS event in, its answer out, in milliseconds.

The worker, the adapters and botocore are the deployed ones; the clients have no network behind
them, and nobody waits. `archive_handler`, which only reads settings, logs and counts, is left to
the tests that run it in a process of its own.
"""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from call_archive.aws.contacts import Contacts
from call_archive.aws.endpoints import DataEndpoints
from call_archive.aws.kvs import StreamReader
from call_archive.aws.pace import MediaPace
from call_archive.aws.queues import FailedJobsQueue, RetryQueue
from call_archive.aws.s3_archive import S3Archive
from call_archive.config import read_archive_settings
from call_archive.errors import QueueFaultError
from call_archive.fields import instance_id_of
from call_archive.job import ArchiveJob
from call_archive.keys import manifest_key, recording_key
from call_archive.media.pcm import Direction
from call_archive.worker import (
    ComesBack,
    Failed,
    Message,
    Outcome,
    Terms,
    TimeCheck,
    decode_record,
    work,
)
from local.resources import ACCOUNT_ID
from tests.support.wire import Wire

type Json = dict[str, Any]

DIRECTIONS = {
    "customer": (Direction.FROM_CUSTOMER,),
    "both": (Direction.FROM_CUSTOMER, Direction.TO_CUSTOMER),
}


class Slept:
    """A clock that goes on by what is slept."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds

    def monotonic(self) -> float:
        return time.monotonic() + self.seconds


class InProcessFunction:
    """ArchiveFunction with the variables of a deployed one, and `worker.Ports` of its own.

    Attributes:
        clock: its own time; `clock.seconds` is how long it has slept.
        timeout_s: how long an invocation may take, by that clock.
        outcomes: what became of each message, in order.
    """

    def __init__(self, variables: Mapping[str, str], wire: Wire) -> None:
        self._settings = read_archive_settings(variables)
        self._client = wire.client
        self.clock = Slept()
        self._endpoints = DataEndpoints(
            self._client("kinesisvideo"), partial(self._client, "kinesis-video-archived-media")
        )
        self._terms = Terms(
            tracks=DIRECTIONS[variables["ARCHIVE_TRACKS"]],
            account_id=ACCOUNT_ID,
            instance_arn=self._settings.location.instance_arn,
        )
        self.timeout_s = 600.0
        self.outcomes: list[Outcome] = []

    def invoke(self, event: Any) -> Json:
        """What the handler answers."""
        kept = [record for record in event["Records"] if not self._is_done(record)]
        return {"batchItemFailures": [{"itemIdentifier": record["messageId"]} for record in kept]}

    def _is_done(self, record: Json) -> bool:
        message, ends_s = decode_record(record), self.clock.monotonic() + self.timeout_s
        outcome = work(
            message,
            self,
            self._terms,
            now_ms=lambda: time.time_ns() // 1_000_000,
            check_time=TimeCheck(lambda: round((ends_s - self.clock.monotonic()) * 1000)),
        )
        self.outcomes.append(outcome)
        try:
            return self._carry_out(message, outcome)
        except QueueFaultError:
            return False

    def describe_contact(self, instance_arn: str, contact_id: str) -> Mapping[str, object]:
        return Contacts(self._client("connect")).describe(instance_arn, contact_id)

    def open_source(self, job: ArchiveJob, check_time: Callable[[], None]) -> StreamReader:
        return StreamReader(
            self._endpoints,
            job.stream_arn,
            check_time,
            self.clock.sleep,
            MediaPace(self.clock.sleep, self.clock.monotonic),
        )

    def open_archive(self, job: ArchiveJob) -> S3Archive:
        location = self._settings.location
        return S3Archive(
            self._client("s3"),
            location.bucket,
            recording_key(location.prefix, job),
            manifest_key(location.prefix, job),
            instance_id_of(job.instance_arn),
        )

    def _carry_out(self, message: Message, outcome: Outcome) -> bool:
        url = self._settings.failed_jobs_queue_url
        match outcome:
            case ComesBack(after_s):
                queue = RetryQueue(self._client("sqs"), url)
                queue.hold(message.queue_arn, message.receipt_handle, after_s)
                return False
            case Failed(failure):
                failed_jobs = FailedJobsQueue(self._client("sqs"), url)
                failed_jobs.send(message.body, failure, message.message_id)
        return True
