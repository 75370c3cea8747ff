"""What is known of a stretch, and which fragments a recording holds: values that only grow.

Knowledge comes from messages whose runs could read the media. It is joined, never replaced, so the
order of messages does not matter: `a | b == b | a`, and `a | a == a`. A stop fragment is exact and
overrides every bound by time, even a later one: audio behind it does not belong to this stretch. Of
several stop fragments the highest is the end, and all of them are kept.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self

from call_archive.limits import MAX_HELD_RUNS, MAX_STOPS


@dataclass(frozen=True, slots=True)
class Knowledge:
    """Where a stretch ends, by all messages so far.

    Attributes:
        stops: the named stop fragments; at most MAX_STOPS, the highest.
        end_ms: the latest end given as a time, ms since the epoch; None if there is none.
        furthest: the highest fragment proved to belong to the stretch; 0 if a stop is known.
    """

    stops: frozenset[int] = frozenset()
    end_ms: int | None = None
    furthest: int = 0

    def __or__(self, other: Self) -> Self:
        stops = sorted(self.stops | other.stops)[-MAX_STOPS:]
        ends = [end for end in (self.end_ms, other.end_ms) if end is not None]
        furthest = 0 if stops else max(self.furthest, other.furthest)
        return type(self)(frozenset(stops), max(ends, default=None), furthest)

    def __le__(self, other: Self) -> bool:
        """Whether `other` includes all of this; a time adds nothing to a stop fragment."""
        joined = self | other
        if other.stops:
            return joined.stops == other.stops
        return joined == other

    @property
    def stop(self) -> int | None:
        """The last fragment; None while only times are known."""
        return max(self.stops, default=None)


class Run(NamedTuple):
    """Consecutive fragments, as KVS lists them, with none missing between them."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Held:
    """Which fragments a recording holds whole, as runs of what KVS lists.

    Attributes:
        runs: ascending; at most MAX_HELD_RUNS, the last of which may then have holes.
        count: how many fragments; None for a part that `up_to` cut off.
        is_exact: False if only the first, the last and the count are known.
    """

    runs: tuple[Run, ...]
    count: int | None
    is_exact: bool = True

    def __ge__(self, other: Self) -> bool:
        """Whether this holds everything that `other` holds."""
        if self.count is not None and other.count is not None and self.count < other.count:
            return False
        if self.is_exact and other.is_exact:
            return not self.lacks(other)
        return not other.runs or (
            bool(self.runs) and self.first <= other.first and other.last <= self.last
        )

    def __contains__(self, number: int) -> bool:
        return any(run.first <= number <= run.last for run in self.runs)

    @property
    def first(self) -> int:
        """The lowest number; 0 if there is none."""
        return self.runs[0].first if self.runs else 0

    @property
    def last(self) -> int:
        """The highest number; 0 if there is none."""
        return self.runs[-1].last if self.runs else 0

    def up_to(self, stop: int | None) -> Self:
        """The part that belongs to a stretch ending with the fragment `stop`."""
        if stop is None or self.last <= stop:
            return self
        runs = (Run(run.first, min(run.last, stop)) for run in self.runs if run.first <= stop)
        return type(self)(tuple(runs), None, self.is_exact)

    def lacks(self, other: Self) -> tuple[Run, ...]:
        """The runs of `other` that are not completely in this."""
        return tuple(
            run
            for run in other.runs
            if not any(own.first <= run.first and run.last <= own.last for own in self.runs)
        )


class HeldBuilder:
    """Builds `Held` while fragments come, ascending by their place in the listing."""

    def __init__(self) -> None:
        self._runs: list[Run] = []
        self._place = -2
        self._count = 0

    def add(self, place: int, number: int) -> None:
        """Adds a fragment that is held whole; `place` is its index among those listed."""
        self._count += 1
        goes_on = place == self._place + 1 or len(self._runs) == MAX_HELD_RUNS
        self._place = place
        if goes_on and self._runs:
            self._runs[-1] = Run(self._runs[-1].first, number)
        else:
            self._runs.append(Run(number, number))

    def build(self) -> Held:
        """The fragments that were added."""
        return Held(tuple(self._runs), self._count)
