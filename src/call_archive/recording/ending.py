"""The end of a stretch that is known only by a time: listed fragments → those that belong to it.

The end is on Connect's clock. A fragment has two times: when KVS received it, and when it began by
its producer's clock. A late fragment fits by its producer's time. A fragment recorded well after
the end, behind a hole, begins another stretch of the same contact. If it is recorded right after
the end, or if the producer's clock has jumped there or is not listed, nothing decides: the fragment
is kept and counts as uncertain.
"""

from collections.abc import Iterable, Iterator

from call_archive.recording.listing import HOLE_MS, ListedFragment

STOP_TOLERANCE_MS = 5_000
"""How long after the end a fragment may start if it directly follows the one before it.

Its ContactId still has to prove it. Without a stop fragment, no other rule cuts the stretch off.
"""

CLOCKS_DIFFER_MS = 1_500
"""How far Connect's and KVS's clocks may differ: a second, and contact records omit fractions."""

_JUMP_MS = 2_000
_USUAL_STEP_MS = 1_000


class StretchEnd:
    """The end of a range that only a time gives.

    Attributes:
        uncertain_from: from here on, fragments may belong to another stretch; None if none
            may.
    """

    def __init__(self, began_ms: int, end_ms: int, furthest: int) -> None:
        """Takes what is known of the stretch.

        Args:
            began_ms: the start, by Connect's clock.
            end_ms: the end, by the same clock.
            furthest: a fragment known to be in the range, whatever its time.
        """
        self.uncertain_from: int | None = None
        self._began_ms = began_ms
        self._end_ms = end_ms
        self._furthest = furthest

    def fit(self, fragments: Iterable[ListedFragment]) -> Iterator[ListedFragment]:
        """Of the fragments listed from the start, those that belong to the stretch, by number."""
        times = _Times(self._began_ms)
        for fragment in fragments:
            follows = times.follow(fragment)
            late_ms = times.start_ms - self._end_ms
            if late_ms > 0 and fragment.number > self._furthest:
                is_uncertain = self.uncertain_from is not None or not follows
                is_near = is_uncertain and times.are_proved
                if late_ms > (CLOCKS_DIFFER_MS if is_near else STOP_TOLERANCE_MS):
                    if times.are_proved:
                        return
                    continue
                if is_uncertain and self.uncertain_from is None:
                    self.uncertain_from = fragment.number
            yield fragment


class _Times:
    """When fragments began, by KVS's clock: their receipt minus the transit time.

    Attributes:
        start_ms: of the last fragment.
        are_proved: whether the producer's clock confirms it, and not only KVS's.
    """

    def __init__(self, began_ms: int) -> None:
        self.start_ms = 0
        self.are_proved = False
        self._began_ms = began_ms
        self._last: ListedFragment | None = None
        self._received_ms = 0
        self._steps_ms = (_USUAL_STEP_MS, _USUAL_STEP_MS)

    def follow(self, fragment: ListedFragment) -> bool:
        """Takes the next fragment; returns whether it begins at the end of the last one."""
        last, self._last = self._last, fragment
        received_ms = fragment.server_timestamp_ms
        self._received_ms = max(self._received_ms, received_ms)
        if last is None:
            self.start_ms = self._first_start_ms(fragment)
            return True
        before_ms = self.start_ms
        step_ms = _producer_step_ms(last, fragment)
        self.are_proved = (
            step_ms is not None
            and step_ms > 0
            and before_ms + step_ms <= self._received_ms + _JUMP_MS
        )
        if self.are_proved and step_ms is not None:
            # No fragment begins after its receipt: the shortest transit time counts as zero.
            self.start_ms = min(before_ms + step_ms, self._received_ms)
        else:
            self.start_ms = received_ms
            step_ms = received_ms - before_ms
        expected_ms = max(last.duration_ms, *self._steps_ms)
        self._steps_ms = (self._steps_ms[1], step_ms)
        return step_ms <= expected_ms + HOLE_MS

    def _first_start_ms(self, fragment: ListedFragment) -> int:
        """When the stretch began: at its receipt, unless two clocks agree that this was late."""
        received_ms, produced_ms = fragment.server_timestamp_ms, fragment.producer_timestamp_ms
        if produced_ms is None or abs(produced_ms - self._began_ms) > 2 * CLOCKS_DIFFER_MS:
            return received_ms
        start_ms = max(produced_ms, self._began_ms)
        return start_ms if received_ms - start_ms > CLOCKS_DIFFER_MS else received_ms


def _producer_step_ms(last: ListedFragment, fragment: ListedFragment) -> int | None:
    if last.producer_timestamp_ms is None or fragment.producer_timestamp_ms is None:
        return None
    return fragment.producer_timestamp_ms - last.producer_timestamp_ms
