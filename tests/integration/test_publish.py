"""Who publishes when runs meet: S3Archive against moto, one step of each run at a time."""

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import IO, cast

import pytest
from moto.s3.models import s3_backends

from call_archive.aws.s3_archive import S3Archive
from call_archive.aws.s3_recording import PART_BYTES
from call_archive.errors import StorageFaultError
from call_archive.job import ArchiveJob, Trigger
from call_archive.media.pcm import Direction
from call_archive.reasons import Code, Reason
from call_archive.recording.knowledge import Held, Knowledge, Run
from call_archive.recording.manifest import (
    FragmentCounts,
    Manifest,
    RecordedCall,
    StoredRecording,
)
from call_archive.recording.publishing import (
    Answer,
    Command,
    FindRecording,
    Kept,
    Own,
    Published,
    PutManifest,
    PutRecording,
    Seen,
)
from call_archive.recording.publishing import publish as publish_steps
from local.resources import ACCOUNT_ID, Resources, create_with
from local.server import LocalAws
from tests.support.arns import INSTANCE_ARN, STREAM_ARN
from tests.support.bucket import answer_of, finish

BUCKET = "call-archive-publish"
HEADER = b"RIFF" + bytes(40)
START_MS = 1_767_258_000_000
JOB = ArchiveJob(
    contact_id="c-1",
    initial_contact_id="c-1",
    instance_arn=INSTANCE_ARN,
    stream_arn=STREAM_ARN,
    start_fragment_number=100,
    start_timestamp_ms=START_MS,
    stop_fragment_number=119,
    stop_timestamp_ms=START_MS + 20_000,
    requested_at_ms=START_MS + 20_000,
)


# Bytes of a recording for each sample of its call: one PutObject, or a multipart upload.
SCALES = {"recordings/small.wav": 1, "recordings/large.wav": 6000}


@pytest.fixture(params=SCALES)
def archive(shared_aws: LocalAws, request: pytest.FixtureRequest) -> S3Archive:
    shared_aws.reset()
    create_with(shared_aws.client("s3"), shared_aws.client("sqs"), Resources(bucket=BUCKET))
    client = shared_aws.client("s3")
    return S3Archive(client, BUCKET, request.param, "manifests/call.json", "instance-1")


def recorded(samples: int, *, complete: bool) -> RecordedCall:
    """A call of one fragment for each 100 samples; one that is not complete lacks its last."""
    accepted = samples // 100
    reasons = () if complete else (Reason(Code.GONE, "something"),)
    return RecordedCall(
        tracks=(Direction.FROM_CUSTOMER,),
        started_at_ms=START_MS,
        samples=samples,
        fragments=FragmentCounts(accepted, accepted, accepted, 0, 0, (), 99 + accepted),
        gaps=(),
        overlaps=(),
        clock_jumps=0,
        reasons=reasons,
        may_improve=not complete,
        held=Held((Run(100, 99 + accepted),), accepted),
    )


def own_of(archive: S3Archive, call: RecordedCall) -> Own:
    return Own(
        job=JOB,
        call=call,
        known=Knowledge(frozenset((119,)), START_MS + 20_000),
        size_bytes=len(HEADER) + call.samples * SCALES[archive.recording_key],
        searched_to_ms=START_MS + 20_000,
        trigger=Trigger.FLOW,
        now_ms=START_MS + 60_000,
    )


def publish(
    archive: S3Archive,
    call: RecordedCall,
    *,
    seen: Seen | None = None,
    before: Callable[[Command], None] = lambda _: None,
) -> Published | Kept:
    """One run: bytes of one value, as many as the call has samples, times the scale.

    `before` happens before each command; what it raises ends the run there, as a kill does.
    """
    seen = archive.look() if seen is None else seen

    def do(command: Command) -> Answer:
        before(command)
        return answer_of(command, archive, recording, HEADER)

    with archive.open_recording(Knowledge(frozenset((119,)))) as recording:
        recording.write(bytes([call.samples % 251]) * call.samples * SCALES[archive.recording_key])
        return finish(publish_steps(own_of(archive, call), seen), do)


class KilledError(Exception):
    """The run is killed."""


def kill_before_the_manifest(command: Command) -> None:
    if isinstance(command, PutManifest):
        raise KilledError


def leave_without_manifest(archive: S3Archive, call: RecordedCall) -> None:
    with pytest.raises(KilledError):
        publish(archive, call, before=kill_before_the_manifest)


def published_samples(archive: S3Archive) -> int:
    """The samples of the call whose recording is there."""
    answer = archive.client.head_object(Bucket=BUCKET, Key=archive.recording_key)
    return (answer["ContentLength"] - len(HEADER)) // SCALES[archive.recording_key]


def described(archive: S3Archive) -> Manifest:
    manifest = archive.look().described
    assert manifest is not None
    return manifest


def test_nothing_is_there_before_the_first_run(archive: S3Archive) -> None:
    assert archive.look() == Seen()


def test_partial_gives_way_to_complete(archive: S3Archive) -> None:
    publish(archive, recorded(1000, complete=False))
    publish(archive, recorded(2000, complete=True))
    assert described(archive).is_complete
    assert published_samples(archive) == 2000


def test_complete_stays_when_less_comes(archive: S3Archive) -> None:
    publish(archive, recorded(2000, complete=True))
    assert isinstance(publish(archive, recorded(1500, complete=False)), Kept)
    assert described(archive).is_complete
    assert published_samples(archive) == 2000


def test_more_replaces_less_although_it_is_not_complete(archive: S3Archive) -> None:
    publish(archive, recorded(1000, complete=True))
    publish(archive, recorded(1500, complete=False))
    assert not described(archive).is_complete
    assert published_samples(archive) == 1500


def test_slow_run_that_was_overtaken_keeps_the_better_recording(archive: S3Archive) -> None:
    publish(archive, recorded(1000, complete=False))
    seen_by_slow_run = archive.look()
    publish(archive, recorded(2000, complete=True))
    slow = publish(archive, recorded(1500, complete=False), seen=seen_by_slow_run)
    assert isinstance(slow, Kept)
    assert published_samples(archive) == 2000


def test_slow_run_with_more_replaces_what_was_faster(archive: S3Archive) -> None:
    publish(archive, recorded(1000, complete=False))
    publish(archive, recorded(2000, complete=True), seen=Seen())
    assert published_samples(archive) == 2000
    assert described(archive).is_complete


def test_partial_run_leaves_a_recording_that_may_get_its_manifest(archive: S3Archive) -> None:
    leave_without_manifest(archive, recorded(1500, complete=False))
    with pytest.raises(StorageFaultError, match="another run") as caught:
        publish(archive, recorded(1500, complete=False))
    assert caught.value.code == "PUBLISHED_MEANWHILE"
    assert caught.value.retryable


def grow_old(archive: S3Archive) -> None:
    """Makes the recording older than any run."""
    recording = s3_backends[ACCOUNT_ID]["aws"].get_object(BUCKET, archive.recording_key)
    assert recording is not None
    recording.last_modified -= timedelta(minutes=16)


def test_partial_run_replaces_what_a_killed_run_left_long_ago(archive: S3Archive) -> None:
    leave_without_manifest(archive, recorded(1500, complete=False))
    grow_old(archive)
    publish(archive, recorded(1500, complete=False))
    assert described(archive).fragments.accepted == 15


def test_partial_run_leaves_a_longer_recording_that_may_be_complete(archive: S3Archive) -> None:
    leave_without_manifest(archive, recorded(2000, complete=True))
    grow_old(archive)
    with pytest.raises(StorageFaultError, match="another run"):
        publish(archive, recorded(1500, complete=False))
    assert published_samples(archive) == 2000


def test_complete_run_replaces_what_a_killed_run_left(archive: S3Archive) -> None:
    leave_without_manifest(archive, recorded(1500, complete=False))
    publish(archive, recorded(2000, complete=True))
    assert published_samples(archive) == 2000


def test_recording_carries_the_stop_that_its_run_knew(archive: S3Archive) -> None:
    leave_without_manifest(archive, recorded(1500, complete=False))
    recording = archive.look().recording
    assert recording is not None
    assert recording.stops == {119}
    assert recording.age_ms < 600_000


def test_run_whose_recording_was_replaced_before_its_manifest_comes_back(
    archive: S3Archive,
) -> None:
    def overtake(command: Command) -> None:
        if isinstance(command, PutManifest):
            publish(archive, recorded(2000, complete=True))

    with pytest.raises(StorageFaultError, match="another run"):
        publish(archive, recorded(1500, complete=False), before=overtake)
    assert described(archive).is_complete
    assert published_samples(archive) == 2000


def test_run_whose_recording_was_replaced_behind_its_manifest_comes_back(
    archive: S3Archive,
) -> None:
    def overtake(command: Command) -> None:
        if isinstance(command, FindRecording):
            publish(archive, recorded(2000, complete=True))

    with pytest.raises(StorageFaultError, match="another run"):
        publish(archive, recorded(1500, complete=False), before=overtake)
    assert described(archive).is_complete


def test_manifest_without_its_recording_is_knowledge_and_nothing_else(archive: S3Archive) -> None:
    publish(archive, recorded(2000, complete=True))
    archive.client.delete_object(Bucket=BUCKET, Key=archive.recording_key)
    seen = archive.look()
    assert seen.described is None
    assert seen.knowledge.stops == {119}
    publish(archive, recorded(1500, complete=True))
    assert described(archive).fragments.accepted == 15


def test_disk_that_takes_less_than_it_was_given(archive: S3Archive) -> None:
    class Reluctant:
        """A file that takes at most 1000 bytes at a time, as a nearly full disk does."""

        def __init__(self) -> None:
            self.file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed by the recording

        def write(self, data: bytes) -> int:
            return self.file.write(data[:1000])

        def __getattr__(self, name: str) -> object:
            return getattr(self.file, name)

    reluctant = replace(archive, open_part=lambda: cast("IO[bytes]", Reluctant()))
    with reluctant.open_recording(Knowledge()) as recording:
        recording.write(b"x" * 300_000)
        recording.put(HEADER, PutRecording("", is_complete=True))
    head = archive.client.head_object(Bucket=BUCKET, Key=archive.recording_key)
    assert head["ContentLength"] == len(HEADER) + 300_000


def test_run_that_is_left_unpublished_leaves_nothing(archive: S3Archive) -> None:
    with archive.open_recording(Knowledge()) as recording:
        recording.write(bytes(3 * PART_BYTES))
    assert "Contents" not in archive.client.list_objects_v2(Bucket=BUCKET)
    assert "Uploads" not in archive.client.list_multipart_uploads(Bucket=BUCKET)


@pytest.mark.parametrize(
    "length", [0, 1, PART_BYTES - 1, PART_BYTES, 2 * PART_BYTES, 2 * PART_BYTES + 7, 4 * PART_BYTES]
)
def test_object_of_any_length_is_what_was_written(archive: S3Archive, length: int) -> None:
    pcm = bytes(range(256)) * (length // 256 + 1)
    with archive.open_recording(Knowledge()) as recording:
        for start in range(0, length, 1_000_003):
            recording.write(pcm[start : min(start + 1_000_003, length)])
        stored = recording.put(HEADER, PutRecording("", is_complete=True))
    assert isinstance(stored, StoredRecording)
    body = archive.client.get_object(Bucket=BUCKET, Key=archive.recording_key)["Body"].read()
    assert body == HEADER + pcm[:length]
    assert stored.size_bytes == len(body)
    assert stored.sha256 == hashlib.sha256(body).hexdigest()
