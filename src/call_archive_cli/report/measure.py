"""A WAV → what a page shows of it: waveform, level, who talks when; read in blocks.

Speech is what WebRTC's voice activity detector takes for it (8 kHz, frames of 30 ms). Levels are
dB relative to full scale: a full-scale square wave is 0 dBFS.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import soundfile
import webrtcvad
from numpy.typing import NDArray

type Samples = NDArray[np.int16]

FRAME_MS: Final = 30
VAD_MODE: Final = 2
"""0 takes the most for speech, 3 the least."""

JOIN_FRAMES: Final = 10
"""Pauses of up to 300 ms belong to a talk spurt."""

SHORTEST_FRAMES: Final = 3
"""What is shorter than 90 ms is no talk spurt."""

MAX_BINS: Final = 4000
"""Columns of a waveform: as many as a wide screen shows."""

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
        peaks: the largest magnitude of each column of the waveform, 0 to 1.
        talks: when there is speech.
        talk_ms: how long in all.
        speech_dbfs: RMS level of the speech; SILENT_DBFS where there is none.
        peak_dbfs: the largest sample.
        clipped: samples at the end of the scale.
    """

    peaks: list[float]
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
        silence_ms: how long nobody talks.
    """

    duration_ms: int
    channels: list[Channel]
    both_ms: int
    silence_ms: int


def measure(path: Path | BinaryIO) -> Measured:
    """Measures a WAV of 8 kHz and 16 bits.

    Raises:
        ValueError: it is something else.
        soundfile.LibsndfileError: it is no audio file.
    """
    with soundfile.SoundFile(path) as wav:
        if wav.samplerate != 8000 or wav.subtype != "PCM_16":
            raise ValueError(f"{wav.samplerate} Hz {wav.subtype}: a recording has 8000 Hz, 16 bit")
        frame = wav.samplerate * FRAME_MS // 1000
        meters = [_Meter(wav.frames, frame, wav.samplerate) for _ in range(wav.channels)]
        for block in wav.blocks(frame * 1000, dtype="int16", always_2d=True):
            for meter, samples in zip(meters, block.T, strict=True):
                meter.add(np.ascontiguousarray(samples))
        duration_ms = wav.frames * 1000 // wav.samplerate
    spoken = [meter.spoken() for meter in meters]
    talking = np.sum(spoken, axis=0)
    return Measured(
        duration_ms=duration_ms,
        channels=[meter.channel(mask) for meter, mask in zip(meters, spoken, strict=True)],
        both_ms=int(np.count_nonzero(talking > 1)) * FRAME_MS,
        silence_ms=max(0, duration_ms - int(np.count_nonzero(talking)) * FRAME_MS),
    )


class _Meter:
    """Gathers one channel's figures, block by block."""

    def __init__(self, samples: int, frame: int, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._frame = frame
        self._vad = webrtcvad.Vad(VAD_MODE)
        self._bin = max(1, math.ceil(samples / MAX_BINS))
        self._peaks = np.zeros(math.ceil(samples / self._bin), dtype=np.int32)
        self._taken = 0
        self._voiced: list[bool] = []
        self._energies: list[float] = []
        self._clipped = 0

    def add(self, samples: Samples) -> None:
        """The next block, of whole frames but for the last one."""
        magnitudes = np.abs(samples.astype(np.int32))
        bins = (self._taken + np.arange(len(samples))) // self._bin
        np.maximum.at(self._peaks, bins, magnitudes)
        self._clipped += int(np.count_nonzero(magnitudes >= CLIPPED))
        self._taken += len(samples)
        for start in range(0, len(samples) - self._frame + 1, self._frame):
            frame = samples[start : start + self._frame]
            self._voiced.append(self._vad.is_speech(frame.tobytes(), self._rate_hz))
            self._energies.append(float(np.mean(np.square(frame, dtype=np.float64))))

    def spoken(self) -> NDArray[np.bool_]:
        """For each frame, whether it is in a talk spurt."""
        mask = np.zeros(len(self._voiced), dtype=bool)
        for start, end in _spurts(self._voiced):
            mask[start:end] = True
        return mask

    def channel(self, spoken: NDArray[np.bool_]) -> Channel:
        """The figures."""
        voiced = np.asarray(self._voiced, dtype=bool)
        energies = np.asarray(self._energies)[voiced]
        talks = [Talk(a * FRAME_MS, b * FRAME_MS) for a, b in _runs(spoken)]
        return Channel(
            peaks=[round(float(peak) / FULL_SCALE, 4) for peak in self._peaks],
            talks=talks,
            talk_ms=sum(talk.end_ms - talk.start_ms for talk in talks),
            speech_dbfs=_dbfs(math.sqrt(energies.mean()) if energies.size else 0.0),
            peak_dbfs=_dbfs(float(self._peaks.max(initial=0))),
            clipped=self._clipped,
        )


def _spurts(voiced: list[bool]) -> Iterator[tuple[int, int]]:
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
