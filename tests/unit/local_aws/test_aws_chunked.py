"""What the local S3 makes of bodies that boto3 sends over TLS."""

import io
from collections.abc import Iterator
from typing import Any

import pytest
from werkzeug.test import run_wsgi_app

from local.aws_chunked import UNSIGNED, AwsChunked

# The check value of CRC-32, CBF43926, as every catalogue of CRCs has it.
BODY, CRC32 = b"123456789", "y/Q5Jg=="


def request(sent: bytes, **headers: str) -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "PUT",
        "PATH_INFO": "/bucket/key",
        "QUERY_STRING": "",
        "HTTP_CONTENT_ENCODING": "aws-chunked",
        "HTTP_TRANSFER_ENCODING": "chunked",
        "HTTP_X_AMZ_CONTENT_SHA256": UNSIGNED,
        "HTTP_X_AMZ_DECODED_CONTENT_LENGTH": "9",
        "HTTP_X_AMZ_TRAILER": "x-amz-checksum-crc32",
        "wsgi.input": io.BytesIO(sent),
        "wsgi.input_terminated": True,
        **headers,
    }


def encoded(*chunks: bytes, checksum: str = CRC32) -> bytes:
    framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return framed + f"0\r\nx-amz-checksum-crc32:{checksum}\r\n\r\n".encode()


class Service:
    """Takes a request, and remembers it."""

    def __init__(self) -> None:
        self.environ: dict[str, Any] = {}

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        self.environ = environ
        start_response("200 OK", [])
        yield b""


def answer(environ: dict[str, Any]) -> tuple[int, bytes, Service]:
    service = Service()
    body, status, _ = run_wsgi_app(AwsChunked(service), environ, buffered=True)
    return int(status.split()[0]), b"".join(body), service


@pytest.mark.parametrize("chunks", [(BODY,), (BODY[:4], BODY[4:])])
@pytest.mark.parametrize(("coding", "kept"), [("aws-chunked", None), ("gzip,aws-chunked", "gzip")])
def test_the_service_gets_the_plain_body_with_its_checksum(
    chunks: tuple[bytes, ...], coding: str, kept: str | None
) -> None:
    status, _, service = answer(request(encoded(*chunks), HTTP_CONTENT_ENCODING=coding))
    assert status == 200
    assert service.environ["wsgi.input"].read() == BODY
    assert service.environ["CONTENT_LENGTH"] == "9"
    assert service.environ["HTTP_X_AMZ_CHECKSUM_CRC32"] == CRC32
    assert service.environ.get("HTTP_CONTENT_ENCODING") == kept
    assert "HTTP_TRANSFER_ENCODING" not in service.environ


@pytest.mark.parametrize(
    ("sent", "headers", "expected"),
    [
        (encoded(BODY, checksum="AAAAAA=="), {}, (400, b"BadDigest")),
        (encoded(b"123456780"), {}, (400, b"BadDigest")),
        (b"9\r\n123456789\r\n0\r\n\r\n", {}, (400, b"BadDigest")),
        (encoded(BODY[:8]), {}, (400, b"IncompleteBody")),
        (encoded(BODY)[:-2], {}, (400, b"IncompleteBody")),
        (b"not chunks\r\n", {}, (400, b"IncompleteBody")),
        (
            encoded(BODY),
            {"HTTP_X_AMZ_TRAILER": "x-amz-checksum-sha256"},
            (501, b"NotImplemented"),
        ),
    ],
)
def test_a_body_that_is_not_what_its_trailer_says_is_refused(
    sent: bytes, headers: dict[str, str], expected: tuple[int, bytes]
) -> None:
    status, body, service = answer(request(sent, **headers))
    assert (status, expected[1] in body) == (expected[0], True)
    assert service.environ == {}


def test_other_requests_are_passed_on_as_they_are() -> None:
    environ = request(BODY, HTTP_X_AMZ_CONTENT_SHA256="UNSIGNED-PAYLOAD")
    _, _, service = answer(environ)
    assert service.environ["wsgi.input"].read() == BODY
