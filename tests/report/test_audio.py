"""A page's audio: lossless, or compressed with the sides apart; memory that does not grow."""

import io
import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from call_archive_cli.report.audio import VORBIS_COMPRESSION, Form, write_audio
from call_archive_cli.report.ogg import OggError, shorten_pages
from local.demo_call import VOICES
from tests.report.conftest import RATE_HZ, Samples, write_wav

LEAST_APART_DB = 60.0
MOST_RESIDENT_BYTES = 150 * 1024 * 1024


def voice(name: str, seconds: float) -> Samples:
    spoken, _ = soundfile.read(VOICES / f"{name}.wav", dtype="int16")
    return np.resize(np.asarray(spoken, dtype=np.int16), round(seconds * RATE_HZ))


def decoded(path: Path) -> np.ndarray[Any, np.dtype[np.float64]]:
    samples, rate_hz = soundfile.read(path, always_2d=True)
    assert rate_hz == RATE_HZ
    return np.asarray(samples)


def loudness(samples: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    return float(np.sqrt(np.mean(np.square(samples))))


def crosstalk_db(left: Samples, right: Samples, compressed: np.ndarray[Any, Any]) -> float:
    """How much of the right voice is in what compression did to the left side.

    The projection of the left side's error on the right side: noise that a codec adds does not
    count, a voice on the wrong side does.
    """
    error, voice_there = compressed[:, 0] - left / 32768, right / 32768
    share = abs(np.dot(error, voice_there)) / np.dot(voice_there, voice_there)
    return 20 * float(np.log10(max(share, 1e-12)))


@pytest.fixture
def noise_and_voice() -> tuple[Samples, Samples]:
    """A line with nothing but its noise, -55 dBFS, on the left; a voice on the right."""
    right = voice("agent", 60)
    noise = np.random.default_rng(1).normal(0, 32768 * 10 ** (-55 / 20), len(right))
    return np.round(noise).astype(np.int16), right


def test_compressed_sides_are_never_joint_stereo(
    tmp_path: Path, noise_and_voice: tuple[Samples, Samples]
) -> None:
    left, right = noise_and_voice
    write_audio(write_wav(tmp_path / "a.wav", left, right), tmp_path / "a.ogg", Form.VORBIS)
    sides = decoded(tmp_path / "a.ogg")
    # Vorbis's order of three channels: left, centre, right.
    assert sides.shape == (len(left), 3)
    assert loudness(sides[:, 1]) == 0
    assert crosstalk_db(left, right, sides[:, [0, 2]]) <= -LEAST_APART_DB
    assert loudness(sides[:, 2]) == pytest.approx(loudness(right / 32768), rel=0.1)


def test_joint_stereo_would_be_seen(
    tmp_path: Path, noise_and_voice: tuple[Samples, Samples]
) -> None:
    """The measure above tells the two kinds of stream apart."""
    soundfile.write(
        tmp_path / "joint.ogg",
        np.column_stack(noise_and_voice),
        RATE_HZ,
        format="OGG",
        subtype="VORBIS",
        compression_level=VORBIS_COMPRESSION,
    )
    assert crosstalk_db(*noise_and_voice, decoded(tmp_path / "joint.ogg")) > -LEAST_APART_DB


@pytest.mark.parametrize("silent", [0, 1])
def test_a_silent_side_stays_silent(tmp_path: Path, silent: int) -> None:
    sides = [voice("caller", 10), voice("agent", 10)]
    sides[silent] = np.zeros_like(sides[silent])
    write_audio(write_wav(tmp_path / "a.wav", *sides), tmp_path / "a.ogg", Form.VORBIS)
    assert loudness(decoded(tmp_path / "a.ogg")[:, 2 * silent]) < 1e-6


def test_what_is_compressed_keeps_its_time(tmp_path: Path) -> None:
    clicks = np.zeros(RATE_HZ * 60, dtype=np.int16)
    clicks[RATE_HZ * 30 : RATE_HZ * 30 + 80] = 20_000
    write_audio(write_wav(tmp_path / "a.wav", clicks), tmp_path / "a.ogg", Form.VORBIS)
    (at,) = np.unravel_index(np.argmax(np.abs(decoded(tmp_path / "a.ogg")[:, 0])), clicks.shape)
    assert at == pytest.approx(RATE_HZ * 30 + 40, abs=80)


@pytest.mark.parametrize("sides", [1, 2])
def test_flac_and_wav_are_the_recording(tmp_path: Path, sides: int) -> None:
    channels = (voice("caller", 2), voice("agent", 2))[:sides]
    wav = write_wav(tmp_path / "a.wav", *channels)
    for form in (Form.FLAC, Form.WAV):
        write_audio(wav, tmp_path / "encoded", form)
        samples, _ = soundfile.read(tmp_path / "encoded", dtype="int16", always_2d=True)
        assert np.array_equal(samples, np.column_stack(channels))
    assert (tmp_path / "encoded").read_bytes() == wav.read_bytes()


PEAK_OF = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:])
_, status, usage = os.wait4(process.pid, 0)
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def test_three_hours_do_not_fill_the_memory(tmp_path: Path) -> None:
    """A sparse file of silence: what counts is that nothing of it is kept."""
    wav, samples = tmp_path / "long.wav", RATE_HZ * 3 * 3600
    with wave.open(str(wav), "wb") as recording:
        recording.setparams((1, 2, RATE_HZ, samples, "NONE", ""))
        recording.writeframes(b"")
    header = bytearray(wav.read_bytes())
    header[4:8] = (36 + samples * 2).to_bytes(4, "little")
    header[40:44] = (samples * 2).to_bytes(4, "little")
    wav.write_bytes(header)
    with wav.open("r+b") as file:
        file.truncate(44 + samples * 2)
    command = [sys.executable, "-m", "call_archive_cli", "report", str(wav)]
    # Linux counts what a process was before its exec as well, so a small one starts it.
    measured = subprocess.run(
        [sys.executable, "-c", PEAK_OF, *command, "-o", str(tmp_path / "o")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(measured.stdout.split()[-1]) * 1024 <= MOST_RESIDENT_BYTES


def test_short_pages_hold_the_same_packets(tmp_path: Path) -> None:
    spoken = np.concatenate([voice("caller", 20), np.zeros(RATE_HZ * 40, dtype=np.int16)])
    soundfile.write(tmp_path / "long.ogg", spoken, RATE_HZ, format="OGG", subtype="VORBIS")
    with (tmp_path / "long.ogg").open("rb") as source, (tmp_path / "o.ogg").open("wb") as target:
        shorten_pages(source, target)
    assert np.array_equal(decoded(tmp_path / "long.ogg"), decoded(tmp_path / "o.ogg"))
    long_pages, short_pages = (
        (tmp_path / name).read_bytes().count(b"OggS") for name in ("long.ogg", "o.ogg")
    )
    # 256 samples a packet, four packets a page.
    assert short_pages >= len(spoken) / 1024 > 5 * long_pages


@pytest.mark.parametrize("content", [b"no Ogg at all" * 9, b"OggS"])
def test_what_is_no_vorbis_is_refused(content: bytes) -> None:
    with pytest.raises(OggError):
        shorten_pages(io.BytesIO(content), io.BytesIO())
