"""Nothing outside works: with the roles' credentials, with others', and without any."""

import http.client
import json
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import ClientError

from local.clients import REGION
from local.contact import ACCOUNT
from local.policy import AccessRequest, Decision, decide
from tests.security.world import ARCHIVE_KEY, INSTANCE, MEDIA_KEY, RULE, World, stream_arn

type Act = Callable[[World, Any], object]

OTHER_INSTANCE = INSTANCE[:-12] + "000000000000"
STREAM_ID = "50a3a8d4-5f18-412a-b532-519c6fcd2c6d"
OTHER_ACCOUNT = stream_arn("ivr", STREAM_ID).replace(ACCOUNT, "999999999999")


def code_of(act: Callable[[], object]) -> str:
    with pytest.raises(ClientError) as caught:
        act()
    return str(caught.value.response["Error"]["Code"])


def denied_to_archive(service: str, **arguments: Any) -> Any:
    """One row: service, operation and arguments; `{bucket}` and so on are the stack's names."""
    ((operation, fields),) = arguments.items()
    return pytest.param(service, operation, fields, id=f"{operation} {list(fields.values())[-1]}")


@pytest.mark.parametrize(
    ("service", "operation", "arguments"),
    [
        denied_to_archive("s3", put_object={"Bucket": "{bucket}", "Key": "elsewhere/a.wav"}),
        denied_to_archive("s3", put_object={"Bucket": "{bucket}", "Key": "recordings/a.wav"}),
        denied_to_archive(
            "s3", put_object={"Bucket": "another", "Key": "{prefix}recordings/a.wav"}
        ),
        denied_to_archive("s3", get_object={"Bucket": "{bucket}", "Key": "elsewhere/a.wav"}),
        denied_to_archive("s3", head_object={"Bucket": "{bucket}", "Key": "{prefix}a.wav"}),
        denied_to_archive(
            "s3", delete_object={"Bucket": "{bucket}", "Key": "{prefix}recordings/a"}
        ),
        denied_to_archive("s3", list_objects_v2={"Bucket": "{bucket}", "Prefix": "elsewhere/"}),
        denied_to_archive("s3", list_objects_v2={"Bucket": "{bucket}", "Prefix": "{prefix}"}),
        denied_to_archive("s3", list_objects_v2={"Bucket": "another"}),
        denied_to_archive("s3", get_bucket_policy={"Bucket": "{bucket}"}),
        denied_to_archive(
            "s3",
            create_multipart_upload={"Bucket": "{bucket}", "Key": "{prefix}manifests-2/a.json"},
        ),
        denied_to_archive("sqs", send_message={"QueueUrl": "{queue}", "MessageBody": "{{}}"}),
        denied_to_archive("sqs", receive_message={"QueueUrl": "{failed_queue}"}),
        denied_to_archive("sqs", receive_message={"QueueUrl": "{queue}-2"}),
        denied_to_archive("sqs", purge_queue={"QueueUrl": "{queue}"}),
        denied_to_archive(
            "kinesisvideo",
            get_data_endpoint={"APIName": "GET_MEDIA", "StreamARN": stream_arn("other", STREAM_ID)},
        ),
        denied_to_archive(
            "kinesisvideo", get_data_endpoint={"APIName": "GET_MEDIA", "StreamARN": OTHER_ACCOUNT}
        ),
        denied_to_archive(
            "kinesisvideo", describe_stream={"StreamARN": stream_arn("ivr", STREAM_ID)}
        ),
        denied_to_archive(
            "kinesis-video-archived-media",
            get_media_for_fragment_list={
                "Fragments": ["1"],
                "StreamARN": stream_arn("other", STREAM_ID),
            },
        ),
        denied_to_archive(
            "kinesis-video-media",
            get_media={
                "StreamARN": stream_arn("ivr", STREAM_ID),
                "StartSelector": {"StartSelectorType": "NOW"},
            },
        ),
        denied_to_archive(
            "connect",
            describe_contact={"ContactId": "c-1", "InstanceId": OTHER_INSTANCE.rpartition("/")[2]},
        ),
        denied_to_archive("kms", decrypt={"CiphertextBlob": b"x", "KeyId": MEDIA_KEY}),
    ],
)
def test_the_archive_role_reaches_nothing_else(
    full: World, service: str, operation: str, arguments: dict[str, Any]
) -> None:
    names = {
        "bucket": full.bucket,
        "prefix": full.prefix,
        "queue": full.queue_url,
        "failed_queue": full.failed_queue_url,
    }
    asked = {
        name: value.format(**names) if isinstance(value, str) else value
        for name, value in arguments.items()
    }
    act = getattr(full.client("ArchiveRole", service), operation)
    # A HEAD has no body, so botocore has the status only.
    assert code_of(lambda: act(**asked)).removesuffix("Exception") in ("AccessDenied", "403")


@pytest.mark.parametrize(
    ("service", "operation", "arguments"),
    [
        ("sqs", "receive_message", {"QueueUrl": "queue"}),
        ("sqs", "send_message", {"QueueUrl": "failed", "MessageBody": "{}"}),
        ("s3", "get_object", {"Bucket": "bucket", "Key": "calls/production/manifests/a.json"}),
        ("connect", "describe_contact", {"InstanceId": INSTANCE[-36:], "ContactId": "c-1"}),
    ],
)
def test_the_flow_role_can_only_queue(
    full: World, service: str, operation: str, arguments: dict[str, Any]
) -> None:
    names = {"queue": full.queue_url, "failed": full.failed_queue_url, "bucket": full.bucket}
    asked = {name: names.get(value, value) for name, value in arguments.items()}
    act = getattr(full.client("FlowRole", service), operation)
    assert code_of(lambda: act(**asked)).startswith("AccessDenied")


def test_a_key_that_is_not_there_is_told_from_one_that_is_forbidden(full: World) -> None:
    s3 = full.client("ArchiveRole", "s3")
    key = f"{full.prefix}manifests/none.json"
    assert code_of(lambda: s3.get_object(Bucket=full.bucket, Key=key)) == "NoSuchKey"
    assert code_of(lambda: s3.head_object(Bucket=full.bucket, Key=key)) == "404"


# ------------------------------------------------------------------ through the functions


def test_a_job_for_a_stream_of_another_prefix_fails_at_once(full: World) -> None:
    job = full.place(prefix="other").archive_job()
    full.drain(full.failed_queue_url)
    assert full.invoke_archive(job)
    (failed,) = full.drain(full.failed_queue_url)
    code = failed["MessageAttributes"]["code"]["StringValue"]
    assert code == "KVS_AccessDeniedException"


def test_an_event_of_another_instance_fails_before_anything_is_asked(full: World) -> None:
    contact = full.place(instance_arn=OTHER_INSTANCE)
    full.drain(full.failed_queue_url)
    full.authorization.checks.clear()
    assert full.invoke_archive(contact.contact_event())
    assert {check.action for check in full.authorization.checks} == {"sqs:SendMessage"}
    (failed,) = full.drain(full.failed_queue_url)
    assert failed["MessageAttributes"]["code"]["StringValue"] == "FOREIGN_INSTANCE"


# ------------------------------------------------------------------ all others


@pytest.fixture
def almighty(full: World) -> str:
    """A role of the account that may do everything, as far as its own policy goes."""
    everything = {"Sid": "All", "Effect": "Allow", "Action": "*", "Resource": "*"}
    return full.stranger(everything)


@pytest.mark.parametrize("queue", ["queue_url", "failed_queue_url"])
def test_nobody_else_sends_jobs(full: World, almighty: str, queue: str) -> None:
    sqs = full.client(almighty, "sqs")
    url = getattr(full, queue)
    assert code_of(lambda: sqs.send_message(QueueUrl=url, MessageBody="{}")) == "AccessDenied"
    assert full.authorization.checks[-1].sid == "OnlyOurSenders"


@pytest.mark.parametrize(
    ("encryption", "sid"),
    [
        ({"ServerSideEncryption": "AES256"}, "OnlyWithTheKey"),
        ({"ServerSideEncryption": "aws:kms"}, "OnlyWithTheKey"),
        ({"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": MEDIA_KEY}, "OnlyWithTheKey"),
        ({"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": ARCHIVE_KEY}, "All"),
        ({}, "All"),
    ],
)
def test_nobody_writes_under_another_key(
    full: World, almighty: str, encryption: dict[str, str], sid: str
) -> None:
    s3 = full.client(almighty, "s3")
    checks = full.authorization.checks
    checks.clear()
    with suppress(ClientError):
        s3.put_object(Bucket=full.bucket, Key="a", **encryption)
    (check,) = [check for check in checks if check.action == "s3:PutObject"]
    assert (check.sid, check.is_allowed) == (sid, sid == "All")


def put_with_a_key_of_the_callers(world: World) -> Decision:
    """SSE-C, as the bucket's policy sees it: boto3 sends the key over TLS only."""
    context = {"s3:x-amz-server-side-encryption-customer-algorithm": "AES256"}
    request = AccessRequest(
        principal=f"arn:aws:iam::{ACCOUNT}:role/any",
        action="s3:PutObject",
        resource=f"arn:aws:s3:::{world.bucket}/a",
        context=context,
    )
    allowed = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    policy = world.resource_policy("AWS::S3::BucketPolicy", "ArchiveBucketPolicy")
    return decide(request, [allowed], policy)


def test_nobody_writes_under_a_key_that_only_they_have(full: World, minimal: World) -> None:
    assert put_with_a_key_of_the_callers(full).sid == "NoKeysOfCallers"
    assert put_with_a_key_of_the_callers(minimal).sid == "NoKeysOfCallers"


@pytest.fixture
def plain_http(full: World) -> Iterator[None]:
    full.authorization.is_secure = False
    yield
    full.authorization.is_secure = True


@pytest.mark.usefixtures("plain_http")
def test_without_tls_nothing_is_served(full: World, almighty: str) -> None:
    s3, sqs = full.client(almighty, "s3"), full.client(almighty, "sqs")
    for act in (
        lambda: s3.put_object(Bucket=full.bucket, Key="a"),
        lambda: s3.list_objects_v2(Bucket=full.bucket),
        lambda: sqs.receive_message(QueueUrl=full.queue_url),
        lambda: sqs.receive_message(QueueUrl=full.failed_queue_url),
    ):
        assert code_of(act) == "AccessDenied"
        assert full.authorization.checks[-1].sid == "OnlyOverTls"


# ------------------------------------------------------------------ EventBridge, in its own name


def delivers(world: World, queue: str, rule: str, account: str, service: str = "events") -> bool:
    request = AccessRequest(
        principal=f"{service}.amazonaws.com",
        action="sqs:SendMessage",
        resource=world.names[f"{queue}.Arn"],
        context={
            "aws:SourceArn": rule,
            "aws:SourceAccount": account,
            "aws:SecureTransport": "true",
        },
    )
    return decide(
        request, (), world.resource_policy("AWS::SQS::QueuePolicy", f"{queue}Policy")
    ).is_allowed


@pytest.mark.parametrize("queue", ["ArchiveQueue", "FailedJobsQueue"])
def test_one_rule_may_deliver_events(full: World, queue: str) -> None:
    other_rule = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/other"
    assert delivers(full, queue, RULE, ACCOUNT)
    assert not delivers(full, queue, other_rule, ACCOUNT)
    assert not delivers(full, queue, RULE, "999999999999")
    assert not delivers(full, queue, RULE, ACCOUNT, service="sns")


# ------------------------------------------------------------------ who is who


def test_an_unsigned_request_is_refused(full: World) -> None:
    host = full.aws.endpoint_url.removeprefix("http://")
    with closing(http.client.HTTPConnection(host)) as connection:
        connection.request("GET", f"/{full.bucket}")
        assert connection.getresponse().status == 403


def tamper(request: AWSPreparedRequest, **_: object) -> None:
    """What an attacker on the way could change, after the signature."""
    assert isinstance(request.body, bytes)
    forged = json.loads(request.body) | {"MessageBody": "forged"}
    request.body = json.dumps(forged).encode()
    request.headers["Content-Length"] = str(len(request.body))


def test_a_tampered_request_is_refused(full: World) -> None:
    sqs = full.client("FlowRole", "sqs")
    full.drain(full.queue_url)
    sqs.meta.events.register("before-send.sqs.SendMessage", tamper)
    send = lambda: sqs.send_message(QueueUrl=full.queue_url, MessageBody="genuine")  # noqa: E731
    assert code_of(send) == "SignatureDoesNotMatch"
    assert full.drain(full.queue_url) == []
