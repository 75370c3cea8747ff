"""WAV files, or nothing at all → 8 kHz 16-bit mono PCM, as something that slices like bytes.

Invariant: what a slice returns depends on its bounds alone, so a 12-hour call needs no more memory
than a short one.
"""

import math
import random
import struct
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

SAMPLE_RATE_HZ: Final = 8000
SAMPLE_BYTES: Final = 2
BYTES_PER_SECOND: Final = SAMPLE_RATE_HZ * SAMPLE_BYTES

_PATTERN_BYTES: Final = 1024
_MARKER = struct.Struct("<II")


class Pcm(Protocol):
    """Signed 16-bit little-endian samples: `bytes`, or what has a length and slices like them."""

    def __len__(self) -> int: ...

    def __getitem__(self, span: slice, /) -> bytes: ...


def read_wav(path: Path) -> bytes:
    """The samples of an 8 kHz 16-bit mono WAV file.

    Raises:
        ValueError: the file is no WAV file, or of another rate, width or channel count; the text
            says which.
    """
    try:
        with wave.open(str(path), "rb") as recording:
            parameters = recording.getparams()
            pcm = recording.readframes(parameters.nframes)
    except (wave.Error, EOFError) as error:
        raise ValueError(f"{path} is not a PCM WAV file: {error}") from error
    found = (parameters.framerate, parameters.sampwidth * 8, parameters.nchannels)
    if found != (SAMPLE_RATE_HZ, SAMPLE_BYTES * 8, 1):
        raise ValueError(
            f"{path} is {found[0]} Hz, {found[1]} bit, {found[2]} channel(s); "
            "a call needs 8000 Hz, 16 bit, 1 channel"
        )
    return pcm


def read_wav_pair(caller: Path, agent: Path) -> tuple[bytes, bytes]:
    """The samples of both sides of a conversation, on one clock; the shorter one ends in silence.

    Raises:
        ValueError: a file cannot be used, or holds no audio.
    """
    sides = read_wav(caller), read_wav(agent)
    if not all(sides):
        raise ValueError(f"{caller} or {agent} holds no audio")
    length = max(map(len, sides))
    return sides[0].ljust(length, b"\0"), sides[1].ljust(length, b"\0")


@dataclass(frozen=True, slots=True)
class SyntheticPcm:
    """A repeated 1,024-byte pattern that begins with seed and position: a misplaced block shows.

    Attributes:
        length_bytes: how much there is.
        seed: of the pattern; sides and calls of different seeds differ everywhere.
        pattern: what follows the marker.
    """

    length_bytes: int
    seed: int
    pattern: bytes

    def __len__(self) -> int:
        return self.length_bytes

    def __getitem__(self, span: slice, /) -> bytes:
        start, stop, step = span.indices(self.length_bytes)
        if step != 1:
            raise ValueError("synthetic PCM is sliced without a step")
        if stop <= start:
            return b""
        first, last = start // _PATTERN_BYTES, (stop - 1) // _PATTERN_BYTES
        pattern = self.pattern
        pack, seed = _MARKER.pack, self.seed
        parts: list[bytes] = []
        for position in range(first, last + 1):
            parts += (pack(seed, position), pattern)
        begin = start - first * _PATTERN_BYTES
        return b"".join(parts)[begin : begin + stop - start]


def synthetic_pcm(seconds: float, seed: int) -> SyntheticPcm:
    """`seconds` of PCM that no other seed and no other position repeats, made when it is sliced."""
    chance = random.Random(seed)  # noqa: S311 - a fixture, not a secret
    step = 2 * math.pi * chance.uniform(300, 900) / SAMPLE_RATE_HZ
    count = (_PATTERN_BYTES - _MARKER.size) // SAMPLE_BYTES
    samples = (round(4000 * math.sin(step * at)) + chance.randint(-200, 200) for at in range(count))
    length_bytes = round(seconds * SAMPLE_RATE_HZ) * SAMPLE_BYTES
    return SyntheticPcm(length_bytes, seed & 0xFFFF_FFFF, struct.pack(f"<{count}h", *samples))
