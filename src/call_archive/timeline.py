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
from dataclasses import dataclass

from call_archive.limits import MAX_FRAGMENT_SPAN_MS, MIN_TIMESTAMP_MS
from call_archive.matroska import SAMPLE_BYTES, SAMPLE_NS, Direction, FragmentAudio, Span
from call_archive.wav import Piece, Silence

_NS_PER_MS = 1_000_000
JITTER_NS = 20 * _NS_PER_MS
"""Deviations under 20 ms are jitter."""

CLOCK_TOLERANCE_NS = 2_000 * _NS_PER_MS
"""How far the producer's clock may run ahead of what KVS's receipt times allow.

Receipt times carry the network's jitter; a lost fragment or two must not look like a jump.
"""

MAX_LAG_NS = 60_000 * _NS_PER_MS
"""How far one track may stay behind the other before silence fills it, to bound memory."""

_MAX_SPAN_NS = MAX_FRAGMENT_SPAN_MS * _NS_PER_MS


@dataclass(frozen=True, slots=True)
class Hole:
    """A stretch of a track that was filled with silence, or cut because it was there already."""

    at_ms: int
    length_ms: int
    track: Direction


class Timeline:
    """Lays fragments on one clock, in the order of their numbers.

    Attributes:
        gaps: holes filled with silence.
        overlaps: audio cut because that time was filled already.
        clock_jumps: how often the producer's clock was not believed.
        started_at_ms: the first sample, ms since the epoch, by the producer's clock, or by
            KVS's where that of the producer is relative; None before there is audio.
    """

    def __init__(self, tracks: Sequence[Direction]) -> None:
        self.gaps: list[Hole] = []
        self.overlaps: list[Hole] = []
        self.clock_jumps = 0
        self.started_at_ms: int | None = None
        self._tracks = {direction: _Track(direction) for direction in tracks}
        self._origin_ns = 0
        self._shift_ns = 0
        self._last_start_ns = 0
        self._end_ns = 0
        self._least_lag_ns: int | None = None

    def place(
        self, audio: FragmentAudio, server_timestamp_ms: int | None
    ) -> dict[Direction, list[Piece]]:
        """What the fragment adds to each track; KVS received it at `server_timestamp_ms`."""
        server_ns = None if server_timestamp_ms is None else server_timestamp_ms * _NS_PER_MS
        if self.started_at_ms is None:
            self._start(audio, server_timestamp_ms)
        else:
            self._follow_clock(audio, server_ns)
        start_ns = audio.start_ns + self._shift_ns
        if server_ns is not None:
            lag_ns = server_ns - start_ns
            least_ns = self._least_lag_ns
            self._least_lag_ns = lag_ns if least_ns is None else min(least_ns, lag_ns)
        pieces = {
            direction: self._place_spans(track, audio.spans.get(direction, ()), start_ns)
            for direction, track in self._tracks.items()
        }
        self._last_start_ns = start_ns
        self._end_ns = max(self._end_ns, audio.end_ns + self._shift_ns)
        self._level(pieces, self._end_ns - MAX_LAG_NS, keep_ns=MAX_LAG_NS)
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
        self._origin_ns = audio.start_ns
        self._end_ns = audio.start_ns
        started_at_ms = audio.start_ns // _NS_PER_MS
        is_relative = started_at_ms < MIN_TIMESTAMP_MS
        self.started_at_ms = (server_timestamp_ms or 0) if is_relative else started_at_ms

    def _follow_clock(self, audio: FragmentAudio, server_ns: int | None) -> None:
        """Shifts the clock where it cannot be believed; leaves it alone otherwise."""
        start_ns = audio.start_ns + self._shift_ns
        latest_ns = self._latest_start_ns(server_ns)
        if start_ns > latest_ns + CLOCK_TOLERANCE_NS or self._has_gone_back(audio, start_ns):
            believed_ns = self._end_ns
            if latest_ns > self._end_ns + CLOCK_TOLERANCE_NS and server_ns is not None:
                believed_ns = latest_ns
            self._shift_ns += believed_ns - start_ns
            self.clock_jumps += 1

    def _latest_start_ns(self, server_ns: int | None) -> int:
        """The latest time at which a fragment can start that was received at `server_ns`."""
        if server_ns is None or self._least_lag_ns is None:
            return self._end_ns + _MAX_SPAN_NS
        return server_ns - self._least_lag_ns

    def _has_gone_back(self, audio: FragmentAudio, start_ns: int) -> bool:
        """Whether the clock did not advance although this is not a repeated fragment."""
        if start_ns > self._last_start_ns:
            return False
        is_relative = audio.start_ns < MIN_TIMESTAMP_MS * _NS_PER_MS
        return not all(
            self._tracks[direction].repeats(
                span._replace(start_ns=span.start_ns + self._shift_ns - self._origin_ns),
                silence_counts=not is_relative,
            )
            for direction, spans in audio.spans.items()
            for span in spans
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
        pieces: list[Piece] = []
        if deviation_ns >= JITTER_NS:
            pieces += self._fill(track, deviation_ns // SAMPLE_NS)
        elif deviation_ns <= -JITTER_NS:
            pcm = self._cut(track, -deviation_ns // SAMPLE_NS, pcm)
        if pcm:
            pieces.append(pcm)
            track.add(pcm)
        return pieces

    def _fill(self, track: "_Track", samples: int) -> list[Piece]:
        """Silence up to where the next span starts; a hole worth recording, or none."""
        if samples <= 0:
            return []
        if samples * SAMPLE_NS >= JITTER_NS:
            self.gaps.append(_hole(track, samples))
        silence = Silence(samples)
        track.add(silence)
        return [silence]

    def _cut(self, track: "_Track", samples: int, pcm: bytes) -> bytes:
        cut = min(samples * SAMPLE_BYTES, len(pcm))
        self.overlaps.append(_hole(track, cut // SAMPLE_BYTES))
        return pcm[cut:]

    def _level(self, pieces: dict[Direction, list[Piece]], bound_ns: int, *, keep_ns: int) -> None:
        """Fills a track that stays far behind, halfway, so that the other need not wait."""
        for direction, track in self._tracks.items():
            behind_ns = bound_ns - self._origin_ns - track.samples * SAMPLE_NS
            if behind_ns > 0:
                pieces[direction] += self._fill(track, (behind_ns + keep_ns // 2) // SAMPLE_NS)


class _Track:
    """Where a track ends, and its last seconds, to recognise a repeat."""

    def __init__(self, direction: Direction) -> None:
        self.direction = direction
        self.samples = 0
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

    def repeats(self, span: Span, *, silence_counts: bool) -> bool:
        """Whether nothing that the track holds at this span's time differs from the span.

        Silence on silence proves nothing; `silence_counts` decides what it is taken for.
        """
        first = span.start_ns // SAMPLE_NS - (self.samples - self._recent_samples)
        if first < 0:
            return False
        recent = b"".join(
            bytes(piece.samples * SAMPLE_BYTES) if isinstance(piece, Silence) else piece
            for piece in self._recent
        )
        there = recent[first * SAMPLE_BYTES : first * SAMPLE_BYTES + len(span.pcm)]
        if there and not silence_counts and not any(there):
            return False
        return span.pcm.startswith(there)


def _samples(piece: Piece) -> int:
    return piece.samples if isinstance(piece, Silence) else len(piece) // SAMPLE_BYTES


def _hole(track: _Track, samples: int) -> Hole:
    samples_per_ms = _NS_PER_MS // SAMPLE_NS
    return Hole(track.samples // samples_per_ms, samples // samples_per_ms, track.direction)
