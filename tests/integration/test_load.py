"""The load tool: what it counts, and that it does not take a wrong recording for a right one."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.load.run import Load, Trigger, run_load, verify
from bench.load.workers import Crew, MeasuredFunction
from local.server import LocalAws
from tests.integration.journey import RESOURCES, Journey, call, environment
from tests.support.manifests import older_manifest

CONTACT_ID = "c-1"
WAV = b"RIFF what was said"


@pytest.mark.parametrize("trigger", ["flow", "contact"])
def test_a_small_load(trigger: Trigger) -> None:
    result = run_load(Load(trigger, jobs=2, workers=2))
    assert (result.exact, result.failed) == (2, 0)
    assert result.verified_bytes == 2 * (300 * 16_000 + 44)
    assert len(result.ages_s) == 2
    assert 0 < min(result.ages_s) <= max(result.ages_s) == result.wall_s
    assert result.requests["S3 PUT"] == 4
    assert result.requests.get("DescribeContact", 0) == (2 if trigger == "contact" else 0)
    assert result.function_cpu_s > 0
    assert all(0 < one.cpu_s < one.wall_s for one in result.invocations)


def test_runs_that_come_back_are_counted(aws: Journey, tmp_path: Path) -> None:
    """The last fragment is listed 5 s too late for the first run."""
    one = aws.place(call())
    aws.aws.clock.set_ms(one.fragments[-1].server_end_ms - 4000)
    queue_url = aws.sqs.get_queue_url(QueueName=RESOURCES.queue)["QueueUrl"]
    aws.sqs.send_message(QueueUrl=queue_url, MessageBody=json.dumps(one.archive_job()))
    with MeasuredFunction(environment(aws.aws), tmp_path / "log") as function:
        crew = Crew([function], aws.aws.client_options, queue_url)
        crew.work_off(1, within_s=60)
    first, *_, last = crew.invocations
    assert (first.receives, first.is_done) == (1, False)
    assert (last.receives, last.is_done) == (len(crew.invocations), True)
    assert last.ended_s > first.ended_s


def test_messages_that_are_never_done_with_end_the_run(aws: Journey, tmp_path: Path) -> None:
    queue_url = aws.sqs.get_queue_url(QueueName=RESOURCES.queue)["QueueUrl"]
    with MeasuredFunction(environment(aws.aws), tmp_path / "log") as function:
        crew = Crew([function], aws.aws.client_options, queue_url)
        with pytest.raises(TimeoutError):
            crew.work_off(1, within_s=0.1)


@pytest.fixture
def aws(shared_aws: LocalAws, archive_functions: Mapping[str, Any]) -> Journey:
    """An empty AWS that behaves like the service."""
    return Journey(shared_aws, archive_functions["customer"])


@pytest.mark.parametrize(
    ("changes", "exact"),
    [
        ({}, 1),
        ({"wav": b"RIFF what was not said"}, 0),
        ({"wav": None}, 0),
        ({"json": None}, 0),
        ({"json": {"complete": False}}, 0),
        ({"json": {"sha256": "0" * 64}}, 0),
        ({"second.wav": WAV}, 0),
    ],
)
def test_only_whole_recordings_with_true_manifests_are_exact(
    aws: Journey, changes: dict[str, Any], exact: int
) -> None:
    sha256 = hashlib.sha256(WAV).hexdigest()
    manifest = older_manifest(complete=True, sha256=sha256) | (changes.get("json") or {})
    contents = {"wav": WAV, **changes, "json": json.dumps(manifest).encode()}
    s3 = aws.aws.client("s3")
    for name, body in contents.items():
        if body is not None and not (name == "json" and changes.get("json", "") is None):
            key = f"recordings/year=2026/{CONTACT_ID}/1.{name}"
            s3.put_object(Bucket=RESOURCES.bucket, Key=key, Body=body)
    calls = [{"contact_id": CONTACT_ID, "sha256": sha256}]
    assert verify(s3, RESOURCES.bucket, calls) == (exact, exact * len(WAV))
