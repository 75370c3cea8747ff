"""What is in a WAV: levels, speech, waveform."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from call_archive_cli.report.measure import SILENT_DBFS, measure
from local.demo_call import VOICES
from tests.report.conftest import Samples, silence, tone, write_wav


def somebody() -> Samples:
    """Speech: the demo's caller."""
    voice, _ = soundfile.read(VOICES / "caller.wav", dtype="int16")
    return np.asarray(voice, dtype=np.int16)


def test_silence(tmp_path: Path) -> None:
    measured = measure(write_wav(tmp_path / "a.wav", silence(3)))
    (channel,) = measured.channels
    assert (measured.duration_ms, measured.silence_ms, measured.both_ms) == (3000, 3000, 0)
    assert (channel.talk_ms, channel.talks, channel.clipped) == (0, [], 0)
    assert channel.speech_dbfs == channel.peak_dbfs == SILENT_DBFS
    assert max(channel.peaks) == 0


@pytest.mark.parametrize(
    ("amplitude", "peak_dbfs"), [(1.0, 0.0), (0.5, -6.0), (0.1, -20.0), (0.01, -40.0)]
)
def test_peak(tmp_path: Path, amplitude: float, peak_dbfs: float) -> None:
    (channel,) = measure(write_wav(tmp_path / "a.wav", tone(1, amplitude))).channels
    assert channel.peak_dbfs == pytest.approx(peak_dbfs, abs=0.05)


def test_waveform_shows_where_it_is_loud(tmp_path: Path) -> None:
    loud = np.concatenate([silence(5), tone(5, 0.25)])
    measured = measure(write_wav(tmp_path / "a.wav", loud))
    (channel,) = measured.channels
    assert len(channel.peaks) == 500
    assert set(channel.peaks[:250]) == {0}
    assert min(channel.peaks[250:]) > 250
    assert measured.scale == pytest.approx(0.25 * 32767, abs=1)


def test_waveform_has_one_scale_for_both_sides(tmp_path: Path) -> None:
    measured = measure(write_wav(tmp_path / "a.wav", tone(1, 0.5), tone(1, 0.125)))
    loud, quiet = (max(channel.peaks) for channel in measured.channels)
    assert (loud, quiet) == (255, 64)


def test_waveform_does_not_blow_up_noise(tmp_path: Path) -> None:
    (channel,) = measure(write_wav(tmp_path / "a.wav", tone(1, 0.001))).channels
    assert 0 < max(channel.peaks) < 20


def test_a_click_in_a_quiet_hour_is_seen(tmp_path: Path) -> None:
    samples = silence(3600)
    samples[8000 * 1800 + 77] = 20_000
    (channel,) = measure(write_wav(tmp_path / "a.wav", samples)).channels
    assert len(channel.peaks) == 180_000
    assert [at for at, peak in enumerate(channel.peaks) if peak] == [90_000]


def test_clipped_samples_are_counted(tmp_path: Path) -> None:
    flat = np.full(100, 32767, dtype=np.int16)
    recording = np.concatenate([tone(1, 0.5), flat, -flat, tone(1, 0.5)])
    (channel,) = measure(write_wav(tmp_path / "a.wav", recording)).channels
    assert channel.clipped == 200


def test_speech_is_found_where_somebody_speaks(tmp_path: Path) -> None:
    voice = somebody()
    spoken = np.concatenate([silence(10), voice, silence(10)])
    measured = measure(write_wav(tmp_path / "a.wav", spoken, silence(len(spoken) / 8000)))
    customer, agent = measured.channels
    assert all(talk.start_ms >= 9_900 for talk in customer.talks)
    assert all(talk.end_ms <= 10_400 + len(voice) / 8 for talk in customer.talks)
    assert customer.talk_ms > 3000
    assert (agent.talks, agent.talk_ms) == ([], 0)
    assert measured.both_ms == 0
    assert measured.silence_ms == measured.duration_ms - customer.talk_ms


def test_speech_level_is_that_of_the_speech_alone(tmp_path: Path) -> None:
    voice = somebody()
    alone = measure(write_wav(tmp_path / "a.wav", voice)).channels[0].speech_dbfs
    pauses = np.concatenate([silence(60), voice, silence(60)])
    assert measure(write_wav(tmp_path / "b.wav", pauses)).channels[0].speech_dbfs == pytest.approx(
        alone, abs=0.5
    )


def test_both_at_once(tmp_path: Path) -> None:
    voice = somebody()
    measured = measure(write_wav(tmp_path / "a.wav", voice, voice))
    assert measured.both_ms == measured.channels[0].talk_ms > 0


@pytest.mark.parametrize("samples", [1, 159, 160, 161, 239, 240, 241])
def test_shortest_recordings(tmp_path: Path, samples: int) -> None:
    measured = measure(write_wav(tmp_path / "a.wav", np.ones(samples, dtype=np.int16)))
    assert measured.duration_ms == samples // 8
    assert len(measured.channels[0].peaks) == -(-samples // 160)


def test_other_audio_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(100), 44100)
    with pytest.raises(ValueError, match="8000 Hz"):
        measure(tmp_path / "a.wav")
