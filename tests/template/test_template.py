"""What the stack would be: who may do what, what is encrypted, and the functions' environment."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from call_archive.config import read_flow_settings
from call_archive.errors import ConfigurationError
from call_archive.retry import POLICY
from tests.template.cloudformation import (
    ACCOUNT,
    REGION,
    TEMPLATE,
    Json,
    deploy,
    deploy_stack,
    load,
    of_type,
    refusals,
    translate,
)

SRC = Path(__file__).parents[2] / "src"
INSTANCE = f"arn:aws:connect:{REGION}:{ACCOUNT}:instance/0f8a3b1c-5d2e-4f60-9a71-b2c3d4e5f607"
MEDIA_KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/11111111-2222-3333-4444-555555555555"
ARCHIVE_KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/66666666-7777-8888-9999-000000000000"
RECORD_KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/22222222-3333-4444-5555-666666666666"
RECORD_STREAM = f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/contact-records"
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:on-call"
REDRIVE_ROLE = f"arn:aws:iam::{ACCOUNT}:role/operators/redrive"
FULL: dict[str, str | int] = {
    "ConnectInstanceArn": INSTANCE,
    "StreamPrefix": "ivr",
    "MediaKmsKeyArn": MEDIA_KEY,
    "ContactRecordStreamArn": RECORD_STREAM,
    "ContactRecordKmsKeyArn": RECORD_KEY,
    "ArchivePrefix": "calls/",
    "ArchiveKmsKeyArn": ARCHIVE_KEY,
    "RetentionDays": 365,
    "AlarmTopicArn": TOPIC,
    "RedriveRoleArn": REDRIVE_ROLE,
}


@pytest.fixture(scope="module")
def minimal() -> dict[str, Json]:
    return deploy({})


@pytest.fixture(scope="module")
def full() -> dict[str, Json]:
    return deploy(FULL)


@pytest.fixture(scope="module", params=["minimal", "full"])
def stack(request: pytest.FixtureRequest) -> dict[str, Json]:
    resources: dict[str, Json] = request.getfixturevalue(request.param)
    return resources


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def role_statements(stack: dict[str, Json]) -> Iterator[tuple[str, Json]]:
    for role_id, role in of_type(stack, "AWS::IAM::Role").items():
        for policy in role["Policies"]:
            for statement in policy["PolicyDocument"]["Statement"]:
                yield role_id, statement


def statement(stack: dict[str, Json], role_id: str, sid: str) -> Json:
    return next(s for r, s in role_statements(stack) if (r, s["Sid"]) == (role_id, sid))


def actions(stack: dict[str, Json], role_id: str) -> set[str]:
    return {a for r, s in role_statements(stack) if r == role_id for a in as_list(s["Action"])}


class TestFunctions:
    def test_the_handlers_exist(self, stack: dict[str, Json]) -> None:
        for function in of_type(stack, "AWS::Lambda::Function").values():
            module, _, name = function["Handler"].rpartition(".")
            source = (SRC / module.replace(".", "/")).with_suffix(".py")
            tree = ast.parse(source.read_text())
            assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}

    def test_they_are_named_as_the_design_says(self, stack: dict[str, Json]) -> None:
        handlers = {
            logical_id: function["Handler"]
            for logical_id, function in of_type(stack, "AWS::Lambda::Function").items()
        }
        assert handlers == {
            "FlowFunction": "call_archive.flow_handler.handler",
            "ArchiveFunction": "call_archive.archive_handler.handler",
        }

    def test_runtime_time_and_memory(self, stack: dict[str, Json]) -> None:
        functions = of_type(stack, "AWS::Lambda::Function")
        assert {f["Runtime"] for f in functions.values()} == {"python3.13"}
        assert {tuple(f["Architectures"]) for f in functions.values()} == {("x86_64",)}
        assert {name: (f["Timeout"], f["MemorySize"]) for name, f in functions.items()} == {
            "FlowFunction": (8, 512),
            "ArchiveFunction": (600, 256),
        }

    @pytest.mark.parametrize(("executions", "reserved"), [(0, None), (14, "14")])
    def test_executions_are_reserved_for_the_function_that_a_caller_waits_for(
        self, executions: int, reserved: str | None
    ) -> None:
        functions = of_type(
            deploy({"FlowReservedConcurrency": executions}), "AWS::Lambda::Function"
        )
        assert functions["FlowFunction"].get("ReservedConcurrentExecutions") == reserved
        # MaximumConcurrency bounds the other one, and throttles nothing.
        assert "ReservedConcurrentExecutions" not in functions["ArchiveFunction"]

    def test_disk_holds_the_longest_recording(self, stack: dict[str, Json]) -> None:
        functions = of_type(stack, "AWS::Lambda::Function")
        longest = 24 * 3600 * 8000 * 2 * 2  # a contact's 24 hours, stereo
        size_mb = functions["ArchiveFunction"]["EphemeralStorage"]["Size"]
        assert longest < size_mb * 2**20 < 2 * longest

    def test_environment_is_the_contract(self) -> None:
        functions = of_type(deploy(FULL | {"Tracks": "both"}), "AWS::Lambda::Function")
        shared = {
            "ARCHIVE_BUCKET": "<ArchiveBucket>",
            "ARCHIVE_PREFIX": "calls/",
            "ARCHIVE_TRACKS": "both",
            "CONNECT_INSTANCE_ARN": INSTANCE,
            "POWERTOOLS_SERVICE_NAME": "call-archive",
            "POWERTOOLS_METRICS_NAMESPACE": "CallArchive",
            "POWERTOOLS_LOG_LEVEL": "INFO",
        }
        assert functions["FlowFunction"]["Environment"]["Variables"] == shared | {
            "ARCHIVE_QUEUE_URL": "<ArchiveQueue>"
        }
        assert functions["ArchiveFunction"]["Environment"]["Variables"] == shared | {
            "ARCHIVE_KMS_KEY_ARN": ARCHIVE_KEY,
            "ARCHIVE_ENCRYPTION_HEADER": "",
            "FAILED_JOBS_QUEUE_URL": "<FailedJobsQueue>",
            "MALLOC_ARENA_MAX": "1",
        }

    def test_an_endpoint_can_be_given_locally_and_is_never_deployed(
        self, stack: dict[str, Json]
    ) -> None:
        declared = load()["Globals"]["Function"]["Environment"]["Variables"]
        assert declared["AWS_ENDPOINT_URL"] == {"Ref": "AWS::NoValue"}
        for function in of_type(stack, "AWS::Lambda::Function").values():
            assert not [n for n in function["Environment"]["Variables"] if n.startswith("AWS_")]

    def test_logs_are_kept_for_a_time_and_are_json(self, stack: dict[str, Json]) -> None:
        groups = of_type(stack, "AWS::Logs::LogGroup")
        for function in of_type(stack, "AWS::Lambda::Function").values():
            logging = function["LoggingConfig"]
            assert logging["LogFormat"] == "JSON"
            assert int(groups[logging["LogGroup"].strip("<>")]["RetentionInDays"]) == 30

    def test_they_are_traced(self, stack: dict[str, Json]) -> None:
        for function in of_type(stack, "AWS::Lambda::Function").values():
            assert function["TracingConfig"] == {"Mode": "Active"}

    def test_an_existing_bucket_is_used(self) -> None:
        resources = deploy({"ArchiveBucketName": "kept-elsewhere"})
        for function in of_type(resources, "AWS::Lambda::Function").values():
            assert function["Environment"]["Variables"]["ARCHIVE_BUCKET"] == "kept-elsewhere"
        assert not of_type(resources, "AWS::S3::Bucket")
        assert not of_type(resources, "AWS::S3::BucketPolicy")
        for sid, folder in (("WriteRecordings", "recordings"), ("WriteManifests", "manifests")):
            assert statement(resources, "ArchiveRole", sid)["Resource"] == (
                f"arn:aws:s3:::kept-elsewhere/{folder}/*"
            )


class TestRoles:
    def test_no_action_has_a_wildcard(self, stack: dict[str, Json]) -> None:
        assert not [a for _, s in role_statements(stack) for a in as_list(s["Action"]) if "*" in a]

    def test_only_tracing_is_for_any_resource(self, stack: dict[str, Json]) -> None:
        anywhere = {s["Sid"] for _, s in role_statements(stack) if "*" in as_list(s["Resource"])}
        assert anywhere == {"Trace"}

    def test_they_carry_no_managed_policies(self, stack: dict[str, Json]) -> None:
        for role in of_type(stack, "AWS::IAM::Role").values():
            assert "ManagedPolicyArns" not in role

    def test_only_the_service_assumes_them(self, full: dict[str, Json]) -> None:
        trusted = {
            role_id: [s["Principal"] for s in role["AssumeRolePolicyDocument"]["Statement"]]
            for role_id, role in of_type(full, "AWS::IAM::Role").items()
        }
        assert trusted == {
            "FlowRole": [{"Service": "lambda.amazonaws.com"}],
            "ArchiveRole": [{"Service": "lambda.amazonaws.com"}],
            "ContactRecordRole": [{"Service": "pipes.amazonaws.com"}],
        }

    def test_each_function_has_its_own(self, stack: dict[str, Json]) -> None:
        functions = of_type(stack, "AWS::Lambda::Function")
        assert functions["FlowFunction"]["Role"] == "<FlowRole.Arn>"
        assert functions["ArchiveFunction"]["Role"] == "<ArchiveRole.Arn>"

    def test_the_flow_function_can_only_queue(self, stack: dict[str, Json]) -> None:
        assert actions(stack, "FlowRole") == {
            "sqs:SendMessage",
            "logs:CreateLogStream",
            "logs:PutLogEvents",
            "xray:PutTraceSegments",
            "xray:PutTelemetryRecords",
        }
        assert statement(stack, "FlowRole", "QueueJobs")["Resource"] == "<ArchiveQueue.Arn>"

    def test_the_archive_function_can_do_what_it_does(self, full: dict[str, Json]) -> None:
        assert actions(full, "ArchiveRole") == {
            "sqs:ReceiveMessage",
            "sqs:DeleteMessage",
            "sqs:GetQueueAttributes",
            "sqs:ChangeMessageVisibility",
            "sqs:SendMessage",
            "kinesisvideo:GetDataEndpoint",
            "kinesisvideo:ListFragments",
            "kinesisvideo:GetMediaForFragmentList",
            "kms:Decrypt",
            "kms:GenerateDataKey",
            "connect:DescribeContact",
            "s3:PutObject",
            "s3:PutObjectTagging",
            "s3:PutObjectVersionTagging",
            "s3:GetObject",
            "s3:AbortMultipartUpload",
            "s3:PutObjectLegalHold",
            "s3:ListBucket",
            "logs:CreateLogStream",
            "logs:PutLogEvents",
            "xray:PutTraceSegments",
            "xray:PutTelemetryRecords",
        }

    def test_and_only_there(self, full: dict[str, Json]) -> None:
        resources = {
            s["Sid"]: s["Resource"] for r, s in role_statements(full) if r == "ArchiveRole"
        }
        assert resources == {
            "TakeJobs": "<ArchiveQueue.Arn>",
            "ReportFailedJobs": "<FailedJobsQueue.Arn>",
            "ReadMedia": f"arn:aws:kinesisvideo:{REGION}:{ACCOUNT}:stream/ivr-connect-*/*",
            "DecryptMedia": MEDIA_KEY,
            "DescribeContacts": f"{INSTANCE}/contact/*",
            "WriteRecordings": "arn:aws:s3:::<ArchiveBucket>/calls/recordings/*",
            "WriteManifests": "arn:aws:s3:::<ArchiveBucket>/calls/manifests/*",
            "ReadTombstones": "arn:aws:s3:::<ArchiveBucket>/calls/tombstones/*",
            "ReadHolds": "arn:aws:s3:::<ArchiveBucket>/calls/holds/*",
            "HoldRecordings": "arn:aws:s3:::<ArchiveBucket>/calls/recordings/*",
            "HoldManifests": "arn:aws:s3:::<ArchiveBucket>/calls/manifests/*",
            "TellMissingFromForbidden": "arn:aws:s3:::<ArchiveBucket>",
            "EncryptRecordings": ARCHIVE_KEY,
            "WriteLogs": "<ArchiveLogGroup.Arn>",
            "Trace": "*",
        }

    def test_listing_is_bound_to_our_prefixes(self, full: dict[str, Json]) -> None:
        listing = statement(full, "ArchiveRole", "TellMissingFromForbidden")
        assert listing["Condition"] == {
            "StringLikeIfExists": {"s3:prefix": ["calls/recordings/*", "calls/manifests/*"]}
        }

    def test_without_parameters_no_key_and_any_connect_stream_of_the_account(
        self, minimal: dict[str, Json]
    ) -> None:
        assert not [a for a in actions(minimal, "ArchiveRole") if a.startswith("kms:")]
        assert statement(minimal, "ArchiveRole", "ReadMedia")["Resource"] == (
            f"arn:aws:kinesisvideo:{REGION}:{ACCOUNT}:stream/*-connect-*/*"
        )
        assert statement(minimal, "ArchiveRole", "DescribeContacts")["Resource"] == (
            f"arn:aws:connect:{REGION}:{ACCOUNT}:instance/*/contact/*"
        )


class TestConnect:
    def test_only_this_instance_may_invoke_the_flow_function(self, full: dict[str, Json]) -> None:
        assert list(of_type(full, "AWS::Lambda::Permission").values()) == [
            {
                "FunctionName": "<FlowFunction>",
                "Action": "lambda:InvokeFunction",
                "Principal": "connect.amazonaws.com",
                "SourceAccount": ACCOUNT,
                "SourceArn": INSTANCE,
            }
        ]

    def test_or_any_of_this_account(self, minimal: dict[str, Json]) -> None:
        (permission,) = of_type(minimal, "AWS::Lambda::Permission").values()
        assert permission["SourceAccount"] == ACCOUNT
        assert "SourceArn" not in permission

    def test_the_function_is_offered_to_the_instances_flows(
        self, minimal: dict[str, Json], full: dict[str, Json]
    ) -> None:
        assert list(of_type(full, "AWS::Connect::IntegrationAssociation").values()) == [
            {
                "InstanceId": INSTANCE,
                "IntegrationType": "LAMBDA_FUNCTION",
                "IntegrationArn": "<FlowFunction.Arn>",
            }
        ]
        assert not of_type(minimal, "AWS::Connect::IntegrationAssociation")


class TestQueues:
    def test_they_are_encrypted(self, stack: dict[str, Json]) -> None:
        queues = of_type(stack, "AWS::SQS::Queue")
        assert queues.keys() == {"ArchiveQueue", "FailedJobsQueue"}
        assert all(queue["SqsManagedSseEnabled"] is True for queue in queues.values())

    def test_they_are_reached_over_tls_only(self, stack: dict[str, Json]) -> None:
        policies = of_type(stack, "AWS::SQS::QueuePolicy").values()
        for policy in policies:
            (queue,) = policy["Queues"]
            assert {
                "Sid": "OnlyOverTls",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "sqs:*",
                "Resource": f"<{queue.strip('<>')}.Arn>",
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            } in policy["PolicyDocument"]["Statement"]
        assert {q for p in policies for q in p["Queues"]} == {"<ArchiveQueue>", "<FailedJobsQueue>"}

    def test_a_job_that_keeps_failing_ends_with_the_failed_ones(
        self, stack: dict[str, Json]
    ) -> None:
        queues = of_type(stack, "AWS::SQS::Queue")
        jobs, failed = queues["ArchiveQueue"], queues["FailedJobsQueue"]
        assert jobs["RedrivePolicy"] == {
            "deadLetterTargetArn": "<FailedJobsQueue.Arn>",
            "maxReceiveCount": 15,
        }
        assert jobs["RedrivePolicy"]["maxReceiveCount"] > POLICY.give_up_at_receive
        assert failed["RedriveAllowPolicy"] == {
            "redrivePermission": "byQueue",
            "sourceQueueArns": [f"arn:aws:sqs:{REGION}:{ACCOUNT}:{jobs['QueueName']}"],
        }
        assert failed["MessageRetentionPeriod"] == 14 * 86_400 > jobs["MessageRetentionPeriod"]

    def test_a_job_is_hidden_for_as_long_as_its_run_may_last(self, stack: dict[str, Json]) -> None:
        function = of_type(stack, "AWS::Lambda::Function")["ArchiveFunction"]
        queue = of_type(stack, "AWS::SQS::Queue")["ArchiveQueue"]
        assert queue["VisibilityTimeout"] > function["Timeout"]

    def test_a_run_takes_one_job_and_reports_which_failed(self, stack: dict[str, Json]) -> None:
        (mapping,) = of_type(stack, "AWS::Lambda::EventSourceMapping").values()
        assert mapping["EventSourceArn"] == "<ArchiveQueue.Arn>"
        assert mapping["BatchSize"] == 1
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]

    def test_a_new_account_has_executions_left_for_callers(self) -> None:
        """Such an account has 10, and refuses to reserve any: at least 100 stay unreserved."""
        resources = deploy({})
        (mapping,) = of_type(resources, "AWS::Lambda::EventSourceMapping").values()
        assert int(mapping["ScalingConfig"]["MaximumConcurrency"]) <= 10 / 2
        for function in of_type(resources, "AWS::Lambda::Function").values():
            assert "ReservedConcurrentExecutions" not in function

    @pytest.mark.parametrize(
        ("parameters", "senders"),
        [
            ({}, ["<FlowRole.Arn>"]),
            (FULL, ["<FlowRole.Arn>", "<ContactRecordRole.Arn>", REDRIVE_ROLE]),
        ],
        ids=["minimal", "full"],
    )
    def test_only_our_senders_queue_jobs(
        self, parameters: dict[str, str | int], senders: list[str]
    ) -> None:
        policy = of_type(deploy(parameters), "AWS::SQS::QueuePolicy")["ArchiveQueuePolicy"]
        _, deny, allow = policy["PolicyDocument"]["Statement"]
        assert (deny["Effect"], deny["Principal"], deny["Action"]) == (
            "Deny",
            "*",
            "sqs:SendMessage",
        )
        assert deny["Condition"] == {
            "ArnNotLike": {"aws:PrincipalArn": senders},
            "BoolIfExists": {"aws:PrincipalIsAWSService": "false"},
        }
        assert (allow["Effect"], allow["Principal"], allow["Action"]) == (
            "Allow",
            {"Service": "events.amazonaws.com"},
            "sqs:SendMessage",
        )

    def test_events_come_from_our_rule_only(self, stack: dict[str, Json]) -> None:
        for policy in of_type(stack, "AWS::SQS::QueuePolicy").values():
            allowed = [s for s in policy["PolicyDocument"]["Statement"] if s["Effect"] == "Allow"]
            assert [s["Condition"] for s in allowed] == [
                {
                    "ArnEquals": {"aws:SourceArn": "<DisconnectRule.Arn>"},
                    "StringEquals": {"aws:SourceAccount": ACCOUNT},
                }
            ]


class TestTriggers:
    def test_a_contact_event_of_the_instance_becomes_a_job(self, full: dict[str, Json]) -> None:
        (rule,) = of_type(full, "AWS::Events::Rule").values()
        assert rule["State"] == "ENABLED"
        assert rule["EventPattern"] == {
            "source": ["aws.connect"],
            "detail-type": ["Amazon Connect Contact Event", "Connect Customer Contact Event"],
            "account": [ACCOUNT],
            "detail": {
                "eventType": ["DISCONNECTED"],
                "channel": ["VOICE", "Voice"],
                "instanceArn": [INSTANCE, INSTANCE.replace("arn:aws:", "arn:aws::")],
            },
        }
        (target,) = rule["Targets"]
        assert target["Arn"] == "<ArchiveQueue.Arn>"
        assert target["DeadLetterConfig"] == {"Arn": "<FailedJobsQueue.Arn>"}

    def test_without_an_instance_events_of_all_count(self, minimal: dict[str, Json]) -> None:
        (rule,) = of_type(minimal, "AWS::Events::Rule").values()
        assert "instanceArn" not in rule["EventPattern"]["detail"]

    def test_they_can_be_turned_off(self) -> None:
        (rule,) = of_type(deploy({"ArchiveOnDisconnect": "false"}), "AWS::Events::Rule").values()
        assert rule["State"] == "DISABLED"

    def test_contact_records_are_piped_when_asked_for(
        self, minimal: dict[str, Json], full: dict[str, Json]
    ) -> None:
        (pipe,) = of_type(full, "AWS::Pipes::Pipe").values()
        assert (pipe["Source"], pipe["Target"]) == (RECORD_STREAM, "<ArchiveQueue.Arn>")
        assert re.findall(r"<([^>]+)>", pipe["TargetParameters"]["InputTemplate"]) == [
            "$.data.ContactId",
            "$.data.InitialContactId",
            "$.data.InstanceARN",
            "$.data.DisconnectTimestamp",
            "$.data.Recordings",
        ]
        assert not of_type(minimal, "AWS::Pipes::Pipe")


class TestBucket:
    def test_nobody_outside_sees_it(self, stack: dict[str, Json]) -> None:
        bucket = of_type(stack, "AWS::S3::Bucket")["ArchiveBucket"]
        assert bucket["PublicAccessBlockConfiguration"] == {
            "BlockPublicAcls": True,
            "BlockPublicPolicy": True,
            "IgnorePublicAcls": True,
            "RestrictPublicBuckets": True,
        }
        assert bucket["OwnershipControls"] == {
            "Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]
        }

    def test_it_is_reached_over_tls_only(self, stack: dict[str, Json]) -> None:
        policy = of_type(stack, "AWS::S3::BucketPolicy")["ArchiveBucketPolicy"]
        deny = policy["PolicyDocument"]["Statement"][0]
        assert (deny["Effect"], deny["Principal"], deny["Action"]) == ("Deny", "*", "s3:*")
        assert deny["Resource"] == ["<ArchiveBucket.Arn>", "<ArchiveBucket.Arn>/*"]
        assert deny["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}

    def test_it_is_encrypted(self, minimal: dict[str, Json], full: dict[str, Json]) -> None:
        rules = [
            of_type(resources, "AWS::S3::Bucket")["ArchiveBucket"]["BucketEncryption"]
            for resources in (minimal, full)
        ]
        assert rules == [
            {
                "ServerSideEncryptionConfiguration": [
                    {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
                ]
            },
            {
                "ServerSideEncryptionConfiguration": [
                    {
                        "ServerSideEncryptionByDefault": {
                            "SSEAlgorithm": "aws:kms",
                            "KMSMasterKeyID": ARCHIVE_KEY,
                        },
                        "BucketKeyEnabled": True,
                    }
                ]
            },
        ]

    def test_it_outlives_the_stack_and_an_overwrite(self, stack: dict[str, Json]) -> None:
        bucket = stack["ArchiveBucket"]
        assert (bucket["DeletionPolicy"], bucket["UpdateReplacePolicy"]) == (
            "RetainExceptOnCreate",
            "Retain",
        )
        assert bucket["Properties"]["VersioningConfiguration"] == {"Status": "Enabled"}

    def test_its_policy_stays_with_it(self, stack: dict[str, Json]) -> None:
        policy, bucket = stack["ArchiveBucketPolicy"], stack["ArchiveBucket"]
        for attribute in ("DeletionPolicy", "UpdateReplacePolicy"):
            assert policy[attribute] == bucket[attribute]

    def test_unfinished_uploads_are_removed(self, stack: dict[str, Json]) -> None:
        bucket = of_type(stack, "AWS::S3::Bucket")["ArchiveBucket"]
        assert {
            "Id": "abort-incomplete-uploads",
            "Status": "Enabled",
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
        } in bucket["LifecycleConfiguration"]["Rules"]

    def test_recordings_expire_only_when_asked_for(
        self, minimal: dict[str, Json], full: dict[str, Json]
    ) -> None:
        kept, expiring = (
            of_type(resources, "AWS::S3::Bucket")["ArchiveBucket"]["LifecycleConfiguration"]
            for resources in (minimal, full)
        )
        assert not [rule for rule in kept["Rules"] if "ExpirationInDays" in rule]
        expire = [rule for rule in expiring["Rules"] if "ExpirationInDays" in rule]
        assert {int(rule["ExpirationInDays"]) for rule in expire} == {365}
        # Never the marks of what is erased or held.
        assert [rule["Prefix"] for rule in expire] == ["calls/recordings/", "calls/manifests/"]

    def test_what_was_replaced_or_deleted_is_gone_in_the_end(
        self, minimal: dict[str, Json], full: dict[str, Json]
    ) -> None:
        for resources, days in ((minimal, 30), (full, 1)):
            bucket = of_type(resources, "AWS::S3::Bucket")["ArchiveBucket"]
            assert {
                "Id": "remove-replaced-versions",
                "Status": "Enabled",
                "NoncurrentVersionExpiration": {"NoncurrentDays": days},
                "ExpiredObjectDeleteMarker": True,
            } in bucket["LifecycleConfiguration"]["Rules"]


LOCKED: dict[str, str | int] = {"ObjectLock": "for-ever"}
GOVERNED = LOCKED | {"ObjectLockMode": "GOVERNANCE", "ObjectLockDays": 30}
COMPLIANT = LOCKED | {
    "ObjectLockMode": "COMPLIANCE",
    "ObjectLockDays": 2555,
    "ConfirmComplianceDays": 2555,
}


class TestObjectLock:
    def test_it_is_not_enabled_unless_asked_for(self, stack: dict[str, Json]) -> None:
        bucket = of_type(stack, "AWS::S3::Bucket")["ArchiveBucket"]
        assert not {name for name in bucket if "ObjectLock" in name}

    def test_it_locks_nothing_by_itself(self) -> None:
        bucket = of_type(deploy(LOCKED), "AWS::S3::Bucket")["ArchiveBucket"]
        assert bucket["ObjectLockEnabled"] is True
        assert bucket["ObjectLockConfiguration"] == {"ObjectLockEnabled": "Enabled"}
        assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}

    @pytest.mark.parametrize("parameters", [GOVERNED, COMPLIANT])
    def test_a_default_retention(self, parameters: dict[str, str | int]) -> None:
        bucket = of_type(deploy(parameters), "AWS::S3::Bucket")["ArchiveBucket"]
        default = bucket["ObjectLockConfiguration"]["Rule"]["DefaultRetention"]
        assert default["Mode"] == parameters["ObjectLockMode"]
        assert int(default["Days"]) == parameters["ObjectLockDays"]

    @pytest.mark.parametrize("parameters", [{}, LOCKED, GOVERNED, COMPLIANT])
    def test_what_is_accepted(self, parameters: dict[str, str | int]) -> None:
        assert refusals(parameters) == []

    @pytest.mark.parametrize(
        ("parameters", "says"),
        [
            (LOCKED | {"ArchiveBucketName": "theirs"}, "enable it on that bucket yourself"),
            (GOVERNED | {"ObjectLock": "no"}, "need ObjectLock=for-ever"),
            (GOVERNED | {"ObjectLockDays": 0}, "ObjectLockMode needs ObjectLockDays"),
            (GOVERNED | {"ObjectLockMode": "none"}, "ObjectLockDays needs ObjectLockMode"),
            (COMPLIANT | {"ConfirmComplianceDays": 0}, "not even the root user"),
            (COMPLIANT | {"ConfirmComplianceDays": 255}, "not even the root user"),
        ],
    )
    def test_what_is_refused(self, parameters: dict[str, str | int], says: str) -> None:
        (message,) = refusals(parameters)
        assert says in message

    def test_its_description_says_that_it_cannot_be_undone(self) -> None:
        parameter = load()["Parameters"]["ObjectLock"]
        assert parameter["AllowedValues"] == ["no", "for-ever"]
        assert "cannot be undone" in parameter["Description"]


class TestParameters:
    def test_each_is_described_and_grouped(self) -> None:
        template = load()
        interface = template["Metadata"]["AWS::CloudFormation::Interface"]
        grouped = [name for group in interface["ParameterGroups"] for name in group["Parameters"]]
        assert sorted(grouped) == sorted(template["Parameters"])
        assert interface["ParameterLabels"].keys() == template["Parameters"].keys()
        assert all(parameter["Description"] for parameter in template["Parameters"].values())

    @pytest.mark.parametrize("name", FULL)
    def test_patterns_take_what_these_tests_deploy(self, name: str) -> None:
        parameter = load()["Parameters"][name]
        assert re.search(parameter.get("AllowedPattern", ""), str(FULL[name]))
        assert re.search(parameter.get("AllowedPattern", ""), str(parameter["Default"]))

    def test_a_prefix_that_the_functions_take_can_be_given_and_no_longer_one(self) -> None:
        longest = load()["Parameters"]["ArchivePrefix"]["MaxLength"]
        prefix = "x" * (longest - 1) + "/"
        environment = {
            "ARCHIVE_BUCKET": "calls",
            "ARCHIVE_PREFIX": prefix,
            "ARCHIVE_QUEUE_URL": "https://sqs",
        }
        assert read_flow_settings(environment).location.prefix == prefix
        with pytest.raises(ConfigurationError):
            read_flow_settings(environment | {"ARCHIVE_PREFIX": "x" + prefix})

    @pytest.mark.parametrize("prefix", ["calls", "/", "calls//", "*/", "${x}/"])
    def test_a_prefix_that_would_change_the_policies_is_refused(self, prefix: str) -> None:
        assert not re.search(load()["Parameters"]["ArchivePrefix"]["AllowedPattern"], prefix)


# Characters that a name may have: SQS 80; CloudWatch 255; Connect 127; Athena 128; CloudWatch Logs
# and Glue 255 (the services' API references).
NAME_LIMITS = {
    "AWS::SQS::Queue": ("QueueName", 80),
    "AWS::CloudWatch::Alarm": ("AlarmName", 255),
    "AWS::CloudWatch::Dashboard": ("DashboardName", 255),
    "AWS::Connect::ContactFlow": ("Name", 127),
    "AWS::Athena::NamedQuery": ("Name", 128),
    "AWS::Logs::QueryDefinition": ("Name", 255),
}


class TestNames:
    @pytest.mark.parametrize(("length", "fits"), [(1, True), (68, True), (69, False)])
    def test_the_longest_name_of_a_stack(self, length: int, fits: bool) -> None:
        resources = deploy(FULL | {"SampleFlow": "voicemail"}, {"AWS::StackName": "c" * length})
        named = [
            (resource["Type"], len(resource["Properties"][NAME_LIMITS[resource["Type"]][0]]))
            for resource in resources.values()
            if resource["Type"] in NAME_LIMITS
        ]
        assert {kind for kind, _ in named} == NAME_LIMITS.keys()
        assert all(length <= NAME_LIMITS[kind][1] for kind, length in named) == fits

    def test_the_deployment_guide_says_so(self) -> None:
        assert "**68 characters**" in (TEMPLATE.parent / "docs/deployment.md").read_text()

    @pytest.mark.parametrize(
        ("partition", "region", "console"),
        [
            ("aws", "eu-west-2", "eu-west-2.console.aws.amazon.com"),
            ("aws-us-gov", "us-gov-west-1", "us-gov-west-1.console.amazonaws-us-gov.com"),
            ("aws-cn", "cn-north-1", "cn-north-1.console.amazonaws.cn"),
        ],
    )
    def test_the_dashboard_is_in_the_console_of_its_partition(
        self, partition: str, region: str, console: str
    ) -> None:
        place = {"AWS::Partition": partition, "AWS::Region": region}
        stack = deploy_stack(translate({}), {}, place)
        assert stack.outputs["DashboardUrl"]["Value"] == (
            f"https://{console}/cloudwatch/home?region={region}#dashboards/dashboard/call-archive"
        )
        if partition != "aws":
            assert "arn:aws:" not in json.dumps(stack.resources)
