"""Spans with timestamps → gapless PCM on one clock, track by track.

A span that starts within 20 ms of where its track ends is appended as it is: jitter, no click. A
later one leaves a hole, which becomes silence; an earlier one overlaps what is there, and the
overlap is cut. Both are recorded.

The clock is the producer's (Cluster and block timestamps). Where it jumps, restarts or stands
still, the times at which KVS received the fragments bound what is believed: a fragment cannot
have been received before it was recorded, so a clock that runs ahead of that has jumped, and one
that does not advance although the audio is new has gone back. From there on times are shifted.
"""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from call_archive.errors import MediaError
from call_archive.limits import (
    MAX_CALL_MS,
    MAX_FRAGMENT_SPAN_MS,
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
)
from call_archive.reasons import Code

_NS_PER_MS = 1_000_000
JITTER_NS = 20 * _NS_PER_MS
"""Deviations under 20 ms are jitter."""

CLOCK_TOLERANCE_NS = 2_000 * _NS_PER_MS
"""How far the producer's clock may run ahead of what KVS's receipt times allow.

Receipt times carry the network's jitter; a lost fragment or two must not look like a jump.
"""

_MAX_LAG_SAMPLES = MAX_LAG_MS * _NS_PER_MS // SAMPLE_NS
_JITTER_SAMPLES = JITTER_NS // SAMPLE_NS
_MAX_SPAN_NS = MAX_FRAGMENT_SPAN_MS * _NS_PER_MS
_MAX_SAMPLES = MAX_CALL_MS * _NS_PER_MS // SAMPLE_NS


class Hole(NamedTuple):
    """A stretch of a track that was filled with silence, or cut because it was there already."""

    track: Direction
    first_sample: int
    samples: int

    @property
    def at_ms(self) -> int:
        """Where it begins, from the recording's first sample on."""
        return self.first_sample * SAMPLE_NS // _NS_PER_MS

    @property
    def length_ms(self) -> int:
        """How long it is, rounded down."""
        return self.samples * SAMPLE_NS // _NS_PER_MS


class Timeline:
    """Lays fragments on one clock, in the order of their numbers.

    Attributes:
        gaps: holes filled with silence.
        overlaps: audio cut because that time was filled already.
        unlisted_holes: gaps and overlaps beyond those that the two lists may hold.
        clock_jumps: how often the producer's clock was not believed.
        started_at_ms: the first sample, ms since the epoch, by the producer's clock, or by KVS's
            where the producer's is not one of the day; None where neither is known.
        has_audio: whether any track holds more than silence that was put there.
    """

    def __init__(self, tracks: Sequence[Direction]) -> None:
        self.gaps: list[Hole] = []
        self.overlaps: list[Hole] = []
        self.unlisted_holes = 0
        self.clock_jumps = 0
        self.started_at_ms: int | None = None
        self.has_audio = False
        self._tracks = {direction: _Track(direction) for direction in tracks}
        self._has_started = False
        self._origin_ns = 0
        self._shift_ns = 0
        self._last_start_ns = 0
        self._end_ns = 0
        self._least_lag_ns: int | None = None

    def place(
        self, audio: FragmentAudio, server_timestamp_ms: int | None
    ) -> dict[Direction, list[Piece]]:
        """What the fragment adds to each track; KVS received it at `server_timestamp_ms`.

        Raises:
            MediaError: the recording would be longer than a call can be.
        """
        server_ns = None if server_timestamp_ms is None else server_timestamp_ms * _NS_PER_MS
        if self._has_started:
            self._follow_clock(audio, server_ns)
        else:
            self._start(audio, server_timestamp_ms)
            self._learn_lag(audio.start_ns, server_ns)
        start_ns = audio.start_ns + self._shift_ns
        pieces = {
            direction: self._place_spans(track, audio.spans.get(direction, ()), start_ns)
            for direction, track in self._tracks.items()
        }
        self._last_start_ns = max(self._last_start_ns, start_ns)
        self._end_ns = max(self._end_ns, self._believed_end_ns(audio, start_ns))
        if len(self._tracks) > 1:
            self._level(pieces)
        if self.samples > _MAX_SAMPLES:
            raise MediaError(
                Code.RECORDING_TOO_LONG,
                f"its timestamps span more than {MAX_CALL_MS} ms, longer than a contact can last",
                retryable=False,
            )
        return pieces

    def finish(self) -> dict[Direction, list[Piece]]:
        """The silence that brings shorter tracks to the length of the longest."""
        pieces: dict[Direction, list[Piece]] = {direction: [] for direction in self._tracks}
        longest = max(track.samples for track in self._tracks.values())
        for direction, track in self._tracks.items():
            pieces[direction] += self._fill(track, longest - track.samples)
        return pieces

    @property
    def samples(self) -> int:
        """Samples of the longest track so far."""
        return max(track.samples for track in self._tracks.values())

    def _start(self, audio: FragmentAudio, server_timestamp_ms: int | None) -> None:
        self._has_started = True
        self._origin_ns = audio.start_ns
        self._end_ns = audio.start_ns
        self._last_start_ns = audio.start_ns
        is_of_the_day = _is_of_the_day(audio.start_ns)
        self.started_at_ms = audio.start_ns // _NS_PER_MS if is_of_the_day else server_timestamp_ms

    def _believed_end_ns(self, audio: FragmentAudio, start_ns: int) -> int:
        """Where the fragment ends; a block too far behind its start is not where it says."""
        longest_ns = self._origin_ns + self.samples * SAMPLE_NS
        return min(audio.end_ns + self._shift_ns, max(start_ns + _MAX_SPAN_NS, longest_ns))

    def _follow_clock(self, audio: FragmentAudio, server_ns: int | None) -> None:
        """Shifts the clock where it cannot be believed; leaves it alone otherwise."""
        start_ns = audio.start_ns + self._shift_ns
        latest_ns = self._latest_start_ns(server_ns)
        has_run_ahead = start_ns > max(latest_ns + CLOCK_TOLERANCE_NS, self._end_ns + JITTER_NS)
        if has_run_ahead or self._has_gone_back(audio, start_ns):
            believed_ns = self._end_ns
            if latest_ns > self._end_ns + CLOCK_TOLERANCE_NS and server_ns is not None:
                believed_ns = latest_ns
            self._shift_ns += believed_ns - start_ns
            self.clock_jumps += 1
        elif abs(start_ns - self._end_ns) < JITTER_NS:
            self._learn_lag(start_ns, server_ns)

    def _learn_lag(self, start_ns: int, server_ns: int | None) -> None:
        """Keeps the shortest time from recording to receipt, of fragments that leave no hole.

        A fragment behind a hole proves nothing: it is its clock that is in question.
        """
        if server_ns is not None:
            lag_ns, least_ns = server_ns - start_ns, self._least_lag_ns
            self._least_lag_ns = lag_ns if least_ns is None else min(least_ns, lag_ns)

    def _latest_start_ns(self, server_ns: int | None) -> int:
        """The latest time at which a fragment can start that was received at `server_ns`."""
        if server_ns is None or self._least_lag_ns is None:
            return self._end_ns + _MAX_SPAN_NS
        return server_ns - self._least_lag_ns

    def _has_gone_back(self, audio: FragmentAudio, start_ns: int) -> bool:
        """Whether the clock does not advance, although this is not a repeated fragment."""
        is_covered = audio.end_ns + self._shift_ns <= self._end_ns
        if not is_covered and start_ns > self._last_start_ns:
            return False
        silence_counts = _is_of_the_day(audio.start_ns)
        to_timeline_ns = self._shift_ns - self._origin_ns
        return not all(
            track.holds(span.start_ns + to_timeline_ns, span.pcm, silence_counts=silence_counts)
            for direction, track in self._tracks.items()
            for span in audio.spans.get(direction, ())
        )

    def _place_spans(
        self, track: "_Track", spans: Sequence[Span], fragment_start_ns: int
    ) -> list[Piece]:
        pieces: list[Piece] = []
        for span in spans:
            start_ns = span.start_ns + self._shift_ns
            if start_ns - fragment_start_ns > _MAX_SPAN_NS:
                start_ns = self._origin_ns + track.samples * SAMPLE_NS
                self.clock_jumps += 1
            pieces += self._place_span(track, start_ns - self._origin_ns, span.pcm)
        return pieces

    def _place_span(self, track: "_Track", start_ns: int, pcm: bytes) -> list[Piece]:
        deviation_ns = start_ns - track.samples * SAMPLE_NS
        end_ns = start_ns + len(pcm) // SAMPLE_BYTES * SAMPLE_NS
        pieces: list[Piece] = []
        if deviation_ns >= JITTER_NS:
            pieces += self._fill(track, deviation_ns // SAMPLE_NS)
        elif deviation_ns <= -JITTER_NS:
            is_over = end_ns <= track.end_ns
            pcm = self._cut(track, len(pcm) if is_over else -deviation_ns // SAMPLE_NS, pcm)
        if pcm:
            pieces.append(pcm)
            track.add(pcm)
            track.end_ns = end_ns
            self.has_audio = True
        return pieces

    def _fill(self, track: "_Track", samples: int) -> list[Piece]:
        """Silence up to where the next span starts; a hole worth recording, or none."""
        if samples <= 0:
            return []
        if samples * SAMPLE_NS >= JITTER_NS:
            self._record(self.gaps, Hole(track.direction, track.samples, samples))
        silence = Silence(samples)
        track.add(silence)
        return [silence]

    def _cut(self, track: "_Track", samples: int, pcm: bytes) -> bytes:
        cut = min(samples * SAMPLE_BYTES, len(pcm))
        self._record(self.overlaps, Hole(track.direction, track.samples, cut // SAMPLE_BYTES))
        return pcm[cut:]

    def _record(self, holes: list[Hole], hole: Hole) -> None:
        """Adds a hole, or lengthens the last one where it goes on, or counts what has no room."""
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
        """Fills a track that stays far behind, halfway, so that the other need not wait."""
        end_samples = (self._end_ns - self._origin_ns) // SAMPLE_NS
        for direction, track in self._tracks.items():
            behind = end_samples - track.samples
            if behind > _MAX_LAG_SAMPLES:
                pieces[direction] += self._fill(track, behind - _MAX_LAG_SAMPLES // 2)


def _is_of_the_day(time_ns: int) -> bool:
    """Whether a clock counts from the epoch; some count from the start of the stream."""
    return MIN_TIMESTAMP_MS <= time_ns // _NS_PER_MS <= MAX_TIMESTAMP_MS


class _Track:
    """Where a track ends, and its last seconds, to recognise a repeat.

    Attributes:
        samples: how long it is.
        end_ns: where its last span ends by its own timestamp, jitter included.
    """

    def __init__(self, direction: Direction) -> None:
        self.direction = direction
        self.samples = 0
        self.end_ns = 0
        self._recent: deque[Piece] = deque()
        self._recent_samples = 0

    def add(self, piece: Piece) -> None:
        self.samples += _samples(piece)
        if isinstance(piece, Silence):
            piece = Silence(min(piece.samples, _MAX_SPAN_NS // SAMPLE_NS))
        length = _samples(piece)
        self._recent.append(piece)
        self._recent_samples += length
        while self._recent_samples - _samples(self._recent[0]) > _MAX_SPAN_NS // SAMPLE_NS:
            self._recent_samples -= _samples(self._recent.popleft())

    def holds(self, start_ns: int, pcm: bytes, *, silence_counts: bool) -> bool:
        """Whether nothing that the track holds at this time differs from the PCM.

        Jitter may have laid it a little aside. Silence on silence proves nothing;
        `silence_counts` decides what it is taken for.
        """
        first = start_ns // SAMPLE_NS - (self.samples - self._recent_samples)
        if first < -_JITTER_SAMPLES:
            return False
        probe = pcm[: max(0, self._recent_samples - first - _JITTER_SAMPLES) * SAMPLE_BYTES]
        if not any(probe):
            return silence_counts or not probe
        recent = b"".join(
            bytes(piece.samples * SAMPLE_BYTES) if isinstance(piece, Silence) else piece
            for piece in self._recent
        )
        at = max(0, first - _JITTER_SAMPLES) * SAMPLE_BYTES
        until = (first + _JITTER_SAMPLES) * SAMPLE_BYTES + len(probe)
        while (at := recent.find(probe, at, until)) % SAMPLE_BYTES:
            if at < 0:
                return False
            at += 1
        return True


def _samples(piece: Piece) -> int:
    return piece.samples if isinstance(piece, Silence) else len(piece) // SAMPLE_BYTES
