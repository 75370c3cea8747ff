"""The tests of publishing again, on an S3 that this repository did not write.

Over TLS, so botocore sends bodies as aws-chunked with a trailing CRC32.
"""

import uuid

import pytest

from call_archive.aws.s3_archive import S3Archive
from local.clients import REGION
from tests.emulators.ministack import MiniStack
from tests.integration import test_publish as suite
from tests.integration.test_publish import (
    test_complete_run_replaces_what_a_killed_run_left as test_complete_run_replaces_a_killed_ones,
)
from tests.integration.test_publish import (
    test_complete_stays_when_less_comes,
    test_manifest_without_its_recording_is_knowledge_and_nothing_else,
    test_more_replaces_less_although_it_is_not_complete,
    test_nothing_is_there_before_the_first_run,
    test_object_of_any_length_is_what_was_written,
    test_partial_gives_way_to_complete,
    test_partial_run_leaves_a_recording_that_may_get_its_manifest,
    test_recording_carries_the_stop_that_its_run_knew,
    test_run_that_is_left_unpublished_leaves_nothing,
    test_run_whose_recording_was_replaced_before_its_manifest_comes_back,
    test_run_whose_recording_was_replaced_behind_its_manifest_comes_back,
    test_slow_run_that_was_overtaken_keeps_the_better_recording,
    test_slow_run_with_more_replaces_what_was_faster,
)

__all__ = [
    "test_complete_run_replaces_a_killed_ones",
    "test_complete_stays_when_less_comes",
    "test_manifest_without_its_recording_is_knowledge_and_nothing_else",
    "test_more_replaces_less_although_it_is_not_complete",
    "test_nothing_is_there_before_the_first_run",
    "test_object_of_any_length_is_what_was_written",
    "test_partial_gives_way_to_complete",
    "test_partial_run_leaves_a_recording_that_may_get_its_manifest",
    "test_recording_carries_the_stop_that_its_run_knew",
    "test_run_that_is_left_unpublished_leaves_nothing",
    "test_run_whose_recording_was_replaced_before_its_manifest_comes_back",
    "test_run_whose_recording_was_replaced_behind_its_manifest_comes_back",
    "test_slow_run_that_was_overtaken_keeps_the_better_recording",
    "test_slow_run_with_more_replaces_what_was_faster",
]


@pytest.fixture(params=suite.SCALES)
def archive(
    ministack: MiniStack, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> S3Archive:
    bucket = f"publish-{uuid.uuid4()}"
    client = ministack.client("s3")
    client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    # The suite reads the bucket that it publishes into.
    monkeypatch.setattr(suite, "BUCKET", bucket)
    return S3Archive(client, bucket, request.param, "manifests/call.json", "instance-1")
