"""`doctor`: a set-up that is right, and each of its parts broken once."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from call_archive_cli.clients import Clients
from call_archive_cli.doctor import (
    DEFAULT_STREAMS,
    Setup,
    _lets_in,
    _read_quota,
    judge_function,
)
from local.behaviour import CallFault
from local.demo_call import INSTANCE_ARN
from local.server import LocalAws
from local.stack import PARAMETERS, TEMPLATE
from tests.cli.archive import Archive
from tests.cli.conftest import Run
from tests.cli.stack import BUCKET, INSTANCE_ID, NAME, PREFIX, Stack, deploy
from tests.integration.journey import call

type Break = Callable[[Stack], Any]

ALL_GOOD = [
    "retention",
    "stream prefix",
    "media key",
    "existing streams",
    "stream quota",
    "FlowFunction",
    "ArchiveFunction",
    "association",
    "permission",
    "archive queue",
    "failed jobs",
    "redrive role",
    "event source",
    "contact events",
    "bucket",
    "public access",
    "unfinished uploads",
    "encryption",
    "object lock",
    "alarms",
]


@pytest.fixture
def stack(aws: LocalAws) -> Stack:
    topic = aws.client("sns").create_topic(Name="alarms")["TopicArn"]
    aws.client("sns").subscribe(TopicArn=topic, Protocol="sms", Endpoint="+441234567890")
    role = aws.client("iam").create_role(RoleName="operators", AssumeRolePolicyDocument="{}")
    deployed = deploy(aws, AlarmTopicArn=topic, RedriveRoleArn=role["Role"]["Arn"])
    key = deployed.client("kms").create_key()["KeyMetadata"]["Arn"]
    give_key(deployed, key, parameter=key)
    return deployed


def give_key(stack: Stack, key: str, *, parameter: str) -> None:
    """The streams' key, and the one that ArchiveFunction may use."""
    encryption = {"EncryptionType": "KMS", "KeyId": key}
    stack.aws.connect.instances.stream_media(INSTANCE_ID, EncryptionConfig=encryption)
    client = stack.client("cloudformation")
    described = client.describe_stacks(StackName=NAME)["Stacks"][0]["Parameters"]
    client.update_stack(
        StackName=NAME,
        UsePreviousTemplate=True,
        Parameters=[
            {
                "ParameterKey": entry["ParameterKey"],
                "ParameterValue": parameter
                if entry["ParameterKey"] == "MediaKmsKeyArn"
                else entry["ParameterValue"],
            }
            for entry in described
        ],
    )


def findings(run: Run, *arguments: str) -> tuple[int, dict[str, dict[str, str]]]:
    result = run("--stack", NAME, "doctor", "--json", *arguments)
    return result.exit_code, {each["subject"]: each for each in json.loads(result.stdout)}


def test_nothing_is_wrong(run: Run, stack: Stack) -> None:
    exit_code, found = findings(run, "--strict")
    assert {name: each["verdict"] for name, each in found.items()} == dict.fromkeys(
        ALL_GOOD, "good"
    )
    assert exit_code == 0


def _stream(**video: Any) -> Break:
    def break_it(stack: Stack) -> None:
        instances = stack.aws.connect.instances
        config = instances.storage[INSTANCE_ID][0]["KinesisVideoStreamConfig"]
        instances.stream_media(INSTANCE_ID, **config | video)

    return break_it


def _disable_key(stack: Stack) -> None:
    key = stack.client("kms").create_key()["KeyMetadata"]
    stack.client("kms").disable_key(KeyId=key["KeyId"])
    give_key(stack, key["Arn"], parameter=key["Arn"])


def _another_key(stack: Stack) -> None:
    key = stack.client("kms").create_key()["KeyMetadata"]["Arn"]
    give_key(stack, key, parameter="")


def _remove_permission(stack: Stack) -> None:
    functions = stack.client("lambda")
    name = stack.resources["FlowFunction"]
    policy = json.loads(functions.get_policy(FunctionName=name)["Policy"])
    functions.remove_permission(FunctionName=name, StatementId=policy["Statement"][0]["Sid"])


def _permit_another_instance(stack: Stack) -> None:
    _remove_permission(stack)
    stack.client("lambda").add_permission(
        FunctionName=stack.resources["FlowFunction"],
        StatementId="other",
        Action="lambda:InvokeFunction",
        Principal="connect.amazonaws.com",
        SourceArn=INSTANCE_ARN[:-1] + "0",
    )


def _disable_mapping(stack: Stack) -> None:
    stack.client("lambda").update_event_source_mapping(
        UUID=stack.resources["ArchiveFunctionJobs"], Enabled=False
    )


def _fail_a_job(stack: Stack) -> None:
    stack.client("sqs").send_message(QueueUrl=stack.resources["FailedJobsQueue"], MessageBody="{}")


def _delete_queue(stack: Stack) -> None:
    stack.client("sqs").delete_queue(QueueUrl=stack.resources["ArchiveQueue"])


def _delete_key(stack: Stack) -> None:
    key = stack.client("kms").create_key()["KeyMetadata"]
    stack.client("kms").schedule_key_deletion(KeyId=key["KeyId"])
    give_key(stack, key["Arn"], parameter=key["Arn"])


def _place_stream(stack: Stack) -> None:
    stack.aws.place(call(), retention_hours=1)


def _delete_function(stack: Stack) -> None:
    stack.client("lambda").delete_function(FunctionName=stack.resources["ArchiveFunction"])


def _delete_role(stack: Stack) -> None:
    stack.client("iam").delete_role(RoleName="operators")


def _unsubscribe(stack: Stack) -> None:
    sns = stack.client("sns")
    for subscription in sns.list_subscriptions()["Subscriptions"]:
        sns.unsubscribe(SubscriptionArn=subscription["SubscriptionArn"])


def _lifecycle(**changes: Any) -> Break:
    def change(stack: Stack) -> None:
        rule = {
            "ID": "abort",
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
        }
        stack.client("s3").put_bucket_lifecycle_configuration(
            Bucket=BUCKET, LifecycleConfiguration={"Rules": [rule | changes]}
        )

    return change


@pytest.mark.parametrize(
    ("subject", "verdict", "break_it", "fix"),
    [
        (
            "media streaming",
            "wrong",
            lambda stack: stack.aws.connect.instances.storage.clear(),
            "enable it",
        ),
        ("retention", "wrong", _stream(RetentionPeriodHours=0), "set 24 hours"),
        ("retention", "doubtful", _stream(RetentionPeriodHours=1), "set 24 hours"),
        (
            "stream prefix",
            "wrong",
            _stream(Prefix="ivr-connect-demo-contact-"),
            "deploy with StreamPrefix=ivr",
        ),
        ("media key", "wrong", _disable_key, "enable the key"),
        ("media key", "wrong", _another_key, "deploy with MediaKmsKeyArn=arn:aws:kms"),
        (
            "association",
            "wrong",
            lambda stack: stack.aws.connect.instances.functions.clear(),
            "add it",
        ),
        ("permission", "wrong", _remove_permission, "REVERT_DRIFT"),
        ("permission", "wrong", _permit_another_instance, "deploy with ConnectInstanceArn"),
        ("failed jobs", "wrong", _fail_a_job, "redrive"),
        ("archive queue", "wrong", _delete_queue, "REVERT_DRIFT"),
        ("media key", "wrong", _delete_key, "first aws kms cancel-key-deletion"),
        ("existing streams", "doubtful", _place_stream, "update-data-retention"),
        ("ArchiveFunction", "wrong", _delete_function, "REVERT_DRIFT"),
        ("redrive role", "wrong", _delete_role, "another RedriveRoleArn"),
        ("alarms", "wrong", _unsubscribe, "subscribe in SNS"),
        ("unfinished uploads", "doubtful", _lifecycle(Status="Disabled"), "lifecycle rule"),
        (
            "unfinished uploads",
            "doubtful",
            _lifecycle(Filter={"Prefix": "logs/"}),
            "abort incomplete multipart uploads",
        ),
        ("tombstones", "wrong", _lifecycle(Expiration={"Days": 365}), "narrow the rule"),
        (
            "holds",
            "wrong",
            _lifecycle(Expiration={"Days": 365}, Filter={"Prefix": "calls/holds/"}),
            "narrow the rule",
        ),
        ("event source", "wrong", _disable_mapping, "--enabled"),
        (
            "contact events",
            "doubtful",
            lambda stack: stack.client("events").disable_rule(
                Name=stack.resources["DisconnectRule"]
            ),
            "aws events enable-rule",
        ),
        (
            "bucket",
            "wrong",
            lambda stack: stack.client("s3").delete_bucket(Bucket=BUCKET),
            "REVERT_DRIFT",
        ),
        (
            "public access",
            "wrong",
            lambda stack: stack.client("s3").delete_public_access_block(Bucket=BUCKET),
            "Block public access",
        ),
        (
            "unfinished uploads",
            "doubtful",
            lambda stack: stack.client("s3").delete_bucket_lifecycle(Bucket=BUCKET),
            "lifecycle rule",
        ),
    ],
)
def test_each_part_broken(
    run: Run, stack: Stack, subject: str, verdict: str, break_it: Break, fix: str
) -> None:
    break_it(stack)
    exit_code, found = findings(run)
    assert found[subject]["verdict"] == verdict
    assert fix in found[subject]["fix"]
    assert exit_code == (1 if verdict == "wrong" else 0)
    if verdict == "doubtful":
        assert findings(run, "--strict")[0] == 1


def lock(stack: Stack, *, mode: str = "", days: int = 0) -> None:
    rule = {"Rule": {"DefaultRetention": {"Mode": mode, "Days": days}}} if mode else {}
    stack.client("s3").put_object_lock_configuration(
        Bucket=BUCKET, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", **rule}
    )


@pytest.mark.parametrize(
    ("asked", "real", "verdict", "says"),
    [
        ({}, {}, "doubtful", "ObjectLock was set back, or was enabled outside of the stack"),
        ({"ObjectLock": "for-ever"}, {}, "good", "on"),
        ({"ObjectLock": "for-ever"}, None, "wrong", "nothing can be held"),
        (
            {"ObjectLock": "for-ever"},
            {"mode": "COMPLIANCE", "days": 30},
            "doubtful",
            "COMPLIANCE for 30 days: no request to erase can be met before, and the stack does not",
        ),
        (
            {"ObjectLock": "for-ever", "ObjectLockMode": "GOVERNANCE", "ObjectLockDays": "1"},
            {"mode": "GOVERNANCE", "days": 1},
            "good",
            "on; every new object is locked, GOVERNANCE for 1 day",
        ),
    ],
)
def test_object_lock_is_what_the_stack_says(
    run: Run,
    aws: LocalAws,
    asked: dict[str, str],
    real: dict[str, Any] | None,
    verdict: str,
    says: str,
) -> None:
    deployed = deploy(aws, **asked)
    if real is not None:
        lock(deployed, **real)
    found = findings(run)[1]["object lock"]
    assert found["verdict"] == verdict
    assert says in found["text"]


def deploy_theirs(aws: LocalAws, **parameters: str) -> None:
    """A stack called `theirs`, which writes into the bucket of the other one."""
    template = json.loads(json.dumps(TEMPLATE))
    del template["Resources"]["ArchiveBucket"]
    template["Outputs"]["ArchiveBucket"] = {"Value": {"Ref": "ArchiveBucketName"}}
    aws.client("cloudformation").create_stack(
        StackName="theirs",
        TemplateBody=json.dumps(template),
        Parameters=[
            {"ParameterKey": name, "ParameterValue": value}
            for name, value in (PARAMETERS | {"ArchiveBucketName": BUCKET} | parameters).items()
        ],
    )


def test_a_bucket_of_the_users_own_may_have_a_lock(run: Run, aws: LocalAws) -> None:
    lock(deploy(aws))
    deploy_theirs(aws)
    result = run("--stack", "theirs", "doctor", "--json")
    (found,) = (each for each in json.loads(result.stdout) if each["subject"] == "object lock")
    assert (found["verdict"], found["text"]) == ("good", "on")


def make_keys(aws: LocalAws) -> dict[str, str]:
    """Keys of the account by what is wrong with them."""
    kms = aws.client("kms")
    names = ("asked", "another", "disabled", "dying")
    keys: dict[str, str] = {name: kms.create_key()["KeyMetadata"]["Arn"] for name in names}
    kms.disable_key(KeyId=keys["disabled"].rpartition("/")[2])
    kms.schedule_key_deletion(KeyId=keys["dying"].rpartition("/")[2])
    kms.create_alias(AliasName="alias/calls", TargetKeyId=keys["asked"])
    return keys


def set_default(aws: LocalAws, algorithm: str, key: str) -> None:
    default = {"SSEAlgorithm": algorithm} | ({"KMSMasterKeyID": key} if key else {})
    aws.client("s3").put_bucket_encryption(
        Bucket=BUCKET,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": default}]
        },
    )


@pytest.mark.parametrize(
    ("asked", "default", "own", "theirs", "says"),
    [
        # Nothing is asked for: the bucket decides.
        ("", "AES256", "good", "good", "a key of AWS, the bucket's default"),
        ("", "aws:kms", "good", "good", "a key of AWS, the bucket's default"),
        ("", "another", "doubtful", "doubtful", "deploy with ArchiveKmsKeyArn={another}"),
        ("", "disabled", "wrong", "wrong", "aws kms enable-key --key-id {disabled}"),
        # SSE-S3 is asked for.
        ("AES256", "AES256", "good", "good", "as every write says"),
        ("AES256", "another", "doubtful", "doubtful", "recordings are not written with that key"),
        ("AES256", "disabled", "doubtful", "doubtful", "every write names SSE-S3"),
        # A key is asked for.
        ("asked", "asked", "good", "good", "{asked}, also the bucket's default"),
        ("asked", "alias/calls", "good", "good", "{asked}, also the bucket's default"),
        ("asked", "another", "doubtful", "good", "the bucket's default is {another}"),
        ("asked", "AES256", "doubtful", "good", "the bucket's default is a key of AWS"),
        ("asked", "disabled", "doubtful", "good", "the bucket's default is {disabled}"),
        ("disabled", "disabled", "wrong", "wrong", "aws kms enable-key --key-id {disabled}"),
        ("dying", "AES256", "wrong", "wrong", "cancel-key-deletion --key-id {dying}"),
    ],
)
def test_the_buckets_encryption_is_compared_with_what_is_asked(
    run: Run, aws: LocalAws, asked: str, default: str, own: str, theirs: str, says: str
) -> None:
    keys = make_keys(aws)
    parameters = {
        "ArchiveKmsKeyArn": keys.get(asked, ""),
        "ArchiveEncryptionHeader": asked if asked == "AES256" else "none",
    }
    deploy(aws, **parameters)
    deploy_theirs(aws, **parameters)
    is_kms = default != "AES256"
    set_default(
        aws,
        "aws:kms" if is_kms else default,
        keys.get(default, default if default.startswith("alias/") else ""),
    )
    for stack, verdict in ((NAME, own), ("theirs", theirs)):
        result = run("--stack", stack, "doctor", "--json")
        (found,) = (each for each in json.loads(result.stdout) if each["subject"] == "encryption")
        assert found["verdict"] == verdict, stack
        assert says.format(**keys) in f"{found['text']} {found['fix']}"


def test_what_may_not_be_asked_is_said_and_the_rest_goes_on(run: Run, stack: Stack) -> None:
    refusals = tuple(
        CallFault(api, "AccessDeniedException", 403, "no", times=None)
        for api in ("ListInstanceStorageConfigs", "ListLambdaFunctions")
    )
    stack.aws.behaviour = replace(stack.aws.behaviour, call_faults=refusals)
    exit_code, found = findings(run)
    assert exit_code == 0
    assert found["media streaming"]["verdict"] == "unknown"
    assert "ListInstanceStorageConfigs" in found["media streaming"]["text"]
    assert found["association"]["verdict"] == "unknown"
    assert found["bucket"]["verdict"] == "good"


def test_throttled_question_says_nothing_about_the_set_up(run: Run, stack: Stack) -> None:
    throttled = CallFault("ListInstanceStorageConfigs", "TooManyRequestsException", 429, times=None)
    stack.aws.behaviour = replace(stack.aws.behaviour, call_faults=(throttled,))
    exit_code, found = findings(run)
    assert exit_code == 0
    assert found["media streaming"]["verdict"] == "unknown"
    assert "run doctor again" in found["media streaming"]["fix"]


def test_expired_credentials_are_no_finding(run: Run, stack: Stack) -> None:
    expired = CallFault(
        "ListInstanceStorageConfigs", "ExpiredTokenException", 403, "no", times=None
    )
    stack.aws.behaviour = replace(stack.aws.behaviour, call_faults=(expired,))
    result = run("--stack", NAME, "doctor")
    assert result.exit_code == 3
    assert "aws sso login" in result.stderr


@pytest.mark.parametrize(
    ("condition", "lets_in"),
    [
        ({"ArnLike": {"AWS:SourceArn": INSTANCE_ARN}}, True),
        ({"ArnLike": {"aws:SourceArn": INSTANCE_ARN[:-3] + "*"}}, True),
        ({"ArnLikeIfExists": {"aws:SourceArn": ["arn:x", INSTANCE_ARN[:-1] + "?"]}}, True),
        ({"ArnEquals": {"aws:SourceArn": INSTANCE_ARN[:-1] + "0"}}, False),
        ({"StringEquals": {"aws:SourceAccount": "123456789012"}}, True),
        ({}, True),
    ],
)
def test_permission_is_read_as_iam_reads_it(condition: Any, lets_in: bool) -> None:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "connect.amazonaws.com"},
        "Condition": condition,
    }
    assert _lets_in(statement, INSTANCE_ARN) is lets_in


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ({"Concurrency": {"ReservedConcurrentExecutions": 0}}, "wrong"),
        ({"Concurrency": {"ReservedConcurrentExecutions": 2}}, "good"),
        ({}, "good"),
    ],
)
def test_reserved_concurrency_of_0_runs_nothing(answer: Any, verdict: str) -> None:
    # moto's GetFunction leaves it out.
    configuration = {"FunctionName": "stack-ArchiveFunction", "State": "Active"}
    found = judge_function("ArchiveFunction", {"Configuration": configuration, **answer})
    assert found.verdict == verdict
    assert ("delete-function-concurrency" in found.fix) is (verdict == "wrong")


def test_functions_are_looked_for_on_every_page(run: Run, stack: Stack) -> None:
    others = [f"arn:aws:lambda:eu-west-2:123456789012:function:other-{n}" for n in range(60)]
    functions = stack.aws.connect.instances.functions
    functions[INSTANCE_ID] = others + functions[INSTANCE_ID]
    assert findings(run)[1]["association"]["verdict"] == "good"


def test_stack_for_any_instance(run: Run, aws: LocalAws) -> None:
    deploy(aws, ConnectInstanceArn="")
    _, found = findings(run)
    assert found["media streaming"]["verdict"] == "unknown"
    assert found["media streaming"]["fix"] == "give --instance-arn"
    assert findings(run, "--instance-arn", INSTANCE_ARN)[1]["retention"]["verdict"] == "good"


def test_person_sees_signs_and_mends(run: Run, stack: Stack) -> None:
    _fail_a_job(stack)
    told = run("--stack", NAME, "doctor").stdout
    assert "✗ failed jobs: 1 job failed for good" in told
    assert "→ call-archive redrive --dry-run" in told
    assert "✓ bucket: " in told


def test_stack_is_needed(run: Run, aws: LocalAws) -> None:
    result = run("doctor")
    assert result.exit_code == 2
    assert "--stack" in result.stderr


def test_stack_of_another_application(run: Run, aws: LocalAws) -> None:
    template = {"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}}
    aws.client("cloudformation").create_stack(StackName="other", TemplateBody=json.dumps(template))
    result = run("doctor", "--stack", "other")
    assert result.exit_code == 2
    assert "stack other is not Call Archive's" in result.stderr


def test_stack_tells_bucket_prefix_and_queues(run: Run, stack: Stack, s3: Any) -> None:
    Archive(s3, BUCKET).put(prefix=PREFIX)
    listed = run("list", "--day", "2026-01-01", "--stack", NAME)
    assert "1 recording" in listed.stdout
    _fail_a_job(stack)
    assert "1 job would go back" in run("redrive", "--dry-run", "--stack", NAME).stdout
    given = run("--stack", NAME, "list", "--day", "2026-01-01", "--prefix", "none/")
    assert "0 recordings" in given.stdout


@pytest.mark.parametrize(
    ("behaviour", "verdict", "expected"),
    [
        ({"streams": 10}, "good", "1 stream of 10 in this account and region (the account's quota"),
        ({"streams": 1}, "doubtful", "1 stream of 1 in this account and region"),
        ({"streams": None}, "good", "Service Quotas answered NoSuchResourceException"),
        (
            {"call_faults": (CallFault("GetServiceQuota", "AccessDeniedException", 400, "no"),)},
            "good",
            "(AWS's default, because your credentials do not allow servicequotas:GetServiceQuota;",
        ),
    ],
)
def test_the_streams_are_compared_with_the_accounts_quota(
    run: Run, stack: Stack, behaviour: dict[str, Any], verdict: str, expected: str
) -> None:
    stack.aws.kvs.streams.create({"StreamName": "one", "DataRetentionInHours": 24})
    stack.aws.behaviour = replace(stack.aws.behaviour, **behaviour)
    found = findings(run)[1]["stream quota"]
    assert found["verdict"] == verdict
    assert expected in found["text"]


def test_a_quota_that_cannot_be_reached_is_aws_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """As behind a VPC without an endpoint for Service Quotas."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    setup = Setup(Clients(region="eu-west-2"), {}, {}, "")
    quota, source = _read_quota(setup)
    assert quota == DEFAULT_STREAMS
    assert "Service Quotas cannot be reached from here" in source
