"""The time of the simulated services: the machine's own, moved by an offset.

Recorded calls have fixed times, and retention is counted from now; the offset is what lets a call
of last January be fresh.
"""

import time


class Clock:
    """Epoch milliseconds. It runs on after every change, unless it is stopped."""

    def __init__(self, offset_ms: int = 0) -> None:
        self._offset_ms = offset_ms
        self._stopped_at_ms: int | None = None

    def now_ms(self) -> int:
        """Epoch milliseconds, now."""
        return self._machine_ms() + self._offset_ms

    def stop(self) -> None:
        """Stops it, for what must not depend on how fast the machine is."""
        self._stopped_at_ms = self._machine_ms()

    def start(self) -> None:
        """Lets the clock run on from its current time."""
        if self._stopped_at_ms is not None:
            now_ms, self._stopped_at_ms = self.now_ms(), None
            self.set_ms(now_ms)

    def set_ms(self, now_ms: int) -> None:
        """Makes it `now_ms`."""
        self._offset_ms += now_ms - self.now_ms()

    def advance_ms(self, milliseconds: int) -> None:
        """Moves on (or back)."""
        self._offset_ms += milliseconds

    def _machine_ms(self) -> int:
        stopped_at_ms = self._stopped_at_ms
        return time.time_ns() // 1_000_000 if stopped_at_ms is None else stopped_at_ms
