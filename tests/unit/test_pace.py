"""How fast a stream is asked for media, on a clock that only sleeping moves."""

import pytest

from call_archive.aws.pace import FRAGMENTS_PER_S, MediaPace


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now_s += seconds


def asked_at(*lists: int, answer_takes_s: float = 0) -> list[float]:
    """When each list of this many fragments may be requested, seconds after the first."""
    clock = Clock()
    pace = MediaPace(clock.sleep, lambda: clock.now_s)
    times = []
    for fragments in lists:
        with pace.turn(fragments):
            times.append(round(clock.now_s - 1000, 6))
            clock.now_s += answer_takes_s
    return times


def test_what_the_quota_of_a_second_holds_is_asked_for_at_once() -> None:
    assert asked_at(250, 250) == [0, 0]
    assert asked_at(*[5] * 100) == [0] * 100


def test_what_is_more_waits_until_a_second_has_passed() -> None:
    assert asked_at(250, 250, 250, 250, 1) == [0, 0, 1, 1, 2]
    assert asked_at(300, 250, 250) == [0, 1, 1]


def test_the_second_begins_when_the_answer_is_there() -> None:
    """KVS may count the first call as late as that."""
    assert asked_at(500, 500, answer_takes_s=0.25) == [0, 1.25]


def test_a_call_that_failed_counts_too() -> None:
    clock = Clock()
    pace = MediaPace(clock.sleep, lambda: clock.now_s)
    with pytest.raises(ConnectionError), pace.turn(FRAGMENTS_PER_S):
        raise ConnectionError
    with pace.turn(1):
        assert clock.now_s == 1001


def test_time_that_passed_otherwise_is_not_waited_for_again() -> None:
    clock = Clock()
    pace = MediaPace(clock.sleep, lambda: clock.now_s)
    for _ in range(10):
        with pace.turn(FRAGMENTS_PER_S):
            clock.now_s += 2
    assert clock.now_s == 1020 + 9
