"""Who publishes when runs meet: S3Archive against moto, one step of each run at a time."""

import hashlib
import tempfile
from dataclasses import replace
from datetime import timedelta

import pytest
from moto.s3.models import s3_backends

from call_archive.aws.s3_recording import PART_BYTES, S3Archive
from call_archive.errors import StorageFaultError
from call_archive.media.pcm import Direction
from call_archive.reasons import Code, Reason
from call_archive.recording.manifest import (
    FragmentCounts,
    PublishedManifest,
    RecordedCall,
    StoredRecording,
)
from local.resources import ACCOUNT_ID, Resources, create_resources
from local.server import LocalAws

BUCKET = "call-archive-publish"
HEADER = b"RIFF" + bytes(40)


# Bytes of a recording for each sample of its call: one PutObject, or a multipart upload.
SCALES = {"recordings/small.wav": 1, "recordings/large.wav": 6000}


@pytest.fixture(params=SCALES)
def archive(shared_aws: LocalAws, request: pytest.FixtureRequest) -> S3Archive:
    shared_aws.reset()
    create_resources(shared_aws.endpoint_url, Resources(bucket=BUCKET))
    client = shared_aws.client("s3")
    return S3Archive(client, BUCKET, request.param, "manifests/call.json", "instance-1")


def recorded(samples: int, *, complete: bool) -> RecordedCall:
    accepted = samples // 100
    return RecordedCall(
        tracks=(Direction.FROM_CUSTOMER,),
        started_at_ms=0,
        samples=samples,
        fragments=FragmentCounts(accepted, accepted, accepted, 0, 0, (), accepted),
        gaps=(),
        overlaps=(),
        clock_jumps=0,
        reasons=() if complete else (Reason(Code.NOT_DELIVERED, "something"),),
        may_improve=not complete,
    )


def manifest_of(call: RecordedCall) -> dict[str, object]:
    return {
        "complete": call.is_complete,
        "durationMs": call.duration_ms,
        "fragments": {"accepted": call.fragments.accepted, "last": str(call.fragments.last)},
    }


def commit(
    archive: S3Archive, call: RecordedCall, published: PublishedManifest | None
) -> StoredRecording:
    """The run's recording: bytes of one value, as many as the call has samples, times the scale."""
    with archive.open_recording() as recording:
        recording.write(bytes([call.samples % 251]) * call.samples * SCALES[archive.recording_key])
        return recording.commit(
            HEADER,
            replaces=published.recording_etag if published else "",
            is_complete=call.is_complete,
        )


def publish(archive: S3Archive, call: RecordedCall) -> None:
    published = archive.find_manifest()
    stored = commit(archive, call, published)
    archive.put_manifest(manifest_of(call), stored, published)


def published_samples(archive: S3Archive) -> int:
    """The samples of the call whose recording is there."""
    answer = archive.client.head_object(Bucket=BUCKET, Key=archive.recording_key)
    return (answer["ContentLength"] - len(HEADER)) // SCALES[archive.recording_key]


def test_nothing_is_there_before_the_first_run(archive: S3Archive) -> None:
    assert archive.find_manifest() is None


def test_partial_gives_way_to_complete(archive: S3Archive) -> None:
    publish(archive, recorded(1000, complete=False))
    publish(archive, recorded(2000, complete=True))
    published = archive.find_manifest()
    assert published is not None
    assert published.is_complete
    assert published_samples(archive) == 2000


def test_partial_run_that_was_overtaken_by_a_complete_one_publishes_nothing(
    archive: S3Archive,
) -> None:
    publish(archive, recorded(1000, complete=False))
    seen_by_slow_run = archive.find_manifest()
    publish(archive, recorded(2000, complete=True))
    with pytest.raises(StorageFaultError) as caught:
        commit(archive, recorded(1500, complete=False), seen_by_slow_run)
    assert caught.value.code == "PUBLISHED_MEANWHILE"
    assert caught.value.retryable
    assert published_samples(archive) == 2000


def test_partial_run_that_is_overtaken_before_the_manifest_publishes_nothing(
    archive: S3Archive,
) -> None:
    publish(archive, recorded(1000, complete=False))
    seen_by_both = archive.find_manifest()
    commit(archive, recorded(2000, complete=True), seen_by_both)
    with pytest.raises(StorageFaultError, match="another run"):
        commit(archive, recorded(1500, complete=False), archive.find_manifest())
    assert published_samples(archive) == 2000


def test_partial_run_leaves_a_recording_without_a_manifest_alone(archive: S3Archive) -> None:
    commit(archive, recorded(2000, complete=True), None)
    with pytest.raises(StorageFaultError, match="another run"):
        commit(archive, recorded(1500, complete=False), None)
    assert published_samples(archive) == 2000


def grow_old(archive: S3Archive) -> None:
    """Makes the recording older than any run."""
    recording = s3_backends[ACCOUNT_ID]["aws"].get_object(BUCKET, archive.recording_key)
    assert recording is not None
    recording.last_modified -= timedelta(minutes=16)


def test_partial_run_replaces_what_a_killed_run_left_long_ago(archive: S3Archive) -> None:
    commit(archive, recorded(1500, complete=False), None)
    grow_old(archive)
    publish(archive, recorded(1500, complete=False))
    published = archive.find_manifest()
    assert published is not None
    assert published.accepted == 15


def test_partial_run_leaves_a_longer_recording_that_may_be_complete(archive: S3Archive) -> None:
    commit(archive, recorded(2000, complete=True), None)
    grow_old(archive)
    with pytest.raises(StorageFaultError) as caught:
        commit(archive, recorded(1500, complete=False), None)
    assert caught.value.code == "PUBLISHED_MEANWHILE"
    assert published_samples(archive) == 2000


def test_complete_run_replaces_what_a_killed_run_left(archive: S3Archive) -> None:
    commit(archive, recorded(1500, complete=False), None)
    publish(archive, recorded(2000, complete=True))
    assert published_samples(archive) == 2000


def test_complete_manifest_wins_over_a_partial_one_that_was_faster(archive: S3Archive) -> None:
    complete, partial = recorded(2000, complete=True), recorded(1500, complete=False)
    stored = commit(archive, complete, None)
    archive.put_manifest(manifest_of(partial), stored, None)
    archive.put_manifest(manifest_of(complete), stored, None)
    published = archive.find_manifest()
    assert published is not None
    assert published.is_complete


def test_manifest_of_a_recording_that_was_replaced_is_not_written(archive: S3Archive) -> None:
    partial = recorded(1500, complete=False)
    replaced = commit(archive, partial, None)
    publish(archive, recorded(2000, complete=True))
    with pytest.raises(StorageFaultError, match="another run"):
        archive.put_manifest(manifest_of(partial), replaced, None)
    published = archive.find_manifest()
    assert published is not None
    assert published.is_complete


def test_slow_complete_run_never_replaces_a_longer_complete_recording(archive: S3Archive) -> None:
    publish(archive, recorded(2000, complete=True))
    with pytest.raises(StorageFaultError, match="another run"):
        commit(archive, recorded(1500, complete=True), None)
    assert published_samples(archive) == 2000


def test_manifest_without_its_recording_counts_for_nothing(archive: S3Archive) -> None:
    publish(archive, recorded(2000, complete=True))
    archive.client.delete_object(Bucket=BUCKET, Key=archive.recording_key)
    assert archive.find_manifest() is None
    publish(archive, recorded(1500, complete=True))
    published = archive.find_manifest()
    assert published is not None
    assert published.accepted == 15


def test_disk_that_takes_less_than_it_was_given(
    archive: S3Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Reluctant:
        """A file that takes at most 1000 bytes at a time, as a nearly full disk does."""

        def __init__(self) -> None:
            self.file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed by the recording

        def write(self, data: bytes) -> int:
            return self.file.write(data[:1000])

        def __getattr__(self, name: str) -> object:
            return getattr(self.file, name)

    monkeypatch.setattr("call_archive.aws.s3_recording._open_part", Reluctant)
    with archive.open_recording() as recording:
        recording.write(b"x" * 300_000)
        recording.commit(HEADER, replaces="", is_complete=True)
    head = archive.client.head_object(Bucket=BUCKET, Key=archive.recording_key)
    assert head["ContentLength"] == len(HEADER) + 300_000


def test_later_stop_fragment_makes_an_early_recording_whole() -> None:
    early = PublishedManifest(
        is_complete=True, accepted=3, last=103, duration_ms=3000, etag="", recording_etag=""
    )
    call = replace(
        recorded(80_000, complete=True), fragments=FragmentCounts(9, 9, 9, 0, 0, (), 109)
    )
    assert early.is_worse_than(call)
    assert not replace(early, accepted=9, duration_ms=10_000).is_worse_than(call)


def test_run_that_is_left_without_a_commit_leaves_nothing(archive: S3Archive) -> None:
    with archive.open_recording() as recording:
        recording.write(bytes(3 * PART_BYTES))
    assert "Contents" not in archive.client.list_objects_v2(Bucket=BUCKET)
    assert "Uploads" not in archive.client.list_multipart_uploads(Bucket=BUCKET)


@pytest.mark.parametrize(
    "length", [0, 1, PART_BYTES - 1, PART_BYTES, 2 * PART_BYTES, 2 * PART_BYTES + 7, 4 * PART_BYTES]
)
def test_object_of_any_length_is_what_was_written(archive: S3Archive, length: int) -> None:
    pcm = bytes(range(256)) * (length // 256 + 1)
    with archive.open_recording() as recording:
        for start in range(0, length, 1_000_003):
            recording.write(pcm[start : min(start + 1_000_003, length)])
        stored = recording.commit(HEADER, replaces="", is_complete=True)
    body = archive.client.get_object(Bucket=BUCKET, Key=archive.recording_key)["Body"].read()
    assert body == HEADER + pcm[:length]
    assert stored.size_bytes == len(body)
    assert stored.sha256 == hashlib.sha256(body).hexdigest()
