"""A deployed stack without AWS: the template's own roles, policies, variables, bucket and queues.

The roles are in moto's IAM with the policies of the translated template, AssumeRole gives
credentials, and with those the functions' processes and the event source work.
`local/authorization.py` judges each of their calls.
"""

import copy
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import boto3

from local.authorization import Authorization
from local.call import Call, Delivery, simulate_call
from local.clients import REGION
from local.contact import ACCOUNT
from local.pcm import Pcm, synthetic_pcm
from local.runtime import ARCHIVE_HANDLER, FLOW_HANDLER, EventSource, Function, FunctionError
from local.sample_events import build_sqs_event
from local.server import LocalAws
from tests.template.cloudformation import deploy, of_type, pipe_message

type Json = dict[str, Any]

INSTANCE = f"arn:aws:connect:{REGION}:{ACCOUNT}:instance/5f3b1c9e-2d47-4a86-9c01-7be0d2a4f611"
MEDIA_KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/11111111-2222-3333-4444-555555555555"
ARCHIVE_KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/66666666-7777-8888-9999-000000000000"
FULL: dict[str, str | int] = {
    "ConnectInstanceArn": INSTANCE,
    "StreamPrefix": "ivr",
    "MediaKmsKeyArn": MEDIA_KEY,
    "ContactRecordStreamArn": f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/contact-records",
    "ContactRecordKmsKeyArn": MEDIA_KEY,
    "ArchivePrefix": "calls/production/",
    "ArchiveKmsKeyArn": ARCHIVE_KEY,
    "RetentionDays": 365,
    "RedriveRoleArn": f"arn:aws:iam::{ACCOUNT}:role/operators/redrive",
}
RULE = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/call-archive-disconnect"
START_MS = 1_767_258_000_000
SECONDS = 6.0


def physical_names(stack: str, endpoint_url: str) -> dict[str, str]:
    """What CloudFormation would give for the template's references."""
    bucket = f"{stack}-archive"
    names = {
        "AWS::AccountId": ACCOUNT,
        "AWS::StackName": stack,
        "ArchiveBucket": bucket,
        "ArchiveBucket.Arn": f"arn:aws:s3:::{bucket}",
        "DisconnectRule.Arn": RULE,
    }
    for logical_id, queue in (("ArchiveQueue", "jobs"), ("FailedJobsQueue", "failed-jobs")):
        name = f"{stack}-{queue}"
        names[logical_id] = f"{endpoint_url}/{ACCOUNT}/{name}"
        names[f"{logical_id}.Arn"] = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"
    for role in ("FlowRole", "ArchiveRole", "ContactRecordRole"):
        names[f"{role}.Arn"] = f"arn:aws:iam::{ACCOUNT}:role/{stack}-{role}"
    for group in ("FlowLogGroup", "ArchiveLogGroup"):
        names[f"{group}.Arn"] = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{stack}-{group}:*"
    return names


def statements_of(resources: Mapping[str, Json], role: str) -> list[Json]:
    """The identity policy of a role, as one list."""
    return [
        statement
        for policy in of_type(resources, "AWS::IAM::Role")[role]["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
    ]


class World:
    """One stack, its functions running, for the time of a `with`.

    `behind` is middleware for requests that were authorized; `environment` is for both functions.
    """

    def __init__(
        self,
        parameters: Mapping[str, str | int],
        logs: Path,
        behind: Callable[[Any], Any] = lambda application: application,
        **environment: str,
    ) -> None:
        self.stack = f"stack-{uuid.uuid4().hex[:8]}"
        self.parameters = parameters
        self.authorization = Authorization(ACCOUNT)
        self.aws = LocalAws(wrap=lambda aws: self.authorization.wrap(behind(aws)))
        self.logs = logs
        self._environment = environment
        self._running = ExitStack()

    def __enter__(self) -> Self:
        self._running.enter_context(self.aws)
        self.names = physical_names(self.stack, self.aws.endpoint_url)
        self.resources = deploy(self.parameters, self.names)
        self.s3 = self.aws.client("s3")
        self.sqs = self.aws.client("sqs")
        self._iam = self.aws.client("iam")
        self._create_storage()
        self.roles = list(of_type(self.resources, "AWS::IAM::Role"))
        for role in self.roles:
            self._iam.create_role(
                RoleName=f"{self.stack}-{role}",
                AssumeRolePolicyDocument=json.dumps(
                    of_type(self.resources, "AWS::IAM::Role")[role]["AssumeRolePolicyDocument"]
                ),
            )
            self.grant(role, statements_of(self.resources, role))
        self.flow = self._start("FlowFunction", FLOW_HANDLER, "FlowRole")
        self.archive = self._start("ArchiveFunction", ARCHIVE_HANDLER, "ArchiveRole")
        self.source = EventSource(
            self.client("ArchiveRole", "sqs"), self.names["ArchiveQueue"], self.archive
        )
        return self

    def __exit__(self, *raised: object) -> None:
        self._running.close()

    # ---------------------------------------------------------------- what the stack is

    @property
    def bucket(self) -> str:
        return self.names["ArchiveBucket"]

    @property
    def prefix(self) -> str:
        return str(self.parameters.get("ArchivePrefix", ""))

    @property
    def queue_url(self) -> str:
        return self.names["ArchiveQueue"]

    @property
    def failed_queue_url(self) -> str:
        return self.names["FailedJobsQueue"]

    def grant(self, role: str, statements: list[Json]) -> None:
        """Gives a role these statements and no others."""
        self._iam.put_role_policy(
            RoleName=f"{self.stack}-{role}",
            PolicyName="all",
            PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statements}),
        )

    def grant_without(self, role: str, sid: str, action: str) -> None:
        """Gives a role its statements, but for one action of one of them."""
        statements = copy.deepcopy(statements_of(self.resources, role))
        for statement in statements:
            if statement["Sid"] == sid:
                statement["Action"] = [a for a in actions_of(statement) if a != action]
        self.grant(role, [s for s in statements if s["Action"]])

    def stranger(self, *statements: Json) -> str:
        """Another role of the account with these permissions."""
        role = f"Stranger{uuid.uuid4().hex[:6]}"
        self._iam.create_role(
            RoleName=f"{self.stack}-{role}", AssumeRolePolicyDocument=json.dumps({"Statement": []})
        )
        self.grant(role, list(statements))
        return role

    def client(self, role: str, service: str) -> Any:
        """A boto3 client with the role's credentials."""
        options = {**self.aws.client_options, **self._session(role)}
        return boto3.client(service, **options)  # type: ignore[call-overload] # a name in a variable

    def resource_policy(self, policy_type: str, logical_id: str) -> list[Json]:
        """The statements of a queue's or bucket's policy."""
        policy = of_type(self.resources, policy_type)[logical_id]
        statements: list[Json] = policy["PolicyDocument"]["Statement"]
        return statements

    def _create_storage(self) -> None:
        self.s3.create_bucket(
            Bucket=self.bucket,
            CreateBucketConfiguration={"LocationConstraint": REGION},
            ObjectLockEnabledForBucket=True,
        )
        self.s3.put_bucket_versioning(
            Bucket=self.bucket,
            VersioningConfiguration=of_type(self.resources, "AWS::S3::Bucket")["ArchiveBucket"][
                "VersioningConfiguration"
            ],
        )
        self._create_queues()
        own = self.authorization
        own.resource_policies = {
            self.names["ArchiveBucket.Arn"]: self.resource_policy(
                "AWS::S3::BucketPolicy", "ArchiveBucketPolicy"
            ),
            self.names["ArchiveQueue.Arn"]: self.resource_policy(
                "AWS::SQS::QueuePolicy", "ArchiveQueuePolicy"
            ),
            self.names["FailedJobsQueue.Arn"]: self.resource_policy(
                "AWS::SQS::QueuePolicy", "FailedJobsQueuePolicy"
            ),
        }
        keys = {
            self.names["ArchiveBucket.Arn"]: str(self.parameters.get("ArchiveKmsKeyArn", "")),
            "arn:aws:kinesisvideo:": str(self.parameters.get("MediaKmsKeyArn", "")),
        }
        own.kms_keys = {start: key for start, key in keys.items() if key}

    def _create_queues(self) -> None:
        for url in (self.queue_url, self.failed_queue_url):
            # Not the delay of ten seconds.
            self.sqs.create_queue(
                QueueName=url.rpartition("/")[2], Attributes={"VisibilityTimeout": "660"}
            )

    def _session(self, role: str) -> dict[str, str]:
        """Credentials of the role, as keyword arguments of a boto3 client."""
        sts = self.aws.client("sts")
        session = sts.assume_role(
            RoleArn=f"arn:aws:iam::{ACCOUNT}:role/{self.stack}-{role}", RoleSessionName="test"
        )["Credentials"]
        return {
            "aws_access_key_id": session["AccessKeyId"],
            "aws_secret_access_key": session["SecretAccessKey"],
            "aws_session_token": session["SessionToken"],
        }

    def _start(self, logical_id: str, handler: str, role: str) -> Function:
        function = of_type(self.resources, "AWS::Lambda::Function")[logical_id]
        environment = {
            **function["Environment"]["Variables"],
            **{name.upper(): value for name, value in self._session(role).items()},
            "AWS_ENDPOINT_URL": self.aws.endpoint_url,
            "AWS_DEFAULT_REGION": REGION,
            **self._environment,
        }
        log = self.logs / f"{self.stack}-{logical_id}.log"
        return self._running.enter_context(
            Function(handler, environment, log, timeout_s=float(function["Timeout"]))
        )

    # ---------------------------------------------------------------- what happens in it

    def place(
        self,
        *,
        seconds: float = SECONDS,
        delivery: Delivery | None = None,
        ended_s_ago: float = 30,
        prefix: str = "ivr",
        **fields: Any,
    ) -> Call:
        """A call with its own contact, on its own stream."""
        customer: Pcm = fields.pop("customer", None) or synthetic_pcm(seconds, 1)
        call = simulate_call(
            customer,
            synthetic_pcm(seconds, 2),
            **{"contact_id": str(uuid.uuid4()), "instance_arn": INSTANCE, **fields},
            stream_arn=stream_arn(prefix),
            start_ms=START_MS,
            first_sequence=4001,
            seed=4001,
            delivery=delivery,
        )
        self.aws.place(call, ended_s_ago=ended_s_ago)
        return call

    def invoke_archive(self, message: Mapping[str, Any], receives: int = 1) -> bool:
        """One message straight to the function; whether it is done with it."""
        event = build_sqs_event(message, START_MS, self.names["ArchiveQueue.Arn"])
        event["Records"][0]["attributes"]["ApproximateReceiveCount"] = str(receives)
        return not self.archive.invoke(event)["batchItemFailures"]

    def pipe(self, record: Mapping[str, Any]) -> None:
        """Sends of a contact record what the pipe sends."""
        (pipe,) = of_type(self.resources, "AWS::Pipes::Pipe").values()
        self.client("ContactRecordRole", "sqs").send_message(
            QueueUrl=self.queue_url, MessageBody=pipe_message(pipe, dict(record))
        )

    def invoke_flow(self, event: Json) -> Json:
        """FlowFunction's answer; Connect asks three times, too, and the machine may be slow."""
        for tries_left in (2, 1, 0):
            try:
                answer: Json = self.flow.invoke(event)
            except FunctionError:
                if not tries_left:
                    raise
            else:
                return answer
        raise AssertionError

    def manifest(self, call: Call) -> Json:
        """The call's manifest."""
        (key,) = (key for key in self.object_keys("manifests/") if call.contact_id in key)
        manifest: Json = json.loads(self.read(key))
        return manifest

    def recording(self, call: Call) -> bytes:
        """The call's WAV."""
        (key,) = (key for key in self.object_keys("recordings/") if call.contact_id in key)
        return self.read(key)

    def read(self, key: str) -> bytes:
        body: bytes = self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return body

    def object_keys(self, folder: str = "") -> list[str]:
        listing = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=f"{self.prefix}{folder}")
        return [entry["Key"] for entry in listing.get("Contents", [])]

    def drain(self, queue_url: str) -> list[Json]:
        """Receives and removes every message of a queue."""
        return list(self._drain(queue_url))

    def _drain(self, queue_url: str) -> Iterator[Json]:
        while messages := self.sqs.receive_message(
            QueueUrl=queue_url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        ).get("Messages"):
            for message in messages:
                self.sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
                yield dict(message)

    def clear(self) -> None:
        """Forgets messages, uploads, behaviour and checks, after a journey that broke off."""
        for url in (self.queue_url, self.failed_queue_url):
            self.sqs.delete_queue(QueueUrl=url)
        self._create_queues()
        for upload in self.uploads():
            self.s3.abort_multipart_upload(
                Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
            )
        self.aws.behaviour = type(self.aws.behaviour)()
        self.authorization.checks.clear()

    def uploads(self) -> list[Json]:
        """Multipart uploads that were not ended."""
        return [
            dict(upload)
            for upload in self.s3.list_multipart_uploads(Bucket=self.bucket).get("Uploads", [])
        ]


def actions_of(statement: Mapping[str, Any]) -> list[str]:
    """A statement's actions, which may be written without their list."""
    action = statement["Action"]
    return action if isinstance(action, list) else [action]


def stream_arn(prefix: str, stream_id: str = "") -> str:
    """An unused stream, or the one with this id."""
    return (
        f"arn:aws:kinesisvideo:{REGION}:{ACCOUNT}:stream/"
        f"{prefix}-connect-demo-contact-{stream_id or uuid.uuid4()}/1640168106910"
    )
