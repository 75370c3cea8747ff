"""Figures of a busy machine are not written down."""

import pytest

from bench.quiet import find_noise, find_spread


@pytest.mark.parametrize(("minute", "is_busy"), [(0.0, False), (0.5, False), (0.51, True)])
def test_a_load_is_noise(minute: float, *, is_busy: bool) -> None:
    noise = find_noise(load=lambda: (minute, 9.0, 9.0), measure=lambda: [1.0, 1.0])
    assert bool(noise) == is_busy


@pytest.mark.parametrize(
    ("seconds", "is_busy"), [([1.0, 1.2, 1.25], False), ([1.0, 1.0, 1.26], True), ([2.0], False)]
)
def test_equal_work_that_takes_different_times_is_noise(
    seconds: list[float], *, is_busy: bool
) -> None:
    assert bool(find_spread(seconds)) == is_busy
    assert bool(find_noise(load=lambda: (0.0, 0.0, 0.0), measure=lambda: seconds)) == is_busy
