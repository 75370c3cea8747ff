"""What a page is made of: recordings held against their manifests; bad files cost a warning."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from call_archive_cli.clients import Clients
from call_archive_cli.report.sources import Recording, State
from local.server import LocalAws
from tests.report.conftest import (
    find,
    manifest,
    problems,
    silence,
    split,
    tone,
    write_call,
    write_wav,
)

BUCKET = "recordings-of-calls"


def only(found: list[Any]) -> Recording:
    (recording,) = found
    assert isinstance(recording, Recording)
    return recording


def test_a_recording_that_is_what_its_manifest_says(tmp_path: Path) -> None:
    write_call(tmp_path, "one", tone(1, 0.3))
    recording = only(find(tmp_path))
    assert (recording.state, recording.damage) == (State.COMPLETE, "")


def test_incomplete_and_says_so(tmp_path: Path) -> None:
    write_call(tmp_path, "one", tone(1, 0.3), complete=False)
    assert only(find(tmp_path)).state is State.INCOMPLETE


def test_a_file_that_was_cut_is_not_said_to_be_complete(tmp_path: Path) -> None:
    wav = write_call(tmp_path, "one", tone(30, 0.3))
    wav.write_bytes(wav.read_bytes()[:100_000])
    recording = only(find(wav))
    assert recording.state is State.DIFFERENT
    assert recording.damage == "it has 100,000 bytes, its manifest says 480,044"


def test_one_other_byte(tmp_path: Path) -> None:
    wav = write_call(tmp_path, "one", tone(1, 0.3))
    content = bytearray(wav.read_bytes())
    content[10_000] ^= 1
    wav.write_bytes(content)
    recording = only(find(wav))
    assert recording.state is State.DIFFERENT
    assert "sha256" in recording.damage


def test_without_a_manifest_the_file_alone_speaks(tmp_path: Path) -> None:
    wav = write_wav(tmp_path / "one.wav", tone(10, 0.3))
    assert (only(find(wav)).state, only(find(wav)).damage) == (State.UNDESCRIBED, "")
    wav.write_bytes(wav.read_bytes()[:100_000])
    recording = only(find(wav))
    assert recording.state is State.UNDESCRIBED
    assert recording.damage == ("it has 100,000 bytes, its header says 160,044: it was cut short")


def test_archive_layout_finds_its_manifest(tmp_path: Path) -> None:
    day = "year=2026/month=01/day=01/contact"
    wav = write_call(tmp_path / "recordings" / day, "1", tone(1, 0.3))
    moved = tmp_path / "manifests" / day / "1.json"
    moved.parent.mkdir(parents=True)
    wav.with_suffix(".json").rename(moved)
    assert only(find(wav)).state is State.COMPLETE


@pytest.mark.parametrize("other", ['{"contactId": "x", "transcript": []}', "[]", "no JSON", ""])
def test_other_json_beside_a_recording_is_no_manifest(tmp_path: Path, other: str) -> None:
    wav = write_wav(tmp_path / "one.wav", tone(1, 0.3))
    wav.with_suffix(".json").write_text(other)
    found = find(wav)
    assert [recording.state for recording in split(found)] == [State.UNDESCRIBED]
    assert "not a manifest" in problems(found)["one.json"]


def test_one_bad_file_costs_a_warning_and_no_page(tmp_path: Path) -> None:
    write_call(tmp_path, "good", tone(1, 0.3))
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "noise.wav").write_bytes(b"this is no audio at all" * 10)
    write_wav(tmp_path / "silent.wav", silence(0))
    soundfile.write(tmp_path / "music.wav", np.zeros(100), 44_100)
    soundfile.write(tmp_path / "three.wav", np.zeros((100, 3)), 8000, subtype="PCM_16")
    described = manifest(("AUDIO_FROM_CUSTOMER",), 1000)
    (tmp_path / "gone.json").write_text(json.dumps(described))
    (tmp_path / "notes.json").write_text("{}")
    found = find(tmp_path, tmp_path / "nowhere.wav")
    assert [Path(recording.name).name for recording in split(found)] == ["good.wav"]
    assert problems(found) == {
        "empty.wav": "left out: it is empty (0 bytes)",
        "noise.wav": problems(found)["noise.wav"],
        "silent.wav": "left out: it holds no audio",
        "music.wav": "left out: it has 44100 Hz, PCM_16; a recording has 8000 Hz, PCM_16",
        "three.wav": "left out: it has 3 channels; a recording has one or two",
        "gone.json": "the recording that this manifest describes is missing",
        "nowhere.wav": "there is no such file or directory",
    }
    assert "cannot be read as a WAV" in problems(found)["noise.wav"]


def test_recordings_of_a_bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    day = "year=2026/month=01/day=01/contact"
    with LocalAws() as aws:
        s3 = aws.client("s3")
        s3.create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-2"}
        )
        described = b""
        for name in ("whole", "cut", "bare"):
            wav = write_call(tmp_path, name, tone(1, 0.3))
            content = wav.read_bytes()
            s3.put_object(
                Bucket=BUCKET,
                Key=f"recordings/{day}/{name}.wav",
                Body=content[:9000] if name == "cut" else content,
            )
            if name != "bare":
                described = wav.with_suffix(".json").read_bytes()
                s3.put_object(Bucket=BUCKET, Key=f"manifests/{day}/{name}.json", Body=described)
        s3.put_object(Bucket=BUCKET, Key=f"manifests/{day}/gone.json", Body=described)
        for name, value in {
            "AWS_ENDPOINT_URL": aws.endpoint_url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "eu-west-2",
        }.items():
            monkeypatch.setenv(name, value)
        clients = Clients()
        found = find(f"s3://{BUCKET}/recordings/{day}/", f"s3://{BUCKET}/nothing/", clients=clients)
        states = {Path(recording.name).stem: recording.state for recording in split(found)}
        assert states == {
            "whole": State.COMPLETE,
            "cut": State.DIFFERENT,
            "bare": State.UNDESCRIBED,
        }
        assert problems(found) == {
            "gone.json": "the recording that this manifest describes is missing",
            "nothing": "there is no recording (.wav) here",
        }
        one = only(find(f"s3://{BUCKET}/recordings/{day}/whole.wav", clients=clients))
        assert one.state is State.COMPLETE
