"""`join` at a terminal: one clock, silence between, and what it says of its parts."""

import hashlib
import json
import wave
from pathlib import Path
from typing import Any

import pytest

from local.demo_call import INSTANCE_ARN
from tests.cli.archive import Archive
from tests.cli.conftest import Run
from tests.integration.journey import CONTACT_ID, RESOURCES

BUCKET = ("--bucket", RESOURCES.bucket)
ONE, TWO = b"\x01\x00" * 8000, b"\x02\x00" * 4000
TRANSFER_ID = "11111111-0000-4000-8000-000000000001"


def frames(path: str | Path) -> tuple[int, bytes]:
    with wave.open(str(path), "rb") as recording:
        return recording.getnchannels(), recording.readframes(recording.getnframes())


def test_parts_are_where_their_manifests_say(run: Run, archive: Archive) -> None:
    archive.put(started="2026-01-01T23:59:59.000Z", start="5", pcm=ONE)
    archive.put(started="2026-01-02T00:00:02.500Z", start="3", pcm=TWO, complete=False)
    told = run("join", CONTACT_ID, *BUCKET, "-o", "call.wav")
    assert told.exit_code == 0
    assert frames("call.wav") == (1, ONE + bytes(2 * 20_000) + TWO)
    manifest = json.loads(Path("call.json").read_text())
    assert manifest["sha256"] == hashlib.sha256(Path("call.wav").read_bytes()).hexdigest()
    assert [part["atMs"] for part in manifest["parts"]] == [0, 3500]
    assert manifest["silences"] == [{"atMs": 1000, "lengthMs": 2500}]
    assert manifest["complete"] is False
    assert "is incomplete" in told.stderr
    assert run("join", CONTACT_ID, *BUCKET, "-o", "call.wav").exit_code == 2


def test_parts_that_overlap_are_neither_cut_nor_mixed(run: Run, archive: Archive) -> None:
    archive.put(start="5", pcm=ONE)
    archive.put(started="2026-01-01T09:00:01.742Z", start="6", pcm=TWO)
    told = run("join", CONTACT_ID, *BUCKET, "-o", "call.wav", "--json")
    assert frames("call.wav")[1] == ONE + TWO
    assert json.loads(told.stdout)["parts"][1]["movedMs"] == 500
    assert "begins 500 ms before" in told.stderr


def test_related_contacts_and_what_is_erased(run: Run, archive: Archive) -> None:
    archive.put(pcm=ONE, initialContactId=CONTACT_ID, instanceArn=INSTANCE_ARN)
    archive.put(TRANSFER_ID, "2026-01-01T09:00:02.242Z", pcm=TWO, initialContactId=CONTACT_ID)
    run("join", CONTACT_ID, *BUCKET, "-o", "both.wav", "--related")
    assert frames("both.wav")[1] == ONE + TWO
    run("erase", TRANSFER_ID, *BUCKET, "--only", "--yes", "--no-wait")
    # A manifest that came back shows that there was one.
    archive.put(TRANSFER_ID, "2026-01-01T09:00:02.242Z", pcm=TWO, initialContactId=CONTACT_ID)
    told = run("join", CONTACT_ID, *BUCKET, "-o", "one.wav", "--related", "--json")
    assert frames("one.wav")[1] == ONE
    assert json.loads(told.stdout)["erasedContacts"] == [TRANSFER_ID]
    assert f"{TRANSFER_ID} is erased" in told.stderr


def test_a_damaged_part_ends_it(run: Run, archive: Archive, s3: Any) -> None:
    archive.put(start="5", pcm=ONE)
    key = archive.put(started="2026-01-01T10:00:00.000Z", start="6", pcm=TWO)
    s3.put_object(Bucket=RESOURCES.bucket, Key=key, Body=b"RIFF")
    told = run("join", CONTACT_ID, *BUCKET, "-o", "call.wav")
    assert told.exit_code == 1
    assert key in told.stderr
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(("tracks", "side"), [("AUDIO_FROM_CUSTOMER", 0), ("AUDIO_TO_CUSTOMER", 2)])
def test_mono_and_stereo(run: Run, archive: Archive, s3: Any, tracks: str, side: int) -> None:
    archive.put(start="5", pcm=ONE, tracks=[tracks])
    stereo = b"\x03\x00\x04\x00" * 800
    key = archive.put(started="2026-01-01T09:00:02.242Z", start="6", pcm=stereo)
    with wave.open("stereo.wav", "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(stereo)
    body = Path("stereo.wav").read_bytes()
    s3.put_object(Bucket=RESOURCES.bucket, Key=key, Body=body)
    manifest_key = key.replace("recordings/", "manifests/").replace(".wav", ".json")
    stored = s3.get_object(Bucket=RESOURCES.bucket, Key=manifest_key)["Body"].read()
    changed = json.loads(stored) | {
        "channels": 2,
        "bytes": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
    }
    archive.put_manifest(manifest_key, changed)
    assert run("join", CONTACT_ID, *BUCKET, "-o", "call.wav").exit_code == 0
    wide = b"\x01\x00\x00\x00" if side == 0 else b"\x00\x00\x01\x00"
    assert frames("call.wav") == (2, wide * 8000 + stereo)
