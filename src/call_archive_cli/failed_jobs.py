"""FailedJobsQueue → ArchiveQueue: jobs move back for another run, each sent before it is deleted.

A job may so be queued twice and is never lost; a second run of a job is harmless.
"""

from __future__ import annotations

import json
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from itertools import batched
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from call_archive.limits import MAX_MESSAGE_BYTES
from call_archive_cli.streams import now_ms

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

BATCH: Final = 10
HIDE_S: Final = 900
"""How long a received message is hidden from others; a message that stays is released earlier."""

NO_CODE: Final = "NO_CODE"
"""SQS gave up on a job that never ran to its end: the reason is unknown."""

PIPE_CODE: Final = "PIPE"
"""The code of a pipe's dead letter that gives no condition."""


@dataclass(frozen=True, slots=True)
class FailedJob:
    """A message in FailedJobsQueue.

    Attributes:
        code: why it failed; EventBridge's own code for what it could not deliver.
        reason: in words.
        can_run: whether there is something to run again. What a pipe could not deliver names only
            where its records are in the Kinesis data stream.
    """

    message_id: str
    body: str
    code: str
    reason: str
    can_run: bool
    receipt: str


@dataclass(frozen=True, slots=True)
class FailedJobs:
    """FailedJobsQueue."""

    sqs: SQSClient
    url: str

    def count(self) -> tuple[int, int]:
        """About how many messages can be received, and how many are in flight: hidden just now.

        Raises:
            ClientError: SQS refuses.
        """
        attributes = self.sqs.get_queue_attributes(
            QueueUrl=self.url,
            AttributeNames=[
                "ApproximateNumberOfMessages",
                "ApproximateNumberOfMessagesNotVisible",
            ],
        )["Attributes"]
        return (
            int(attributes["ApproximateNumberOfMessages"]),
            int(attributes["ApproximateNumberOfMessagesNotVisible"]),
        )

    @contextmanager
    def batches(self) -> Iterator[Batches]:
        """Every visible message; those that are not moved become visible again afterwards.

        Raises:
            ClientError: SQS refuses.
        """
        batches = Batches(self)
        try:
            yield batches
        finally:
            batches.release()

    def receive(self) -> tuple[list[MessageTypeDef], int]:
        """The next messages, hidden from others for a while; and SQS's clock, ms.

        Raises:
            ClientError: SQS refuses.
        """
        answer = self.sqs.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=BATCH,
            VisibilityTimeout=HIDE_S,
            WaitTimeSeconds=1,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=[
                "ApproximateFirstReceiveTimestamp",
                "ApproximateReceiveCount",
                "SentTimestamp",
            ],
        )
        messages = answer.get("Messages", [])
        return messages, _sqs_clock_ms(messages, answer["ResponseMetadata"]["HTTPHeaders"])

    def move(self, jobs: Sequence[FailedJob], queue_url: str) -> list[FailedJob]:
        """Sends jobs to the other queue, then deletes them here; those that were sent.

        Raises:
            ClientError: SQS refuses; jobs that were sent may still be here, too.
        """
        moved: list[FailedJob] = []
        for batch in _fitting(jobs):
            answer = self.sqs.send_message_batch(
                QueueUrl=queue_url,
                Entries=[
                    {"Id": str(place), "MessageBody": job.body} for place, job in enumerate(batch)
                ],
            )
            sent = [batch[int(entry["Id"])] for entry in answer.get("Successful", [])]
            moved += sent
            if sent:
                self.sqs.delete_message_batch(
                    QueueUrl=self.url,
                    Entries=[
                        {"Id": str(place), "ReceiptHandle": job.receipt}
                        for place, job in enumerate(sent)
                    ],
                )
        return moved

    def release(self, receipts: Iterable[str]) -> None:
        """Makes messages visible at once; otherwise SQS does so later."""
        for batch in batched(receipts, BATCH):
            with suppress(ClientError):
                self.sqs.change_message_visibility_batch(
                    QueueUrl=self.url,
                    Entries=[
                        {"Id": str(place), "ReceiptHandle": receipt, "VisibilityTimeout": 0}
                        for place, receipt in enumerate(batch)
                    ],
                )


class Batches:
    """The messages of one run, each once, up to ten at a time.

    Messages that arrive meanwhile are left alone: a job that fails again at once would never end.
    """

    def __init__(self, queue: FailedJobs) -> None:
        self._queue = queue
        self._began_ms: int | None = None
        self._hidden: dict[str, str] = {}
        self._moved: set[str] = set()

    def __iter__(self) -> Iterator[list[FailedJob]]:
        while True:
            messages, now_ms = self._queue.receive()
            if not messages:
                return
            self._began_ms = now_ms if self._began_ms is None else self._began_ms
            new = [m for m in messages if m["MessageId"] not in self._hidden]
            # One that was seen before comes again when it was hidden for long enough.
            self._hidden.update({m["MessageId"]: m["ReceiptHandle"] for m in messages})
            jobs = [decode_failed_job(m) for m in new if _sent_ms(m) <= self._began_ms]
            if jobs:
                yield jobs

    def move(self, jobs: Sequence[FailedJob], queue_url: str) -> list[FailedJob]:
        """Moves jobs as `FailedJobs.move` does, and remembers them."""
        moved = self._queue.move(jobs, queue_url)
        self._moved.update(job.message_id for job in moved)
        return moved

    def release(self) -> None:
        """Makes every message visible again that was not moved."""
        self._queue.release(
            receipt for name, receipt in self._hidden.items() if name not in self._moved
        )


def _sqs_clock_ms(messages: Iterable[MessageTypeDef], headers: Mapping[str, str]) -> int:
    """SQS's time; this machine's clock may be wrong.

    A message that is received for the first time says when that was; an answer's header has
    seconds only.
    """
    for message in messages:
        attributes = message.get("Attributes", {})
        if attributes.get("ApproximateReceiveCount") == "1":
            return int(attributes.get("ApproximateFirstReceiveTimestamp", "0"))
    answered = parsedate_to_datetime(headers["date"]) if "date" in headers else None
    return now_ms() if answered is None else round(answered.timestamp() * 1000) + 999


def _fitting(jobs: Iterable[FailedJob]) -> Iterator[list[FailedJob]]:
    """In batches that SQS takes: ten messages, and a limit of bytes together."""
    batch: list[FailedJob] = []
    size = 0
    for job in jobs:
        job_bytes = len(job.body.encode())
        if batch and (len(batch) == BATCH or size + job_bytes > MAX_MESSAGE_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(job)
        size += job_bytes
    if batch:
        yield batch


def _sent_ms(message: MessageTypeDef) -> int:
    return int(message.get("Attributes", {}).get("SentTimestamp", "0"))


def decode_failed_job(message: MessageTypeDef) -> FailedJob:
    """A message of the queue of failed jobs."""
    attributes: dict[str, Any] = dict(message.get("MessageAttributes", {}))

    def text(*names: str) -> str:
        return next(
            (attributes[name].get("StringValue", "") for name in names if name in attributes), ""
        )

    condition = _pipe_condition(message["Body"])
    return FailedJob(
        message_id=message["MessageId"],
        body=message["Body"],
        code=text("code", "ERROR_CODE") or condition or NO_CODE,
        reason=text("reason", "ERROR_MESSAGE"),
        can_run=not condition,
        receipt=message["ReceiptHandle"],
    )


def _pipe_condition(body: str) -> str:
    """Why a pipe from a Kinesis data stream gave up; "" if the message is not a pipe's.

    Source: Amazon EventBridge user guide, "Batching and concurrency" of pipes: the dead letter has
    KinesisBatchInfo in place of the records.
    """
    try:
        letter = json.loads(body)
    except ValueError:
        return ""
    if not isinstance(letter, dict) or "KinesisBatchInfo" not in letter:
        return ""
    context = letter.get("context")
    condition = context.get("condition") if isinstance(context, dict) else None
    return str(condition or PIPE_CODE)
