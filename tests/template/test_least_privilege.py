"""No policy of the stack is wider than it has to be, whatever parameters are given."""

from typing import Any

import pytest

from tests.template.cloudformation import Json, deploy, load, of_type
from tests.template.test_template import FULL, as_list, role_statements

PARAMETERS: dict[str, dict[str, str | int]] = {
    "none": {},
    "all": FULL,
    **{f"only {name}": {name: value} for name, value in FULL.items()},
    **{f"all but {name}": {n: v for n, v in FULL.items() if n != name} for name in FULL},
    "alarms by mail": {"AlarmEmail": "on-call@example.com"},
    "existing bucket": FULL | {"ArchiveBucketName": "theirs"},
}

# What a resource may end with beyond a `*`: objects under a folder, streams of a prefix with their
# creation time, contacts of an instance. X-Ray knows no resources.
WILDCARDS = {
    "Trace": ("*",),
    "ReadMedia": ("-connect-*/*",),
    "DescribeContacts": ("/contact/*",),
    "WriteRecordings": ("recordings/*",),
    "WriteManifests": ("manifests/*",),
    "ReadTombstones": ("tombstones/*",),
    "ReadHolds": ("holds/*",),
    "HoldRecordings": ("recordings/*",),
    "HoldManifests": ("manifests/*",),
}


@pytest.fixture(scope="module", params=PARAMETERS)
def resources(request: pytest.FixtureRequest) -> dict[str, Json]:
    return deploy(PARAMETERS[request.param])


def policies(resources: dict[str, Json]) -> list[Json]:
    """Every statement of every role, queue, bucket and topic."""
    found = [statement for _, statement in role_statements(resources)]
    for kind in ("AWS::SQS::QueuePolicy", "AWS::S3::BucketPolicy", "AWS::SNS::TopicPolicy"):
        for policy in of_type(resources, kind).values():
            found += policy["PolicyDocument"]["Statement"]
    return found


def test_no_action_is_a_wildcard(resources: dict[str, Json]) -> None:
    allowed = [s for s in policies(resources) if s["Effect"] == "Allow"]
    assert [a for s in allowed for a in as_list(s["Action"]) if "*" in a] == []


def test_every_wildcard_of_a_resource_is_accounted_for(resources: dict[str, Json]) -> None:
    for statement in policies(resources):
        if statement["Effect"] == "Deny":
            continue
        for resource in as_list(statement["Resource"]):
            assert "*" not in resource or resource.endswith(WILDCARDS.get(statement["Sid"], ())), (
                statement
            )


def test_without_parameters_the_account_and_region_still_bound_it() -> None:
    by_sid = {s["Sid"]: s for _, s in role_statements(deploy({}))}
    for sid in ("ReadMedia", "DescribeContacts"):
        _, _, _, region, account, _ = by_sid[sid]["Resource"].split(":", 5)
        assert "*" not in region + account


def test_nobody_is_allowed_who_is_not_named(resources: dict[str, Json]) -> None:
    for statement in policies(resources):
        principal = statement.get("Principal")
        assert statement["Effect"] == "Deny" or principal in (
            None,
            {"Service": "events.amazonaws.com"},
            {"Service": "cloudwatch.amazonaws.com"},
        )


def test_a_service_is_allowed_for_one_source_of_this_account(resources: dict[str, Json]) -> None:
    for statement in policies(resources):
        if statement["Effect"] == "Allow" and "Principal" in statement:
            keys = {key for operator in statement["Condition"].values() for key in operator}
            assert keys == {"aws:SourceArn", "aws:SourceAccount"}


def test_no_managed_policies_and_no_policies_of_their_own_kind(resources: dict[str, Json]) -> None:
    for role in of_type(resources, "AWS::IAM::Role").values():
        assert "ManagedPolicyArns" not in role
    kinds = {resource["Type"] for resource in resources.values()}
    assert not {k for k in kinds if k.startswith("AWS::IAM::")} - {"AWS::IAM::Role"}


def test_functions_have_the_roles_written_here() -> None:
    functions: list[Any] = [
        r for r in load()["Resources"].values() if r["Type"] == "AWS::Serverless::Function"
    ]
    assert all("Role" in f["Properties"] and "Policies" not in f["Properties"] for f in functions)
