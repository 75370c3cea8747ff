"""The local AWS's S3 and SQS: what S3 does with conditions and repeats, and the faults by name."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from local.moto_faults import MotoFault, decode_moto_faults
from local.resources import Resources, create_with
from local.server import LocalAws, Step

BUCKET = "call-archive-local-s3"
KEY = "recordings/a key.wav"
PART = bytes(5 * 1_048_576)
HELD = {"ObjectLockLegalHoldStatus": "ON"}


@pytest.fixture
def aws(shared_aws: LocalAws) -> Iterator[LocalAws]:
    shared_aws.reset()
    create_with(shared_aws.client("s3"), shared_aws.client("sqs"), Resources(bucket=BUCKET))
    yield shared_aws
    shared_aws.watcher = None
    shared_aws.reset()


def client(aws: LocalAws, service: str = "s3") -> Any:
    """A client that asks once and soon gives up."""
    config = Config(read_timeout=1, retries={"total_max_attempts": 1})
    make: Any = boto3.client
    return make(service, **aws.client_options, config=config)


def upload(s3: Any, content: bytes = PART + b"rest", *, is_held: bool = False) -> dict[str, Any]:
    """A multipart upload with both parts in place: the arguments of its Complete."""
    hold = HELD if is_held else {}
    upload_id = s3.create_multipart_upload(Bucket=BUCKET, Key=KEY, **hold)["UploadId"]
    named = {"Bucket": BUCKET, "Key": KEY, "UploadId": upload_id}
    parts = []
    for number, part in enumerate((content[: len(PART)], content[len(PART) :]), 1):
        etag = s3.upload_part(**named, PartNumber=number, Body=part)["ETag"]
        parts.append({"PartNumber": number, "ETag": etag})
    return {**named, "MultipartUpload": {"Parts": parts}}


def refusal(call: Any, **arguments: Any) -> tuple[int, str]:
    """Status and code of an answer that has to be an error."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def body(s3: Any) -> bytes:
    content: bytes = s3.get_object(Bucket=BUCKET, Key=KEY)["Body"].read()
    return content


# ------------------------------------------------------------------ S3's own rules


def test_complete_on_the_condition_that_nothing_is_there(aws: LocalAws) -> None:
    s3 = client(aws)
    first, second = upload(s3), upload(s3, PART + b"second")
    s3.complete_multipart_upload(**first, IfNoneMatch="*")
    assert refusal(s3.complete_multipart_upload, **second, IfNoneMatch="*") == (
        412,
        "PreconditionFailed",
    )
    assert body(s3) == PART + b"rest"
    s3.complete_multipart_upload(**second)
    assert body(s3) == PART + b"second"


def test_complete_on_the_condition_that_an_object_is_still_there(aws: LocalAws) -> None:
    s3 = client(aws)
    seen = s3.put_object(Bucket=BUCKET, Key=KEY, Body=b"seen")["ETag"]
    other = upload(s3, PART + b"other")
    s3.put_object(Bucket=BUCKET, Key=KEY, Body=b"meanwhile")
    assert refusal(s3.complete_multipart_upload, **other, IfMatch=seen) == (
        412,
        "PreconditionFailed",
    )
    assert body(s3) == b"meanwhile"
    there = s3.head_object(Bucket=BUCKET, Key=KEY)["ETag"]
    conflict = (409, "ConditionalRequestConflict")
    assert refusal(s3.complete_multipart_upload, **other, IfMatch=there) == conflict
    assert refusal(s3.complete_multipart_upload, **other, IfMatch=there) == (404, "NoSuchUpload")
    s3.complete_multipart_upload(**upload(s3, PART + b"later"), IfMatch=there)
    assert body(s3) == PART + b"later"


def test_complete_after_the_object_was_deleted(aws: LocalAws) -> None:
    s3 = client(aws)
    s3.put_object(Bucket=BUCKET, Key=KEY, Body=b"seen")
    other = upload(s3, PART + b"other")
    s3.delete_object(Bucket=BUCKET, Key=KEY)
    assert refusal(s3.complete_multipart_upload, **other, IfNoneMatch="*") == (
        409,
        "ConditionalRequestConflict",
    )
    assert s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []) == []


def test_tags_are_no_write(aws: LocalAws) -> None:
    s3 = client(aws)
    there = s3.put_object(Bucket=BUCKET, Key=KEY, Body=b"seen")["ETag"]
    other = upload(s3, PART + b"other")
    tags = {"TagSet": [{"Key": "complete", "Value": "true"}]}
    s3.put_object_tagging(Bucket=BUCKET, Key=KEY, Tagging=tags)
    s3.complete_multipart_upload(**other, IfMatch=there)
    assert body(s3) == PART + b"other"


def test_complete_in_place_of_an_object_that_is_gone(aws: LocalAws) -> None:
    s3 = client(aws)
    assert refusal(s3.complete_multipart_upload, **upload(s3), IfMatch='"gone"') == (
        404,
        "NoSuchKey",
    )


def test_complete_that_comes_again_is_answered_as_the_first_time(aws: LocalAws) -> None:
    s3 = client(aws)
    arguments = upload(s3)
    first = s3.complete_multipart_upload(**arguments, IfNoneMatch="*")
    s3.put_object(Bucket=BUCKET, Key=KEY, Body=b"in its place")
    again = s3.complete_multipart_upload(**arguments, IfNoneMatch="*")
    assert again["ETag"] == first["ETag"]
    assert body(s3) == b"in its place"


def test_complete_of_an_upload_that_was_aborted(aws: LocalAws) -> None:
    s3 = client(aws)
    arguments = upload(s3)
    s3.abort_multipart_upload(Bucket=BUCKET, Key=KEY, UploadId=arguments["UploadId"])
    assert refusal(s3.complete_multipart_upload, **arguments) == (404, "NoSuchUpload")


# ------------------------------------------------------------------ faults


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("InternalError", (500, "InternalError")),
        ("SlowDown", (503, "SlowDown")),
        ("AccessDenied", (403, "AccessDenied")),
        ("ConditionalRequestConflict", (409, "ConditionalRequestConflict")),
        ("error_in_200", (500, "InternalError")),
    ],
)
@pytest.mark.parametrize("takes_effect", [False, True])
def test_refusal_before_or_after_the_effect(
    aws: LocalAws, answer: Any, expected: tuple[int, str], takes_effect: bool
) -> None:
    s3 = client(aws)
    arguments = upload(s3)
    aws.moto_faults = (
        MotoFault("CompleteMultipartUpload", answer, takes_effect=takes_effect, times=1),
    )
    assert refusal(s3.complete_multipart_upload, **arguments) == expected
    listing = s3.list_objects_v2(Bucket=BUCKET)
    assert listing["KeyCount"] == int(takes_effect)
    s3.complete_multipart_upload(**arguments)
    assert body(s3) == PART + b"rest"


@pytest.mark.parametrize(
    ("answer", "error"), [("reset", ConnectionClosedError), ("none", ReadTimeoutError)]
)
@pytest.mark.parametrize("takes_effect", [False, True])
def test_answer_that_does_not_come(
    aws: LocalAws, answer: Any, error: type[Exception], takes_effect: bool
) -> None:
    s3 = client(aws)
    aws.moto_faults = (MotoFault("PutObject", answer, takes_effect=takes_effect),)
    with pytest.raises(error):
        s3.put_object(Bucket=BUCKET, Key=KEY, Body=b"x")
    assert s3.list_objects_v2(Bucket=BUCKET)["KeyCount"] == int(takes_effect)


def test_body_that_is_cut(aws: LocalAws) -> None:
    s3 = client(aws)
    s3.put_object(Bucket=BUCKET, Key=KEY, Body=b"0123456789")
    aws.moto_faults = (MotoFault("GetObject", "cut"),)
    answer = s3.get_object(Bucket=BUCKET, Key=KEY)
    assert answer["ContentLength"] == 10
    with pytest.raises(Exception, match=r"(?i)broken|reset|incomplete"):
        answer["Body"].read()


def test_fault_of_the_queue(aws: LocalAws) -> None:
    sqs = client(aws, "sqs")
    url = sqs.get_queue_url(QueueName=Resources().queue)["QueueUrl"]
    aws.moto_faults = (MotoFault("SendMessage", "InternalError", takes_effect=True),)
    assert refusal(sqs.send_message, QueueUrl=url, MessageBody="x")[0] == 500
    assert len(sqs.receive_message(QueueUrl=url)["Messages"]) == 1


def test_fault_strikes_from_its_first_call_on_and_as_often_as_it_says(aws: LocalAws) -> None:
    s3 = client(aws)
    aws.moto_faults = (MotoFault("PutObject", "InternalError", first_call=2, times=2),)
    statuses = []
    for _ in range(5):
        try:
            s3.put_object(Bucket=BUCKET, Key=KEY, Body=b"x")
        except ClientError as error:
            statuses.append(error.response["ResponseMetadata"]["HTTPStatusCode"])
        else:
            statuses.append(200)
    assert statuses == [200, 500, 500, 200, 200]


def test_faults_over_http(aws: LocalAws) -> None:
    url = f"{aws.endpoint_url}/_local/moto-faults"
    wanted = [{"operation": "PutObject", "answer": "SlowDown", "times": None}]
    trusted = aws.client_options.get("verify", True)
    put = partial(requests.put, url, timeout=5, verify=trusted)
    assert put(json=wanted).status_code == 200
    assert aws.moto_faults == (MotoFault("PutObject", "SlowDown", times=None),)
    assert put(json=[{"operation": "PutObject"}]).status_code == 400


@pytest.mark.parametrize(
    "values",
    [
        {},
        [1],
        [{"operation": "PutObject"}],
        [{"operation": "PutObjects", "answer": "reset"}],
        [{"operation": "PutObject", "answer": "resets"}],
        [{"operation": "PutObject", "answer": "reset", "time": 1}],
    ],
)
def test_faults_that_do_not_exist_are_refused(values: object) -> None:
    with pytest.raises(ValueError, match=r"fault|missing|MotoFault"):
        decode_moto_faults(values)


# ------------------------------------------------------------------ the watcher


def test_watcher_sees_every_step_and_can_drop_a_request(aws: LocalAws) -> None:
    s3 = client(aws)
    steps: list[Step] = []

    def watch(step: Step) -> None:
        steps.append(step)
        if step == Step("HeadObject", has_effect=False):
            raise ConnectionAbortedError

    aws.watcher = watch
    s3.put_object(Bucket=BUCKET, Key=KEY, Body=b"x")
    with pytest.raises(ConnectionClosedError):
        s3.head_object(Bucket=BUCKET, Key=KEY)
    assert steps == [
        Step("PutObject", has_effect=False),
        Step("PutObject", has_effect=True),
        Step("HeadObject", has_effect=False),
    ]


def test_reset_forgets_what_another_server_of_the_process_holds(aws: LocalAws) -> None:
    client(aws).put_object(Bucket=BUCKET, Key=KEY, Body=b"x")
    with LocalAws() as other:
        other.reset()
        assert client(other).list_buckets()["Buckets"] == []


@pytest.mark.parametrize("has_lock", [True, False])
def test_a_legal_hold_of_an_upload(aws: LocalAws, has_lock: bool) -> None:
    """S3 API reference, CreateMultipartUpload: the hold is the finished object's."""
    s3 = client(aws)
    if not has_lock:
        begin = s3.create_multipart_upload
        assert refusal(begin, Bucket=BUCKET, Key=KEY, **HELD) == (400, "InvalidRequest")
        return
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object_lock_configuration(
        Bucket=BUCKET, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"}
    )
    s3.complete_multipart_upload(**upload(s3))
    assert "ObjectLockLegalHoldStatus" not in s3.head_object(Bucket=BUCKET, Key=KEY)
    s3.complete_multipart_upload(**upload(s3, is_held=True))
    stored = s3.head_object(Bucket=BUCKET, Key=KEY)
    assert stored["ObjectLockLegalHoldStatus"] == "ON"
    refused = refusal(s3.delete_object, Bucket=BUCKET, Key=KEY, VersionId=stored["VersionId"])
    assert refused == (403, "AccessDenied")
