"""The audio format: samples of signed 16-bit little-endian PCM at 8 kHz, one channel per track."""

from enum import StrEnum
from typing import NamedTuple

SAMPLE_RATE_HZ = 8000
SAMPLE_BYTES = 2
SAMPLE_NS = 1_000_000_000 // SAMPLE_RATE_HZ


def milliseconds(samples: int) -> int:
    """The length of this many samples, rounded down."""
    return samples * 1000 // SAMPLE_RATE_HZ


class Direction(StrEnum):
    """Whose voice a track holds."""

    FROM_CUSTOMER = "AUDIO_FROM_CUSTOMER"
    TO_CUSTOMER = "AUDIO_TO_CUSTOMER"


class Span(NamedTuple):
    """Audio without a hole: frames of one track with consecutive timestamps.

    `start_ns` is on the producer's clock; `pcm` holds whole samples.
    """

    start_ns: int
    pcm: bytes


class FragmentAudio(NamedTuple):
    """A fragment's audio.

    Attributes:
        start_ns: the start of its earliest track, on the producer's clock.
        end_ns: the end of its latest track.
        spans: of the wanted directions, in document order.
        leaves_out: whether a track was left out because of its name.
    """

    start_ns: int
    end_ns: int
    spans: dict[Direction, list[Span]]
    leaves_out: bool = False


class Silence(NamedTuple):
    """Samples of silence; a piece of a track, like bytes of PCM."""

    samples: int


type Piece = bytes | Silence
