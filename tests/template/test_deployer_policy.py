"""docs/deployer-policy.json covers what CloudFormation does in the deployer's name."""

import fnmatch
import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from tests.template.cloudformation import Json, translate

POLICY = Path(__file__).parents[2] / "docs/deployer-policy.json"
MANAGED_POLICY_CHARACTERS = 6144
STACK = "call-archive"
ARN = "arn:aws:{}:REGION:123456789012:{}"

# What CloudFormation's handlers of each type call, as its resource provider schemas say, for the
# properties that the template sets; and a resource's name, as CloudFormation makes it.
NEEDS: dict[str, tuple[str, str]] = {
    "AWS::Lambda::Function": (
        ARN.format("lambda", f"function:{STACK}-FlowFunction-X1"),
        (
            "lambda:CreateFunction lambda:GetFunction lambda:GetFunctionCodeSigningConfig "
            "lambda:GetFunctionRecursionConfig lambda:GetRuntimeManagementConfig "
            "lambda:TagResource lambda:UntagResource lambda:UpdateFunctionCode "
            "lambda:UpdateFunctionConfiguration "
            "lambda:PutFunctionConcurrency lambda:DeleteFunctionConcurrency "
            "lambda:DeleteFunction"
        ),
    ),
    "AWS::Lambda::Permission": (
        ARN.format("lambda", f"function:{STACK}-FlowFunction-X1"),
        "lambda:AddPermission lambda:GetPolicy lambda:RemovePermission",
    ),
    "AWS::Lambda::EventSourceMapping": (
        ARN.format("lambda", "event-source-mapping:11111111-2222-3333-4444-555555555555"),
        (
            "lambda:CreateEventSourceMapping lambda:GetEventSourceMapping lambda:TagResource "
            "lambda:ListTags lambda:UpdateEventSourceMapping lambda:DeleteEventSourceMapping"
        ),
    ),
    "AWS::Logs::LogGroup": (
        ARN.format("logs", f"log-group:{STACK}-FlowLogGroup-X1"),
        (
            "logs:CreateLogGroup logs:DescribeLogGroups logs:PutRetentionPolicy logs:TagResource "
            "logs:ListTagsForResource logs:DeleteRetentionPolicy logs:DeleteLogGroup"
        ),
    ),
    "AWS::IAM::Role": (
        f"arn:aws:iam::123456789012:role/{STACK}-FlowRole-X1",
        (
            "iam:CreateRole iam:GetRole iam:GetRolePolicy iam:PutRolePolicy iam:TagRole "
            "iam:UntagRole "
            "iam:ListAttachedRolePolicies iam:ListRolePolicies iam:DeleteRolePolicy iam:UpdateRole "
            "iam:UpdateAssumeRolePolicy iam:DeleteRole iam:PassRole"
        ),
    ),
    "AWS::Connect::IntegrationAssociation": (
        ARN.format("connect", "instance/0f8a3b1c-5d2e-4f60-9a71-b2c3d4e5f607"),
        (
            "connect:DescribeInstance connect:AssociateLambdaFunction connect:ListLambdaFunctions "
            "connect:DisassociateLambdaFunction connect:ListIntegrationAssociations"
        ),
    ),
    "AWS::SQS::Queue": (
        ARN.format("sqs", f"{STACK}-jobs"),
        (
            "sqs:CreateQueue sqs:GetQueueAttributes sqs:GetQueueUrl sqs:ListQueueTags sqs:TagQueue "
            "sqs:SetQueueAttributes sqs:UntagQueue sqs:DeleteQueue"
        ),
    ),
    "AWS::SQS::QueuePolicy": (ARN.format("sqs", f"{STACK}-jobs"), "sqs:SetQueueAttributes"),
    "AWS::CloudWatch::Alarm": (
        ARN.format("cloudwatch", f"alarm:{STACK}-FailedJobsAlarm-X1"),
        (
            "cloudwatch:DescribeAlarms cloudwatch:PutMetricAlarm cloudwatch:TagResource "
            "cloudwatch:ListTagsForResource cloudwatch:UntagResource cloudwatch:DeleteAlarms"
        ),
    ),
    "AWS::Events::Rule": (
        ARN.format("events", f"rule/{STACK}-DisconnectRule-X1"),
        (
            "events:DescribeRule events:PutRule events:PutTargets events:TagResource "
            "events:DeleteRule "
            "events:ListTagsForResource events:ListTargetsByRule events:RemoveTargets"
        ),
    ),
    "AWS::Pipes::Pipe": (
        ARN.format("pipes", "pipe/ContactRecordPipe-X1"),
        "pipes:CreatePipe pipes:DescribePipe pipes:TagResource pipes:UpdatePipe pipes:DeletePipe",
    ),
    "AWS::S3::Bucket": (
        f"arn:aws:s3:::{STACK}-archivebucket-x1",
        (
            "s3:CreateBucket s3:ListBucket s3:PutBucketNotification s3:PutBucketOwnershipControls "
            "s3:PutBucketPublicAccessBlock s3:PutBucketTagging s3:PutBucketVersioning "
            "s3:PutEncryptionConfiguration s3:PutLifecycleConfiguration s3:GetBucketVersioning "
            "s3:GetEncryptionConfiguration s3:GetLifecycleConfiguration s3:GetBucketNotification "
            "s3:GetReplicationConfiguration s3:GetBucketTagging"
        ),
    ),
    "AWS::S3::BucketPolicy": (
        f"arn:aws:s3:::{STACK}-archivebucket-x1",
        "s3:GetBucketPolicy s3:PutBucketPolicy s3:DeleteBucketPolicy",
    ),
    "AWS::CloudWatch::Dashboard": (
        f"arn:aws:cloudwatch::123456789012:dashboard/{STACK}",
        "cloudwatch:GetDashboard cloudwatch:PutDashboard cloudwatch:DeleteDashboards",
    ),
    "AWS::Connect::ContactFlow": (
        ARN.format("connect", "instance/0f8a3b1c-5d2e-4f60-9a71-b2c3d4e5f607/contact-flow/X1"),
        (
            "connect:CreateContactFlow connect:TagResource connect:DescribeContactFlow "
            "connect:UpdateContactFlowContent connect:UpdateContactFlowMetadata "
            "connect:DeleteContactFlow"
        ),
    ),
    "AWS::Connect::InstanceStorageConfig": (
        ARN.format("connect", "instance/0f8a3b1c-5d2e-4f60-9a71-b2c3d4e5f607"),
        (
            "connect:AssociateInstanceStorageConfig connect:DescribeInstance "
            "connect:DescribeInstanceStorageConfig connect:ListInstanceStorageConfigs "
            "connect:UpdateInstanceStorageConfig connect:DisassociateInstanceStorageConfig "
            "ds:DescribeDirectories"
        ),
    ),
    "AWS::KMS::Key": (
        ARN.format("kms", "key/11111111-2222-3333-4444-555555555555"),
        (
            "kms:CreateKey kms:EnableKeyRotation kms:PutKeyPolicy kms:TagResource kms:DescribeKey "
            "kms:GetKeyPolicy kms:GetKeyRotationStatus kms:ListResourceTags kms:ScheduleKeyDeletion"
        ),
    ),
    "AWS::Logs::QueryDefinition": (
        "*",
        "logs:PutQueryDefinition logs:DescribeQueryDefinitions logs:DeleteQueryDefinition",
    ),
    "AWS::SNS::Topic": (
        ARN.format("sns", f"{STACK}-AlarmTopic-X1"),
        (
            "sns:CreateTopic sns:GetTopicAttributes sns:Subscribe sns:TagResource sns:DeleteTopic "
            "sns:ListSubscriptionsByTopic sns:ListTagsForResource sns:GetDataProtectionPolicy "
            "sns:SetTopicAttributes sns:Unsubscribe"
        ),
    ),
    "AWS::SNS::TopicPolicy": (
        ARN.format("sns", f"{STACK}-AlarmTopic-X1"),
        "sns:SetTopicAttributes",
    ),
    "AWS::Glue::Database": (
        ARN.format("glue", "database/call_archive"),
        "glue:CreateDatabase glue:GetDatabase glue:UpdateDatabase glue:DeleteDatabase",
    ),
    "AWS::Glue::Table": (
        ARN.format("glue", "table/call_archive/manifests"),
        "glue:CreateTable glue:GetTable glue:UpdateTable glue:DeleteTable",
    ),
    "AWS::Athena::NamedQuery": (
        ARN.format("athena", "workgroup/primary"),
        "athena:CreateNamedQuery athena:GetNamedQuery athena:DeleteNamedQuery",
    ),
}
# What handlers call on resources of another service than their type's.
ELSEWHERE: dict[str, tuple[tuple[str, str], ...]] = {
    "AWS::Connect::InstanceStorageConfig": (
        (
            ARN.format("kms", "key/11111111-2222-3333-4444-555555555555"),
            "kms:DescribeKey kms:CreateGrant kms:RetireGrant",
        ),
        (
            "arn:aws:iam::123456789012:role/aws-service-role/connect.amazonaws.com/X1",
            "iam:PutRolePolicy",
        ),
    )
}
# Their services have no resource to bind these to.
WITHOUT_RESOURCE = {"kms:CreateKey", "logs:PutQueryDefinition", "logs:DeleteQueryDefinition"}


@cache
def policy() -> Json:
    document: Json = json.loads(POLICY.read_text())
    return document


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def allows(action: str, resource: str) -> bool:
    return any(
        any(fnmatch.fnmatchcase(action, pattern) for pattern in as_list(statement["Action"]))
        and any(fnmatch.fnmatchcase(resource, p) for p in as_list(statement["Resource"]))
        for statement in policy()["Statement"]
    )


def types_in_template() -> set[str]:
    return {resource["Type"] for resource in translate({})["Resources"].values()}


@pytest.mark.parametrize("resource_type", sorted(types_in_template()))
def test_every_type_can_be_made_and_removed(resource_type: str) -> None:
    if resource_type in NEEDS:
        arn, actions = NEEDS[resource_type]
        assert not [action for action in actions.split() if not allows(action, arn)]
        return
    service = resource_type.split("::")[1]
    prefix = service.lower()
    verbs = {
        action.partition(":")[2]
        for statement in policy()["Statement"]
        for action in as_list(statement["Action"])
        if action.startswith(prefix + ":")
    }
    assert any(verb.startswith(("Create", "Put", "Associate", "Set", "*")) for verb in verbs)
    assert any(verb.startswith(("Delete", "Disassociate", "Set", "*")) for verb in verbs)


@pytest.mark.parametrize("resource_type", ELSEWHERE)
def test_what_a_type_uses_elsewhere_is_allowed(resource_type: str) -> None:
    for arn, actions in ELSEWHERE[resource_type]:
        assert not [action for action in actions.split() if not allows(action, arn)]


def test_sam_delete_looks_for_a_companion_stack_and_empties_its_bucket() -> None:
    """The companion, of container images, is STACK-HASH-CompanionStack; there need not be one."""
    companion = ARN.format("cloudformation", f"stack/{STACK}-1a2b3c4d-CompanionStack/X1")
    assert allows("cloudformation:DescribeStacks", companion)
    assert not allows("cloudformation:DeleteStack", companion)
    packages = "arn:aws:s3:::aws-sam-cli-managed-default-samclisourcebucket-x1/call-archive/1a2b"
    assert allows("s3:DeleteObject", packages)


def test_no_type_is_described_that_is_not_in_the_template() -> None:
    assert NEEDS.keys() <= types_in_template()


def test_actions_exist() -> None:
    """By cfn-lint's list of all services' actions; names there are in lower case."""
    known = json.loads(
        (files("cfnlint") / "data/AdditionalSpecs/Policies.json").read_text(encoding="utf-8")
    )
    for statement in policy()["Statement"]:
        for action in as_list(statement["Action"]):
            service, _, verb = action.lower().partition(":")
            assert fnmatch.filter(known[service]["Actions"], verb), action


def test_nothing_of_others_can_be_changed() -> None:
    """What is allowed everywhere reads, or is bound to the stack's functions by its condition."""
    for statement in policy()["Statement"]:
        if "*" in as_list(statement["Resource"]) and "Condition" not in statement:
            for action in as_list(statement["Action"]):
                verb = action.partition(":")[2]
                reads = verb.startswith(("Describe", "Get", "List", "Validate"))
                assert reads or action in WITHOUT_RESOURCE, action


def test_it_fits_into_a_managed_policy() -> None:
    compact = "".join(POLICY.read_text().split())
    assert len(compact) <= MANAGED_POLICY_CHARACTERS


def test_the_stack_has_the_name_that_the_policy_is_written_for() -> None:
    samconfig = (POLICY.parents[1] / "samconfig.toml").read_text()
    assert f'stack_name = "{STACK}"' in samconfig
