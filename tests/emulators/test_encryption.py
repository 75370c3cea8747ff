"""A bucket that demands an encryption header, judged by an IAM that this repository did not write.

MiniStack 1.5.33 knows the condition key `s3:x-amz-server-side-encryption`, for a part as for its
upload, but not those of the KMS key and of SSE-C, which the template's own bucket policy uses.
"""

import json
import uuid
from dataclasses import replace
from typing import Any

import pytest
from boto3.session import Session

from call_archive.aws.s3_archive import S3Archive
from call_archive.aws.s3_recording import build_encryption
from call_archive.errors import StorageFaultError
from local.clients import REGION
from tests.emulators.ministack import MiniStack
from tests.integration import test_publish as suite


@pytest.fixture(scope="module")
def person(ministack: MiniStack) -> Any:
    """S3 as somebody who may do everything there: MiniStack does not judge the account's root."""
    iam, name = ministack.client("iam"), "writer"
    allowed = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    iam.create_user(UserName=name)
    iam.put_user_policy(
        UserName=name,
        PolicyName="all",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [allowed]}),
    )
    key = iam.create_access_key(UserName=name)["AccessKey"]
    session: Any = Session(key["AccessKeyId"], key["SecretAccessKey"], region_name=REGION)
    return session.client(
        "s3", endpoint_url=ministack.endpoint_url, verify=str(ministack.certificate)
    )


@pytest.fixture(params=suite.SCALES)
def archive(
    ministack: MiniStack, person: Any, request: pytest.FixtureRequest, monkeypatch: Any
) -> S3Archive:
    """In a bucket whose policy demands that a write names its encryption."""
    bucket, owner = f"demanding-{uuid.uuid4()}", ministack.client("s3")
    demand = {
        "Sid": "NameIt",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:PutObject",
        "Resource": f"arn:aws:s3:::{bucket}/*",
        "Condition": {"Null": {"s3:x-amz-server-side-encryption": "true"}},
    }
    owner.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    policy = json.dumps({"Version": "2012-10-17", "Statement": [demand]})
    owner.put_bucket_policy(Bucket=bucket, Policy=policy)
    monkeypatch.setattr(suite, "BUCKET", bucket)
    return S3Archive(person, bucket, request.param, "manifests/call.json", "instance-1")


def test_a_bucket_that_demands_a_header_refuses_writes_without_one(archive: S3Archive) -> None:
    with pytest.raises(StorageFaultError) as caught:
        suite.publish(archive, suite.recorded(1000, complete=True))
    assert caught.value.code == "S3_AccessDenied"
    assert not caught.value.retryable


def test_a_bucket_that_demands_a_header_takes_what_names_it(archive: S3Archive) -> None:
    naming = replace(archive, encryption=build_encryption("", "AES256"))
    suite.publish(naming, suite.recorded(1000, complete=True))
    for key in (archive.recording_key, archive.manifest_key):
        head = archive.client.head_object(Bucket=archive.bucket, Key=key)
        assert head["ServerSideEncryption"] == "AES256"
