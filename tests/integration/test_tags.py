"""What lifecycle rules and policies see: the tags of both objects, true at every moment."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from call_archive.aws.s3_archive import S3Archive
from call_archive.aws.s3_recording import PART_BYTES
from call_archive.recording.knowledge import Knowledge
from call_archive.recording.manifest import StoredRecording
from call_archive.recording.publishing import NotPublished, PutRecording, Tag
from local.behaviour import FragmentFault
from local.demo_call import INSTANCE_ARN
from local.resources import Resources, create_resources
from local.server import LocalAws
from tests.integration.journey import RESOURCES, SETTLES, Journey, call

BUCKET = "call-archive-tags"
HEADER = b"RIFF" + bytes(40)
MANY_PARTS = 2 * PART_BYTES + 7


@pytest.fixture
def archive(shared_aws: LocalAws) -> S3Archive:
    shared_aws.reset()
    create_resources(shared_aws.endpoint_url, Resources(bucket=BUCKET))
    client = shared_aws.client("s3")
    return S3Archive(client, BUCKET, "recordings/call.wav", "manifests/call.json", "instance-1")


def commit(
    archive: S3Archive,
    length: int,
    *,
    complete: bool,
    replaces: str = "",
    meanwhile: Callable[[], None] = lambda: None,
) -> StoredRecording | NotPublished:
    """A recording, published and tagged; `meanwhile` happens when it has been begun."""
    with archive.open_recording(Knowledge()) as recording:
        for start in range(0, length, 1_000_000):
            recording.write(bytes(min(1_000_000, length - start)))
        meanwhile()
        stored = recording.put(HEADER, PutRecording(replaces, is_complete=complete))
        if isinstance(stored, StoredRecording) and stored.needs_tag:
            assert recording.tag(Tag(stored, is_complete=complete)) is None
        return stored


def tags_of(client: Any, bucket: str, key: str, **version: str) -> dict[str, str]:
    answer = client.get_object_tagging(Bucket=bucket, Key=key, **version)
    return {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}


@pytest.mark.parametrize("length", [1000, MANY_PARTS], ids=["one part", "many parts"])
@pytest.mark.parametrize(("complete", "value"), [(True, "true"), (False, "false")])
def test_recording_says_whether_it_is_complete(
    archive: S3Archive, length: int, complete: bool, value: str
) -> None:
    commit(archive, length, complete=complete)
    assert tags_of(archive.client, BUCKET, archive.recording_key) == {
        "instance-id": "instance-1",
        "complete": value,
    }


def test_both_objects_of_a_call_are_tagged(mono: Journey) -> None:
    middle = mono.place(call())
    assert mono.archive(middle)
    expected = {"instance-id": INSTANCE_ARN.rpartition("/")[2], "complete": "true"}
    keys = mono.keys()
    assert [tags_of(mono.s3, RESOURCES.bucket, key) for key in keys] == [expected] * 2


def test_so_are_those_of_one_that_is_not_complete(mono: Journey) -> None:
    middle = mono.place(call())
    lost = FragmentFault(middle.fragments[2].number, kind="left_out", times=None)
    mono.behave(fragment_faults=(lost,))
    mono.archive(middle, receives=SETTLES)
    assert mono.manifest()["complete"] is False
    keys = mono.keys()
    assert [tags_of(mono.s3, RESOURCES.bucket, key)["complete"] for key in keys] == ["false"] * 2


def test_replacing_run_tags_its_own_version(archive: S3Archive) -> None:
    first = commit(archive, MANY_PARTS, complete=False)
    assert isinstance(first, StoredRecording)
    commit(archive, MANY_PARTS, complete=True, replaces=first.etag)
    versions = archive.client.list_object_versions(Bucket=BUCKET, Prefix="recordings/")["Versions"]
    assert [
        tags_of(archive.client, BUCKET, archive.recording_key, VersionId=v["VersionId"])["complete"]
        for v in sorted(versions, key=lambda v: v["IsLatest"])
    ] == ["false", "true"]


def test_without_versions_a_recording_of_many_parts_claims_nothing(archive: S3Archive) -> None:
    bucket = "call-archive-without-versions"
    archive.client.create_bucket(
        Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-2"}
    )
    archive = replace(archive, bucket=bucket)
    commit(archive, MANY_PARTS, complete=True)
    assert tags_of(archive.client, bucket, archive.recording_key) == {"instance-id": "instance-1"}


def test_recording_that_was_not_published_tags_nobody_elses(archive: S3Archive) -> None:
    def finish_before() -> None:
        commit(archive, 1000, complete=True)

    refused = commit(archive, MANY_PARTS, complete=False, meanwhile=finish_before)
    assert refused is NotPublished.CONDITION
    assert tags_of(archive.client, BUCKET, archive.recording_key)["complete"] == "true"
