"""One track's length and last seconds: is this audio new or a repeat?

Audio is a repeat only as far as it equals the track's audio at that time. A quiet line's samples
are equal by chance, so the decision depends on how many equal samples differ from the one before.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from operator import ne

from call_archive.limits import MAX_FRAGMENT_SPAN_MS
from call_archive.media.pcm import SAMPLE_BYTES, SAMPLE_RATE_HZ, Piece, Silence

JITTER_SAMPLES = 20 * SAMPLE_RATE_HZ // 1000
"""How far from its time a repeat may be: jitter may have shifted the audio a little."""

_EVIDENCE_CHANGES = 20 * SAMPLE_RATE_HZ // 1000
"""Changes from sample to sample that prove a repeat if all audio is equal; 20 ms of a voice."""

_BROKEN_EVIDENCE_CHANGES = 64 * SAMPLE_RATE_HZ // 1000
"""The same if the audio differs after the equal part; 64 ms of a voice."""

_KEY_SAMPLES = 20 * SAMPLE_RATE_HZ // 1000
"""How many samples a search compares."""

_RECENT_SAMPLES = MAX_FRAGMENT_SPAN_MS * SAMPLE_RATE_HZ // 1000


class Track:
    """The track of one direction.

    Attributes:
        samples: its length.
    """

    def __init__(self) -> None:
        self.samples = 0
        self._recent: deque[Piece] = deque()
        self._recent_samples = 0

    def add(self, piece: Piece) -> None:
        """Appends PCM or silence."""
        samples = count_samples(piece)
        self.samples += samples
        if samples > _RECENT_SAMPLES and isinstance(piece, Silence):
            piece, samples = Silence(_RECENT_SAMPLES), _RECENT_SAMPLES
        self._recent.append(piece)
        self._recent_samples += samples
        while self._recent_samples > _RECENT_SAMPLES + (oldest := count_samples(self._recent[0])):
            self._recent_samples -= oldest
            self._recent.popleft()

    def count_repeated(
        self, first: int, pcm: bytes, *, slack: int = 0, silence_counts: bool = True
    ) -> int:
        """How many samples from the start of the PCM the track already holds.

        Args:
            first: the start of the PCM by its clock, before the track's end.
            pcm: at least one sample.
            slack: how much more than jitter its clock may be wrong.
            silence_counts: whether unvarying samples on equal ones are a repeat; they prove
                nothing.
        """
        oldest = self.samples - self._recent_samples
        from_sample = max(oldest, first - JITTER_SAMPLES - slack)
        if first + JITTER_SAMPLES + slack < from_sample:
            return 0
        held = self._held_from(from_sample)
        first -= from_sample
        length, rest = len(pcm) // SAMPLE_BYTES, len(held) // SAMPLE_BYTES - first
        unvarying = 1 + _count_equal(pcm, pcm[SAMPLE_BYTES:])
        if unvarying < length:
            for at in _find_nearest(held, pcm, unvarying, first, slack):
                equal = _count_equal(pcm, held[at * SAMPLE_BYTES :])
                runs_out = at + equal == len(held) // SAMPLE_BYTES
                evidence = _EVIDENCE_CHANGES if runs_out else _BROKEN_EVIDENCE_CHANGES
                if equal == length or _count_changes(pcm[: equal * SAMPLE_BYTES]) >= evidence:
                    return equal
        if silence_counts and first >= 0 and unvarying >= min(length, rest):
            return _count_unvarying(held, pcm[: unvarying * SAMPLE_BYTES], first)
        return 0

    def _held_from(self, sample: int) -> bytes:
        """The remembered PCM from a sample on."""
        wanted, pieces = self.samples - sample, []
        for piece in reversed(self._recent):
            if wanted <= 0:
                break
            taken = min(wanted, count_samples(piece))
            wanted -= taken
            pieces.append(
                bytes(taken * SAMPLE_BYTES)
                if isinstance(piece, Silence)
                else piece[len(piece) - taken * SAMPLE_BYTES :]
            )
        return b"".join(reversed(pieces))


def count_samples(piece: Piece) -> int:
    """The length of a piece."""
    return piece.samples if isinstance(piece, Silence) else len(piece) // SAMPLE_BYTES


def _find_nearest(held: bytes, pcm: bytes, varies_at: int, first: int, slack: int) -> list[int]:
    """Where the PCM may start in the remembered audio, nearest to its time first.

    The search uses its first samples that vary: unvarying ones occur everywhere.
    """
    key_at = max(0, min(varies_at - 1, len(pcm) // SAMPLE_BYTES - _KEY_SAMPLES))
    key = pcm[key_at * SAMPLE_BYTES : (key_at + _KEY_SAMPLES) * SAMPLE_BYTES]
    reach = JITTER_SAMPLES + slack
    from_byte = max(0, first - reach + key_at) * SAMPLE_BYTES
    to_byte = max(0, first + reach + key_at) * SAMPLE_BYTES + len(key)
    places = [
        place // SAMPLE_BYTES - key_at
        for place in _find_all(held, key, from_byte, to_byte)
        if place % SAMPLE_BYTES == 0
    ]
    return sorted((at for at in places if at >= 0), key=lambda at: abs(at - first))


def _find_all(held: bytes, key: bytes, from_byte: int, to_byte: int) -> Iterator[int]:
    place = held.find(key, from_byte, to_byte)
    while place >= 0:
        yield place
        place = held.find(key, place + 1, to_byte)


def _count_changes(pcm: bytes) -> int:
    """How many samples differ from the one before."""
    samples = memoryview(pcm).cast("h")
    return sum(map(ne, samples, samples[1:]))


def _count_unvarying(held: bytes, pcm: bytes, first: int) -> int:
    """How many samples of unvarying PCM the track already holds, at most 20 ms from their time."""
    end = len(held) // SAMPLE_BYTES
    for at in sorted(
        range(max(0, first - JITTER_SAMPLES), min(first + JITTER_SAMPLES, end - 1) + 1),
        key=lambda at: abs(at - first),
    ):
        wanted = pcm[: (end - at) * SAMPLE_BYTES]
        if held.startswith(wanted, at * SAMPLE_BYTES):
            return len(wanted) // SAMPLE_BYTES
    return 0


def _count_equal(one: bytes, other: bytes) -> int:
    """How many samples are equal, from the first one."""
    most = min(len(one), len(other)) // SAMPLE_BYTES
    if one[: most * SAMPLE_BYTES] == other[: most * SAMPLE_BYTES]:
        return most
    return bisect_left(
        range(most),
        True,  # noqa: FBT003 - the first length at which they differ
        key=lambda count: one[: (count + 1) * SAMPLE_BYTES] != other[: (count + 1) * SAMPLE_BYTES],
    )
