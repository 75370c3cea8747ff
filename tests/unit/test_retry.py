"""The retry policy: which receive does what, and when the message comes back."""

import pytest

from call_archive.retry import POLICY, RetryPolicy


@pytest.mark.parametrize(
    ("receives", "delay_s"),
    [(1, 5), (2, 10), (3, 20), (4, 40), (5, 80), (6, 160), (7, 300), (8, 300), (9, 300)],
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
    assert [POLICY.accepts_partial(receives) for receives in range(1, 11)] == [False] * 4 + [
        True
    ] * 6


def test_a_policy_is_a_value() -> None:
    eager = RetryPolicy(partial_at_receive=2, give_up_at_receive=3, delays_s=(1,))
    assert [eager.delay_s(receives, retryable=True) for receives in (1, 2, 3)] == [1, 1, None]
    assert not eager.accepts_partial(1)
    assert eager.accepts_partial(2)
