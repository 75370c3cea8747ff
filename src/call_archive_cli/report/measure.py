"""A WAV → what a page shows of it: waveform, level, who talks when; read in blocks.

Speech is what WebRTC's voice activity detector takes for it (8 kHz, frames of 30 ms). Levels are
dB relative to full scale: a full-scale square wave is 0 dBFS.
"""

import math
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import soundfile
import webrtcvad
from numpy.typing import NDArray

type Samples = NDArray[np.int16]

RATE_HZ: Final = 8000
FRAME_MS: Final = 30
FRAME_SAMPLES: Final = RATE_HZ * FRAME_MS // 1000
VAD_MODE: Final = 2
"""0 takes the most for speech, 3 the least."""

JOIN_FRAMES: Final = 10
"""Pauses of up to 300 ms belong to a talk spurt."""

SHORTEST_FRAMES: Final = 3
"""What is shorter than 90 ms is no talk spurt."""

COLUMNS_PER_S: Final = 50
"""Columns of a waveform at its finest: at every zoom a word has a shape."""

COLUMN_SAMPLES: Final = RATE_HZ // COLUMNS_PER_S

BLOCK_FRAMES: Final = 400
"""Speech frames read at a time: 12 s, a whole number of columns."""

QUIETEST: Final = 655
"""The least that fills a waveform's height: 2 % of the scale, so that noise is not shown large."""

SILENT_DBFS: Final = -96.0
FULL_SCALE: Final = 32768
CLIPPED: Final = 32767


@dataclass(frozen=True, slots=True)
class Talk:
    """A stretch of speech, ms from the recording's first sample."""

    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One side of a call.

    Attributes:
        peaks: the largest magnitude of each column of the waveform, 0 to 255 of `Measured.scale`.
        talks: when there is speech.
        talk_ms: how long in all.
        speech_dbfs: RMS level of the speech; SILENT_DBFS if there is none.
        peak_dbfs: the largest sample.
        clipped: samples at the end of the scale.
    """

    peaks: bytes
    talks: list[Talk]
    talk_ms: int
    speech_dbfs: float
    peak_dbfs: float
    clipped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What is in a WAV.

    Attributes:
        both_ms: how long both sides talk at once.
        silence_ms: how long both sides are silent.
        scale: the sample's magnitude that a peak of 255 means.
    """

    duration_ms: int
    channels: list[Channel]
    both_ms: int
    silence_ms: int
    scale: int


def measure(path: Path | BinaryIO) -> Measured:
    """Measures a WAV of 8 kHz and 16 bits; memory grows by 100 bytes for each second and side.

    Raises:
        ValueError: it is something else.
        soundfile.LibsndfileError: it is no audio file.
    """
    with soundfile.SoundFile(path) as wav:
        if wav.samplerate != RATE_HZ or wav.subtype != "PCM_16":
            raise ValueError(f"{wav.samplerate} Hz {wav.subtype}: a recording has 8000 Hz, 16 bit")
        meters = [_Meter() for _ in range(wav.channels)]
        for block in wav.blocks(FRAME_SAMPLES * BLOCK_FRAMES, dtype="int16", always_2d=True):
            for meter, samples in zip(meters, block.T, strict=True):
                meter.add(np.ascontiguousarray(samples))
        duration_ms = wav.frames * 1000 // RATE_HZ
    spoken = [meter.spoken() for meter in meters]
    talking = np.sum(spoken, axis=0)
    scale = max(QUIETEST, *(meter.largest for meter in meters))
    return Measured(
        duration_ms=duration_ms,
        channels=[meter.channel(mask, scale) for meter, mask in zip(meters, spoken, strict=True)],
        both_ms=int(np.count_nonzero(talking > 1)) * FRAME_MS,
        silence_ms=max(0, duration_ms - int(np.count_nonzero(talking)) * FRAME_MS),
        scale=scale,
    )


class _Meter:
    """Gathers one channel's figures, block by block."""

    def __init__(self) -> None:
        self._vad = webrtcvad.Vad(VAD_MODE)
        self._peaks = array("H")
        self._voiced = bytearray()
        self._energy = 0.0
        self._clipped = 0

    @property
    def largest(self) -> int:
        """The largest magnitude so far."""
        return max(self._peaks, default=0)

    def add(self, samples: Samples) -> None:
        """The next block: whole columns and whole frames, but for the last one."""
        magnitudes = np.abs(samples.astype(np.int32))
        columns = np.maximum.reduceat(magnitudes, np.arange(0, len(samples), COLUMN_SAMPLES))
        self._peaks.frombytes(columns.astype(np.uint16).tobytes())
        self._clipped += int(np.count_nonzero(magnitudes >= CLIPPED))
        frames = samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
        voiced = bytearray(self._vad.is_speech(frame.tobytes(), RATE_HZ) for frame in frames)
        energies = np.mean(np.square(frames, dtype=np.float64), axis=1)
        self._energy += float(energies[np.frombuffer(voiced, dtype=bool)].sum())
        self._voiced += voiced

    def spoken(self) -> NDArray[np.bool_]:
        """For each frame, whether it is in a talk spurt."""
        mask = np.zeros(len(self._voiced), dtype=bool)
        for start, end in _spurts(self._voiced):
            mask[start:end] = True
        return mask

    def channel(self, spoken: NDArray[np.bool_], scale: int) -> Channel:
        """The figures."""
        voiced = self._voiced.count(1)
        talks = [Talk(a * FRAME_MS, b * FRAME_MS) for a, b in _runs(spoken)]
        peaks = np.frombuffer(self._peaks, dtype=np.uint16).astype(np.uint32)
        return Channel(
            peaks=((peaks * 255 + scale - 1) // scale).astype(np.uint8).tobytes(),
            talks=talks,
            talk_ms=sum(talk.end_ms - talk.start_ms for talk in talks),
            speech_dbfs=_dbfs(math.sqrt(self._energy / voiced) if voiced else 0.0),
            peak_dbfs=_dbfs(self.largest),
            clipped=self._clipped,
        )


def _spurts(voiced: bytearray) -> Iterator[tuple[int, int]]:
    """Talk spurts as ranges of frames: short pauses joined, clicks left out."""
    joined: list[list[int]] = []
    for start, end in _runs(voiced):
        if joined and start - joined[-1][1] <= JOIN_FRAMES:
            joined[-1][1] = end
        else:
            joined.append([start, end])
    return ((start, end) for start, end in joined if end - start >= SHORTEST_FRAMES)


def _runs(mask: Iterable[Any]) -> Iterator[tuple[int, int]]:
    """Ranges in which the mask is true."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], np.fromiter(mask, dtype=np.int8), [0]))))
    return ((int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True))


def _dbfs(magnitude: float) -> float:
    if magnitude <= 0:
        return SILENT_DBFS
    return round(max(SILENT_DBFS, 20 * math.log10(magnitude / FULL_SCALE)), 1)
