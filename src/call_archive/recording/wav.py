"""PCM of one or two tracks → RIFF/WAVE, 8000 Hz, 16-bit little-endian.

The header is built last, when the length is known. Silence is kept as a count until it is written,
so an hour of it costs no memory.

Source: Multimedia Programming Interface and Data Specifications 1.0 (RIFF, WAVE_FORMAT_PCM).
"""

import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

from call_archive.errors import MediaError
from call_archive.limits import MAX_RECORDING_BYTES
from call_archive.media.pcm import SAMPLE_BYTES, SAMPLE_RATE_HZ, Piece, Silence
from call_archive.reasons import Code

HEADER_BYTES = 44
_PCM_FORMAT = 1
_PIECE_BYTES = 65_536


def build_header(pcm_bytes: int, channels: int) -> bytes:
    """The 44 bytes in front of `pcm_bytes` of interleaved PCM.

    Raises:
        MediaError: the recording would be larger than a RIFF file can be.
    """
    if pcm_bytes + HEADER_BYTES > MAX_RECORDING_BYTES:
        raise MediaError(
            Code.RECORDING_TOO_LONG,
            "the recording would exceed 4 GiB, a WAV's limit",
            retryable=False,
        )
    frame_bytes = channels * SAMPLE_BYTES
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        HEADER_BYTES - 8 + pcm_bytes,
        b"WAVE",
        b"fmt ",
        16,
        _PCM_FORMAT,
        channels,
        SAMPLE_RATE_HZ,
        SAMPLE_RATE_HZ * frame_bytes,
        frame_bytes,
        SAMPLE_BYTES * 8,
        b"data",
        pcm_bytes,
    )


def write_mono(pieces: Iterable[Piece]) -> Iterator[bytes]:
    """One track's pieces as bytes."""
    for piece in pieces:
        if isinstance(piece, Silence):
            yield from _zeros(piece.samples * SAMPLE_BYTES)
        else:
            yield piece


class StereoMixer:
    """Joins two tracks' pieces into left-right frames, as far as both are known."""

    def __init__(self) -> None:
        self._left: deque[Piece] = deque()
        self._right: deque[Piece] = deque()

    def mix(self, left: Iterable[Piece], right: Iterable[Piece]) -> Iterator[bytearray]:
        """Takes the next pieces of both tracks; gives the frames that are now complete."""
        self._left.extend(left)
        self._right.extend(right)
        while self._left and self._right:
            length = min(_length(self._left[0]), _length(self._right[0]), _PIECE_BYTES)
            yield _interleave(_take(self._left, length), _take(self._right, length))


type Mix = Callable[[Sequence[Iterable[Piece]]], Iterator[bytes | bytearray]]


def build_mixer(channels: int) -> Mix:
    """Builds the function that turns the next pieces of one or two channels into frames."""
    if channels == 1:
        return lambda columns: write_mono(columns[0])
    mixer = StereoMixer()
    return lambda columns: mixer.mix(*columns)


def _interleave(left: bytes, right: bytes) -> bytearray:
    """Left-right frames, byte by byte: three times as fast as a memoryview of samples."""
    frames = bytearray(2 * len(left))
    frames[0::4], frames[1::4] = left[0::2], left[1::2]
    frames[2::4], frames[3::4] = right[0::2], right[1::2]
    return frames


def _length(piece: Piece) -> int:
    return piece.samples * SAMPLE_BYTES if isinstance(piece, Silence) else len(piece)


def _take(pieces: deque[Piece], length: int) -> bytes:
    """Takes the first `length` bytes of the first piece, which has that many."""
    first = pieces.popleft()
    rest = _length(first) - length
    if isinstance(first, Silence):
        if rest:
            pieces.appendleft(Silence(rest // SAMPLE_BYTES))
        return bytes(length)
    if rest:
        pieces.appendleft(first[length:])
    return first[:length]


def _zeros(length: int) -> Iterator[bytes]:
    for start in range(0, length, _PIECE_BYTES):
        yield bytes(min(_PIECE_BYTES, length - start))
