"""ListFragments at its worst: pages, tails, holes, retention."""

import pytest

from local.behaviour import ClockFault, PageFault
from local.call import Call, Delivery
from tests.integration.journey import SETTLES, Journey, call, caller, silenced

FRAGMENT_MS = 960


def test_pages_in_random_order(mono: Journey) -> None:
    one = mono.place(call())
    mono.behave(page_limit=2, seed=99)
    assert mono.archive(one)
    assert mono.pcm() == caller()


def test_tail_that_is_listed_late_is_waited_for(mono: Journey) -> None:
    one = mono.place(call())
    mono.aws.clock.set_ms(one.fragments[-1].server_end_ms + 200)
    assert not mono.archive(one)
    assert mono.keys() == []
    mono.aws.clock.advance_ms(2000)
    assert mono.archive(one, receives=2)
    assert mono.pcm() == caller()
    assert mono.manifest()["complete"] is True


def test_tail_that_is_never_listed_makes_a_partial_recording(mono: Journey) -> None:
    one = mono.place(call())
    mono.aws.clock.set_ms(one.fragments[-1].server_end_ms + 200)
    assert not mono.archive(one, receives=SETTLES)
    manifest = mono.manifest()
    assert manifest["complete"] is False
    assert manifest["fragments"]["missing"] == [str(one.stop_fragment_number)]
    assert mono.pcm() == caller()[: len(mono.pcm())]
    assert manifest["reasons"] == ["STOP_NOT_LISTED: KVS does not list the stop fragment"]


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


def test_hole_of_the_stream_itself_costs_one_more_listing(mono: Journey) -> None:
    one = mono.place(call(Delivery(lost=frozenset((2,)))))
    before = mono.aws.requests.get("ListFragments", 0)
    assert mono.archive(one)
    assert mono.aws.requests["ListFragments"] - before == 2
    assert mono.pcm() == silenced(caller(), 2 * FRAGMENT_MS, 3 * FRAGMENT_MS)


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
