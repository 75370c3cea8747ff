"""docs/policies/rehearse.json: with it the rehearsal is green, and no action in it is too many."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from call_archive_cli.clients import Clients
from call_archive_cli.doctor import Verdict
from call_archive_cli.exits import failures
from call_archive_cli.rehearsal.steps import Report
from local.clients import REGION
from local.contact import ACCOUNT
from local.stack import BUCKET, NAME
from tests.cli.rehearsal.conftest import World

POLICY = Path(__file__).parents[3] / "docs/policies/rehearse.json"
# The local queues carry other names than a deployed stack's.
QUEUES = "stack"


def statements(without: str = "") -> list[dict[str, Any]]:
    text = POLICY.read_text().replace(
        ":sqs:REGION:ACCOUNT:STACK-*", f":sqs:REGION:ACCOUNT:{QUEUES}-*"
    )
    for placeholder, value in {
        "REGION": REGION,
        "ACCOUNT": ACCOUNT,
        "STACK": NAME,
        "BUCKET": BUCKET,
    }.items():
        text = text.replace(placeholder, value)
    found = json.loads(text)["Statement"]
    for statement in found:
        statement["Action"] = [action for action in statement["Action"] if action != without]
    return [statement for statement in found if statement["Action"]]


ACTIONS = sorted(
    action for s in json.loads(POLICY.read_text())["Statement"] for action in s["Action"]
)


@pytest.fixture
def person(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Gives the command a role with these statements and no others."""
    iam, sts = world.client("iam"), world.client("sts")
    role = f"person-{uuid.uuid4().hex[:8]}"
    iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps({"Statement": []}))
    own = world.authorization
    key = world.running.stack.parameters["MediaKmsKeyArn"]
    archive_key = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/66666666-7777-8888-9999-000000000000"
    own.kms_keys = {"arn:aws:kinesisvideo:": key, f"arn:aws:s3:::{BUCKET}": archive_key}
    own.checks.clear()

    def become(policy: list[dict[str, Any]]) -> World:
        document = json.dumps({"Version": "2012-10-17", "Statement": policy})
        iam.put_role_policy(RoleName=role, PolicyName="all", PolicyDocument=document)
        session = sts.assume_role(
            RoleArn=f"arn:aws:iam::{ACCOUNT}:role/{role}", RoleSessionName="test"
        )["Credentials"]
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", session["AccessKeyId"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", session["SecretAccessKey"])
        monkeypatch.setenv("AWS_SESSION_TOKEN", session["SessionToken"])
        return replace(world, clients=Clients(None, REGION))

    yield become
    own.kms_keys = {}
    own.checks.clear()


def test_the_rehearsal_is_green_with_it_and_asks_for_every_action(
    person: Any, world: World
) -> None:
    report = person(statements()).rehearse()
    assert report.is_good, [(s.name, s.seen) for s in report.steps if s.verdict is not Verdict.GOOD]
    assert all(step.verdict is Verdict.GOOD for step in report.steps)
    assert world.is_clean()
    asked = {check.action for check in world.authorization.checks}
    # Asked for when something is in the way only.
    at_trouble = {"lambda:GetFunctionConcurrency", "logs:FilterLogEvents"}
    assert set(ACTIONS) - at_trouble == asked - at_trouble
    assert all(check.is_allowed for check in world.authorization.checks)


def test_it_may_touch_no_other_stream_and_no_other_recording(person: Any) -> None:
    role = person(statements())
    with pytest.raises(failures()):
        role.clients.kinesis_video(REGION).create_stream(StreamName="ivr-connect-x-contact-1")
    with pytest.raises(failures()):
        role.clients.s3().get_object(Bucket=BUCKET, Key="calls/recordings/a-contact/1.wav")


def said(person: Any, action: str) -> tuple[str, Report | None]:
    """What a rehearsal without one action says, all of it."""
    try:
        report = person(statements(without=action)).rehearse(patience_s=20.0)
    except failures() as error:
        return str(error), None
    return "; ".join(f"{s.name}: {s.seen} {s.fix}" for s in report.steps), report


@pytest.mark.long
@pytest.mark.parametrize("action", ACTIONS)
def test_without_one_action_it_says_which(person: Any, action: str) -> None:
    text, report = said(person, action)
    if action in ("lambda:GetFunctionConcurrency", "logs:FilterLogEvents"):
        assert report is not None
        assert report.is_good
        return
    name = {
        "lambda:InvokeFunction": "Invoke of FlowFunction",
        "s3:ListBucket": "HeadBucket",
        "s3:ListBucketVersions": "ListObjectVersions",
        "s3:GetBucketPublicAccessBlock": "GetPublicAccessBlock",
        "s3:GetLifecycleConfiguration": "GetBucketLifecycleConfiguration",
        "s3:GetBucketObjectLockConfiguration": "GetObjectLockConfiguration",
        "s3:DeleteObjectVersion": "DeleteObject",
        "kms:GenerateDataKey": "PutMedia",
        "kms:Decrypt": "GetObject",
    }.get(action, action.partition(":")[2])
    assert name in text
