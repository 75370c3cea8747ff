"""What a page says of a recording: levels, speech, waveform, marks; the audio in it is the same."""

import base64
import io
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import soundfile

from call_archive_cli.clients import Clients
from call_archive_cli.report.marks import build_marks
from call_archive_cli.report.measure import SILENT_DBFS, measure
from call_archive_cli.report.page import build_page
from call_archive_cli.report.sources import open_recordings
from local.demo_call import VOICES
from tests.report.conftest import (
    STARTED_MS,
    Samples,
    fragment_number,
    manifest,
    silence,
    tone,
    write_call,
    write_wav,
)

MADE_AT = datetime(2026, 1, 2, tzinfo=UTC)


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
    (channel,) = measure(write_wav(tmp_path / "a.wav", loud)).channels
    half = len(channel.peaks) // 2
    assert len(channel.peaks) == 4000
    assert max(channel.peaks[: half - 1]) == 0
    assert min(channel.peaks[half + 1 :]) > 0.2
    assert max(channel.peaks) == pytest.approx(0.25, abs=0.001)


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


@pytest.mark.parametrize("samples", [0, 1, 239, 240, 241])
def test_shortest_recordings(tmp_path: Path, samples: int) -> None:
    measured = measure(write_wav(tmp_path / "a.wav", np.ones(samples, dtype=np.int16)))
    assert measured.duration_ms == samples // 8
    assert len(measured.channels[0].peaks) == samples


def test_other_audio_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(100), 44100)
    with pytest.raises(ValueError, match="8000 Hz"):
        measure(tmp_path / "a.wav")


def test_marks() -> None:
    tracks = ("AUDIO_FROM_CUSTOMER", "AUDIO_TO_CUSTOMER")
    number = fragment_number(STARTED_MS + 2500)
    described = manifest(
        tracks,
        10_000,
        gaps=[{"atMs": 3000, "lengthMs": 960, "track": "AUDIO_TO_CUSTOMER"}],
        overlaps=[{"atMs": 1000, "lengthMs": 64, "track": "AUDIO_FROM_CUSTOMER"}],
    )
    described["fragments"]["missing"] = [number, fragment_number(STARTED_MS - 3_600_000), "12"]
    marks = build_marks(described)
    assert [(mark.kind, mark.start_ms, mark.length_ms, mark.channel) for mark in marks] == [
        ("overlap", 1000, 64, 0),
        ("missing", 2500, 0, None),
        ("gap", 3000, 960, 1),
    ]
    assert number in marks[1].text


def test_audio_in_the_page_is_the_recording(tmp_path: Path) -> None:
    left, right = tone(2, 0.3), tone(2, 0.4, 600)
    write_call(tmp_path, "one", left, right)
    with open_recordings(Clients(), [str(tmp_path)]) as recordings:
        page = build_page(recordings, MADE_AT)
    (encoded,) = re.findall(r'class="audio">([^<]+)<', page)
    heard, rate_hz = soundfile.read(io.BytesIO(base64.b64decode(encoded)), dtype="int16")
    assert rate_hz == 8000
    assert np.array_equal(heard, np.column_stack([left, right]))


def test_page_asks_for_nothing(tmp_path: Path) -> None:
    write_call(tmp_path, "one", tone(1, 0.3))
    with open_recordings(Clients(), [str(tmp_path)]) as recordings:
        page = build_page(recordings, MADE_AT)
    elements = re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.DOTALL)
    assert not re.findall(r"""(?:src|href)=["'](?!#)""", elements)
    assert "default-src &#39;none&#39;" in page


def test_archive_layout_finds_its_manifest(tmp_path: Path) -> None:
    day = "year=2026/month=01/day=01/contact"
    wav = write_wav(tmp_path / f"recordings/{day}/1.wav", tone(1, 0.3))
    described = tmp_path / f"manifests/{day}/1.json"
    described.parent.mkdir(parents=True)
    written = manifest(("AUDIO_FROM_CUSTOMER",), 1000)
    described.write_text(json.dumps(written))
    with open_recordings(Clients(), [str(wav)]) as (recording,):
        assert recording.manifest == written


@pytest.mark.parametrize("other", ['{"contactId": "x", "transcript": []}', "[]", "no JSON"])
def test_other_json_beside_a_recording_is_no_manifest(tmp_path: Path, other: str) -> None:
    wav = write_wav(tmp_path / "one.wav", tone(1, 0.3))
    wav.with_suffix(".json").write_text(other)
    with open_recordings(Clients(), [str(wav)]) as (recording,):
        assert recording.manifest is None
