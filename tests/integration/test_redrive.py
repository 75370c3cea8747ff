"""Messages in the failed-jobs queue, in every shape that occurs, run again.

moto has no StartMessageMoveTask, so `_redrive` does what SQS does then: each message goes to the
jobs' queue as it is, body and attributes, as a new message.
"""

import json
from typing import Any

import pytest

from local.behaviour import FragmentFault
from local.demo_call import STREAM_ARN
from local.resources import MOST_RECEIVES
from local.runtime import EventSource
from tests.integration.journey import RESOURCES, Journey, call, caller

type Json = dict[str, Any]

RULE_ARN = "arn:aws:events:eu-west-2:123456789012:rule/call-archive-DisconnectRule-1ABCDEFGHIJKL"
QUEUE_ARN = "arn:aws:sqs:eu-west-2:123456789012:call-archive-jobs"

# As EventBridge leaves it, beside the event. Source: EventBridge user guide, "Using dead-letter
# queues to process undelivered events".
EVENTBRIDGE_ATTRIBUTES = {
    "RULE_ARN": RULE_ARN,
    "TARGET_ARN": QUEUE_ARN,
    "ERROR_CODE": "NO_PERMISSIONS",
    "ERROR_MESSAGE": "User is not authorized to perform: sqs:SendMessage",
    "RETRY_ATTEMPTS": "0",
}

# As EventBridge Pipes leaves it for a Kinesis stream: which records, and not the records. Source: a
# published message of such a pipe; EventBridge user guide, "Pipes error handling".
PIPE_BATCH: Json = {
    "context": {
        "partnerResourceArn": "arn:aws:pipes:eu-west-2:123456789012:pipe/contact-records",
        "condition": "RetryAttemptsExhausted",
    },
    "version": "1.0",
    "timestamp": "2026-01-01T09:05:51.498Z",
    "KinesisBatchInfo": {
        "shardId": "shardId-000000000000",
        "startSequenceNumber": "49601189658422359378836298521827638475320189012309704722",
        "endSequenceNumber": "49601189658422359378836298521827638475320189012309704722",
        "approximateArrivalOfFirstRecord": "2026-01-01T09:05:46.620Z",
        "approximateArrivalOfLastRecord": "2026-01-01T09:05:46.620Z",
        "batchSize": 1,
        "streamArn": "arn:aws:kinesis:eu-west-2:123456789012:stream/contact-records",
    },
}


def _url(journey: Journey, queue: str) -> str:
    url: str = journey.sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    return url


def _leave(journey: Journey, queue: str, body: Json, attributes: dict[str, str] | None) -> None:
    """Puts a message into a queue as another service would."""
    journey.sqs.send_message(
        QueueUrl=_url(journey, queue),
        MessageBody=json.dumps(body),
        MessageAttributes={
            name: {"DataType": "String", "StringValue": text}
            for name, text in (attributes or {}).items()
        },
    )


def _redrive(journey: Journey) -> int:
    """Moves every failed job back; how many there were."""
    source = _url(journey, RESOURCES.failed_queue)
    moved = 0
    while messages := journey.sqs.receive_message(
        QueueUrl=source, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
    ).get("Messages"):
        for message in messages:
            journey.sqs.send_message(
                QueueUrl=_url(journey, RESOURCES.queue),
                MessageBody=message["Body"],
                MessageAttributes=message.get("MessageAttributes", {}),
            )
            journey.sqs.delete_message(QueueUrl=source, ReceiptHandle=message["ReceiptHandle"])
            moved += 1
    return moved


def _run_queue(journey: Journey) -> int:
    """Runs the messages in the jobs' queue; returns how many are finished."""
    return EventSource(journey.sqs, _url(journey, RESOURCES.queue), journey.function).poll()


def test_job_that_we_gave_up_is_archived_when_its_cause_is_mended(mono: Journey) -> None:
    one = mono.place(call())
    mono.behave(fragment_faults=(FragmentFault(None, kind="exception", code="4501", times=None),))
    assert mono.archive(one)
    assert mono.keys() == []
    mono.behave(fragment_faults=())
    assert _redrive(mono) == 1
    assert _run_queue(mono) == 1
    assert mono.pcm() == caller()
    assert mono.failed_jobs() == []


def test_job_that_sqs_gave_up_is_archived(mono: Journey) -> None:
    one = mono.place(call())
    _leave(mono, RESOURCES.queue, one.archive_job(), None)
    for _ in range(MOST_RECEIVES + 1):
        # A run that is killed neither deletes the message nor changes its visibility.
        mono.sqs.receive_message(QueueUrl=_url(mono, RESOURCES.queue), VisibilityTimeout=0)
    assert mono.queued_jobs() == []
    assert _redrive(mono) == 1
    assert _run_queue(mono) == 1
    assert mono.pcm() == caller()


@pytest.mark.parametrize("kind", ["contact_event", "contact_record"])
def test_what_eventbridge_could_not_deliver_is_archived(mono: Journey, kind: str) -> None:
    one = mono.place(call())
    body = one.contact_event() if kind == "contact_event" else one.contact_record()
    _leave(mono, RESOURCES.failed_queue, body, EVENTBRIDGE_ATTRIBUTES)
    assert _redrive(mono) == 1
    assert _run_queue(mono) == 1
    assert mono.pcm() == caller()


def test_what_the_pipe_could_not_deliver_says_where_the_records_are(mono: Journey) -> None:
    mono.place(call())
    _leave(mono, RESOURCES.failed_queue, PIPE_BATCH, None)
    assert _redrive(mono) == 1
    assert _run_queue(mono) == 1
    (failed,) = mono.failed_jobs()
    assert failed["code"] == "UNDELIVERED_BATCH"
    assert failed["body"] == PIPE_BATCH
    assert mono.keys() == []


def test_redrive_of_what_is_archived_already_changes_nothing(mono: Journey) -> None:
    one = mono.place(call())
    assert mono.archive(one)
    before = mono.wav(), mono.manifest()
    _leave(mono, RESOURCES.failed_queue, one.archive_job(), {"code": "OUT_OF_TIME"})
    _leave(mono, RESOURCES.failed_queue, one.archive_job(), None)
    assert _redrive(mono) == 2
    assert _run_queue(mono) + _run_queue(mono) == 2
    assert (mono.wav(), mono.manifest()) == before
    assert mono.failed_jobs() == []


def test_redrive_after_the_retention_is_over_says_so(mono: Journey) -> None:
    one = mono.place(call())
    _leave(mono, RESOURCES.failed_queue, one.archive_job(), {"code": "OUT_OF_TIME"})
    mono.aws.clock.advance_ms(25 * 3_600_000)
    assert _redrive(mono) == 1
    assert _run_queue(mono) == 1
    (failed,) = mono.failed_jobs()
    assert failed["code"] == "KVS_InvalidArgumentException"
    assert "outside the stream's retention" in failed["reason"]


def test_redrive_of_a_stream_that_is_gone_says_so(mono: Journey) -> None:
    one = mono.place(call())
    other = STREAM_ARN.replace("50a3a8d4", "00000000")
    _leave(mono, RESOURCES.failed_queue, {**one.archive_job(), "streamArn": other}, None)
    assert _redrive(mono) == 1
    assert _run_queue(mono) == 1
    assert [failed["code"] for failed in mono.failed_jobs()] == ["KVS_ResourceNotFoundException"]


# ------------------------------------------------------------------ by hand, as the runbook says


def test_contact_event_written_by_hand_is_enough(mono: Journey) -> None:
    one = mono.place(call())
    detail = {
        "eventType": "DISCONNECTED",
        "contactId": one.contact_id,
        "instanceArn": one.instance_arn,
    }
    body = {"detail-type": "Amazon Connect Contact Event", "detail": detail}
    _leave(mono, RESOURCES.queue, body, None)
    assert _run_queue(mono) == 1
    assert mono.pcm() == caller()


def test_recording_is_made_anew_when_its_manifest_is_deleted(mono: Journey) -> None:
    one = mono.place(call())
    assert mono.archive(one)
    manifest, recording = sorted(mono.keys())
    mono.s3.delete_object(Bucket=RESOURCES.bucket, Key=manifest)
    mono.s3.put_object(Bucket=RESOURCES.bucket, Key=recording, Body=b"spoilt")
    assert mono.archive(one)
    assert mono.pcm() == caller()
    assert mono.manifest()["complete"] is True
