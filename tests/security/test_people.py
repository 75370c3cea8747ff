"""docs/policies: what people may do is proved as the functions' rights are.

Each task works with the file's policy; without one action of it the task fails, for that action;
and nothing beyond it is allowed. The policies' other actions are of services that the local AWS
does not judge; tests/template/test_policies.py compares those with AWS's reference.
"""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from call_archive.keys import hold_key, tombstone_key
from call_archive_cli.clients import Clients
from call_archive_cli.stored import S3Store
from local.clients import REGION
from local.contact import ACCOUNT
from tests.security.world import FULL, Json, World, actions_of

POLICIES = Path(__file__).parents[2] / "docs/policies"
PATH = "/operators/"
FILES = ("consumer", "eraser", "holder", "operator", "redrive-role")


class People:
    """Roles with the documents' policies, and one recorded call to work with."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.iam = world.aws.client("iam")
        for name in FILES:
            self.iam.create_role(
                Path=PATH,
                RoleName=role_name(name),
                AssumeRolePolicyDocument=json.dumps({"Statement": []}),
            )
        self.call = world.place()
        assert world.invoke_archive(self.call.archive_job())

    def statements(self, name: str) -> list[Json]:
        text = (POLICIES / f"{name}.json").read_text()
        for placeholder, value in {
            "REGION": REGION,
            "ACCOUNT": ACCOUNT,
            "STACK": self.world.stack,
            "BUCKET": self.world.bucket,
        }.items():
            text = text.replace(placeholder, value)
        statements: list[Json] = json.loads(text)["Statement"]
        return statements

    def grant(self, name: str, *, without: str = "") -> None:
        statements = self.statements(name)
        for statement in statements:
            statement["Action"] = [a for a in actions_of(statement) if a != without]
        document = {"Version": "2012-10-17", "Statement": [s for s in statements if s["Action"]]}
        self.iam.put_role_policy(
            RoleName=role_name(name), PolicyName="all", PolicyDocument=json.dumps(document)
        )
        self.world.authorization.checks.clear()

    def client(self, name: str, service: str) -> Any:
        arn = f"arn:aws:iam::{ACCOUNT}:role{PATH}{role_name(name)}"
        session = self.world.aws.client("sts").assume_role(RoleArn=arn, RoleSessionName="test")
        keys = session["Credentials"]
        options = {
            **self.world.aws.client_options,
            "aws_access_key_id": keys["AccessKeyId"],
            "aws_secret_access_key": keys["SecretAccessKey"],
            "aws_session_token": keys["SessionToken"],
        }
        return boto3.client(service, **options)  # type: ignore[call-overload] # a name in a variable

    def denied(self) -> set[str]:
        return {c.action for c in self.world.authorization.checks if not c.is_allowed}


def role_name(name: str) -> str:
    # As in FULL["RedriveRoleArn"], which the queues' policies name.
    return "redrive" if name == "redrive-role" else name


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    with World(FULL, tmp_path_factory.mktemp("people")) as world:
        yield People(world)


def list_recordings(people: People, name: str) -> None:
    prefix = f"{people.world.prefix}recordings/"
    listing = people.client(name, "s3").list_objects_v2(Bucket=people.world.bucket, Prefix=prefix)
    assert listing["KeyCount"] > 0


def read_a_recording(people: People, name: str) -> None:
    (key,) = (k for k in people.world.object_keys("recordings/") if people.call.contact_id in k)
    got = people.client(name, "s3").get_object(Bucket=people.world.bucket, Key=key)
    assert got["Body"].read(4) == b"RIFF"


def look_at_failed_jobs(people: People, name: str) -> None:
    fail_a_job(people)
    answer = people.client(name, "sqs").receive_message(
        QueueUrl=people.world.failed_queue_url, VisibilityTimeout=0
    )
    assert answer["Messages"]


def count_jobs(people: People, name: str) -> None:
    sqs = people.client(name, "sqs")
    for url in (people.world.queue_url, people.world.failed_queue_url):
        assert sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]


def move_a_job(people: People, name: str) -> None:
    fail_a_job(people)
    sqs, failed = people.client(name, "sqs"), people.world.failed_queue_url
    (message, *_) = sqs.receive_message(QueueUrl=failed)["Messages"]
    handle = message["ReceiptHandle"]
    sqs.change_message_visibility(QueueUrl=failed, ReceiptHandle=handle, VisibilityTimeout=60)
    sqs.send_message(QueueUrl=people.world.queue_url, MessageBody=message["Body"])
    sqs.delete_message(QueueUrl=failed, ReceiptHandle=handle)


def fail_a_job(people: People) -> None:
    people.world.drain(people.world.failed_queue_url)
    people.world.sqs.send_message(QueueUrl=people.world.failed_queue_url, MessageBody="{}")
    people.world.authorization.checks.clear()


def describe_the_contact(people: People, name: str) -> None:
    instance = people.call.instance_arn.rpartition("/")[2]
    described = people.client(name, "connect").describe_contact(
        InstanceId=instance, ContactId=people.call.contact_id
    )
    assert described["Contact"]["Id"] == people.call.contact_id


def fetch_from_the_stream(people: People, name: str) -> None:
    stream = people.call.stream_arn
    kvs = people.client(name, "kinesisvideo")
    assert kvs.describe_stream(StreamARN=stream)["StreamInfo"]
    kvs.get_data_endpoint(StreamARN=stream, APIName="LIST_FRAGMENTS")
    media = people.client(name, "kinesis-video-archived-media")
    ever = {
        "StartTimestamp": datetime(2020, 1, 1, tzinfo=UTC),
        "EndTimestamp": datetime.now(UTC),
    }
    selector = {"FragmentSelectorType": "SERVER_TIMESTAMP", "TimestampRange": ever}
    assert media.list_fragments(StreamARN=stream, FragmentSelector=selector)["Fragments"]
    number = str(people.call.fragments[0].number)
    got = media.get_media_for_fragment_list(StreamARN=stream, Fragments=[number])
    assert got["Payload"].read()


def look_for_everything(people: People, name: str) -> None:
    store = store_of(people, name)
    assert store.versions([people.call.contact_id])
    store.uploads([people.call.contact_id])


def look_for_versions(people: People, name: str) -> None:
    assert store_of(people, name).versions([people.call.contact_id])


def look_for_replicas(people: People, name: str) -> None:
    assert people.client(name, "s3").list_object_versions(Bucket=people.world.bucket)
    try:
        people.client(name, "s3").get_bucket_replication(Bucket=people.world.bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ReplicationConfigurationNotFoundError":
            raise


def look_for_a_lock(people: People, name: str) -> None:
    store_of(people, name).has_lock()


def write_a_tombstone(people: People, name: str) -> None:
    store = store_of(people, name)
    key = tombstone_key(store.prefix, "somebody")
    store.write_mark(key, {"version": 1, "group": []})
    assert store.read_mark(key)


def mark_a_hold(people: People, name: str) -> None:
    store = store_of(people, name)
    key = hold_key(store.prefix, "somebody")
    store.write_mark(key, {"version": 1, "group": []})
    assert store.read_mark(key)
    store.remove_mark(key)


def remove_a_version(people: People, name: str) -> None:
    key = f"{people.world.prefix}recordings/year=2020/month=01/day=01/somebody/1.wav"
    put = people.world.aws.client("s3").put_object(
        Bucket=people.world.bucket, Key=key, Body=b"RIFF"
    )
    people.client(name, "s3").delete_object(
        Bucket=people.world.bucket, Key=key, VersionId=put["VersionId"]
    )


def abort_an_upload(people: People, name: str) -> None:
    key = f"{people.world.prefix}recordings/year=2020/month=01/day=01/somebody/1.wav"
    upload = people.world.aws.client("s3").create_multipart_upload(
        Bucket=people.world.bucket, Key=key
    )
    people.client(name, "s3").abort_multipart_upload(
        Bucket=people.world.bucket, Key=key, UploadId=upload["UploadId"]
    )


def ask_for_relatives(people: People, name: str) -> None:
    instance = people.call.instance_arn.rpartition("/")[2]
    assert people.client(name, "connect").list_associated_contacts(
        InstanceId=instance, ContactId=people.call.contact_id
    )["ContactSummaryList"]


def store_of(people: People, name: str) -> S3Store:
    """What the commands use, with the role's credentials."""
    clients = RoleClients(people, name)
    return S3Store(clients, people.world.bucket, people.world.prefix)


class RoleClients(Clients):
    """The commands' clients, as a role."""

    def __init__(self, people: People, name: str) -> None:
        super().__init__()
        self._s3 = people.client(name, "s3")

    def s3(self) -> Any:
        return self._s3


type Task = Callable[[People, str], None]
PROVED_BY: dict[tuple[str, str], Task] = {
    ("consumer", "s3:ListBucket"): list_recordings,
    ("consumer", "s3:GetObject"): read_a_recording,
    ("consumer", "kms:Decrypt"): read_a_recording,
    ("operator", "s3:ListBucket"): list_recordings,
    ("operator", "s3:ListBucketVersions"): look_for_versions,
    ("operator", "s3:ListBucketMultipartUploads"): look_for_everything,
    ("eraser", "s3:ListBucket"): list_recordings,
    ("eraser", "s3:ListBucketVersions"): look_for_versions,
    ("eraser", "s3:ListBucketMultipartUploads"): look_for_everything,
    ("eraser", "s3:GetReplicationConfiguration"): look_for_replicas,
    ("eraser", "s3:GetBucketObjectLockConfiguration"): look_for_a_lock,
    ("eraser", "s3:PutObject"): write_a_tombstone,
    ("eraser", "s3:GetObject"): write_a_tombstone,
    ("eraser", "s3:DeleteObjectVersion"): remove_a_version,
    ("eraser", "s3:AbortMultipartUpload"): abort_an_upload,
    ("eraser", "connect:ListAssociatedContacts"): ask_for_relatives,
    ("eraser", "kms:Decrypt"): write_a_tombstone,
    ("eraser", "kms:GenerateDataKey"): write_a_tombstone,
    ("holder", "s3:ListBucket"): list_recordings,
    ("holder", "s3:ListBucketVersions"): look_for_versions,
    ("holder", "s3:GetBucketObjectLockConfiguration"): look_for_a_lock,
    ("holder", "s3:PutObject"): mark_a_hold,
    ("holder", "s3:GetObject"): mark_a_hold,
    ("holder", "s3:DeleteObject"): mark_a_hold,
    ("holder", "connect:ListAssociatedContacts"): ask_for_relatives,
    ("operator", "s3:GetBucketObjectLockConfiguration"): look_for_a_lock,
    ("operator", "s3:GetObject"): read_a_recording,
    ("operator", "kms:Decrypt"): read_a_recording,
    ("operator", "sqs:GetQueueAttributes"): count_jobs,
    ("operator", "sqs:ReceiveMessage"): look_at_failed_jobs,
    ("operator", "connect:DescribeContact"): describe_the_contact,
    ("operator", "kinesisvideo:DescribeStream"): fetch_from_the_stream,
    ("operator", "kinesisvideo:GetDataEndpoint"): fetch_from_the_stream,
    ("operator", "kinesisvideo:ListFragments"): fetch_from_the_stream,
    ("operator", "kinesisvideo:GetMediaForFragmentList"): fetch_from_the_stream,
    ("redrive-role", "sqs:GetQueueAttributes"): count_jobs,
    ("redrive-role", "sqs:ReceiveMessage"): move_a_job,
    ("redrive-role", "sqs:ChangeMessageVisibility"): move_a_job,
    ("redrive-role", "sqs:SendMessage"): move_a_job,
    ("redrive-role", "sqs:DeleteMessage"): move_a_job,
    ("redrive-role", "connect:DescribeContact"): describe_the_contact,
    ("redrive-role", "s3:ListBucket"): list_recordings,
}
FORBIDDEN: dict[tuple[str, Task], str] = {
    ("consumer", look_at_failed_jobs): "sqs:ReceiveMessage",
    ("consumer", describe_the_contact): "connect:DescribeContact",
    ("consumer", fetch_from_the_stream): "kinesisvideo:DescribeStream",
    ("eraser", read_a_recording): "s3:GetObject",
    ("eraser", mark_a_hold): "s3:PutObject",
    ("holder", read_a_recording): "s3:GetObject",
    ("holder", remove_a_version): "s3:DeleteObjectVersion",
    ("holder", write_a_tombstone): "s3:PutObject",
    ("operator", remove_a_version): "s3:DeleteObjectVersion",
    ("operator", write_a_tombstone): "s3:PutObject",
    ("operator", move_a_job): "sqs:ChangeMessageVisibility",
    ("redrive-role", read_a_recording): "s3:GetObject",
    ("redrive-role", fetch_from_the_stream): "kinesisvideo:DescribeStream",
}


@pytest.mark.parametrize(
    ("name", "task"), sorted({(n, t) for (n, _), t in PROVED_BY.items()}, key=str)
)
def test_a_task_works_with_the_policy(people: People, name: str, task: Task) -> None:
    people.grant(name)
    task(people, name)
    assert people.denied() == set()


@pytest.mark.parametrize(("name", "action"), PROVED_BY)
def test_without_one_action_it_fails(people: People, name: str, action: str) -> None:
    people.grant(name, without=action)
    with pytest.raises(ClientError):
        PROVED_BY[name, action](people, name)
    assert people.denied() == {action}


@pytest.mark.parametrize(("name", "task"), FORBIDDEN)
def test_nothing_beyond_it_is_allowed(people: People, name: str, task: Task) -> None:
    people.grant(name)
    with pytest.raises(ClientError):
        task(people, name)
    assert people.denied() == {FORBIDDEN[name, task]}


@pytest.mark.parametrize("name", FILES)
def test_nobody_changes_a_recording(people: People, name: str) -> None:
    people.grant(name)
    s3, key = people.client(name, "s3"), people.world.object_keys("recordings/")[0]
    with pytest.raises(ClientError):
        s3.put_object(Bucket=people.world.bucket, Key=key, Body=b"")
    with pytest.raises(ClientError):
        s3.delete_object(Bucket=people.world.bucket, Key=key)
    assert people.denied() == {"s3:PutObject", "s3:DeleteObject"}
