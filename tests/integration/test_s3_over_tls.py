"""The suites of S3 again, over TLS: botocore then sends bodies as aws-chunked, CRC32 behind."""

from collections.abc import Iterable, Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import SSLError

from local.moto_faults import Environ, StartResponse, WsgiApplication
from local.server import LocalAws
from tests.integration import test_local_s3 as suite
from tests.integration.test_local_s3 import *  # noqa: F403 - every test and fixture of the suite
from tests.integration.test_publish import *  # noqa: F403 - the same
from tests.support.certificates import make_certificate


@pytest.fixture(scope="module")
def requests_seen() -> list[Environ]:
    """Every request to the local AWS of these tests."""
    return []


@pytest.fixture(scope="module")
def shared_aws(
    requests_seen: list[Environ], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalAws]:
    def watched(application: WsgiApplication) -> WsgiApplication:
        def watch(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
            requests_seen.append(environ)
            return application(environ, start_response)

        return watch

    certificate = make_certificate(tmp_path_factory.mktemp("tls"))
    with LocalAws(tls=certificate, wrap=watched) as aws:
        yield aws


def test_bodies_are_sent_in_this_form(aws: LocalAws, requests_seen: list[Environ]) -> None:
    s3 = aws.client("s3")
    s3.put_object(Bucket=suite.BUCKET, Key=suite.KEY, Body=b"123456789", ContentEncoding="identity")
    sent = requests_seen[-1]
    assert sent["wsgi.url_scheme"] == "https"
    assert sent["HTTP_TRANSFER_ENCODING"] == "chunked"
    assert sent["HTTP_CONTENT_ENCODING"] == "identity,aws-chunked"
    assert sent["HTTP_X_AMZ_TRAILER"] == "x-amz-checksum-crc32"
    stored = s3.get_object(Bucket=suite.BUCKET, Key=suite.KEY, ChecksumMode="ENABLED")
    assert stored["Body"].read() == b"123456789"
    assert stored["ContentEncoding"] == "identity"
    assert stored["ChecksumCRC32"] == "y/Q5Jg=="


def test_a_client_that_does_not_trust_the_certificate_sends_nothing(
    aws: LocalAws, requests_seen: list[Environ]
) -> None:
    before = len(requests_seen)
    untrusting: Any = boto3.client
    with pytest.raises(SSLError):
        untrusting("s3", **{**aws.client_options, "verify": True}).list_buckets()
    assert len(requests_seen) == before
