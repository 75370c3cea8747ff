"""Which fragments of a stream a run looks at, and what it says of those that are not listed."""

from collections.abc import Generator, Iterable
from dataclasses import replace

import pytest

from call_archive.errors import ArchiveError, NotYetError, StreamFaultError
from call_archive.job import ArchiveJob, Trigger, decode_job
from call_archive.media.pcm import Direction
from call_archive.reasons import Refusal, Service
from call_archive.recording.listing import FetchedFragment, ListedFragment
from call_archive.recording.pipeline import Conditions, archive_call
from local.call import Call, simulate_call
from local.pcm import synthetic_pcm
from tests.support.arns import INSTANCE_ARN, STREAM_ARN
from tests.support.bucket import MemoryArchive

START_MS = 1_767_258_000_000
MINUTE_MS = 60_000


class Stopped(Exception):  # noqa: N818 - not an error: the listing is all that is looked at
    """The run has listed, and begins to fetch."""


class Stream:
    """A stream that lists fragments by their true times, and may say something else.

    Attributes:
        ranges: what was listed, ms since the epoch.
        fetched: the numbers that are asked for.
        refuses_from: how many listings are answered; each one behind them is refused.
        refusal_passes: whether a refusal is one that passes by itself.
        is_silent: whether nothing comes of what is asked for; else the run stops there.
    """

    def __init__(self, call: Call, *, unlisted: Iterable[int] = ()) -> None:
        self._fragments = [f for f in call.fragments if f.number not in unlisted]
        self.ranges: list[tuple[int, int]] = []
        self.fetched: list[int] = []
        self.refuses_from = 99
        self.refusal_passes = False
        self.lengths_ms: int | None = None
        self.is_silent = False

    def list_fragments(self, from_ms: int, to_ms: int) -> list[ListedFragment]:
        self.ranges.append((from_ms, to_ms))
        if len(self.ranges) > self.refuses_from:
            code = "ClientLimitExceeded" if self.refusal_passes else "InvalidArgument"
            raise StreamFaultError(
                Refusal(Service.KVS, code + "Exception"), "refused", retryable=self.refusal_passes
            )
        return [
            ListedFragment(
                f.number,
                f.server_timestamp_ms,
                f.duration_ms if self.lengths_ms is None else self.lengths_ms,
                f.size_bytes,
            )
            for f in self._fragments
            if from_ms <= f.server_timestamp_ms <= to_ms
        ]

    def fetch(self, listed: Iterable[ListedFragment]) -> Generator[FetchedFragment]:
        self.fetched = [fragment.number for fragment in listed]
        if not self.is_silent:
            raise Stopped
        yield from ()


@pytest.fixture(scope="module")
def call() -> Call:
    return simulate_call(
        synthetic_pcm(10, 1)[:],
        None,
        contact_id="c-1",
        instance_arn=INSTANCE_ARN,
        stream_arn=STREAM_ARN,
        start_ms=START_MS,
    )


def job_of(call: Call) -> ArchiveJob:
    return decode_job(call.archive_job())


def run(
    job: ArchiveJob,
    stream: Stream,
    *,
    accept_partial: bool = False,
    now_ms: int = START_MS + 10 * MINUTE_MS,
) -> ArchiveError | None:
    """Lists; why the run ended before it could fetch."""
    conditions = Conditions(
        tracks=(Direction.FROM_CUSTOMER,),
        trigger=Trigger.FLOW,
        accept_partial=accept_partial,
        now_ms=lambda: now_ms,
        check_time=lambda: None,
    )
    try:
        archive_call(job, stream, MemoryArchive(), conditions)
    except Stopped:
        return None
    except ArchiveError as error:
        return error
    raise AssertionError


def numbers(call: Call) -> list[int]:
    return [fragment.number for fragment in call.fragments]


def test_a_call_is_listed_once(call: Call) -> None:
    stream = Stream(call)
    assert run(job_of(call), stream) is None
    assert len(stream.ranges) == 1
    assert stream.fetched == numbers(call)


def test_stop_time_that_is_early_does_not_hide_the_stop_fragment(call: Call) -> None:
    """The number is right, and KVS has the audio."""
    long = replace(
        call,
        fragments=tuple(
            replace(f, server_timestamp_ms=f.server_timestamp_ms + at * MINUTE_MS)
            for at, f in enumerate(call.fragments)
        ),
    )
    stream = Stream(long)
    job = replace(job_of(call), stop_timestamp_ms=START_MS + MINUTE_MS)
    assert run(job, stream, now_ms=START_MS + 20 * MINUTE_MS) is None
    assert len(stream.ranges) == 2 + 1  # the last one because of the holes
    assert stream.fetched == numbers(call)


def test_stop_that_is_never_listed_is_waited_for(call: Call) -> None:
    stream = Stream(call, unlisted=[call.stop_fragment_number])
    failure = run(job_of(call), stream)
    assert isinstance(failure, NotYetError)
    assert failure.code == "STOP_NOT_LISTED"


def test_what_the_narrow_listing_brought_is_kept_if_the_wide_one_is_refused(call: Call) -> None:
    stream = Stream(call, unlisted=[call.stop_fragment_number])
    stream.refuses_from = 1
    assert run(job_of(call), stream, accept_partial=True) is None
    assert stream.fetched == numbers(call)[:-1]


def test_a_wide_listing_that_is_throttled_is_asked_for_again(call: Call) -> None:
    """The stop may be in it: a partial recording would say that KVS does not list it."""
    stream = Stream(call, unlisted=[call.stop_fragment_number])
    stream.refuses_from = 1
    stream.refusal_passes = True
    failure = run(job_of(call), stream, accept_partial=True)
    assert failure is not None
    assert failure.code == "KVS_ClientLimitExceededException"
    assert failure.retryable


def test_refusal_of_the_first_listing_is_a_failure(call: Call) -> None:
    stream = Stream(call)
    stream.refuses_from = 0
    failure = run(job_of(call), stream)
    assert failure is not None
    assert failure.code == "KVS_InvalidArgumentException"


@pytest.mark.parametrize(("age_ms", "wait_s"), [(0, 10), (1, 10), (8_001, 2), (9_999, 1)])
def test_a_tail_whose_end_is_only_a_time_may_take_ten_seconds(
    call: Call, age_ms: int, wait_s: int
) -> None:
    job = replace(job_of(call), stop_fragment_number=None)
    stream = Stream(call)
    failure = run(job, stream, now_ms=job.end_bound_ms + age_ms)
    assert isinstance(failure, NotYetError)
    assert (failure.code, failure.retry_after_s) == ("TAIL_NOT_SETTLED", wait_s)
    assert stream.ranges == []


def test_a_tail_that_is_old_enough_or_named_is_not_waited_for(call: Call) -> None:
    named = job_of(call)
    timed = replace(named, stop_fragment_number=None)
    assert run(timed, Stream(call), now_ms=timed.end_bound_ms + 10_000) is None
    assert run(timed, Stream(call), now_ms=timed.end_bound_ms, accept_partial=True) is None
    assert run(named, Stream(call), now_ms=named.end_bound_ms) is None


def test_stop_that_nobody_named_is_not_missed(call: Call) -> None:
    stream = Stream(call, unlisted=[call.start_fragment_number])
    stream.is_silent = True
    failure = run(replace(job_of(call), stop_fragment_number=None), stream, accept_partial=True)
    assert failure is not None
    assert "START_NOT_LISTED" in str(failure)
    assert "STOP_NOT_LISTED" not in str(failure)


def test_stop_that_is_named_is_missed(call: Call) -> None:
    stream = Stream(call, unlisted=[call.start_fragment_number, call.stop_fragment_number])
    stream.is_silent = True
    failure = run(job_of(call), stream, accept_partial=True)
    assert "START_NOT_LISTED" in str(failure)
    assert "STOP_NOT_LISTED" in str(failure)


@pytest.mark.parametrize(
    ("age_s", "accept_partial", "waits"),
    [(2, False, True), (25, False, True), (40, False, False), (2, True, False)],
)
def test_new_hole_is_waited_for(call: Call, age_s: int, accept_partial: bool, waits: bool) -> None:
    """KVS lists the stop fragment, and one before it not yet: a run would leave a hole."""
    stream = Stream(call, unlisted=[call.fragments[-3].number])
    now_ms = call.end_ms + 1000 * age_s
    failure = run(job_of(call), stream, accept_partial=accept_partial, now_ms=now_ms)
    assert (failure.code if isinstance(failure, NotYetError) else None) == (
        "TAIL_NOT_SETTLED" if waits else None
    )


@pytest.mark.parametrize("length_ms", [0, 896, 960, 5000])
def test_listed_lengths_cost_no_second_listing(call: Call, length_ms: int) -> None:
    stream = Stream(call)
    stream.lengths_ms = length_ms
    assert run(job_of(call), stream) is None
    assert len(stream.ranges) == 1


@pytest.mark.parametrize("length_ms", [0, 896, 960])
def test_hole_is_listed_again_whatever_lengths_are_listed(call: Call, length_ms: int) -> None:
    stream = Stream(call, unlisted=numbers(call)[4:5])
    stream.lengths_ms = length_ms
    assert run(job_of(call), stream) is None
    assert len(stream.ranges) == 2
