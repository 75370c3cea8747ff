"""A deployed set-up → what is wrong with it, each finding with its mend.

Every check asks AWS with the caller's own credentials and gives findings; one that may not ask
says so and the others go on. Nothing is changed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from call_archive.fields import instance_id_of
from call_archive_cli.exits import USAGE, CommandError
from call_archive_cli.words import count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from call_archive_cli.clients import Clients
    from call_archive_cli.session import Session

ADVISED_RETENTION_HOURS: Final = 24
FORBIDDEN: Final = frozenset(
    ("AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation", "403")
)
_NEEDED: Final = frozenset(
    ("ArchiveFunction", "ArchiveQueue", "DisconnectRule", "FailedJobsQueue", "FlowFunction")
)
_STORAGE: Final = "Amazon Connect console, the instance, Data storage, Live media streaming"


class Verdict(StrEnum):
    """How a finding stands."""

    GOOD = "good"
    DOUBTFUL = "doubtful"
    WRONG = "wrong"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        mend: what to do; "" where nothing has to be done.
    """

    subject: str
    verdict: Verdict
    text: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Setup:
    """A deployed stack: its resources by logical id, its parameters, its instance."""

    clients: Clients
    resources: Mapping[str, str]
    parameters: Mapping[str, str]
    instance_arn: str

    def client(self, service: str) -> Any:  # noqa: ANN401 - one of ten clients
        """A boto3 client."""
        return self.clients.named(service)


def read_setup(session: Session, instance_arn: str | None) -> Setup:
    """What CloudFormation knows of the stack.

    Raises:
        CommandError: no stack was named, there is none, or it is another application's.
        ClientError: CloudFormation refuses.
    """
    parameters, resources = session.deployment.parameters, session.deployment.resources
    if missing := sorted(_NEEDED - resources.keys()):
        raise CommandError(
            f"stack {session.stack} is not Call Archive's: no {', '.join(missing)}", USAGE
        )
    return Setup(
        session.clients,
        resources,
        parameters,
        instance_arn or parameters.get("ConnectInstanceArn", ""),
    )


def examine(setup: Setup) -> Iterator[Finding]:
    """Every finding, in the order in which a call goes through the parts."""
    for subject, check in _CHECKS:
        try:
            yield from check(setup)
        except ClientError as error:
            yield _refused(subject, error)


def _refused(subject: str, error: ClientError) -> Finding:
    code = error.response["Error"]["Code"]
    if code in FORBIDDEN:
        return Finding(
            subject,
            Verdict.UNKNOWN,
            f"your credentials do not allow {error.operation_name}",
            "ask with a role that may read it",
        )
    return Finding(
        subject,
        Verdict.WRONG,
        f"{error.operation_name} answered {code}",
        "look whether somebody has deleted it, and deploy the stack again",
    )


def _check_streaming(setup: Setup) -> Iterator[Finding]:
    subject = "media streaming"
    if not setup.instance_arn:
        yield Finding(
            subject,
            Verdict.UNKNOWN,
            "which instance is not known: the stack serves any",
            "give --instance-arn",
        )
        return
    configs = (
        setup.client("connect")
        .list_instance_storage_configs(
            InstanceId=instance_id_of(setup.instance_arn), ResourceType="MEDIA_STREAMS"
        )
        .get("StorageConfigs", [])
    )
    if not configs:
        yield Finding(
            subject, Verdict.WRONG, "the instance streams no media", f"enable it: {_STORAGE}"
        )
        return
    video = configs[0].get("KinesisVideoStreamConfig", {})
    yield _judge_retention(video.get("RetentionPeriodHours", 0))
    yield from _judge_prefix(video.get("Prefix", ""), setup.parameters.get("StreamPrefix", "*"))
    key = video.get("EncryptionConfig", {}).get("KeyId", "")
    if key:
        yield from _judge_key(setup, key)


def _judge_retention(hours: int) -> Finding:
    subject = "retention"
    if hours == 0:
        return Finding(
            subject,
            Verdict.WRONG,
            "KVS keeps nothing, so nothing can be archived",
            f"set 24 hours: {_STORAGE}",
        )
    if hours < ADVISED_RETENTION_HOURS:
        return Finding(
            subject,
            Verdict.DOUBTFUL,
            f"KVS keeps the audio for {hours} h only: an outage of that length loses calls",
            f"set 24 hours: {_STORAGE}",
        )
    return Finding(subject, Verdict.GOOD, f"KVS keeps the audio for {hours} h")


def _judge_prefix(prefix: str, allowed: str) -> Iterator[Finding]:
    # Connect puts "-connect-ALIAS" behind the prefix that was typed in.
    bare = prefix.partition("-connect-")[0]
    if allowed in ("*", bare):
        yield Finding("stream prefix", Verdict.GOOD, f"{bare}, and ArchiveFunction may read it")
    else:
        yield Finding(
            "stream prefix",
            Verdict.WRONG,
            f"streams are called {bare}-connect-…, ArchiveFunction may read {allowed}-connect-…",
            f"deploy with StreamPrefix={bare}",
        )


def _judge_key(setup: Setup, key: str) -> Iterator[Finding]:
    subject = "media key"
    described = setup.client("kms").describe_key(KeyId=key)["KeyMetadata"]
    if not described["Enabled"]:
        yield Finding(
            subject, Verdict.WRONG, f"{key} is {described['KeyState']}", "enable the key in KMS"
        )
    elif (
        described.get("KeyManager") == "CUSTOMER"
        and setup.parameters.get("MediaKmsKeyArn") != described["Arn"]
    ):
        yield Finding(
            subject,
            Verdict.WRONG,
            "ArchiveFunction may not decrypt with the streams' key",
            f"deploy with MediaKmsKeyArn={described['Arn']}",
        )
    else:
        yield Finding(subject, Verdict.GOOD, "enabled, and ArchiveFunction may decrypt with it")


def _check_association(setup: Setup) -> Iterator[Finding]:
    subject = "association"
    if not setup.instance_arn:
        return
    function_arn = _function(setup, "FlowFunction")["Configuration"]["FunctionArn"]
    pages = (
        setup.client("connect")
        .get_paginator("list_lambda_functions")
        .paginate(InstanceId=instance_id_of(setup.instance_arn))
    )
    if any(function_arn in page["LambdaFunctions"] for page in pages):
        yield Finding(subject, Verdict.GOOD, "flows of the instance can choose FlowFunction")
    else:
        yield Finding(
            subject,
            Verdict.WRONG,
            "the instance does not know FlowFunction",
            "add it: Amazon Connect console, the instance, Flows, AWS Lambda; or deploy with "
            "ConnectInstanceArn",
        )


def _check_permission(setup: Setup) -> Iterator[Finding]:
    subject = "permission"
    try:
        policy = json.loads(
            setup.client("lambda").get_policy(FunctionName=setup.resources["FlowFunction"])[
                "Policy"
            ]
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        policy = {"Statement": []}
    if any(_lets_in(statement, setup.instance_arn) for statement in policy["Statement"]):
        yield Finding(subject, Verdict.GOOD, "Amazon Connect may invoke FlowFunction")
    else:
        yield Finding(
            subject,
            Verdict.WRONG,
            "Amazon Connect may not invoke FlowFunction",
            "deploy the stack again, with ConnectInstanceArn of this instance",
        )


def _lets_in(statement: Mapping[str, Any], instance_arn: str) -> bool:
    """Whether Connect, of this instance where it is known, may invoke the function."""
    principal = statement.get("Principal", {})
    services = principal.get("Service", []) if isinstance(principal, dict) else []
    source = statement.get("Condition", {}).get("ArnLike", {}).get("AWS:SourceArn", instance_arn)
    return (
        statement["Effect"] == "Allow"
        and "connect.amazonaws.com" in services
        and (not instance_arn or source == instance_arn)
    )


def _check_queues(setup: Setup) -> Iterator[Finding]:
    sqs = setup.client("sqs")
    attributes = sqs.get_queue_attributes(
        QueueUrl=setup.resources["ArchiveQueue"], AttributeNames=["All"]
    )["Attributes"]
    waiting = int(attributes["ApproximateNumberOfMessages"])
    yield Finding("archive queue", Verdict.GOOD, f"{count(waiting, 'job')} waiting")
    failed = int(
        sqs.get_queue_attributes(
            QueueUrl=setup.resources["FailedJobsQueue"],
            AttributeNames=["ApproximateNumberOfMessages"],
        )["Attributes"]["ApproximateNumberOfMessages"]
    )
    if failed:
        yield Finding(
            "failed jobs",
            Verdict.WRONG,
            f"{count(failed, 'job')} failed for good",
            "call-archive redrive --dry-run shows why",
        )
    else:
        yield Finding("failed jobs", Verdict.GOOD, "none")


def _check_event_source(setup: Setup) -> Iterator[Finding]:
    subject = "event source"
    mappings = setup.client("lambda").list_event_source_mappings(
        FunctionName=setup.resources["ArchiveFunction"]
    )["EventSourceMappings"]
    states = {mapping["State"] for mapping in mappings}
    if states == {"Enabled"}:
        yield Finding(subject, Verdict.GOOD, "ArchiveFunction takes jobs from the queue")
    else:
        yield Finding(
            subject,
            Verdict.WRONG,
            f"ArchiveFunction takes no jobs ({', '.join(sorted(states)) or 'no mapping'})",
            "enable it: Lambda console, ArchiveFunction, Configuration, Triggers",
        )


def _check_contact_events(setup: Setup) -> Iterator[Finding]:
    subject = "contact events"
    rule = setup.resources["DisconnectRule"].rpartition("|")[2]
    if setup.client("events").describe_rule(Name=rule)["State"] == "ENABLED":
        yield Finding(subject, Verdict.GOOD, "calls whose caller hangs up are archived")
    else:
        yield Finding(
            subject,
            Verdict.DOUBTFUL,
            "the rule is disabled: calls whose caller hangs up are not archived",
            "deploy with ArchiveOnDisconnect=true, unless contact records are used",
        )


def _check_bucket(setup: Setup) -> Iterator[Finding]:
    subject = "bucket"
    bucket = setup.resources.get("ArchiveBucket") or setup.parameters.get("ArchiveBucketName", "")
    client = setup.client("s3")
    client.head_bucket(Bucket=bucket)
    yield Finding(subject, Verdict.GOOD, f"{bucket} is there")
    yield from _judge_public_access(client, bucket)
    yield from _judge_lifecycle(client, bucket)


def _judge_public_access(client: Any, bucket: str) -> Iterator[Finding]:  # noqa: ANN401 - boto3
    subject = "public access"
    try:
        blocked = client.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchPublicAccessBlockConfiguration":
            raise
        blocked = {}
    if blocked and all(blocked.values()):
        yield Finding(subject, Verdict.GOOD, "blocked")
    else:
        yield Finding(
            subject,
            Verdict.WRONG,
            "public access to the recordings is not blocked",
            "S3 console, the bucket, Permissions, Block public access",
        )


def _judge_lifecycle(client: Any, bucket: str) -> Iterator[Finding]:  # noqa: ANN401 - boto3
    subject = "unfinished uploads"
    try:
        rules = client.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchLifecycleConfiguration":
            raise
        rules = []
    if any("AbortIncompleteMultipartUpload" in rule for rule in rules):
        yield Finding(subject, Verdict.GOOD, "removed by a lifecycle rule")
    else:
        yield Finding(
            subject,
            Verdict.DOUBTFUL,
            "what a killed run leaves behind stays, and costs",
            "add a lifecycle rule: abort incomplete multipart uploads after 1 day",
        )


def _function(setup: Setup, logical_id: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = setup.client("lambda").get_function(
        FunctionName=setup.resources[logical_id]
    )
    return found


_CHECKS: Final[tuple[tuple[str, Callable[[Setup], Iterator[Finding]]], ...]] = (
    ("media streaming", _check_streaming),
    ("association", _check_association),
    ("permission", _check_permission),
    ("queues", _check_queues),
    ("event source", _check_event_source),
    ("contact events", _check_contact_events),
    ("bucket", _check_bucket),
)
