"""A stack of the last release, updated to this template: nothing is replaced, nothing is lost."""

from collections.abc import Iterator
from typing import Any

import pytest

from local.server import LocalAws
from tests.template.cloudformation import (
    LAST_RELEASE,
    Json,
    deploy_stack,
    load,
    translate,
)
from tests.template.deployer import create_stack, update_stack
from tests.template.reference import resource_schema
from tests.template.test_template import FULL, INSTANCE, MEDIA_KEY

SETTINGS: dict[str, dict[str, str | int]] = {
    "defaults": {},
    "full": FULL,
    "alarms by mail": {"AlarmEmail": "on-call@example.com"},
    "existing bucket": {"ArchiveBucketName": "theirs"},
    "voicemail": {"ConnectInstanceArn": INSTANCE, "SampleFlow": "voicemail"},
    "media streaming": {
        "ConnectInstanceArn": INSTANCE,
        "StreamPrefix": "ivr",
        "MediaKmsKeyArn": MEDIA_KEY,
        "MediaStreamRetentionHours": 24,
    },
    "no table": {"AthenaTable": "false"},
}
LOCKED: dict[str, str | int] = {"ObjectLock": "for-ever"}
GOVERNED: dict[str, str | int] = LOCKED | {"ObjectLockMode": "GOVERNANCE", "ObjectLockDays": 30}


def before_and_after(parameters: dict[str, str | int]) -> tuple[Any, Any]:
    """The stack of the last release, and of this template, with the same answers.

    `sam deploy` keeps the value of a parameter that is not given; so a changed default does not
    reach an existing stack.
    """
    old = load(LAST_RELEASE)["Parameters"]
    kept = {name: one["Default"] for name, one in old.items()} | parameters
    return (
        deploy_stack(translate(parameters, LAST_RELEASE), parameters),
        deploy_stack(translate(kept), kept),
    )


def create_only(resource: Json) -> dict[str, Any]:
    """The properties whose change makes CloudFormation replace the resource."""
    values = {}
    for pointer in resource_schema(resource["Type"]).get("createOnlyProperties", []):
        value: Any = resource
        for name in pointer.strip("/").split("/"):
            name = {"properties": "Properties"}.get(name, name)  # noqa: PLW2901 - the schema's spelling
            value = value.get(name) if isinstance(value, dict) else None
        values[pointer] = value
    return values


@pytest.mark.parametrize("settings", SETTINGS)
class TestUpdate:
    def test_no_resource_is_removed_or_replaced(self, settings: str) -> None:
        old, new = before_and_after(SETTINGS[settings])
        assert old.resources.keys() <= new.resources.keys()
        replaced = {
            name
            for name, resource in old.resources.items()
            # A saved query has no data; its text is create-only, and a better one replaces it.
            if resource["Type"] != "AWS::Athena::NamedQuery"
            and (
                new.resources[name]["Type"] != resource["Type"]
                or create_only(new.resources[name]) != create_only(resource)
            )
        }
        assert replaced == set()

    def test_no_output_is_lost(self, settings: str) -> None:
        old, new = before_and_after(SETTINGS[settings])
        assert old.outputs.keys() <= new.outputs.keys()

    def test_what_was_kept_is_kept(self, settings: str) -> None:
        old, new = before_and_after(SETTINGS[settings])
        for name, resource in old.resources.items():
            for policy in ("DeletionPolicy", "UpdateReplacePolicy"):
                if resource.get(policy) == "Retain":
                    assert new.resources[name][policy] in ("Retain", "RetainExceptOnCreate")


@pytest.mark.parametrize(("before", "after"), [({}, LOCKED), (LOCKED, {}), (LOCKED, GOVERNED)])
def test_no_answer_about_object_lock_replaces_the_bucket(
    before: dict[str, str | int], after: dict[str, str | int]
) -> None:
    """CloudFormation's schema decides: ObjectLockEnabled needed a new bucket until 2024."""
    old, new = (
        deploy_stack(translate(parameters), parameters).resources["ArchiveBucket"]
        for parameters in (before, after)
    )
    assert old != new
    assert create_only(old) == create_only(new)
    lock = {"/properties/ObjectLockEnabled", "/properties/ObjectLockConfiguration"}
    assert not lock & create_only(new).keys()


def test_every_answer_of_the_last_release_is_still_taken() -> None:
    new = load()["Parameters"]
    for name, parameter in load(LAST_RELEASE)["Parameters"].items():
        assert new[name]["Type"] == parameter["Type"]
        assert set(parameter.get("AllowedValues", [])) <= set(new[name].get("AllowedValues", []))
        for bound in ("AllowedPattern", "MinValue", "MaxValue", "MaxLength"):
            assert new[name].get(bound) == parameter.get(bound)


def test_new_parameters_have_a_default() -> None:
    assert all("Default" in parameter for parameter in load()["Parameters"].values())


@pytest.fixture(scope="module")
def aws() -> Iterator[LocalAws]:
    with LocalAws() as aws:
        yield aws


@pytest.mark.parametrize("settings", ["defaults", "full"])
def test_a_stack_of_the_last_release_is_updated_in_place(aws: LocalAws, settings: str) -> None:
    parameters = SETTINGS[settings]
    old = create_stack(aws, parameters, LAST_RELEASE)
    # Not the queue of jobs: moto would start the function in a container.
    queue, bucket = old.physical["FailedJobsQueue"], old.outputs["ArchiveBucket"]
    aws.client("sqs").send_message(QueueUrl=queue, MessageBody="waits")
    # moto takes no notice of the policy's condition, which asks for TLS.
    aws.client("s3").delete_bucket_policy(Bucket=bucket)
    aws.client("s3").put_object(Bucket=bucket, Key="recordings/1.wav", Body=b"RIFF")
    new = update_stack(aws, parameters)
    assert {"ArchiveQueue", "FailedJobsQueue", "FlowFunction.Arn"} <= new.physical.keys()
    same = new.physical.keys() & old.physical.keys()
    assert {name: new.physical[name] for name in same} == {
        name: old.physical[name] for name in same
    }
    assert old.outputs.items() <= new.outputs.items()
    (message,) = aws.client("sqs").receive_message(QueueUrl=queue)["Messages"]
    assert message["Body"] == "waits"
    assert aws.client("s3").get_object(Bucket=bucket, Key="recordings/1.wav")["Body"].read()
