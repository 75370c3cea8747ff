"""A deployed set-up → findings; each one that is wrong says how to fix it.

Every check calls AWS with the caller's own credentials and gives findings. A check without
permission reports that, and the others continue. Nothing is changed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from call_archive.fields import instance_id_of
from call_archive_cli.errors import is_about_credentials
from call_archive_cli.exits import USAGE, CommandError
from call_archive_cli.words import count

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from call_archive_cli.clients import Clients
    from call_archive_cli.session import Session

ADVISED_RETENTION_HOURS: Final = 24
FORBIDDEN: Final = frozenset(
    ("AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation", "403")
)
_GONE: Final = frozenset(
    (
        "404",
        "AWS.SimpleQueueService.NonExistentQueue",
        "NoSuchBucket",
        "NotFound",
        "NotFoundException",
        "QueueDoesNotExist",
        "ResourceNotFoundException",
    )
)
_BUSY: Final = frozenset(("RequestLimitExceeded", "SlowDown", "TooManyRequestsException"))
NOT_OF_A_CALL: Final = frozenset(
    ("alarms", "encryption", "existing streams", "object lock", "redrive role")
)
"""Checks of parts that a call does not pass through, or that a rehearsal proves by a call."""

_SERVER_ERROR: Final = 500
DEFAULT_STREAMS: Final = 10_000
"""Streams of an account in a region (Kinesis Video Streams quotas, the default)."""

STREAMS_QUOTA: Final = ("kinesisvideo", "L-F06528A6")
"""Service and code of the quota "Number of video streams" (Service Quotas)."""

_CLOSE_TO_QUOTA: Final = 0.8
_RESTORE: Final = (
    "it was deleted or changed outside CloudFormation, which still expects it, so repeating the "
    "deployment changes nothing; a change set with REVERT_DRIFT restores it "
    "(docs/runbook.md, Restore what was changed by hand)"
)
_NEEDED: Final = frozenset(
    ("ArchiveFunction", "ArchiveQueue", "DisconnectRule", "FailedJobsQueue", "FlowFunction")
)
_ARN_OPERATORS: Final = frozenset(("ArnEquals", "ArnLike", "StringEquals", "StringLike"))
_LOCK: Final = "object lock"
_WITHOUT_LOCK: Final = frozenset(("NoSuchBucket", "ObjectLockConfigurationNotFoundError"))
_STORAGE: Final = "Amazon Connect console, the instance, Data storage, Live media streaming"


class Verdict(StrEnum):
    """The verdict of a finding."""

    GOOD = "good"
    DOUBTFUL = "doubtful"
    WRONG = "wrong"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Attributes:
        fix: what to do; "" if nothing has to be done.
    """

    subject: str
    verdict: Verdict
    text: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class ObjectLock:
    """The Object Lock of a bucket that has it.

    Attributes:
        mode: how S3 locks every new object; "none" if it does not.
        length: for how long, in words.
    """

    mode: str = "none"
    length: str = ""

    def __str__(self) -> str:
        return f"{self.mode} for {self.length}" if self.length else ""


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
    """Reads the stack's resources and parameters from CloudFormation.

    Raises:
        CommandError: no stack was named, it does not exist, or it is another application's.
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


def examine(setup: Setup, leave_out: Collection[str] = ()) -> Iterator[Finding]:
    """Every finding, in the order in which a call passes through the parts.

    Args:
        setup: the stack to check.
        leave_out: names of checks to skip.
    """
    for subject, check in _CHECKS:
        if subject in leave_out:
            continue
        try:
            yield from check(setup)
        except ClientError as error:
            yield _refused(subject, error)


def _refused(subject: str, error: ClientError) -> Finding:
    code = error.response["Error"].get("Code", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if is_about_credentials(error):
        raise error
    if code in FORBIDDEN:
        return Finding(
            subject,
            Verdict.UNKNOWN,
            f"your credentials do not allow {error.operation_name}",
            "use a role that may read it",
        )
    if code in _GONE:
        return _gone(subject, f"it does not exist ({error.operation_name} answered {code})")
    busy = status >= _SERVER_ERROR or "Throttl" in code or code in _BUSY
    return Finding(
        subject,
        Verdict.UNKNOWN,
        f"{error.operation_name} answered {code}",
        "AWS was busy: run doctor again"
        if busy
        else "an unexpected response, which says nothing about the set-up",
    )


def _gone(subject: str, text: str) -> Finding:
    """A resource that was deleted or changed outside CloudFormation; redeploying does nothing."""
    return Finding(subject, Verdict.WRONG, text, _RESTORE)


def _check_streaming(setup: Setup) -> Iterator[Finding]:
    subject = "media streaming"
    if not setup.instance_arn:
        yield Finding(
            subject,
            Verdict.UNKNOWN,
            "the instance is unknown, because the stack serves any instance",
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
    prefix = video.get("Prefix", "")
    yield from _judge_prefix(prefix, setup.parameters.get("StreamPrefix", "*"))
    key = video.get("EncryptionConfig", {}).get("KeyId", "")
    if key:
        yield from _judge_key(setup, key)


def _check_streams(setup: Setup) -> Iterator[Finding]:
    """Settings apply to streams that Connect creates from now on; old streams keep theirs."""
    prefix = setup.parameters.get("StreamPrefix", "*")
    begins = "" if prefix == "*" else f"{prefix}-connect-"
    total, short, other_key = 0, list[str](), list[str]()
    pages = setup.client("kinesisvideo").get_paginator("list_streams").paginate()
    for stream in (stream for page in pages for stream in page["StreamInfoList"]):
        total += 1
        name = stream["StreamName"]
        if "-connect-" not in name or not name.startswith(begins):
            continue
        if stream["DataRetentionInHours"] < ADVISED_RETENTION_HOURS:
            short.append(f"{name} ({stream['DataRetentionInHours']} h)")
        key = stream.get("KmsKeyId", "")
        if key and "alias/aws/" not in key and not _is_key(setup.parameters, key):
            other_key.append(name)
    yield from _judge_streams(short, other_key)
    yield _judge_quota(total, *_read_quota(setup))


def _is_key(parameters: Mapping[str, str], key: str) -> bool:
    allowed = parameters.get("MediaKmsKeyArn", "")
    return bool(allowed) and (key == allowed or allowed.endswith(f"/{key}"))


def _judge_streams(short: list[str], other_key: list[str]) -> Iterator[Finding]:
    subject = "existing streams"
    if short:
        yield Finding(
            subject,
            Verdict.DOUBTFUL,
            f"{count(len(short), 'stream')} keep audio for less than {ADVISED_RETENTION_HOURS} h, "
            f"whatever the instance says now: {_some(short)}",
            "aws kinesisvideo update-data-retention (docs/runbook.md, The retention is too short)",
        )
    if other_key:
        yield Finding(
            subject,
            Verdict.DOUBTFUL,
            f"{count(len(other_key), 'stream')} have a key of which the stack knows nothing: "
            f"{_some(other_key)}",
            "allow ArchiveRole kms:Decrypt with that key, or deploy with MediaKmsKeyArn",
        )
    if not short and not other_key:
        yield Finding(subject, Verdict.GOOD, "retention and key are right")


def _read_quota(setup: Setup) -> tuple[int, str]:
    """How many streams the account may have in the region, and how that is known.

    Raises:
        ClientError: the credentials are wrong.
    """
    service, code = STREAMS_QUOTA
    try:
        answer = setup.client("service-quotas").get_service_quota(
            ServiceCode=service, QuotaCode=code
        )
        return int(answer["Quota"]["Value"]), "the account's quota"
    except ClientError as error:
        if is_about_credentials(error):
            raise
        refused = error.response["Error"].get("Code", "")
        why = f"Service Quotas answered {refused}"
        if refused in FORBIDDEN:
            why = "your credentials do not allow servicequotas:GetServiceQuota"
    except BotoCoreError:
        why = "Service Quotas cannot be reached from here"
    return DEFAULT_STREAMS, f"AWS's default, because {why}; the account's own may differ"


def _judge_quota(total: int, quota: int, source: str) -> Finding:
    subject = "stream quota"
    text = (
        f"{count(total, 'stream')} of {quota:,} in this account and region ({source}). Connect "
        "needs more streams than there are concurrent calls, of all its instances together"
    )
    if total >= quota * _CLOSE_TO_QUOTA:
        advice = "request an increase in time: Service Quotas, Amazon Kinesis Video Streams"
        return Finding(subject, Verdict.DOUBTFUL, text, advice)
    return Finding(subject, Verdict.GOOD, text)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more}"


def _judge_retention(hours: int) -> Finding:
    subject = "retention"
    if hours == 0:
        return Finding(
            subject,
            Verdict.WRONG,
            "the retention is 0, so nothing can be archived",
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
    # Connect appends "-connect-ALIAS" to the configured prefix.
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
        yield _judge_state(subject, described)
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


def _judge_state(subject: str, key: Mapping[str, Any]) -> Finding:
    """A key that cannot be used."""
    enable = f"enable the key: aws kms enable-key --key-id {key['Arn']}"
    if key["KeyState"] == "PendingDeletion":
        enable = f"first aws kms cancel-key-deletion --key-id {key['Arn']}, then {enable}"
    return Finding(subject, Verdict.WRONG, f"{key['Arn']} is {key['KeyState']}", enable)


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
        yield Finding(subject, Verdict.GOOD, "flows of the instance can use FlowFunction")
    else:
        yield Finding(
            subject,
            Verdict.WRONG,
            "FlowFunction is not associated with the instance",
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
    statements = policy["Statement"]
    if any(_lets_in(statement, setup.instance_arn) for statement in statements):
        yield Finding(subject, Verdict.GOOD, "Amazon Connect may invoke FlowFunction")
    elif any(_lets_in(statement, "") for statement in statements):
        yield Finding(
            subject,
            Verdict.WRONG,
            "only another instance of Amazon Connect may invoke FlowFunction",
            f"deploy with ConnectInstanceArn={setup.instance_arn}",
        )
    else:
        yield _gone(subject, "Amazon Connect may not invoke FlowFunction")


def _lets_in(statement: Mapping[str, Any], instance_arn: str) -> bool:
    """Whether Connect may invoke the function, for this instance if it is known."""
    principal = statement.get("Principal", {})
    services = principal.get("Service", []) if isinstance(principal, dict) else []
    return (
        statement["Effect"] == "Allow"
        and "connect.amazonaws.com" in services
        and (not instance_arn or all(_matches(instance_arn, s) for s in _sources(statement)))
    )


def _sources(statement: Mapping[str, Any]) -> Iterator[list[str]]:
    """The patterns of each condition on the source's ARN."""
    for operator, keys in statement.get("Condition", {}).items():
        if operator.removesuffix("IfExists") in _ARN_OPERATORS:
            for key, patterns in keys.items():
                if key.lower() == "aws:sourcearn":
                    yield [patterns] if isinstance(patterns, str) else patterns


def _matches(arn: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(arn, pattern.replace("[", "[[]")) for pattern in patterns)


def _check_functions(setup: Setup) -> Iterator[Finding]:
    for logical_id in ("FlowFunction", "ArchiveFunction"):
        try:
            function = _function(setup, logical_id)
        except ClientError as error:
            yield _refused(logical_id, error)
        else:
            yield judge_function(logical_id, function)


def judge_function(logical_id: str, function: Mapping[str, Any]) -> Finding:
    """Whether a function may run, according to GetFunction."""
    configuration = function["Configuration"]
    state = configuration.get("State", "Active")
    if function.get("Concurrency", {}).get("ReservedConcurrentExecutions") == 0:
        return Finding(
            logical_id,
            Verdict.WRONG,
            "it cannot run: its reserved concurrency is 0",
            f"aws lambda delete-function-concurrency --function-name "
            f"{configuration['FunctionName']}, or restore the stack's value "
            "(docs/runbook.md, Restore what was changed by hand)",
        )
    if state == "Failed":
        reason = configuration.get("StateReason", "")
        return Finding(logical_id, Verdict.WRONG, f"it is in state {state}: {reason}", _RESTORE)
    return Finding(logical_id, Verdict.GOOD, "it exists and can run")


def _check_archive_queue(setup: Setup) -> Iterator[Finding]:
    waiting = _messages(setup, "ArchiveQueue")
    yield Finding("archive queue", Verdict.GOOD, f"{count(waiting, 'job')} waiting")


def _check_failed_jobs(setup: Setup) -> Iterator[Finding]:
    failed = _messages(setup, "FailedJobsQueue")
    if failed:
        yield Finding(
            "failed jobs",
            Verdict.WRONG,
            f"{count(failed, 'job')} failed for good",
            "call-archive redrive --dry-run, with the same --stack, shows why; docs/runbook.md, "
            "Codes, says what to do",
        )
    else:
        yield Finding("failed jobs", Verdict.GOOD, "none")


def _messages(setup: Setup, logical_id: str) -> int:
    """Visible messages, and messages in flight."""
    attributes = setup.client("sqs").get_queue_attributes(
        QueueUrl=setup.resources[logical_id], AttributeNames=["All"]
    )["Attributes"]
    in_flight = attributes.get("ApproximateNumberOfMessagesNotVisible", "0")
    return int(attributes["ApproximateNumberOfMessages"]) + int(in_flight)


def _check_redrive_role(setup: Setup) -> Iterator[Finding]:
    subject = "redrive role"
    role = setup.parameters.get("RedriveRoleArn", "")
    if not role:
        yield Finding(
            subject,
            Verdict.DOUBTFUL,
            "no role may put jobs into the queue: redrive and backfill will be refused",
            "deploy with RedriveRoleArn=ROLE_ARN, a role that operators assume",
        )
        return
    try:
        setup.client("iam").get_role(RoleName=role.rpartition("/")[2])
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchEntity":
            raise
        yield Finding(
            subject, Verdict.WRONG, f"{role} is not there", "deploy with another RedriveRoleArn"
        )
    else:
        yield Finding(subject, Verdict.GOOD, f"{role} may redrive and backfill")


def _check_alarms(setup: Setup) -> Iterator[Finding]:
    subject = "alarms"
    topic = setup.parameters.get("AlarmTopicArn") or setup.resources.get("AlarmTopic", "")
    if not topic:
        yield Finding(
            subject,
            Verdict.DOUBTFUL,
            "they notify nobody",
            "deploy with AlarmEmail or AlarmTopicArn",
        )
        return
    pages = (
        setup.client("sns").get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
    )
    subscriptions = [entry for page in pages for entry in page["Subscriptions"]]
    confirmed = [s for s in subscriptions if s["SubscriptionArn"].startswith("arn:")]
    waiting = [s["Endpoint"] for s in subscriptions if s not in confirmed]
    if waiting:
        yield Finding(
            subject,
            Verdict.DOUBTFUL if confirmed else Verdict.WRONG,
            f"{_some(waiting)} has not confirmed the subscription and receives nothing",
            "open the link in the message from AWS Notifications; it expires after two days: then "
            "subscribe again (SNS console, the topic)",
        )
    elif confirmed:
        yield Finding(subject, Verdict.GOOD, f"{count(len(confirmed), 'subscriber')} of {topic}")
    else:
        yield Finding(
            subject, Verdict.WRONG, f"nobody is subscribed to {topic}", "subscribe in SNS"
        )


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
            _enable(mappings),
        )


def _enable(mappings: Sequence[Mapping[str, Any]]) -> str:
    """How to let the function take jobs again."""
    if not mappings:
        return _RESTORE
    return "; ".join(
        f"aws lambda update-event-source-mapping --uuid {mapping['UUID']} --enabled"
        for mapping in mappings
        if mapping["State"] != "Enabled"
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
            "deploy with ArchiveOnDisconnect=true, unless contact records are used"
            if setup.parameters.get("ArchiveOnDisconnect") == "false"
            else f"aws events enable-rule --name {rule}: it was disabled by hand, so "
            "repeating the deployment does nothing",
        )


def _check_bucket(setup: Setup) -> Iterator[Finding]:
    subject = "bucket"
    bucket = setup.resources.get("ArchiveBucket") or setup.parameters.get("ArchiveBucketName", "")
    client = setup.client("s3")
    client.head_bucket(Bucket=bucket)
    yield Finding(subject, Verdict.GOOD, f"{bucket} is there")
    yield from _judge_public_access(client, bucket)
    yield from _judge_lifecycle(client, bucket, setup.parameters.get("ArchivePrefix", ""))


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


def _judge_lifecycle(
    client: Any,  # noqa: ANN401 - boto3
    bucket: str,
    prefix: str,
) -> Iterator[Finding]:
    subject = "unfinished uploads"
    try:
        rules = client.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchLifecycleConfiguration":
            raise
        rules = []
    if any(_removes_uploads(rule, f"{prefix}recordings/") for rule in rules):
        yield Finding(subject, Verdict.GOOD, "removed by a lifecycle rule")
    else:
        yield Finding(
            subject,
            Verdict.DOUBTFUL,
            "open uploads of killed runs remain, and cost money",
            "add a lifecycle rule: abort incomplete multipart uploads after 1 day",
        )
    for kind in ("tombstones", "holds"):
        for rule in rules:
            if _expires_marks(rule, f"{prefix}{kind}/"):
                yield Finding(
                    kind,
                    Verdict.WRONG,
                    f"lifecycle rule {rule.get('ID', 'without an id')} removes {prefix}{kind}/: "
                    "erased and held contacts then lose that protection",
                    f"narrow the rule to {prefix}recordings/ and {prefix}manifests/",
                )


def _removes_uploads(rule: Mapping[str, Any], prefix: str) -> bool:
    """Whether an enabled rule aborts uploads with this prefix."""
    return (
        "AbortIncompleteMultipartUpload" in rule
        and rule["Status"] == "Enabled"
        and prefix.startswith(_prefix_of(rule))
    )


def _expires_marks(rule: Mapping[str, Any], prefix: str) -> bool:
    """Whether a rule removes objects whose keys begin so; marks carry no tags."""
    expiration = rule.get("Expiration", {})
    narrow = rule.get("Filter", {})
    is_by_tag = bool({"Tag", "Tags"} & {*narrow, *narrow.get("And", {})})
    of_prefix = _prefix_of(rule)
    return (
        bool({"Days", "Date"} & {*expiration})
        and rule["Status"] == "Enabled"
        and not is_by_tag
        and (prefix.startswith(of_prefix) or of_prefix.startswith(prefix))
    )


def _prefix_of(rule: Mapping[str, Any]) -> str:
    narrow = rule.get("Filter", {})
    narrow = narrow.get("And", narrow)
    of_prefix: str = narrow.get("Prefix", rule.get("Prefix", ""))
    return of_prefix


def _check_encryption(setup: Setup) -> Iterator[Finding]:
    """What the bucket does with a write that names no encryption, and what the stack asks for."""
    asked, default = setup.parameters.get("ArchiveKmsKeyArn", ""), _read_default_key(setup)
    names_sse_s3 = setup.parameters.get("ArchiveEncryptionHeader") == "AES256" and not asked
    used = setup.client("kms").describe_key(KeyId=asked)["KeyMetadata"] if asked else default
    if used and not used["Enabled"] and not names_sse_s3:
        yield _judge_state("encryption", used)
    elif asked:
        yield _judge_asked_key(setup, asked, default)
    else:
        yield _judge_default_key(default, names_sse_s3=names_sse_s3)


def _read_default_key(setup: Setup) -> Mapping[str, Any]:
    """What KMS says of the bucket's default key; empty for SSE-S3 and for AWS's own key."""
    bucket = setup.resources.get("ArchiveBucket") or setup.parameters.get("ArchiveBucketName", "")
    answer = setup.client("s3").get_bucket_encryption(Bucket=bucket)
    (rule, *_) = answer["ServerSideEncryptionConfiguration"]["Rules"]
    name = rule.get("ApplyServerSideEncryptionByDefault", {}).get("KMSMasterKeyID", "")
    if not name:
        return {}
    key: Mapping[str, Any] = setup.client("kms").describe_key(KeyId=name)["KeyMetadata"]
    return {} if key.get("KeyManager") == "AWS" else key


def _judge_asked_key(setup: Setup, asked: str, default: Mapping[str, Any]) -> Finding:
    subject, is_own = "encryption", bool(setup.resources.get("ArchiveBucket"))
    if default and default["Arn"] == asked:
        return Finding(subject, Verdict.GOOD, f"{asked}, also the bucket's default")
    others = f"the bucket's default is {default['Arn'] if default else 'a key of AWS'}"
    if is_own:
        text = f"recordings are written with {asked}, but {others}"
        return Finding(subject, Verdict.DOUBTFUL, text, _RESTORE)
    return Finding(subject, Verdict.GOOD, f"recordings are written with {asked}; {others}")


def _judge_default_key(default: Mapping[str, Any], *, names_sse_s3: bool) -> Finding:
    """Of a stack that asks for no key."""
    subject = "encryption"
    if not default:
        every = ", as every write says" if names_sse_s3 else ", the bucket's default"
        return Finding(subject, Verdict.GOOD, f"a key of AWS{every}")
    deploy = f"deploy with ArchiveKmsKeyArn={default['Arn']}"
    if names_sse_s3:
        return Finding(
            subject,
            Verdict.DOUBTFUL,
            f"the bucket's default is {default['Arn']}, but every write names SSE-S3, because of "
            "ArchiveEncryptionHeader=AES256: recordings are not written with that key",
            f"if they have to be: {deploy}",
        )
    return Finding(
        subject,
        Verdict.DOUBTFUL,
        f"the bucket's default is {default['Arn']}, which the stack does not allow ArchiveFunction "
        "to use: unless the key's policy does, every job fails as S3_AccessDenied",
        deploy,
    )


def read_lock(setup: Setup, bucket: str) -> ObjectLock | None:
    """The bucket's Object Lock; None if it has none, or if the bucket does not exist.

    Raises:
        ClientError: S3 refuses.
    """
    try:
        found = setup.client("s3").get_object_lock_configuration(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] in _WITHOUT_LOCK:
            return None
        raise
    default = found["ObjectLockConfiguration"].get("Rule", {}).get("DefaultRetention")
    if not default:
        return ObjectLock()
    years, days = default.get("Years"), default.get("Days")
    length = count(years, "year") if years else count(days, "day")
    return ObjectLock(default.get("Mode", ""), length)


def _check_object_lock(setup: Setup) -> Iterator[Finding]:
    own = setup.resources.get("ArchiveBucket", "")
    bucket = own or setup.parameters.get("ArchiveBucketName", "")
    lock, is_asked = read_lock(setup, bucket), setup.parameters.get("ObjectLock") == "for-ever"
    if own and lock and not is_asked:
        yield Finding(
            _LOCK,
            Verdict.DOUBTFUL,
            "ObjectLock was set back, or was enabled outside of the stack; the bucket keeps it: S3 "
            f"never turns it off{_of_every_object(lock)}",
            "deploy with ObjectLock=for-ever, so that the stack says what is",
        )
    elif is_asked and not lock:
        yield Finding(
            _LOCK,
            Verdict.WRONG,
            f"the stack says ObjectLock=for-ever, and {bucket} has none: nothing can be held",
            f"aws s3api put-object-lock-configuration --bucket {bucket} "
            "--object-lock-configuration ObjectLockEnabled=Enabled",
        )
    elif not lock:
        yield Finding(_LOCK, Verdict.GOOD, "off: `call-archive hold` needs it (docs/holds.md)")
    elif str(lock) != _asked_lock(setup.parameters):
        yield Finding(
            _LOCK,
            Verdict.DOUBTFUL,
            f"on{_of_every_object(lock)}, and the stack does not say so",
            "if that is not wanted: aws s3api put-object-lock-configuration without a rule ends it "
            "for new objects",
        )
    else:
        yield Finding(_LOCK, Verdict.GOOD, f"on{_of_every_object(lock)}")


def _of_every_object(lock: ObjectLock) -> str:
    if not lock.length:
        return ""
    return f"; every new object is locked, {lock}: no request to erase can be met before"


def _asked_lock(parameters: Mapping[str, str]) -> str:
    """The lock of every new object that the stack asks for, in the words of `ObjectLock`."""
    mode = parameters.get("ObjectLockMode", "none")
    if mode == "none":
        return ""
    return str(ObjectLock(mode, count(int(parameters.get("ObjectLockDays", "0")), "day")))


def _function(setup: Setup, logical_id: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = setup.client("lambda").get_function(
        FunctionName=setup.resources[logical_id]
    )
    return found


_CHECKS: Final[tuple[tuple[str, Callable[[Setup], Iterator[Finding]]], ...]] = (
    ("media streaming", _check_streaming),
    ("existing streams", _check_streams),
    ("functions", _check_functions),
    ("association", _check_association),
    ("permission", _check_permission),
    ("archive queue", _check_archive_queue),
    ("failed jobs", _check_failed_jobs),
    ("redrive role", _check_redrive_role),
    ("event source", _check_event_source),
    ("contact events", _check_contact_events),
    ("bucket", _check_bucket),
    ("encryption", _check_encryption),
    (_LOCK, _check_object_lock),
    ("alarms", _check_alarms),
)
