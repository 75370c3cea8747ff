"""What the rehearsal decides without I/O: comparison, diagnosis, cost; and the bucket's lock."""

import hashlib
import io
import time
import wave
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from call_archive.recording.manifest import Manifest, read_manifest
from call_archive_cli.doctor import Verdict
from call_archive_cli.rehearsal import waiting
from call_archive_cli.rehearsal.comparison import Archived, Check, compare
from call_archive_cli.rehearsal.costs import estimate
from call_archive_cli.rehearsal.diagnosis import Facts, diagnose
from call_archive_cli.rehearsal.leftovers import clean
from call_archive_cli.rehearsal.plan import lock_of, place_of
from call_archive_cli.rehearsal.script import Script, build_script, read_voices
from call_archive_cli.rehearsal.steps import Report, Step, StepError
from local.stack import NAME
from tests.cli.rehearsal.conftest import World
from tests.support.manifests import older_manifest

SCRIPT: Script = build_script(read_voices(), "run", "instance", 1_767_258_000_000)
KEY = "arn:aws:kms:eu-west-2:123456789012:key/1"
PLACE = {"atMs": 1, "lengthMs": 2, "track": "AUDIO_FROM_CUSTOMER"}
TAGS = {"instance-id": "instance", "complete": "true"}


def wav(pcm: bytes, channels: int = 1) -> bytes:
    """A WAV by Python's own module."""
    file = io.BytesIO()
    with wave.open(file, "wb") as recording:
        recording.setnchannels(channels)
        recording.setsampwidth(2)
        recording.setframerate(8000)
        recording.writeframes(pcm)
    return file.getvalue()


def manifest_of(recording: bytes, **changes: Any) -> Manifest:
    """The manifest of a right recording, written by hand; changed at the top level."""
    written = older_manifest(
        contactId=SCRIPT.archived.contact_id,
        bytes=len(recording),
        sha256=hashlib.sha256(recording).hexdigest(),
        fragments=fragments(accepted=11),
    )
    return read_manifest({**written, **changes})


def fragments(accepted: int) -> dict[str, Any]:
    return {**older_manifest()["fragments"], "accepted": accepted}


def archived(recording: bytes, **changes: Any) -> Archived:
    found = Archived(manifest_of(recording), recording, (TAGS, TAGS), ("AES256", "AES256"))
    return replace(found, **changes)


def checks(found: Archived, *, stereo: bool = False, encryption: str = "") -> dict[str, Check]:
    told = compare(found, SCRIPT, stereo=stereo, instance_id="instance", encryption=encryption)
    return {check.name: check for check in told}


@pytest.mark.parametrize("stereo", [False, True])
def test_what_was_said_is_good(stereo: bool) -> None:
    customer, agent = SCRIPT.archived.voices
    pcm = customer
    if stereo:
        pairs = zip(customer[::2], customer[1::2], agent[::2], agent[1::2], strict=True)
        pcm = bytes(byte for frame in pairs for byte in frame)
    told = checks(archived(wav(pcm, 2 if stereo else 1)), stereo=stereo)
    assert {check.is_good for check in told.values()} == {True}
    assert len(told) == 5


def test_each_kind_of_wrong_recording_is_told_apart() -> None:
    pcm = SCRIPT.archived.voices.customer
    assert (
        "the header is not"
        in checks(archived(wav(pcm, 1)[:4] + b"\0" + wav(pcm)[5:]))["recording"].seen
    )
    assert "bytes of audio, not" in checks(archived(wav(pcm[:-2])))["recording"].seen
    late = pcm[:16_000] + bytes([pcm[16_000] ^ 1]) + pcm[16_001:]
    assert checks(archived(wav(late)))["recording"].seen == "differs from sample 8,000 on (1.000 s)"
    assert checks(archived(wav(SCRIPT.archived.voices.agent)))["recording"].is_good is False


@pytest.mark.parametrize("other", SCRIPT.others)
@pytest.mark.parametrize("voice", [0, 1])
@pytest.mark.parametrize("stereo", [False, True])
def test_a_second_of_another_contact_is_found(other: Any, voice: int, stereo: bool) -> None:
    pcm = other.voices[voice]
    seconds = [pcm[at : at + 16_384] for at in range(0, len(pcm), 16_384)]
    # A voiced one: silence is the same in every voice.
    foreign = max(seconds, key=lambda second: len(set(second)))
    own = SCRIPT.archived.voices.customer
    pcm = own[: -len(foreign)] + foreign
    if stereo:
        pcm = b"".join(own[at : at + 2] + pcm[at : at + 2] for at in range(0, len(pcm), 2))
    told = checks(archived(wav(pcm, 2 if stereo else 1)), stereo=stereo)["other contacts"]
    assert told.is_good is False
    assert other.contact_id in told.seen


@pytest.mark.parametrize(
    ("changes", "name", "seen"),
    [
        ({"tags": (TAGS, {"instance-id": "instance"})}, "tags", "the manifest has instance-id"),
        ({"tags": ({}, TAGS)}, "tags", "the recording has none"),
        ({"encryption": ("", "")}, "encryption", "not encrypted"),
    ],
)
def test_tags_and_encryption(changes: dict[str, Any], name: str, seen: str) -> None:
    told = checks(archived(wav(SCRIPT.archived.voices.customer), **changes))[name]
    assert told.is_good is False
    assert seen in told.seen
    assert told.fix


def test_the_stacks_key_has_to_be_the_one_that_encrypts() -> None:
    recording = wav(SCRIPT.archived.voices.customer)
    wanted = f"aws:kms {KEY}"
    right = archived(recording, encryption=(wanted, wanted))
    assert checks(right, encryption=wanted)["encryption"].is_good
    other = archived(recording, encryption=(wanted, f"aws:kms {KEY}2"))
    assert checks(other, encryption=wanted)["encryption"].is_good is False


def test_tags_that_may_not_be_read_are_unknown() -> None:
    told = checks(archived(wav(SCRIPT.archived.voices.customer), tags=None))["tags"]
    assert told.is_good is None
    assert "GetObjectTagging" in told.seen


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"complete": False, "reasons": ["FRAGMENTS_MISSING: x"]}, "FRAGMENTS_MISSING: x"),
        ({"complete": False}, "not complete"),
        ({"fragments": fragments(accepted=10)}, "10 fragments accepted"),
        ({"gaps": [PLACE, PLACE]}, "2 gaps"),
        ({"overlaps": [PLACE]}, "1 overlaps"),
        ({"contactId": "another"}, "another contact's id"),
        ({"bytes": 44}, "bytes are not the recording's"),
        ({"sha256": "0" * 64}, "sha256 is not the recording's"),
    ],
)
def test_manifest(change: dict[str, Any], text: str) -> None:
    recording = wav(SCRIPT.archived.voices.customer)
    found = archived(recording, manifest=manifest_of(recording, **change))
    told = checks(found)["manifest"]
    assert told.is_good is False
    assert text in told.seen


@pytest.mark.parametrize(
    ("body", "seen"),
    [
        (b"<html>", "it is not JSON"),
        (b'{"version": 2}', "install the call-archive of that version"),
        (b'{"version": 1}', "it has no fragments"),
    ],
)
def test_a_manifest_that_cannot_be_read_is_named(body: bytes, seen: str) -> None:
    with pytest.raises(StepError, match="the manifest cannot be read") as unread:
        waiting.read_manifest(body)
    assert seen in unread.value.seen
    assert unread.value.fix


def _line(message: str, code: str) -> dict[str, str]:
    return {"message": message, "code": code, "reason": f"{code}: because", "messageId": "m-1"}


@pytest.mark.parametrize(
    ("facts", "convicts", "seen"),
    [
        (
            Facts(lines=[_line("job failed", "KVS_4501")]),
            "the key of the streams: deploy with MediaKmsKeyArn",
            "messageId is m-1",
        ),
        (
            Facts(lines=[_line("job failed", "KVS_NotAuthorizedException")]),
            "ArchiveRole: deploy with the StreamPrefix and keys of this instance",
            "KVS_NotAuthorizedException",
        ),
        (
            Facts(lines=[_line("job failed", "S3_AccessDenied")]),
            "ArchiveRole or the bucket's policy",
            "S3_AccessDenied",
        ),
        (
            Facts(lines=[_line("job comes back", "S3_SlowDown")] * 3),
            "the bucket",
            "came back 3 times",
        ),
        (Facts(reserved=0, waiting=1, in_flight=0), "ArchiveFunction is throttled", "of 0"),
        (Facts(failed_before=1, failed=2), "ArchiveFunction", "FailedJobsQueue has grown"),
        (Facts(waiting=2, in_flight=0), "ArchiveFunction takes no jobs", "2 in ArchiveQueue"),
        (Facts(waiting=0, in_flight=1), "ArchiveFunction", "1 in a run, or held"),
        (Facts(waiting=0, in_flight=0), "ArchiveFunction", "the queue is empty"),
        (Facts(may_read_logs=False), "ArchiveFunction", "do not allow FilterLogEvents"),
    ],
)
def test_what_is_in_the_way(facts: Facts, convicts: str, seen: str) -> None:
    told = diagnose(facts, 300.0)
    assert told.convicts == convicts
    assert seen in told.seen
    assert told.fix


def test_progress_says_what_is_known() -> None:
    assert Facts().progress == ""
    facts = Facts(waiting=1, in_flight=2, lines=[_line("job comes back", "X")])
    assert facts.progress == "queue 1 waiting, 2 in a run; came back 1 times: X"


def test_the_cost_is_the_sum_of_what_it_says() -> None:
    cost = estimate(1_000_000_000)
    parts = [float(part.rpartition(" ")[2]) for part in cost.arithmetic.split(", ")]
    assert cost.usd == pytest.approx(sum(parts), abs=1e-5)
    assert parts[0] == pytest.approx(0.017)
    assert estimate(900_531).usd < 0.001


def test_verdicts() -> None:
    good, unknown = Step("a", "x"), Step("b", "x", verdict=Verdict.UNKNOWN)
    wrong = Step("c", "x", verdict=Verdict.WRONG, convicts="the queue")
    assert Report("stack", "rehearsal-1", [good]).is_good
    doubtful = Report("stack", "rehearsal-1", [good, unknown])
    assert doubtful.is_good
    assert "1 of 2 steps could not be proved" in doubtful.verdict
    failed = Report("stack", "rehearsal-1", [good, unknown, wrong])
    assert not failed.is_good
    assert failed.verdict == "The rehearsal failed at c: the queue."


def test_a_default_lock_is_noticed_and_what_it_keeps_is_named(world: World) -> None:
    s3, bucket = world.client("s3"), f"locked-{time.time_ns()}"
    s3.create_bucket(
        Bucket=bucket,
        ObjectLockEnabledForBucket=True,
        CreateBucketConfiguration={"LocationConstraint": "eu-west-2"},
    )
    assert lock_of(world.setup(), bucket) == ""
    rule = {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}}
    s3.put_object_lock_configuration(
        Bucket=bucket, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
    )
    assert lock_of(world.setup(), bucket) == "COMPLIANCE for 1 day"
    today = datetime.now(UTC)
    key = f"calls/recordings/{today:year=%Y/month=%m/day=%d}/rehearsal-x-2/1.wav"
    s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    place = replace(place_of(world.setup(), NAME), bucket=bucket)
    with pytest.raises(StepError) as kept:
        clean(world.clients, place, sleep=lambda _: None)
    assert key in kept.value.seen
    assert kept.value.convicts == "the bucket keeps its objects"
