"""Two clocks → one: which of the producer's times are used, bounded by KVS's.

A fragment cannot be received before it was recorded, so a producer's clock that is ahead of its
receipt has jumped. A clock that does not advance, although the audio is new, has gone back. From
there on times are shifted. A clock that steps back by less, or jitters, deviates: the audio is
kept, and the recording is behind its clock until a hole absorbs the deviation.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from call_archive.limits import MAX_FRAGMENT_SPAN_MS, MAX_LISTED_DEVIATIONS
from call_archive.media.pcm import SAMPLE_NS, FragmentAudio, milliseconds

_NS_PER_MS = 1_000_000
JITTER_NS = 20 * _NS_PER_MS
"""Deviations under 20 ms are jitter."""

CLOCK_TOLERANCE_NS = 2_000 * _NS_PER_MS
"""How far the producer's clock may run ahead of the limit from KVS's receipt times, and how far the
audio may fall behind the clock.

Receipt times include the network's jitter; one or two lost fragments must not look like a jump.
"""

MAX_SPAN_NS = MAX_FRAGMENT_SPAN_MS * _NS_PER_MS


class Deviation(NamedTuple):
    """Audio that was kept although, by its clock, its time is already filled.

    Attributes:
        first_sample: where it begins in the recording.
        samples: by how much the clock was behind.
    """

    first_sample: int
    samples: int

    @property
    def at_ms(self) -> int:
        """Its start, from the recording's first sample."""
        return milliseconds(self.first_sample)

    @property
    def length_ms(self) -> int:
        """How far the clock was behind, rounded down."""
        return milliseconds(self.samples)


@dataclass(slots=True)
class Deviations:
    """How often and how far the clock was behind the audio.

    Attributes:
        samples: the sum of all.
        largest: in samples.
        first: the first few deviations.
    """

    count: int = 0
    samples: int = 0
    largest: int = 0
    first: list[Deviation] = field(default_factory=list)

    def note(self, deviation: Deviation) -> None:
        """Counts a deviation."""
        self.count += 1
        self.samples += deviation.samples
        self.largest = max(self.largest, deviation.samples)
        if len(self.first) < MAX_LISTED_DEVIATIONS:
            self.first.append(deviation)


class Clock:
    """The producer's times → times of the recording, which begins at 0; all in ns.

    Attributes:
        jumps: how often the producer's clock jumped.
        deviations: audio that was kept although its time was already filled.
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
        """The end of the audio so far, of all tracks of all fragments."""
        return self._end_ns

    def time_of(self, time_ns: int) -> int:
        """The recording's time for a time of the producer's clock."""
        return time_ns + self._shift_ns + self._deviation_ns

    def follow(
        self, audio: FragmentAudio, server_ns: int | None, overlap_ns: int, longest: int
    ) -> None:
        """Takes the next fragment's time; shifts the clock if it has jumped.

        Args:
            audio: the fragment's.
            server_ns: when KVS received it; None if unknown.
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
        """Makes room for new audio inside a fragment whose time is already filled."""
        if self._has_room(overlap_ns):
            self._deviate(overlap_ns, longest)
        else:
            self._shift_ns += overlap_ns
            self.jumps += 1

    def end_fragment(self, audio: FragmentAudio, longest: int) -> None:
        """Notes the fragment's end; a block too far behind its start has a wrong time."""
        start_ns = self.time_of(audio.start_ns)
        believed_ns = max(start_ns + MAX_SPAN_NS, longest * SAMPLE_NS)
        self._last_start_ns = max(self._last_start_ns, start_ns)
        self._end_ns = max(self._end_ns, min(self.time_of(audio.end_ns), believed_ns))

    def _does_not_advance(self, audio: FragmentAudio) -> bool:
        """Whether the fragment starts before the last one, or ends inside existing audio."""
        return (
            self.time_of(audio.start_ns) <= self._last_start_ns
            or self.time_of(audio.end_ns) <= self._end_ns
        )

    def _has_room(self, overlap_ns: int) -> bool:
        """Whether this much more is still a deviation, and not another clock."""
        return self._deviation_ns + overlap_ns <= CLOCK_TOLERANCE_NS

    def _deviate(self, overlap_ns: int, longest: int) -> None:
        self._deviation_ns += overlap_ns
        self.deviations.note(Deviation(longest, overlap_ns // SAMPLE_NS))

    def _learn_lag(self, clock_ns: int, server_ns: int | None) -> None:
        """Keeps the shortest time from recording to receipt, of fragments that leave no hole.

        A fragment behind a hole proves nothing, because its clock may have jumped.
        """
        if server_ns is not None:
            lag_ns, least_ns = server_ns - clock_ns, self._least_lag_ns
            self._least_lag_ns = lag_ns if least_ns is None else min(least_ns, lag_ns)

    def _latest_start_ns(self, server_ns: int | None) -> int:
        """The latest possible start of a fragment that was received at `server_ns`."""
        if server_ns is None or self._least_lag_ns is None:
            return self._end_ns + MAX_SPAN_NS
        return server_ns - self._least_lag_ns
