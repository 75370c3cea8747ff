"""S3 fails at each step of a run, in each way: the recording is whole, or nothing is published.

A job that a run cannot finish comes back, or is in the failed-jobs queue with a reason; once S3 is
well, the same message makes the recording whole. No run that ended leaves an upload behind.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import pytest

from local.behaviour import FragmentFault
from local.call import Call
from local.moto_faults import Answer, MotoFault, Operation
from local.runtime import ARCHIVE_HANDLER, Function
from local.server import Step
from tests.faults.outcome import assert_nothing_said, assert_whole, lies, read_bucket
from tests.integration.journey import (
    GIVES_UP,
    SETTLES,
    Journey,
    agent,
    call,
    caller,
    deliver,
    environment,
    interleave,
)

type Size = Literal["small", "large"]

# One PutObject; a multipart upload of two parts (5.4 MB of stereo).
SECONDS: dict[Size, float] = {"small": 6, "large": 170}


class CallOfRun(NamedTuple):
    """One call of a run to S3: the how manieth of its operation."""

    size: Size
    operation: Operation
    number: int = 1


RUN = {
    "no manifest yet": CallOfRun("small", "GetObject"),
    "create": CallOfRun("large", "CreateMultipartUpload"),
    "part 2": CallOfRun("large", "UploadPart", 1),
    "part 1, the last": CallOfRun("large", "UploadPart", 2),
    "complete": CallOfRun("large", "CompleteMultipartUpload"),
    "recording in one piece": CallOfRun("small", "PutObject", 1),
    "is it ours": CallOfRun("large", "HeadObject"),
    "manifest": CallOfRun("large", "PutObject", 1),
}
"""Every call of a run that finds nothing; a small recording is put in one piece."""

PASSING: list[tuple[Answer, bool]] = [
    ("InternalError", True),
    ("SlowDown", False),
    ("reset", False),
    ("reset", True),
]
"""What the client sees, and whether S3 did it anyway."""

STAYING: list[tuple[Answer, bool]] = [("InternalError", False), ("reset", True)]


@cache
def said(size: Size) -> Call:
    seconds = SECONDS[size]
    return call(customer=caller(seconds), to_customer=agent(seconds))


@cache
def frames(size: Size) -> bytes:
    return interleave(caller(SECONDS[size]), agent(SECONDS[size]))


@pytest.fixture
def journey(stereo: Journey) -> Iterator[Journey]:
    yield stereo
    stereo.aws.moto_faults = ()
    stereo.aws.watcher = None


@pytest.fixture(params=list(RUN.values()), ids=list(RUN))
def step(request: pytest.FixtureRequest) -> CallOfRun:
    found: CallOfRun = request.param
    return found


def strike(
    journey: Journey, step: CallOfRun, answer: Answer, *, takes_effect: bool, times: int | None
) -> None:
    journey.aws.moto_faults = (
        MotoFault(step.operation, answer, takes_effect, times=times, first_call=step.number),
    )


def unknown_uploads(step: CallOfRun, *, takes_effect: bool, tries: int) -> int:
    """If an upload's id is lost on the way, the bucket's lifecycle rule ends the upload."""
    return tries if step.operation == "CreateMultipartUpload" and takes_effect else 0


# ------------------------------------------------------------------ each step, each fault


@pytest.mark.parametrize(("answer", "takes_effect"), PASSING)
def test_fault_that_passes_is_not_noticed(
    journey: Journey, step: CallOfRun, answer: Answer, takes_effect: bool
) -> None:
    one = journey.place(said(step.size))
    strike(journey, step, answer, takes_effect=takes_effect, times=1)
    assert journey.archive(one)
    assert_whole(journey, frames(step.size))
    assert len(journey.uploads()) == unknown_uploads(step, takes_effect=takes_effect, tries=1)


@pytest.mark.parametrize(("answer", "takes_effect"), STAYING)
def test_fault_that_stays_lets_the_message_come_back(
    journey: Journey, step: CallOfRun, answer: Answer, takes_effect: bool
) -> None:
    one = journey.place(said(step.size))
    strike(journey, step, answer, takes_effect=takes_effect, times=None)
    is_done = journey.archive(one)
    journey.aws.moto_faults = ()
    bucket = read_bucket(journey.s3)
    assert lies(bucket, frames(step.size)) == []
    assert not is_done or bucket.manifests
    assert journey.failed_jobs() == []
    left = unknown_uploads(step, takes_effect=takes_effect, tries=3)
    assert len(journey.uploads()) == left
    assert journey.archive(one, receives=2)
    assert_whole(journey, frames(step.size))
    assert len(journey.uploads()) == left


def test_refusal_goes_to_the_failed_jobs_at_once(journey: Journey, step: CallOfRun) -> None:
    one = journey.place(said(step.size))
    strike(journey, step, "AccessDenied", takes_effect=False, times=None)
    assert journey.archive(one)
    journey.aws.moto_faults = ()
    assert_nothing_said(journey, frames(step.size))
    assert journey.uploads() == []
    (failed,) = journey.failed_jobs()
    # S3 answers HEAD without a body, so without a code.
    code = "S3_403" if step.operation == "HeadObject" else "S3_AccessDenied"
    assert failed["code"] == code
    assert step.operation in failed["reason"]
    assert journey.run(failed["body"])
    assert_whole(journey, frames(step.size))


def test_fault_that_outlasts_every_try_is_told(journey: Journey, step: CallOfRun) -> None:
    one = journey.place(said(step.size))
    strike(journey, step, "SlowDown", takes_effect=False, times=None)
    assert journey.archive(one, receives=GIVES_UP)
    journey.aws.moto_faults = ()
    assert_nothing_said(journey, frames(step.size))
    assert journey.uploads() == []
    (failed,) = journey.failed_jobs()
    assert failed["code"] == ("S3_503" if step.operation == "HeadObject" else "S3_SlowDown")


# ------------------------------------------------------------------ the call that publishes


@pytest.mark.parametrize(
    "again",
    ["PreconditionFailed", "NoSuchUpload", "ConditionalRequestConflict", "AccessDenied", None],
)
def test_complete_whose_answer_was_lost_and_whose_repeat_is_refused(
    journey: Journey, again: Answer | None
) -> None:
    one = journey.place(said("large"))
    lost = MotoFault("CompleteMultipartUpload", "reset", takes_effect=True)
    refused = [] if again is None else [MotoFault(lost.operation, again, first_call=2)]
    journey.aws.moto_faults = (lost, *refused)
    assert journey.archive(one)
    assert_whole(journey, frames("large"))
    assert journey.uploads() == []


@pytest.mark.parametrize("takes_effect", [False, True])
def test_complete_that_is_never_answered(impatient: Journey, takes_effect: bool) -> None:
    two_parts = caller(2 * SECONDS["large"])
    one = impatient.place(call(customer=two_parts))
    impatient.aws.moto_faults = (
        MotoFault("CompleteMultipartUpload", "none", takes_effect=takes_effect),
    )
    assert impatient.archive(one)
    impatient.aws.moto_faults = ()
    assert_whole(impatient, two_parts)
    assert impatient.uploads() == []


@pytest.mark.parametrize("takes_effect", [False, True])
def test_error_inside_of_an_answer_that_began_with_200(
    journey: Journey, takes_effect: bool
) -> None:
    one = journey.place(said("large"))
    journey.aws.moto_faults = (
        MotoFault("CompleteMultipartUpload", "error_in_200", takes_effect=takes_effect),
    )
    assert journey.archive(one)
    assert_whole(journey, frames("large"))


@pytest.mark.parametrize("size", ["small", "large"])
def test_conflict_with_another_write_comes_back(journey: Journey, size: Size) -> None:
    one = journey.place(said(size))
    operation: Operation = "PutObject" if size == "small" else "CompleteMultipartUpload"
    journey.aws.moto_faults = (MotoFault(operation, "ConditionalRequestConflict"),)
    assert not journey.archive(one)
    assert journey.keys() == []
    assert journey.uploads() == []
    assert journey.archive(one, receives=2)
    assert_whole(journey, frames(size))


def test_abort_that_fails_leaves_the_upload_to_the_lifecycle_rule(journey: Journey) -> None:
    one = journey.place(said("large"))
    journey.aws.moto_faults = (
        MotoFault("UploadPart", "InternalError", times=None),
        MotoFault("AbortMultipartUpload", "InternalError", times=None),
    )
    assert not journey.archive(one)
    assert journey.keys() == []
    assert len(journey.uploads()) == 1
    journey.aws.moto_faults = ()
    assert journey.archive(one, receives=2)
    assert_whole(journey, frames("large"))


# ------------------------------------------------------------------ what is there already


@pytest.mark.parametrize(
    ("operation", "answer"),
    [
        ("GetObject", "InternalError"),
        ("GetObject", "reset"),
        ("GetObject", "cut"),
        ("HeadObject", "InternalError"),
        ("HeadObject", "reset"),
    ],
)
def test_manifest_that_cannot_be_read_is_not_written_again(
    journey: Journey, operation: Operation, answer: Answer
) -> None:
    one = journey.place(said("small"))
    assert journey.archive(one)
    before = read_bucket(journey.s3)
    journey.aws.moto_faults = (MotoFault(operation, answer, times=None),)
    assert not journey.archive(one, receives=2)
    journey.aws.moto_faults = ()
    assert read_bucket(journey.s3) == before
    assert journey.archive(one, receives=3)
    assert read_bucket(journey.s3) == before


def lose_a_fragment(journey: Journey, one: Call) -> None:
    fault = FragmentFault(one.fragments[2].number, kind="left_out", times=None)
    journey.behave(fragment_faults=(fault,))


@pytest.mark.parametrize("size", ["small", "large"])
@pytest.mark.parametrize(("answer", "takes_effect"), PASSING)
def test_better_recording_replaces_a_partial_one_in_spite_of_a_fault(
    journey: Journey, size: Size, answer: Answer, takes_effect: bool
) -> None:
    one = journey.place(said(size))
    lose_a_fragment(journey, one)
    assert not journey.archive(one, receives=SETTLES)
    assert journey.manifest()["complete"] is False
    journey.behave(fragment_faults=())
    operation: Operation = "PutObject" if size == "small" else "CompleteMultipartUpload"
    journey.aws.moto_faults = (MotoFault(operation, answer, takes_effect),)
    assert journey.archive(one, receives=SETTLES + 1)
    assert_whole(journey, frames(size))
    assert journey.uploads() == []


@pytest.mark.parametrize("size", ["small", "large"])
def test_partial_run_that_is_overtaken_while_it_publishes_leaves_the_better_one(
    journey: Journey, size: Size, archive_functions: dict[str, Function], tmp_path: Path
) -> None:
    one = journey.place(said(size))
    lose_a_fragment(journey, one)
    operation = "PutObject" if size == "small" else "CompleteMultipartUpload"
    has_come, may_go = threading.Event(), threading.Event()

    def hold_the_first(step: Step) -> None:
        if step == Step(operation, has_effect=False) and not has_come.is_set():
            has_come.set()
            assert may_go.wait(30)

    journey.aws.watcher = hold_the_first
    variables = environment(journey.aws, "both")
    with (
        Function(ARCHIVE_HANDLER, variables, tmp_path / "log") as slow_function,
        ThreadPoolExecutor(1) as pool,
    ):
        slow = pool.submit(deliver, slow_function, one.archive_job(), SETTLES)
        assert has_come.wait(30)
        journey.behave(fragment_faults=())
        assert journey.archive(one, receives=SETTLES)
        may_go.set()
        assert slow.result(60)
    assert_whole(journey, frames(size))
    assert journey.uploads() == []
