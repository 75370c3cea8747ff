"""The retry policy: which receive does what, and when the message comes back."""

from itertools import accumulate

import pytest

from call_archive.retry import POLICY, RetryPolicy, first_delay_s


@pytest.mark.parametrize(
    ("receives", "delay_s"),
    [(1, 3), (2, 7), (3, 14), (4, 61), (5, 80), (6, 160), (7, 300), (8, 300), (9, 300)],
)
def test_a_retryable_failure_comes_back_ever_later(receives: int, delay_s: int) -> None:
    assert POLICY.delay_s(receives, retryable=True) == delay_s


@pytest.mark.parametrize("receives", [10, 11, 99])
def test_it_is_given_up(receives: int) -> None:
    assert POLICY.delay_s(receives, retryable=True) is None
    assert POLICY.delay_s(receives, retryable=True, asked_s=5) is None


def test_what_no_retry_changes_is_given_up_at_once() -> None:
    assert POLICY.delay_s(1, retryable=False) is None
    assert POLICY.delay_s(1, retryable=False, asked_s=5) is None


def test_a_failure_may_say_when_it_is_worth_a_retry() -> None:
    assert POLICY.delay_s(3, retryable=True, asked_s=0) == 0
    assert POLICY.delay_s(3, retryable=True, asked_s=595) == 595


def test_a_partial_recording_is_accepted_from_the_fifth_receive_on() -> None:
    accepted = [POLICY.accepts_partial(receives) for receives in range(1, 11)]
    assert accepted == [False] * 4 + [True] * 6


def test_no_guarantee_of_the_schedule_is_weaker_than_it_was() -> None:
    ages_s = [0, *accumulate(POLICY.delay_s(n, retryable=True) or 0 for n in range(1, 10))]
    assert ages_s[POLICY.partial_at_receive - 1] >= 85
    assert ages_s[POLICY.give_up_at_receive - 1] >= 1_200


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
