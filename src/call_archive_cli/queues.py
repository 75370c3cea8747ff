"""FailedJobsQueue → ArchiveQueue: jobs go back for another run, each sent before it is deleted.

A job may so be queued twice and is never lost; a second run of a job is harmless.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from call_archive_cli.streams import now_ms

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

BATCH: Final = 10
HIDE_S: Final = 900
"""How long a message that is looked at is hidden from others; one that stays is released before."""

NO_CODE: Final = "NO_CODE"
"""SQS gave up on a job that was never run to its end: nobody says why."""

PIPE_CODE: Final = "PIPE"
"""A pipe's dead letter, where it does not say on what condition it gave up."""


@dataclass(frozen=True, slots=True)
class FailedJob:
    """A message in FailedJobsQueue.

    Attributes:
        code: why it failed; EventBridge's own code for what it could not deliver.
        reason: in words.
        can_run: whether there is something to run again. What a pipe could not deliver names only
            where its records lie in the Kinesis data stream.
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

    def receive(self) -> Iterator[FailedJob]:
        """Every message that is visible, once, hidden from others for a quarter of an hour.

        What comes in meanwhile stays where it is: a job that fails at once again would never end.

        Raises:
            ClientError: SQS refuses.
        """
        started_ms, seen, newer = now_ms(), set[str](), list[FailedJob]()
        try:
            while messages := [m for m in self._receive() if m["MessageId"] not in seen]:
                seen.update(message["MessageId"] for message in messages)
                newer += [
                    _decode(message) for message in messages if _sent_ms(message) > started_ms
                ]
                yield from (_decode(m) for m in messages if _sent_ms(m) <= started_ms)
        finally:
            for job in newer:
                self.release(job)

    def redrive(self, job: FailedJob, queue_url: str) -> None:
        """Moves one job into the other queue.

        Raises:
            ClientError: SQS refuses; the job is still here.
        """
        self.sqs.send_message(QueueUrl=queue_url, MessageBody=job.body)
        self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=job.receipt)

    def release(self, job: FailedJob) -> None:
        """Shows a message again at once that stays where it is; SQS does so later by itself."""
        with suppress(ClientError):
            self.sqs.change_message_visibility(
                QueueUrl=self.url, ReceiptHandle=job.receipt, VisibilityTimeout=0
            )

    def _receive(self) -> list[MessageTypeDef]:
        return self.sqs.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=BATCH,
            VisibilityTimeout=HIDE_S,
            WaitTimeSeconds=1,
            MessageAttributeNames=["All"],
            MessageSystemAttributeNames=["SentTimestamp"],
        ).get("Messages", [])


def _sent_ms(message: MessageTypeDef) -> int:
    return int(message.get("Attributes", {}).get("SentTimestamp", "0"))


def _decode(message: MessageTypeDef) -> FailedJob:
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
    """Why a pipe from a Kinesis data stream gave up; "" where the message is not a pipe's.

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
