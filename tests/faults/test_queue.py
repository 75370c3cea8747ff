"""A message that comes twice, too early, too late, or to two workers at once: one recording of it.

Also runs that have too little time, and queues that take nothing: no message is lost, and none
comes back forever without an alarm.
"""

import itertools
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from local.call import Call
from local.moto_faults import MotoFault
from local.resources import MOST_RECEIVES
from local.runtime import ARCHIVE_HANDLER, EventSource, Function, FunctionError
from local.server import Step
from tests.faults.outcome import assert_nothing_said, assert_whole, read_bucket
from tests.integration.journey import (
    GIVES_UP,
    RESOURCES,
    Journey,
    agent,
    call,
    caller,
    deliver,
    environment,
    interleave,
)

SHORT_S = 3.0
LONG_S = 170.0
"""Two parts of stereo."""
LONGER_S = 400.0
"""Three: the second is on its way while the third is still being read."""

type Message = Mapping[str, Any]


@cache
def said(seconds: float) -> Call:
    return call(customer=caller(seconds), to_customer=agent(seconds))


@cache
def frames(seconds: float) -> bytes:
    return interleave(caller(seconds), agent(seconds))


@pytest.fixture
def journey(stereo: Journey) -> Iterator[Journey]:
    yield stereo
    stereo.aws.moto_faults = ()
    stereo.aws.watcher = None


@pytest.fixture
def second_function(journey: Journey, tmp_path: Path) -> Iterator[Function]:
    """Another process of ArchiveFunction, whose deadline a test may set."""
    with Function(ARCHIVE_HANDLER, environment(journey.aws, "both"), tmp_path / "log") as function:
        yield function


def queue_url(journey: Journey, name: str = RESOURCES.queue) -> str:
    url: str = journey.sqs.get_queue_url(QueueName=name)["QueueUrl"]
    return url


def waiting(journey: Journey) -> int:
    """Messages in the archive queue, also the hidden ones."""
    attributes = journey.sqs.get_queue_attributes(
        QueueUrl=queue_url(journey),
        AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
    )["Attributes"]
    return sum(int(number) for name, number in attributes.items() if name.startswith("Approx"))


# ------------------------------------------------------------------ many times, in any order


def test_ten_copies_for_three_workers_are_one_recording(journey: Journey, tmp_path: Path) -> None:
    one = journey.place(said(LONG_S))
    for _ in range(10):
        journey.sqs.send_message(
            QueueUrl=queue_url(journey), MessageBody=json.dumps(one.archive_job())
        )

    def work(function: Function) -> None:
        source = EventSource(journey.sqs, queue_url(journey), function)
        for _ in range(60):
            if not waiting(journey):
                return
            source.poll(wait_s=1)

    with ExitStack() as running, ThreadPoolExecutor(3) as pool:
        variables = environment(journey.aws, "both")
        workers = [
            running.enter_context(Function(ARCHIVE_HANDLER, variables, tmp_path / str(index)))
            for index in range(3)
        ]
        list(pool.map(work, workers))
    assert waiting(journey) == 0
    assert journey.failed_jobs() == []
    assert_whole(journey, frames(LONG_S))
    assert journey.uploads() == []


def test_three_triggers_in_every_order_twice_are_one_recording(journey: Journey) -> None:
    one = journey.place(said(SHORT_S))
    messages: dict[str, Message] = {
        "flow": one.archive_job(),
        "contactEvent": one.contact_event("DISCONNECTED"),
        "contactRecord": one.contact_record(),
    }
    orders = [(*order, *order) for order in itertools.permutations(messages)]
    for order in orders:
        assert journey.run(messages[order[0]])
        first = read_bucket(journey.s3)
        assert_whole(journey, frames(SHORT_S))
        assert journey.manifest()["trigger"] == order[0]
        assert all(journey.run(messages[name]) for name in order[1:])
        assert read_bucket(journey.s3) == first, order
        for key in (*first.recordings, *first.manifests):
            journey.s3.delete_object(Bucket=RESOURCES.bucket, Key=key)


@pytest.mark.parametrize(
    "held",
    [
        Step("GetObject", has_effect=True),
        Step("GetMediaForFragmentList", has_effect=False),
        Step("CreateMultipartUpload", has_effect=True),
        Step("UploadPart", has_effect=False),
        Step("CompleteMultipartUpload", has_effect=False),
        Step("CompleteMultipartUpload", has_effect=True),
        Step("PutObject", has_effect=False),
        Step("PutObject", has_effect=True),
    ],
    ids=lambda step: f"{step.api}-{'after' if step.has_effect else 'before'}",
)
def test_message_that_becomes_visible_while_its_first_run_still_works(
    journey: Journey, second_function: Function, held: Step
) -> None:
    one = journey.place(said(LONG_S))
    has_come, may_go = threading.Event(), threading.Event()

    def hold_the_first(step: Step) -> None:
        if step == held and not has_come.is_set():
            has_come.set()
            assert may_go.wait(60)

    journey.aws.watcher = hold_the_first
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(deliver, second_function, one.archive_job())
        assert has_come.wait(60)
        second_is_done = journey.archive(one, receives=2)
        may_go.set()
        first_is_done = first.result(60)
    assert first_is_done or second_is_done
    assert_whole(journey, frames(LONG_S))
    assert journey.uploads() == []
    assert journey.archive(one, receives=3)
    assert_whole(journey, frames(LONG_S))
    assert journey.failed_jobs() == []


# ------------------------------------------------------------------ too little time


def test_run_whose_time_is_nearly_over_keeps_nothing_and_comes_back(journey: Journey) -> None:
    one = journey.place(said(LONGER_S))
    seen: list[Step] = []

    def wait_out_the_time(step: Step) -> None:
        seen.append(step)
        if step == Step("CreateMultipartUpload", has_effect=True):
            journey.function.clock.sleep(50)

    journey.aws.watcher = wait_out_the_time
    journey.function.timeout_s = 100
    assert not journey.archive(one)
    journey.aws.watcher = None
    journey.function.timeout_s = 600
    assert Step("AbortMultipartUpload", has_effect=True) in seen
    assert journey.keys() == []
    assert journey.uploads() == []
    assert journey.archive(one, receives=2)
    assert_whole(journey, frames(LONGER_S))


def test_call_that_is_too_long_for_every_run_is_told(journey: Journey) -> None:
    one = journey.place(said(SHORT_S))
    journey.function.timeout_s = 30
    done = [journey.archive(one, receives) for receives in range(1, GIVES_UP + 1)]
    journey.function.timeout_s = 600
    assert done == [False] * (GIVES_UP - 1) + [True]
    assert journey.keys() == []
    (failed,) = journey.failed_jobs()
    assert failed["code"] == "OUT_OF_TIME"
    assert failed["body"] == one.archive_job()
    assert journey.run(failed["body"])
    assert_whole(journey, frames(SHORT_S))


def kill_at(journey: Journey, function: Function, wanted: Step) -> Callable[[Step], None]:
    """A watcher that kills the function at a step, as Lambda does at the deadline."""

    def watch(step: Step) -> None:
        if step == wanted:
            journey.aws.watcher = None
            function.kill()

    return watch


@pytest.mark.parametrize("has_effect", [False, True])
def test_run_that_lambda_ends_at_its_deadline_is_followed_by_one_that_publishes(
    journey: Journey, second_function: Function, has_effect: bool
) -> None:
    one = journey.place(said(LONG_S))
    wanted = Step("CompleteMultipartUpload", has_effect=has_effect)
    journey.aws.watcher = kill_at(journey, second_function, wanted)
    with pytest.raises(FunctionError, match="process ended"):
        deliver(second_function, one.archive_job())
    assert_nothing_said(journey, frames(LONG_S))
    assert journey.archive(one, receives=2)
    assert_whole(journey, frames(LONG_S))


def test_message_that_no_run_ever_answers_is_moved_by_sqs_itself(journey: Journey) -> None:
    one = said(SHORT_S)
    url = queue_url(journey)
    journey.sqs.send_message(QueueUrl=url, MessageBody=json.dumps(one.archive_job()))
    for _ in range(MOST_RECEIVES):
        (message,) = journey.sqs.receive_message(QueueUrl=url, VisibilityTimeout=0)["Messages"]
        assert json.loads(message["Body"]) == one.archive_job()
    assert "Messages" not in journey.sqs.receive_message(QueueUrl=url)
    (failed,) = journey.failed_jobs()
    assert failed == {"body": one.archive_job()}


# ------------------------------------------------------------------ queues that do not take it


@pytest.mark.parametrize("answer", ["InternalError", "AccessDenied", "reset"])
def test_visibility_that_cannot_be_changed_leaves_the_message_in_the_queue(
    journey: Journey, answer: Any
) -> None:
    one = journey.place(said(SHORT_S))
    journey.aws.moto_faults = (
        MotoFault("GetObject", "SlowDown", times=None),
        MotoFault("ChangeMessageVisibility", answer, times=None),
    )
    assert not journey.archive(one)
    journey.aws.moto_faults = ()
    assert journey.keys() == []
    assert journey.archive(one, receives=2)
    assert_whole(journey, frames(SHORT_S))


@pytest.mark.parametrize("answer", ["InternalError", "AccessDenied", "reset"])
def test_failure_that_cannot_be_handed_over_stays_in_the_queue(
    journey: Journey, answer: Any
) -> None:
    journey.aws.moto_faults = (MotoFault("SendMessage", answer, times=None),)
    assert not journey.run({"kind": "ArchiveJob"})
    journey.aws.moto_faults = ()
    assert journey.failed_jobs() == []
    assert journey.run({"kind": "ArchiveJob"}, receives=2)
    (failed,) = journey.failed_jobs()
    assert failed["errorType"] == "RequestError"


def test_failure_whose_handing_over_is_not_answered_is_there_at_least_once(
    journey: Journey,
) -> None:
    journey.aws.moto_faults = (MotoFault("SendMessage", "reset", takes_effect=True),)
    assert journey.run({"kind": "ArchiveJob"})
    failed = journey.failed_jobs()
    assert len({entry["messageId"] for entry in failed}) == 1


# ------------------------------------------------------------------ the flow's side


def work_off(journey: Journey) -> None:
    source = EventSource(journey.sqs, queue_url(journey), journey.function)
    while waiting(journey):
        assert source.poll(wait_s=1)


@pytest.mark.parametrize(
    "fault",
    [
        MotoFault("SendMessage", "InternalError"),
        MotoFault("SendMessage", "reset", takes_effect=True),
        MotoFault("SendMessage", "none", takes_effect=True),
    ],
    ids=lambda fault: fault.answer,
)
def test_job_whose_queueing_was_in_doubt_is_one_recording(
    journey: Journey, flow_function: Function, fault: MotoFault
) -> None:
    one = journey.place(said(SHORT_S))
    journey.aws.moto_faults = (fault,)
    assert flow_function.invoke(one.flow_event("stopped"))["archiveStatus"] == "QUEUED"
    assert waiting(journey) == 1 + int(fault.takes_effect)
    work_off(journey)
    assert_whole(journey, frames(SHORT_S))


def test_queue_that_takes_no_job_is_told_to_connect_which_asks_again(
    journey: Journey, flow_function: Function
) -> None:
    one = journey.place(said(SHORT_S))
    journey.aws.moto_faults = (MotoFault("SendMessage", "InternalError", times=None),)
    with pytest.raises(FunctionError, match="QueueFaultError"):
        flow_function.invoke(one.flow_event("stopped"))
    assert waiting(journey) == 0
    journey.aws.moto_faults = ()
    assert flow_function.invoke(one.flow_event("stopped"))["archiveStatus"] == "QUEUED"
    work_off(journey)
    assert_whole(journey, frames(SHORT_S))
