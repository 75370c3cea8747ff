"""What is sent to SQS, against a client that takes what SQS takes, or fails as it fails."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from call_archive.aws.queues import ArchiveQueue, FailedJobsQueue, RetryQueue
from call_archive.errors import QueueFaultError, RequestError
from call_archive.job import ArchiveJob, decode_job
from call_archive.reasons import Code, Refusal, Service
from tests.support.arns import INSTANCE_ARN, STREAM_ARN

URL = "https://sqs.eu-west-2.amazonaws.com/123456789012/jobs"
JOB = ArchiveJob(
    contact_id="c-1",
    initial_contact_id="c-0",
    instance_arn=INSTANCE_ARN,
    stream_arn=STREAM_ARN,
    start_fragment_number=91343852333181452199722691208580038832309429352,
    start_timestamp_ms=1_641_312_355_374,
    stop_fragment_number=None,
    stop_timestamp_ms=None,
    requested_at_ms=1_641_312_370_000,
)


class Sqs:
    """Keeps what it is sent; SQS's own limits are asserted."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.held: list[dict[str, Any]] = []

    def send_message(self, **message: Any) -> dict[str, str]:
        attributes = message.get("MessageAttributes", {})
        assert len(attributes) <= 10
        for attribute in attributes.values():
            assert attribute["DataType"] == "String"
            assert attribute["StringValue"]
            attribute["StringValue"].encode()
        self.sent.append(message)
        return {"MessageId": "m-1"}

    def change_message_visibility(self, **change: Any) -> None:
        assert 0 <= change["VisibilityTimeout"] <= 43_200
        self.held.append(change)


class BrokenSqs:
    """Fails as boto3 does."""

    def __init__(self, failure: Exception) -> None:
        self._failure = failure

    def send_message(self, **message: Any) -> None:
        raise self._failure

    def change_message_visibility(self, **change: Any) -> None:
        raise self._failure


FAILURES = [
    ClientError({"Error": {"Code": "OverLimit", "Message": "too many"}}, "SendMessage"),
    EndpointConnectionError(endpoint_url=URL),
]


def test_a_job_arrives_as_it_was_sent() -> None:
    sqs: Any = Sqs()
    ArchiveQueue(sqs, URL).send(JOB)
    (message,) = sqs.sent
    assert message["QueueUrl"] == URL
    assert decode_job(json.loads(message["MessageBody"])) == JOB


def test_a_failed_message_is_handed_over_unchanged_with_its_reason() -> None:
    sqs: Any = Sqs()
    FailedJobsQueue(sqs, URL).send('{"kind": 1 }', RequestError(Code.UNKNOWN_JOB, "no"), "m-7")
    (message,) = sqs.sent
    assert message["MessageBody"] == '{"kind": 1 }'
    texts = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
    assert texts == {
        "reason": "UNKNOWN_JOB: no",
        "code": "UNKNOWN_JOB",
        "errorType": "RequestError",
        "messageId": "m-7",
    }


@pytest.mark.parametrize("text", ["", "x" * 300_000, "a\x00b\r\n\t", "\ud800", "\uffff", "é"])
def test_no_text_is_too_odd_for_an_attribute(text: str) -> None:
    sqs: Any = Sqs()
    FailedJobsQueue(sqs, URL).send("{}", RequestError(Refusal(Service.KVS, text), text), text)
    for attribute in sqs.sent[0]["MessageAttributes"].values():
        assert len(attribute["StringValue"]) <= 1000
        assert attribute["StringValue"].isprintable()


@pytest.mark.parametrize(
    ("delay_s", "expected_s"), [(0, 0), (5, 5), (43_200, 43_200), (90_000, 43_200)]
)
def test_a_message_is_held_in_the_queue_it_came_from(delay_s: int, expected_s: int) -> None:
    sqs: Any = Sqs()
    queue = RetryQueue(sqs, "https://sqs.eu-west-2.amazonaws.com/123456789012/failed")
    queue.hold("arn:aws:sqs:eu-west-2:123456789012:jobs", "receipt", delay_s)
    assert sqs.held == [
        {"QueueUrl": URL, "ReceiptHandle": "receipt", "VisibilityTimeout": expected_s}
    ]


def test_a_local_queue_keeps_its_host() -> None:
    sqs: Any = Sqs()
    queue = RetryQueue(sqs, "http://127.0.0.1:4566/123456789012/failed")
    queue.hold("arn:aws:sqs:eu-west-2:123456789012:jobs", "receipt", 5)
    assert sqs.held[0]["QueueUrl"] == "http://127.0.0.1:4566/123456789012/jobs"


@pytest.mark.parametrize("failure", FAILURES)
def test_failures_of_sqs_are_ours_and_retryable(failure: Exception) -> None:
    sqs: Any = BrokenSqs(failure)
    with pytest.raises(QueueFaultError) as sending:
        ArchiveQueue(sqs, URL).send(JOB)
    with pytest.raises(QueueFaultError) as failing:
        FailedJobsQueue(sqs, URL).send("{}", RequestError(Code.UNKNOWN_JOB, "y"), "m-1")
    with pytest.raises(QueueFaultError) as holding:
        RetryQueue(sqs, URL).hold("arn:aws:sqs:eu-west-2:123456789012:jobs", "receipt", 5)
    assert sending.value.retryable
    assert failing.value.retryable
    assert holding.value.retryable
    assert sending.value.__cause__ is failure
