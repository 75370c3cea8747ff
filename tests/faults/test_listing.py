"""ListFragments at its worst: pages, tails, holes, retention."""

import pytest

from local.behaviour import ClockFault, PageFault
from local.call import Call, Delivery
from local.demo_call import STREAM_ARN
from tests.integration.journey import (
    GIVES_UP,
    SETTLES,
    START_MS,
    Journey,
    call,
    caller,
    silenced,
)

FRAGMENT_MS = 960


def test_pages_in_random_order(mono: Journey) -> None:
    one = mono.place(call())
    mono.behave(page_limit=2, seed=99)
    assert mono.archive(one)
    assert mono.pcm() == caller()


def test_tail_that_is_listed_late_is_waited_for(mono: Journey) -> None:
    one = mono.place(call())
    mono.aws.clock.stop()
    mono.aws.clock.set_ms(one.fragments[-1].server_end_ms + 200)
    assert not mono.archive(one)
    assert mono.keys() == []
    mono.aws.clock.advance_ms(2000)
    assert mono.archive(one, receives=2)
    assert mono.pcm() == caller()
    assert mono.manifest()["complete"] is True


def test_tail_that_is_never_listed_makes_a_partial_recording(mono: Journey) -> None:
    one = mono.place(call())
    mono.aws.clock.stop()
    mono.aws.clock.set_ms(one.fragments[-1].server_end_ms + 200)
    assert not mono.archive(one, receives=SETTLES)
    manifest = mono.manifest()
    assert manifest["complete"] is False
    assert manifest["fragments"]["missing"] == [str(one.stop_fragment_number)]
    assert mono.pcm() == caller()[: len(mono.pcm())]
    (reason,) = manifest["reasons"]
    assert reason.startswith("STOP_NOT_LISTED: KVS does not list the stop fragment")
    assert "delete the manifest" in reason


def test_audio_outside_retention_is_said(mono: Journey) -> None:
    one = mono.place(call())
    mono.aws.clock.advance_ms(48 * 3_600_000)
    assert mono.archive(one)
    (failed,) = mono.failed_jobs()
    assert failed["code"] == "KVS_InvalidArgumentException"
    assert "retention" in failed["reason"]


@pytest.mark.parametrize("page", [0, 1, 3])
def test_page_that_is_lost_once_leaves_a_hole_and_is_asked_for_again(
    mono: Journey, page: int
) -> None:
    one = mono.place(call())
    mono.behave(page_limit=4, list_order="number", page_faults=(PageFault("lost", page),))
    done = [mono.archive(one, receives=receives) for receives in (1, 2)]
    assert done[-1]
    assert mono.pcm() == caller()
    assert mono.manifest()["complete"] is True


def test_page_that_comes_twice_is_heard_once(mono: Journey) -> None:
    one = mono.place(call())
    mono.behave(page_limit=2, page_faults=(PageFault("repeated", 1), PageFault("repeated", 2)))
    assert mono.archive(one)
    assert mono.pcm() == caller()
    assert mono.manifest()["overlaps"] == []


def test_hole_of_the_stream_itself_costs_one_more_listing(mono: Journey) -> None:
    one = mono.place(call(Delivery(lost=frozenset((2,)))))
    before = mono.aws.requests.get("ListFragments", 0)
    assert mono.archive(one)
    assert mono.aws.requests["ListFragments"] - before == 2
    assert mono.pcm() == silenced(caller(), 2 * FRAGMENT_MS, 3 * FRAGMENT_MS)


def test_beginning_that_is_never_listed_is_named(mono: Journey) -> None:
    one = mono.place(call())
    mono.behave(unlisted_fragments=(one.start_fragment_number,))
    assert not mono.archive(one)
    assert mono.keys() == []
    assert mono.archive(one, receives=GIVES_UP)
    assert mono.pcm() == caller()[FRAGMENT_MS * 16 :]
    manifest = mono.manifest()
    assert manifest["complete"] is False
    assert manifest["fragments"]["missing"] == [str(one.start_fragment_number)]
    assert manifest["reasons"] == ["START_NOT_LISTED: KVS does not list the start fragment"]
    assert mono.failure_codes() == ["INCOMPLETE"]


def test_call_of_which_nothing_is_ever_listed_is_said(mono: Journey) -> None:
    one = mono.place(call())
    mono.behave(unlisted_fragments=tuple(fragment.number for fragment in one.fragments))
    assert not mono.archive(one)
    assert mono.archive(one, receives=GIVES_UP)
    assert mono.keys() == []
    assert mono.failure_codes() == ["NOTHING_LISTED"]


@pytest.mark.parametrize("empty_page", ["null", "absent"])
def test_empty_page_without_fragments_ends_a_listing(mono: Journey, empty_page: str) -> None:
    one = mono.place(call())
    mono.behave(ends_in_empty_page=True, empty_page=empty_page)
    assert mono.archive(one)
    assert mono.pcm() == caller()


def test_stream_that_was_created_for_the_call_is_not_listed_before(mono: Journey) -> None:
    arn = f"{STREAM_ARN.rpartition('/')[0]}/{START_MS - 1000}"
    one = call(stream_arn=arn)
    mono.aws.place(one)
    mono.behave(empty_before_creation=True)
    assert mono.archive(one)
    assert mono.pcm() == caller()


def test_lengths_that_are_not_listed_change_nothing(mono: Journey) -> None:
    one = mono.place(call())
    mono.behave(listed_lengths="zero")
    before = mono.aws.requests.get("ListFragments", 0)
    assert mono.archive(one)
    assert mono.aws.requests["ListFragments"] - before == 1
    assert mono.pcm() == caller()
    assert mono.manifest()["complete"] is True


SMALL_MS = 128
DAY_MS = 24 * 3_600_000


def _small_fragments(mono: Journey) -> Call:
    """A call of 47 fragments that ended 30 s ago, on a stream that keeps 24 hours."""
    return mono.place(call(Delivery(fragment_ms=SMALL_MS, server_jitter_ms=0)))


def _media_calls(mono: Journey, one: Call) -> int:
    before = mono.aws.requests.get("GetMediaForFragmentList", 0)
    assert mono.archive(one)
    return mono.aws.requests["GetMediaForFragmentList"] - before


def test_retention_that_ends_before_the_fetch_is_said_in_few_calls(mono: Journey) -> None:
    one = _small_fragments(mono)
    mono.behave(clock_faults=(ClockFault("GetMediaForFragmentList", DAY_MS),))
    assert _media_calls(mono, one) == 1
    assert mono.keys() == []
    (failed,) = mono.failed_jobs()
    assert failed["code"] == "NO_FRAGMENT_OF_CONTACT"
    assert "GONE" in failed["reason"]


def test_what_retention_leaves_is_archived_in_few_calls(mono: Journey) -> None:
    one = _small_fragments(mono)
    mono.aws.clock.stop()
    oldest_ms = one.fragments[20].server_timestamp_ms - SMALL_MS // 2
    until_gone_ms = oldest_ms + DAY_MS - mono.aws.clock.now_ms()
    mono.behave(clock_faults=(ClockFault("GetMediaForFragmentList", until_gone_ms - 20),))
    assert _media_calls(mono, one) <= 4
    manifest = mono.manifest()
    assert manifest["complete"] is False
    gone = [str(fragment.number) for fragment in one.fragments[:20]]
    assert manifest["fragments"]["missing"] == gone
    assert mono.pcm() == caller()[20 * SMALL_MS * 16 :]
    assert mono.failure_codes() == ["INCOMPLETE"]


def test_numbers_that_are_listed_and_invalid_are_isolated_by_halves(mono: Journey) -> None:
    one = _small_fragments(mono)
    invalid = [one.fragments[at].number for at in (3, 4, 40)]
    mono.behave(unreadable_fragments=tuple(invalid))
    assert _media_calls(mono, one) < 30
    assert mono.manifest()["fragments"]["missing"] == [str(number) for number in invalid]
    expected = silenced(caller(), 3 * SMALL_MS, 5 * SMALL_MS)
    assert mono.pcm() == silenced(expected, 40 * SMALL_MS, 41 * SMALL_MS)


@pytest.mark.parametrize("error_ms", [-50 * 60_000, 50 * 60_000])
def test_start_time_that_is_off_by_most_of_an_hour(mono: Journey, error_ms: int) -> None:
    one = mono.place(call())
    job = one.archive_job()
    for name in ("startTimestamp", "stopTimestamp", "requestedAt"):
        job[name] += error_ms
    assert mono.run(job)
    assert mono.pcm() == caller()
    assert mono.manifest()["complete"] is True


def test_recording_made_before_the_stop_was_known_does_not_stay_complete(mono: Journey) -> None:
    one = mono.place(call())
    mono.behave(unlisted_fragments=(one.stop_fragment_number,))
    job = one.archive_job()
    early = {name: value for name, value in job.items() if not name.startswith("stop")}
    assert mono.run(early)
    assert mono.manifest()["complete"] is True
    assert mono.run(job, receives=GIVES_UP)
    manifest = mono.manifest()
    assert manifest["complete"] is False
    assert manifest["fragments"]["missing"] == [str(one.stop_fragment_number)]
    assert mono.pcm() == caller()[: len(mono.pcm())]
    assert mono.failure_codes() == ["INCOMPLETE"]
