"""FailedJobsQueue → ArchiveQueue: jobs go back for another run, each sent before it is deleted.

A job may so be queued twice and is never lost; a second run of a job is harmless.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from call_archive import aws

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_sqs.type_defs import MessageTypeDef

BATCH: Final = 10
HIDE_S: Final = 120
"""How long a message that is being looked at is hidden from others."""


@dataclass(frozen=True, slots=True)
class FailedJob:
    """A message in FailedJobsQueue.

    Attributes:
        code: why it failed; EventBridge's and the pipe's own code for what they could not deliver.
        reason: in words.
    """

    body: str
    code: str
    reason: str
    receipt: str


def receive_failed(queue_url: str) -> Iterator[FailedJob]:
    """Every message that is visible, hidden from others for two minutes.

    Raises:
        ClientError: SQS refuses.
    """
    while messages := _receive(queue_url):
        yield from map(_decode, messages)


def redrive(job: FailedJob, failed_queue_url: str, queue_url: str) -> None:
    """Moves one job back.

    Raises:
        ClientError: SQS refuses; the job is still in FailedJobsQueue.
    """
    sqs = aws.sqs_client()
    sqs.send_message(QueueUrl=queue_url, MessageBody=job.body)
    sqs.delete_message(QueueUrl=failed_queue_url, ReceiptHandle=job.receipt)


def release(job: FailedJob, failed_queue_url: str) -> None:
    """Shows a message again at once that stays where it is."""
    aws.sqs_client().change_message_visibility(
        QueueUrl=failed_queue_url, ReceiptHandle=job.receipt, VisibilityTimeout=0
    )


def _receive(queue_url: str) -> list[MessageTypeDef]:
    return (
        aws.sqs_client()
        .receive_message(
            QueueUrl=queue_url,
            MaxNumberOfMessages=BATCH,
            VisibilityTimeout=HIDE_S,
            WaitTimeSeconds=1,
            MessageAttributeNames=["All"],
        )
        .get("Messages", [])
    )


def _decode(message: MessageTypeDef) -> FailedJob:
    attributes: dict[str, Any] = dict(message.get("MessageAttributes", {}))

    def text(*names: str) -> str:
        return next(
            (attributes[name].get("StringValue", "") for name in names if name in attributes), ""
        )

    return FailedJob(
        body=message["Body"],
        code=text("code", "ERROR_CODE") or "UNKNOWN",
        reason=text("reason", "ERROR_MESSAGE"),
        receipt=message["ReceiptHandle"],
    )
