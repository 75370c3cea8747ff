"""The time of the simulated services: the machine's own, moved by an offset.

Recorded calls have fixed times, and retention is counted from now; the offset is what lets a call
of last January be fresh.
"""

import time


class Clock:
    """Epoch milliseconds. It runs on after every change."""

    def __init__(self, offset_ms: int = 0) -> None:
        self._offset_ms = offset_ms

    def now_ms(self) -> int:
        """Epoch milliseconds, now."""
        return time.time_ns() // 1_000_000 + self._offset_ms

    def set_ms(self, now_ms: int) -> None:
        """Makes it `now_ms`."""
        self._offset_ms += now_ms - self.now_ms()

    def advance_ms(self, milliseconds: int) -> None:
        """Moves on (or back)."""
        self._offset_ms += milliseconds
