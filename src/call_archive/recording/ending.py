"""Where a stretch ends if only a time says so: listed fragments → those that fit.

The time is Connect's, and a fragment has two: when KVS received it, and when its producer's clock
says that it began. A late fragment fits by its producer's time. One that is recorded well after
the end, behind a hole, begins another stretch of the same contact. If it is recorded right after
the end, or if the producer's clock has jumped there or is not listed, nothing tells: it stays in,
and in doubt.
"""

from collections.abc import Iterable, Iterator

from call_archive.recording.listing import HOLE_MS, ListedFragment

STOP_TOLERANCE_MS = 5_000
"""How long after the end's time a fragment may start that follows the one before it.

Its ContactId still has to prove it; a fragment without a stop's number is cut off by nothing else.
"""

CLOCKS_DIFFER_MS = 1_500
"""How far Connect's clock and KVS's may differ: about a second, and contact records cut to one."""

_JUMP_MS = 2_000
_USUAL_STEP_MS = 1_000


class Ending:
    """The end of a range, as far as a time tells.

    Attributes:
        doubtful_from: from here on, what fits may as well be of another stretch; None if nothing
            may.
    """

    def __init__(self, end_ms: int, furthest: int) -> None:
        """Takes what is known.

        Args:
            end_ms: the end, by Connect's clock.
            furthest: a fragment that is known to be in the range, whatever its time.
        """
        self.doubtful_from: int | None = None
        self._end_ms = end_ms
        self._furthest = furthest

    def fit(self, fragments: Iterable[ListedFragment]) -> Iterator[ListedFragment]:
        """The fragments that fit, of those that are listed from the start on, by number."""
        times = _Times()
        for fragment in fragments:
            follows = times.follow(fragment)
            late_ms = times.start_ms - self._end_ms
            if late_ms > 0 and fragment.number > self._furthest:
                is_doubtful = self.doubtful_from is not None or not follows
                is_near = is_doubtful and times.are_proved
                if late_ms > (CLOCKS_DIFFER_MS if is_near else STOP_TOLERANCE_MS):
                    if times.are_proved:
                        return
                    continue
                if is_doubtful and self.doubtful_from is None:
                    self.doubtful_from = fragment.number
            yield fragment


class _Times:
    """When fragments began, by KVS's clock: received, less the time on their way.

    Attributes:
        start_ms: of the last fragment.
        are_proved: whether the producer's clock says so, and not only KVS's.
    """

    def __init__(self) -> None:
        self.start_ms = 0
        self.are_proved = False
        self._last: ListedFragment | None = None
        self._received_ms = 0
        self._steps_ms = (_USUAL_STEP_MS, _USUAL_STEP_MS)

    def follow(self, fragment: ListedFragment) -> bool:
        """Takes the next fragment; whether it begins where the last one ends."""
        last, self._last = self._last, fragment
        received_ms = fragment.server_timestamp_ms
        self._received_ms = max(self._received_ms, received_ms)
        if last is None:
            self.start_ms = received_ms
            return True
        before_ms = self.start_ms
        step_ms = _producer_step_ms(last, fragment)
        self.are_proved = (
            step_ms is not None
            and step_ms > 0
            and before_ms + step_ms <= self._received_ms + _JUMP_MS
        )
        if self.are_proved and step_ms is not None:
            # None began after it was received: the shortest way there is counts as none.
            self.start_ms = min(before_ms + step_ms, self._received_ms)
        else:
            self.start_ms = received_ms
            step_ms = received_ms - before_ms
        expected_ms = max(last.duration_ms, *self._steps_ms)
        self._steps_ms = (self._steps_ms[1], step_ms)
        return step_ms <= expected_ms + HOLE_MS


def _producer_step_ms(last: ListedFragment, fragment: ListedFragment) -> int | None:
    if last.producer_timestamp_ms is None or fragment.producer_timestamp_ms is None:
        return None
    return fragment.producer_timestamp_ms - last.producer_timestamp_ms
