"""The services' limits: some calls are refused, some bodies are slowed down.

`RateLimit` refuses, `Pacer` makes wait; both measure real time, because their clients do.
"""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Hashable
from typing import Final

# A debt below this is carried on: sleeping for less costs more than it paces.
_LEAST_SLEEP_S: Final = 0.005
_BURST_S: Final = 0.05


class RateLimit:
    """That many calls, or points that calls cost, in any one second, for each key."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._calls: dict[Hashable, deque[tuple[float, int]]] = defaultdict(deque)

    def admits(self, key: Hashable, points_per_s: int | None, cost: int = 1) -> bool:
        """Counts a call of `key`, if it is within the limit, and says whether it is.

        A call that costs more than the whole limit is admitted if it is the only one.
        """
        if points_per_s is None:
            return True
        with self._lock:
            now = self._monotonic()
            calls = self._calls[key]
            while calls and calls[0][0] <= now - 1:
                calls.popleft()
            spent = sum(points for _, points in calls)
            if spent and spent + cost > points_per_s:
                return False
            calls.append((now, cost))
            return True


class Pacer:
    """A token bucket that holds a twentieth of a second and may be overdrawn by one taking."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tokens = 0.0
        self._at = time.monotonic()

    def take(self, amount: int, per_s: int | None) -> None:
        """Takes `amount`, and sleeps as long as the bucket is overdrawn."""
        if per_s is None:
            return
        with self._lock:
            now = time.monotonic()
            refilled = self._tokens + (now - self._at) * per_s
            self._tokens = min(refilled, per_s * _BURST_S) - amount
            self._at = now
            debt_s = -self._tokens / per_s
        if debt_s > _LEAST_SLEEP_S:
            time.sleep(debt_s)


class Sessions:
    """How many media sessions each key has open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[Hashable, int] = defaultdict(int)

    def opens(self, key: Hashable, most: int | None) -> bool:
        """Opens a session of `key`, unless `most` are open."""
        with self._lock:
            if most is not None and self._open[key] >= most:
                return False
            self._open[key] += 1
            return True

    def close(self, key: Hashable) -> None:
        """Closes one."""
        with self._lock:
            self._open[key] -= 1
