"""WAV files and synthetic PCM."""

import wave
from pathlib import Path

import pytest

from local.demo_call import VOICES
from local.pcm import read_wav, read_wav_pair, synthetic_pcm


def write(path: Path, *, rate: int = 8000, width: int = 2, channels: int = 1) -> Path:
    with wave.open(str(path), "wb") as recording:
        recording.setparams((channels, width, rate, 0, "NONE", ""))
        recording.writeframes(bytes(range(2 * width * channels)))
    return path


def test_samples_are_read_as_they_are(tmp_path: Path) -> None:
    assert read_wav(write(tmp_path / "a.wav")) == b"\0\1\2\3"


@pytest.mark.parametrize(
    ("options", "text"),
    [({"rate": 16000}, "16000 Hz"), ({"width": 1}, "8 bit"), ({"channels": 2}, r"2 channel\(s\)")],
)
def test_other_formats_are_named(tmp_path: Path, options: dict[str, int], text: str) -> None:
    path = write(tmp_path / "a.wav", **options)

    with pytest.raises(ValueError, match=text):
        read_wav(path)


def test_what_is_no_wav_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF")

    with pytest.raises(ValueError, match=r"a\.wav is not a PCM WAV file"):
        read_wav(path)


def test_the_shorter_side_of_a_pair_ends_in_silence(tmp_path: Path) -> None:
    short = write(tmp_path / "short.wav")

    caller, agent = read_wav_pair(short, VOICES / "agent.wav")

    assert len(caller) == len(agent)
    assert caller == read_wav(short) + bytes(len(agent) - len(read_wav(short)))


def test_the_voices_are_a_pair_with_two_different_sides() -> None:
    caller, agent = read_wav_pair(VOICES / "caller.wav", VOICES / "agent.wav")

    assert 10 * 16000 <= len(caller) <= 15 * 16000
    assert caller != agent


def test_synthetic_pcm_slices_like_its_own_bytes() -> None:
    pcm = synthetic_pcm(1.0003, seed=5)
    whole = pcm[:]

    assert len(whole) == len(pcm) == 2 * round(8000 * 1.0003)
    for start, stop in [(0, 10), (1000, 1030), (1023, 1025), (5, 5), (4000, 20000), (-7, None)]:
        assert pcm[start:stop] == whole[start:stop]


def test_no_two_blocks_of_synthetic_pcm_are_equal() -> None:
    pcms = [synthetic_pcm(8, seed) for seed in (1, 2)]
    blocks = [pcm[at : at + 1024] for pcm in pcms for at in range(0, len(pcm), 1024)]

    assert len(set(blocks)) == len(blocks)
