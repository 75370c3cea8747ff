"""The retry policy: which receive does what, and when the message comes back."""

from itertools import accumulate

import pytest

from call_archive.intake.contact import LOOKS, RECORDINGS_WAIT_MS
from call_archive.retry import POLICY, RetryPolicy, first_delay_s
from tests.template.cloudformation import deploy


@pytest.mark.parametrize(
    ("receives", "delay_s"),
    [(1, 3), (2, 6), (3, 15), (4, 61), (5, 80), (6, 160), (7, 300), (8, 300), (9, 300)],
)
def test_a_retryable_failure_comes_back_ever_later(receives: int, delay_s: int) -> None:
    assert POLICY.delay_s(receives, retryable=True) == delay_s


@pytest.mark.parametrize("receives", [10, 11, 99])
@pytest.mark.parametrize("age_s", [None, 1_200, 90_000])
def test_it_is_given_up(receives: int, age_s: float | None) -> None:
    assert POLICY.delay_s(receives, retryable=True, age_s=age_s) is None
    assert POLICY.delay_s(receives, retryable=True, age_s=age_s, asked_s=5) is None


def test_what_no_retry_changes_is_given_up_at_once() -> None:
    assert POLICY.delay_s(1, retryable=False) is None
    assert POLICY.delay_s(1, retryable=False, asked_s=5) is None


def test_a_failure_may_say_when_it_is_worth_a_retry() -> None:
    assert POLICY.delay_s(3, retryable=True, asked_s=0) == 0
    assert POLICY.delay_s(3, retryable=True, asked_s=595) == 595


def test_a_partial_recording_is_accepted_from_the_fifth_receive_on() -> None:
    accepted = [POLICY.accepts_partial(receives) for receives in range(1, 11)]
    assert accepted == [False] * 4 + [True] * 6


def test_many_looks_bring_neither_a_partial_recording_nor_the_end_forward() -> None:
    assert not POLICY.accepts_partial(9, age_s=84.9)
    assert POLICY.accepts_partial(9, age_s=85)
    assert not POLICY.accepts_partial(4, age_s=10_000)
    assert POLICY.delay_s(13, retryable=True, age_s=1_199) == 300
    assert POLICY.delay_s(14, retryable=True, age_s=1_199) is None


def test_no_guarantee_of_the_schedule_is_weaker_than_it_was() -> None:
    ages_s = [0, *accumulate(POLICY.delay_s(n, retryable=True) or 0 for n in range(1, 10))]
    assert ages_s[POLICY.partial_at_receive - 1] >= 85
    assert ages_s[POLICY.give_up_at_receive - 1] >= 1_200
    queue = deploy({})["ArchiveQueue"]["Properties"]
    assert queue["RedrivePolicy"]["maxReceiveCount"] > POLICY.most_receives


@pytest.mark.parametrize("first_age_s", [2, 5, 30])
def test_looking_often_leaves_receives_for_twenty_minutes(first_age_s: int) -> None:
    """A contact that was streamed and is not shown until the looking ends, then misses its tail."""
    receives, age_s = 1, 0
    while (age_s + first_age_s) * 1000 < RECORDINGS_WAIT_MS and receives < POLICY.most_receives:
        asked_s = next(s for until, s in LOOKS if (age_s + first_age_s) * 1000 < until)
        delay_s = POLICY.delay_s(receives, retryable=True, age_s=age_s, asked_s=asked_s)
        assert delay_s is not None
        receives, age_s = receives + 1, age_s + delay_s
    while delay_s := POLICY.delay_s(receives, retryable=True, age_s=age_s):
        receives, age_s = receives + 1, age_s + delay_s
    assert age_s >= 1_200
    assert receives <= POLICY.most_receives


def test_a_policy_is_a_value() -> None:
    eager = RetryPolicy(partial_at_receive=2, give_up_at_receive=3, delays_s=(1,))
    assert [eager.delay_s(receives, retryable=True) for receives in (1, 2, 3)] == [1, 1, None]
    assert not eager.accepts_partial(1)
    assert eager.accepts_partial(2)


@pytest.mark.parametrize(
    ("now_ms", "delay_s"),
    [(0, 2), (1, 2), (999, 2), (1_000, 1), (1_999, 1), (2_000, 0), (9_999, 0)],
)
def test_the_first_run_waits_for_the_tail_and_no_longer(now_ms: int, delay_s: int) -> None:
    assert first_delay_s(0, now_ms) == delay_s


def test_a_clock_that_is_behind_does_not_keep_a_job_away() -> None:
    assert first_delay_s(60_000, 0) == 2
