"""Adapter: jobs into the archive queue, failures into the failed-jobs queue, retries by visibility.

A message that can succeed later is never sent again (Lambda's recursion detection would end the
chain): its own visibility timeout decides when it comes back.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from call_archive.aws.faults import queue_fault, translated
from call_archive.job import ArchiveJob, build_job_message
from call_archive.limits import MAX_ATTRIBUTE_CHARACTERS, MAX_VISIBILITY_S
from call_archive.reasons import Code

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

    from call_archive.errors import ArchiveError


class _Delay(TypedDict, total=False):
    DelaySeconds: int


@dataclass(frozen=True, slots=True)
class ArchiveQueue:
    """The queue into which FlowFunction sends archive jobs."""

    client: SQSClient
    url: str

    def send(self, job: ArchiveJob, delay_s: int | None = None) -> None:
        """Queues the job.

        Args:
            job: what to archive.
            delay_s: how long until it may be delivered; None uses the queue's own delay.

        Raises:
            QueueFaultError: SQS did not accept it.
        """
        delay: _Delay = {} if delay_s is None else {"DelaySeconds": delay_s}
        with translated(queue_fault(Code.JOB_NOT_QUEUED, "SendMessage")):
            self.client.send_message(
                QueueUrl=self.url, MessageBody=json.dumps(build_job_message(job)), **delay
            )


@dataclass(frozen=True, slots=True)
class FailedJobsQueue:
    """Holds messages that only a person can fix, unchanged, each with its reason."""

    client: SQSClient
    url: str

    def send(self, body: str, failure: ArchiveError, message_id: str) -> None:
        """Sends a message unchanged, so that a redrive runs the same job again.

        Raises:
            QueueFaultError: SQS did not accept it.
        """
        facts = {
            "reason": str(failure.reason),
            "code": failure.code,
            "errorType": type(failure).__name__,
            "messageId": message_id,
        }
        with translated(queue_fault(Code.FAILED_JOB_NOT_QUEUED, "SendMessage")):
            self.client.send_message(
                QueueUrl=self.url,
                MessageBody=body,
                MessageAttributes={
                    name: {"DataType": "String", "StringValue": _attribute(text)}
                    for name, text in facts.items()
                },
            )


@dataclass(frozen=True, slots=True)
class RetryQueue:
    """The queue that a message came from; it holds the message until the next attempt.

    Attributes:
        sibling_url: the URL of any queue of the same account and region.
    """

    client: SQSClient
    sibling_url: str

    def hold(self, event_source_arn: str, receipt_handle: str, delay_s: int) -> None:
        """Makes a message visible again after `delay_s` instead of the queue's whole timeout.

        Raises:
            QueueFaultError: SQS did not change it: it comes back after the queue's timeout.
        """
        account, _, name = event_source_arn.partition(":sqs:")[2].partition(":")[2].partition(":")
        with translated(queue_fault(Code.VISIBILITY_NOT_CHANGED, "ChangeMessageVisibility")):
            self.client.change_message_visibility(
                QueueUrl=f"{self.sibling_url.rsplit('/', 2)[0]}/{account}/{name}",
                ReceiptHandle=receipt_handle,
                VisibilityTimeout=min(delay_s, MAX_VISIBILITY_S),
            )


def _attribute(text: str) -> str:
    """A message attribute: printable, never empty, bounded."""
    return "".join(c if c.isprintable() else " " for c in text)[:MAX_ATTRIBUTE_CHARACTERS] or "-"
