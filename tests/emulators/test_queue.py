"""The tests of the queues again, on an SQS that this repository did not write, over TLS.

S3, KVS and Connect are the local AWS's. MiniStack 1.5.33, as moto, has no StartMessageMoveTask, so
a redrive receives and sends, as in `tests/integration/test_redrive.py`.
"""

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import botocore.endpoint
import pytest

from local.moto_faults import MotoFault
from local.resources import ACCOUNT_ID
from local.runtime import EventSource
from local.server import LocalAws
from tests.emulators.ministack import MiniStack
from tests.faults.test_queue import (
    queue_url,
    test_call_that_is_too_long_for_every_run_is_told,
    test_message_that_no_run_ever_answers_is_moved_by_sqs_itself,
    waiting,
)
from tests.integration.journey import (
    CONTACT_ID,
    OTHER_CONTACT_ID,
    RESOURCES,
    Journey,
    call,
    caller,
    environment,
)
from tests.integration.test_redrive import (
    test_contact_event_written_by_hand_is_enough,
    test_job_that_sqs_gave_up_is_archived,
    test_job_that_we_gave_up_is_archived_when_its_cause_is_mended,
    test_redrive_after_the_retention_is_over_says_so,
    test_redrive_of_a_stream_that_is_gone_says_so,
    test_redrive_of_what_is_archived_already_changes_nothing,
    test_what_eventbridge_could_not_deliver_is_archived,
    test_what_the_pipe_could_not_deliver_says_where_the_records_are,
)
from tests.support.in_process import InProcessFunction
from tests.support.wire import Wire

__all__ = [
    "test_call_that_is_too_long_for_every_run_is_told",
    "test_contact_event_written_by_hand_is_enough",
    "test_job_that_sqs_gave_up_is_archived",
    "test_job_that_we_gave_up_is_archived_when_its_cause_is_mended",
    "test_message_that_no_run_ever_answers_is_moved_by_sqs_itself",
    "test_redrive_after_the_retention_is_over_says_so",
    "test_redrive_of_a_stream_that_is_gone_says_so",
    "test_redrive_of_what_is_archived_already_changes_nothing",
    "test_what_eventbridge_could_not_deliver_is_archived",
    "test_what_the_pipe_could_not_deliver_says_where_the_records_are",
]

type Json = dict[str, Any]


class QueuesElsewhere(Wire):
    """Clients of the local AWS without a network; the one of SQS is the emulator's."""

    def __init__(self, aws: LocalAws, ministack: MiniStack) -> None:
        super().__init__(aws)
        self._ministack = ministack

    def _make_client(self, service: str, endpoint_url: str = "") -> Any:
        if service == "sqs":
            return self._ministack.client(service)
        return super()._make_client(service, endpoint_url)


class Watched:
    """A function that remembers how often each message had been received when it got it."""

    def __init__(self, function: InProcessFunction) -> None:
        self._function = function
        self.receives: list[int] = []

    def invoke(self, event: Any) -> Json:
        self.receives += [
            int(record["attributes"]["ApproximateReceiveCount"]) for record in event["Records"]
        ]
        return self._function.invoke(event)


@pytest.fixture
def mono(
    shared_aws: LocalAws, ministack: MiniStack, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Journey]:
    """The customer's track alone, and the emulator's queues."""
    yield from _journey(shared_aws, ministack, monkeypatch, "customer")


@pytest.fixture
def journey(
    shared_aws: LocalAws, ministack: MiniStack, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Journey]:
    """Both tracks, as the suite of faults asks for them."""
    yield from _journey(shared_aws, ministack, monkeypatch, "both")


def _journey(
    aws: LocalAws, ministack: MiniStack, monkeypatch: pytest.MonkeyPatch, tracks: str
) -> Iterator[Journey]:
    wire = QueuesElsewhere(aws, ministack)
    failed_url = f"{ministack.endpoint_url}/{ACCOUNT_ID}/{RESOURCES.failed_queue}"
    function = InProcessFunction(
        {**environment(aws, tracks), "FAILED_JOBS_QUEUE_URL": failed_url}, wire
    )
    # botocore's own pauses between its tries.
    monkeypatch.setattr(botocore.endpoint, "time", SimpleNamespace(sleep=function.clock.sleep))
    journey = Journey(aws, function, wire.client)
    yield journey
    aws.moto_faults = ()
    for name in (RESOURCES.queue, RESOURCES.failed_queue):
        journey.sqs.delete_queue(QueueUrl=queue_url(journey, name))


def send(journey: Journey, *messages: Json) -> None:
    for message in messages:
        journey.sqs.send_message(QueueUrl=queue_url(journey), MessageBody=json.dumps(message))


def test_a_message_comes_back_after_the_delay_that_the_function_sets(mono: Journey) -> None:
    one = mono.place(call())
    function = Watched(mono.function)
    source = EventSource(mono.sqs, queue_url(mono), function)
    send(mono, one.archive_job())
    mono.aws.moto_faults = (MotoFault("GetObject", "SlowDown", times=None),)
    assert source.poll() == 0
    mono.aws.moto_faults = ()
    # It is hidden, not for the queue's 660 s, but for 3.
    assert source.poll(wait_s=0) == 0
    assert waiting(mono) == 1
    assert source.poll(wait_s=20) == 1
    assert function.receives == [1, 2]
    assert mono.pcm() == caller()
    assert waiting(mono) == 0
    assert mono.failed_jobs() == []


def test_of_a_batch_only_what_did_not_fail_leaves_the_queue(mono: Journey) -> None:
    one = mono.place(call())
    not_known_yet = call(contact_id=OTHER_CONTACT_ID).contact_event("DISCONNECTED")
    not_known_yet["detail"]["contactId"] = "11111111-2222-3333-4444-555555555555"
    function = Watched(mono.function)
    send(mono, {"kind": "of another program"}, not_known_yet, one.archive_job())
    assert EventSource(mono.sqs, queue_url(mono), function, batch_size=10).poll() == 2
    assert function.receives == [1, 1, 1]
    assert mono.manifest()["contactId"] == CONTACT_ID
    assert mono.failure_codes() == ["UNKNOWN_MESSAGE"]
    assert waiting(mono) == 1
