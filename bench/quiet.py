"""Whether a machine is quiet enough for its figures to be kept: its load, and a yardstick."""

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Final

MOST_LOAD: Final = 0.5
"""Of the last minute, before anything is measured."""
MOST_SPREAD: Final = 0.25
"""Of the yardstick: slowest less fastest, by the median."""
ROUNDS: Final = 9

_PIECE: Final = bytes(1_048_576)


def find_noise(
    load: Callable[[], tuple[float, float, float]] = os.getloadavg,
    measure: Callable[[], Sequence[float]] | None = None,
) -> str:
    """Why the figures of this machine cannot be trusted now; "" if they can."""
    minute, _, _ = load()
    if minute > MOST_LOAD:
        return f"a load of {minute:.2f}, and {MOST_LOAD} at most is quiet"
    return find_spread((measure or measure_yardstick)())


def find_spread(seconds: Sequence[float]) -> str:
    """Why these times of equal work are too far apart; "" if they are not."""
    spread = (max(seconds) - min(seconds)) / median(seconds)
    if spread <= MOST_SPREAD:
        return ""
    return f"equal work differs by {spread:.0%} in time, and {MOST_SPREAD:.0%} at most is quiet"


def measure_yardstick() -> list[float]:
    """The same work again and again, in seconds: 100 MiB through SHA-256."""
    times = []
    for _ in range(ROUNDS):
        start_s = time.perf_counter()
        digest = hashlib.sha256()
        for _ in range(100):
            digest.update(_PIECE)
        times.append(time.perf_counter() - start_s)
    return times
