"""Spans with timestamps → gapless PCM on one clock, track by track.

A span that starts within 20 ms of its track's end is appended unchanged: this is jitter, and makes
no click. A later span leaves a hole, which becomes silence. An earlier span is cut as far as it
repeats the track's audio at that time. Audio that differs is kept, whatever its clock says, and
both tracks move together. Every gap and cut is recorded. `clock` decides which times are used,
`track` what is a repeat.
"""

from collections.abc import Iterable, Sequence
from heapq import merge
from itertools import chain
from typing import NamedTuple

from call_archive.errors import MediaError
from call_archive.limits import (
    MAX_CALL_MS,
    MAX_HOLES,
    MAX_LAG_MS,
    MAX_TIMESTAMP_MS,
    MIN_TIMESTAMP_MS,
)
from call_archive.media.pcm import (
    SAMPLE_BYTES,
    SAMPLE_NS,
    Direction,
    FragmentAudio,
    Piece,
    Silence,
    Span,
    milliseconds,
)
from call_archive.reasons import Code
from call_archive.recording.clock import JITTER_NS, MAX_SPAN_NS, Clock, Deviations
from call_archive.recording.track import Track

_NS_PER_MS = 1_000_000
_MAX_LAG_SAMPLES = MAX_LAG_MS * _NS_PER_MS // SAMPLE_NS
_MAX_SAMPLES = MAX_CALL_MS * _NS_PER_MS // SAMPLE_NS


class Hole(NamedTuple):
    """A part of a track that was filled with silence, or cut because it was a repeat."""

    track: Direction
    first_sample: int
    samples: int

    @property
    def at_ms(self) -> int:
        """Its start, from the recording's first sample."""
        return milliseconds(self.first_sample)

    @property
    def length_ms(self) -> int:
        """Its length, rounded down."""
        return milliseconds(self.samples)


class Timeline:
    """Places fragments on one clock, in the order of their numbers.

    Attributes:
        gaps: holes filled with silence.
        overlaps: repeats that were cut.
        unlisted_holes: gaps and overlaps beyond the capacity of the two lists.
        started_at_ms: the first sample, ms since the epoch, by the producer's clock, or by KVS's
            if the producer's is not one of the day; None if neither is known.
        has_audio: whether any track holds more than inserted silence.
    """

    def __init__(self, tracks: Sequence[Direction]) -> None:
        self.gaps: list[Hole] = []
        self.overlaps: list[Hole] = []
        self.unlisted_holes = 0
        self.started_at_ms: int | None = None
        self.has_audio = False
        self._clock = Clock()
        self._tracks = {direction: Track() for direction in tracks}

    @property
    def clock_jumps(self) -> int:
        """How often the producer's clock jumped."""
        return self._clock.jumps

    @property
    def clock_deviations(self) -> Deviations:
        """The clock's deviations: audio kept although its time was already filled."""
        return self._clock.deviations

    @property
    def samples(self) -> int:
        """Samples of the longest track so far."""
        return max([track.samples for track in self._tracks.values()])

    def place(
        self, audio: FragmentAudio, server_timestamp_ms: int | None
    ) -> dict[Direction, list[Piece]]:
        """The fragment's additions to each track; KVS received it at `server_timestamp_ms`.

        Raises:
            MediaError: the recording would be longer than a call can be.
        """
        server_ns = None if server_timestamp_ms is None else server_timestamp_ms * _NS_PER_MS
        if self._clock.has_started:
            self._clock.follow(audio, server_ns, self._new_overlap_ns(audio), self.samples)
        else:
            self._clock.start(audio.start_ns, server_ns)
            is_dated = _is_of_the_day(audio.start_ns)
            self.started_at_ms = audio.start_ns // _NS_PER_MS if is_dated else server_timestamp_ms
        pieces: dict[Direction, list[Piece]] = {direction: [] for direction in self._tracks}
        for direction, span in _in_order(audio, pieces):
            pieces[direction] += self._place_span(audio, direction, span)
        longest = self.samples
        self._clock.end_fragment(audio, longest)
        if len(self._tracks) > 1:
            self._level(pieces)
            longest = self.samples
        if longest > _MAX_SAMPLES:
            raise MediaError(
                Code.RECORDING_TOO_LONG,
                f"its timestamps span more than {MAX_CALL_MS} ms, longer than a contact can last",
                retryable=False,
            )
        return pieces

    def finish(self) -> dict[Direction, list[Piece]]:
        """The silence that brings shorter tracks to the length of the longest."""
        longest = self.samples
        return {
            direction: self._fill(direction, longest - track.samples)
            for direction, track in self._tracks.items()
        }

    def _new_overlap_ns(self, audio: FragmentAudio) -> int:
        """How much of the new audio's time is already filled; 0 if the audio is a repeat."""
        overlap_ns = 0
        for direction, track in self._tracks.items():
            for span in audio.spans.get(direction, ())[:1]:
                filled_ns = track.samples * SAMPLE_NS - self._clock.time_of(span.start_ns)
                if filled_ns >= JITTER_NS and not self._count_repeated(audio, track, span):
                    overlap_ns = max(overlap_ns, filled_ns)
        return overlap_ns

    def _count_repeated(self, audio: FragmentAudio, track: Track, span: Span) -> int:
        """How many samples from the span's start its track already holds."""
        return track.count_repeated(
            self._clock.time_of(span.start_ns) // SAMPLE_NS,
            span.pcm,
            slack=self._clock.deviations.largest,
            # A clock that counts from a fragment's start is always behind: silence that follows
            # silence is new audio.
            silence_counts=_is_of_the_day(audio.start_ns),
        )

    def _place_span(self, audio: FragmentAudio, direction: Direction, span: Span) -> list[Piece]:
        clock, track, pcm = self._clock, self._tracks[direction], span.pcm
        end_ns = track.samples * SAMPLE_NS
        pieces: list[Piece] = []
        if span.start_ns - audio.start_ns > MAX_SPAN_NS:
            deviation_ns = 0
            clock.jumps += 1
        else:
            deviation_ns = clock.time_of(span.start_ns) - end_ns
        if deviation_ns >= JITTER_NS:
            pieces += self._fill(direction, deviation_ns // SAMPLE_NS)
        elif deviation_ns <= -JITTER_NS:
            repeated = self._count_repeated(audio, track, span)
            pcm = pcm[repeated * SAMPLE_BYTES :]
            if repeated:
                self._record(self.overlaps, Hole(direction, track.samples, repeated))
            overlap_ns = -deviation_ns - repeated * SAMPLE_NS
            if pcm and overlap_ns >= JITTER_NS:
                clock.give_way(overlap_ns, self.samples)
        if pcm:
            pieces.append(pcm)
            track.add(pcm)
            self.has_audio = True
        return pieces

    def _fill(self, direction: Direction, samples: int) -> list[Piece]:
        """Silence up to the start of the next span, and the hole to record, if any."""
        if samples <= 0:
            return []
        track = self._tracks[direction]
        if samples * SAMPLE_NS >= JITTER_NS:
            self._record(self.gaps, Hole(direction, track.samples, samples))
        silence = Silence(samples)
        track.add(silence)
        return [silence]

    def _record(self, holes: list[Hole], hole: Hole) -> None:
        """Adds a hole, extends the last one if it continues, or counts it if the list is full."""
        if holes and holes[-1].track is hole.track:
            last = holes[-1]
            if last.first_sample + last.samples == hole.first_sample:
                hole = Hole(hole.track, last.first_sample, last.samples + hole.samples)
                holes.pop()
        if len(holes) < MAX_HOLES:
            holes.append(hole)
        else:
            self.unlisted_holes += 1

    def _level(self, pieces: dict[Direction, list[Piece]]) -> None:
        """Fills a track that is far behind halfway, so that the other does not have to wait."""
        end_samples = self._clock.end_ns // SAMPLE_NS
        for direction, track in self._tracks.items():
            behind = end_samples - track.samples
            if behind > _MAX_LAG_SAMPLES:
                pieces[direction] += self._fill(direction, behind - _MAX_LAG_SAMPLES // 2)


def _in_order(
    audio: FragmentAudio, wanted: Iterable[Direction]
) -> Iterable[tuple[Direction, Span]]:
    """The spans of both tracks by time; those of one track stay in the document's order."""
    columns = [
        [(direction, span) for span in audio.spans.get(direction, ())] for direction in wanted
    ]
    if len(columns) == 1:
        return columns[0]
    if all(len(column) == 1 for column in columns):  # as in almost every fragment
        return sorted(chain.from_iterable(columns), key=_start_of)
    return merge(*columns, key=_start_of)


def _start_of(item: tuple[Direction, Span]) -> int:
    return item[1].start_ns


def _is_of_the_day(time_ns: int) -> bool:
    """Whether a clock counts from the epoch; some count from the start of the stream."""
    return MIN_TIMESTAMP_MS <= time_ns // _NS_PER_MS <= MAX_TIMESTAMP_MS
