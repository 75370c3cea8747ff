"""What docs/using-recordings.md tells a reader to do, done."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.validate import ParamValidator
from moto.events.models import EventPattern

from local.clients import REGION
from tests.integration.journey import CONTACT_ID, RESOURCES, Journey, call

DOCUMENT = (Path(__file__).parents[2] / "docs/using-recordings.md").read_text()
aws_cli = pytest.mark.skipif(not shutil.which("aws"), reason="the AWS CLI is not installed")


def blocks(mark: str) -> list[str]:
    """The fenced blocks under a mark."""
    return re.findall(rf"<!-- {mark} -->\n```\w+\n(.*?)```", DOCUMENT, re.DOTALL)


def run(journey: Journey, folder: Path, script: str) -> str:
    """What a block prints; every command in it has to succeed."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=os.environ
        | {
            "AWS_ENDPOINT_URL": journey.aws.endpoint_url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": REGION,
            "BUCKET": RESOURCES.bucket,
            "CONTACT_ID": CONTACT_ID,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_block_that_claims_to_be_tried_is_tried() -> None:
    assert DOCUMENT.count("*Tried.*") == len(blocks("tried")) + len(blocks("lifecycle"))


@aws_cli
def test_commands_find_fetch_and_presign(mono: Journey, tmp_path: Path) -> None:
    assert mono.archive(mono.place(call()))
    assert mono.archive(mono.place(call(contact_id="somebody-else", first_sequence=9001)))
    find, fetch, presign = blocks("tried")
    # One contact's manifest three times, and the day's other one once.
    assert run(mono, tmp_path, find).count(".json") == 4
    digest = json.loads(
        mono.s3.get_object(Bucket=RESOURCES.bucket, Key=mono.keys()[0])["Body"].read()
    )["sha256"]
    assert run(mono, tmp_path, fetch).splitlines()[-1] == digest
    assert run(mono, tmp_path, presign).startswith(f"{mono.aws.endpoint_url}/{RESOURCES.bucket}/")


def test_rules_by_tag_are_taken(mono: Journey) -> None:
    (rules,) = blocks("lifecycle")
    mono.s3.put_bucket_lifecycle_configuration(
        Bucket=RESOURCES.bucket, LifecycleConfiguration=json.loads(rules)
    )
    kept = mono.s3.get_bucket_lifecycle_configuration(Bucket=RESOURCES.bucket)["Rules"]
    assert len(kept) == 2


KEY = "manifests/year=2026/month=01/day=01/id/9134.json"


@pytest.mark.parametrize(
    ("detail_type", "key", "matches"),
    [
        ("Object Created", KEY, True),
        ("Object Created", f"calls/production/{KEY}", True),
        ("Object Created", KEY.replace("manifests", "recordings").replace("json", "wav"), False),
        ("Object Tags Added", KEY, False),
        ("Object Deleted", KEY, False),
    ],
)
def test_rule_waits_for_manifests(detail_type: str, key: str, matches: bool) -> None:
    (pattern,) = blocks("event pattern")
    event: Any = {
        "source": "aws.s3",
        "detail-type": detail_type,
        "detail": {"bucket": {"name": "BUCKET"}, "object": {"key": key, "size": 900}},
    }
    assert EventPattern.load(pattern).matches_event(event) is matches


def test_transcription_job_is_one_that_the_service_takes() -> None:
    (job,) = blocks("transcription job")
    client = boto3.client("transcribe", region_name=REGION)
    shape = client.meta.service_model.operation_model("StartTranscriptionJob").input_shape
    assert not ParamValidator().validate(json.loads(job), shape).has_errors()


def test_policy_is_json() -> None:
    (policy,) = blocks("policy")
    assert json.loads(policy)["Version"] == "2012-10-17"
