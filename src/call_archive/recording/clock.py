"""Two clocks → one: what is believed of the producer's times, bounded by KVS's.

A fragment cannot have been received before it was recorded, so a producer's clock that runs ahead
of that has jumped. One that does not advance, although the audio is new, has gone back. From there
on times are shifted. A clock that steps back by less, or jitters, deviates: the audio is kept, and
the recording is behind its clock until a hole takes the deviation up.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from call_archive.limits import MAX_FRAGMENT_SPAN_MS, MAX_LISTED_DEVIATIONS
from call_archive.media.pcm import SAMPLE_NS, FragmentAudio, milliseconds

_NS_PER_MS = 1_000_000
JITTER_NS = 20 * _NS_PER_MS
"""Deviations under 20 ms are jitter."""

CLOCK_TOLERANCE_NS = 2_000 * _NS_PER_MS
"""How far the producer's clock may run ahead of what KVS's receipt times allow, and how far the
audio may get behind it.

Receipt times carry the network's jitter; a lost fragment or two must not look like a jump.
"""

MAX_SPAN_NS = MAX_FRAGMENT_SPAN_MS * _NS_PER_MS


class Deviation(NamedTuple):
    """Audio that was kept although the clock says that its time is filled.

    Attributes:
        first_sample: where it begins in the recording.
        samples: by how much the clock was behind.
    """

    first_sample: int
    samples: int

    @property
    def at_ms(self) -> int:
        """Where it begins, from the recording's first sample on."""
        return milliseconds(self.first_sample)

    @property
    def length_ms(self) -> int:
        """By how much the clock was behind, rounded down."""
        return milliseconds(self.samples)


@dataclass(slots=True)
class Deviations:
    """How often the clock was behind the audio, and by how much.

    Attributes:
        samples: the sum of all.
        largest: in samples.
        first: the first few.
    """

    count: int = 0
    samples: int = 0
    largest: int = 0
    first: list[Deviation] = field(default_factory=list)

    def note(self, deviation: Deviation) -> None:
        """Counts one more."""
        self.count += 1
        self.samples += deviation.samples
        self.largest = max(self.largest, deviation.samples)
        if len(self.first) < MAX_LISTED_DEVIATIONS:
            self.first.append(deviation)


class Clock:
    """The producer's times → times of the recording, which begins at 0; all in ns.

    Attributes:
        jumps: how often the producer's clock was not believed.
        deviations: how often audio was kept that the clock has no room for.
        has_started: whether there was a fragment.
    """

    def __init__(self) -> None:
        self.jumps = 0
        self.deviations = Deviations()
        self.has_started = False
        self._shift_ns = 0
        self._deviation_ns = 0
        self._last_start_ns = 0
        self._end_ns = 0
        self._least_lag_ns: int | None = None

    def start(self, time_ns: int, server_ns: int | None) -> None:
        """Starts with the first fragment, which KVS received at `server_ns`."""
        self.has_started = True
        self._shift_ns = -time_ns
        self._least_lag_ns = server_ns

    @property
    def end_ns(self) -> int:
        """Where the audio so far ends, of all tracks of all fragments."""
        return self._end_ns

    def time_of(self, time_ns: int) -> int:
        """Where the recording has what the producer dates so."""
        return time_ns + self._shift_ns + self._deviation_ns

    def follow(
        self, audio: FragmentAudio, server_ns: int | None, overlap_ns: int, longest: int
    ) -> None:
        """Takes the next fragment's time; shifts the clock if it cannot be believed.

        Args:
            audio: the fragment's.
            server_ns: when KVS received it; None if nobody knows.
            overlap_ns: how much of the time of its new audio is filled; 0 if nothing new is late.
            longest: the recording's length so far, in samples.
        """
        start_ns = self.time_of(audio.start_ns)
        clock_ns = start_ns - self._deviation_ns
        latest_ns = self._latest_start_ns(server_ns)
        has_run_ahead = clock_ns > latest_ns + CLOCK_TOLERANCE_NS and (
            start_ns > self._end_ns + JITTER_NS
        )
        has_gone_back = overlap_ns and (
            self._does_not_advance(audio) or not self._has_room(overlap_ns)
        )
        if has_run_ahead or has_gone_back:
            believed_ns = max(self._end_ns, start_ns + overlap_ns if overlap_ns else 0)
            if server_ns is not None and latest_ns > self._end_ns + CLOCK_TOLERANCE_NS:
                believed_ns = latest_ns
            self._shift_ns += believed_ns - clock_ns
            self._deviation_ns = 0
            self.jumps += 1
        elif overlap_ns:
            self._deviate(overlap_ns, longest)
        else:
            self._deviation_ns -= min(self._deviation_ns, max(0, start_ns - self._end_ns))
            if abs(self.time_of(audio.start_ns) - self._end_ns) < JITTER_NS:
                self._learn_lag(clock_ns, server_ns)

    def give_way(self, overlap_ns: int, longest: int) -> None:
        """Makes room for new audio inside a fragment, whose time is filled."""
        if self._has_room(overlap_ns):
            self._deviate(overlap_ns, longest)
        else:
            self._shift_ns += overlap_ns
            self.jumps += 1

    def end_fragment(self, audio: FragmentAudio, longest: int) -> None:
        """Notes where the fragment ends; a block too far behind its start is not where it says."""
        start_ns = self.time_of(audio.start_ns)
        believed_ns = max(start_ns + MAX_SPAN_NS, longest * SAMPLE_NS)
        self._last_start_ns = max(self._last_start_ns, start_ns)
        self._end_ns = max(self._end_ns, min(self.time_of(audio.end_ns), believed_ns))

    def _does_not_advance(self, audio: FragmentAudio) -> bool:
        """Whether the fragment starts before the last one, or ends inside what is there."""
        return (
            self.time_of(audio.start_ns) <= self._last_start_ns
            or self.time_of(audio.end_ns) <= self._end_ns
        )

    def _has_room(self, overlap_ns: int) -> bool:
        """Whether so much more is a deviation, and not yet another clock."""
        return self._deviation_ns + overlap_ns <= CLOCK_TOLERANCE_NS

    def _deviate(self, overlap_ns: int, longest: int) -> None:
        self._deviation_ns += overlap_ns
        self.deviations.note(Deviation(longest, overlap_ns // SAMPLE_NS))

    def _learn_lag(self, clock_ns: int, server_ns: int | None) -> None:
        """Keeps the shortest time from recording to receipt, of fragments that leave no hole.

        A fragment behind a hole proves nothing: it is its clock that is in question.
        """
        if server_ns is not None:
            lag_ns, least_ns = server_ns - clock_ns, self._least_lag_ns
            self._least_lag_ns = lag_ns if least_ns is None else min(least_ns, lag_ns)

    def _latest_start_ns(self, server_ns: int | None) -> int:
        """The latest time at which a fragment can start that was received at `server_ns`."""
        if server_ns is None or self._least_lag_ns is None:
            return self._end_ns + MAX_SPAN_NS
        return server_ns - self._least_lag_ns
