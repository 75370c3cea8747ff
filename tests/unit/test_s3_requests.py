"""What S3 is asked: encryption, checksums, and the sizes of parts.

Recorded on AWS: Create without a checksum algorithm, botocore's own CRC32 on each part and none in
Complete is accepted; an algorithm in Create demands them in Complete, too.
"""

from typing import Any

import pytest

from call_archive.aws.s3_recording import (
    PART_BYTES,
    Encryption,
    S3Object,
    S3Recording,
    build_encryption,
    build_hold,
    open_part,
)
from call_archive.recording.publishing import PutRecording
from call_archive.recording.wav import HEADER_BYTES

KEY_ARN = "arn:aws:kms:eu-west-2:123456789012:key/1"
HEADER = b"H" * HEADER_BYTES


class S3:
    """Takes everything, and remembers what was asked."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.stored: list[bytes] = []

    def put_object(self, **request: Any) -> Any:
        return self._take("PutObject", request)

    def create_multipart_upload(self, **request: Any) -> Any:
        return self._take("Create", request) | {"UploadId": "u"}

    def upload_part(self, **request: Any) -> Any:
        return self._take("UploadPart", request)

    def complete_multipart_upload(self, **request: Any) -> Any:
        return self._take("Complete", request)

    def _take(self, name: str, request: dict[str, Any]) -> dict[str, str]:
        if "Body" in request:
            self.stored.append(request["Body"].read())
        self.requests.append((name, request))
        return {"ETag": f"e{len(self.requests)}", "VersionId": "v"}

    def asked(self, name: str) -> list[dict[str, Any]]:
        return [request for asked, request in self.requests if asked == name]


def publish(size: int, encryption: Encryption | None = None, *, is_held: bool = False) -> S3:
    s3: Any = S3()
    hold = build_hold(is_held=is_held)
    target = S3Object.of_run(s3, "bucket", "k.wav", "i-1", (), encryption or {}, hold)
    recording = S3Recording(target, open_part)
    step = 131_072
    for start in range(0, size, step):
        recording.write(bytes(min(step, size - start)))
    recording.put(HEADER, PutRecording(replaces="", is_complete=True))
    recording.close()
    taken: S3 = s3
    return taken


@pytest.mark.parametrize("size", [1_000, 3 * PART_BYTES])
@pytest.mark.parametrize(
    ("key_arn", "header", "expected"),
    [
        ("", "", {}),
        ("", "AES256", {"ServerSideEncryption": "AES256"}),
        (KEY_ARN, "", {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": KEY_ARN}),
        (KEY_ARN, "AES256", {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": KEY_ARN}),
    ],
)
def test_the_request_that_begins_an_object_names_its_encryption(
    size: int, key_arn: str, header: str, expected: dict[str, str]
) -> None:
    s3 = publish(size, build_encryption(key_arn, header))
    (request,) = s3.asked("PutObject") + s3.asked("Create")
    named = {name: value for name, value in request.items() if "SSE" in name or "Enc" in name}
    assert named == expected
    for request in s3.asked("UploadPart") + s3.asked("Complete"):
        assert not [name for name in request if "SSE" in name or "Encryption" in name]


@pytest.mark.parametrize("size", [1_000, 3 * PART_BYTES])
@pytest.mark.parametrize("is_held", [False, True])
def test_what_is_held_is_held_from_its_first_byte(size: int, is_held: bool) -> None:
    """A hold that is put on afterwards is missing from what a killed run has published."""
    s3 = publish(size, is_held=is_held)
    (request,) = s3.asked("PutObject") + s3.asked("Create")
    assert request.get("ObjectLockLegalHoldStatus") == ("ON" if is_held else None)
    for request in s3.asked("UploadPart") + s3.asked("Complete"):
        assert "ObjectLockLegalHoldStatus" not in request


def test_checksums_are_left_to_the_parts() -> None:
    s3 = publish(3 * PART_BYTES)
    for request in s3.asked("Create") + s3.asked("Complete"):
        assert not [name for name in request if "Checksum" in name]
    (complete,) = s3.asked("Complete")
    assert all(
        part.keys() == {"PartNumber", "ETag"} for part in complete["MultipartUpload"]["Parts"]
    )


@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize("off", [-2, 0, 2, HEADER_BYTES])
def test_no_part_is_empty(parts: int, off: int) -> None:
    size = parts * PART_BYTES - HEADER_BYTES + off
    s3 = publish(size)
    assert all(s3.stored)
    assert sum(map(len, s3.stored)) == HEADER_BYTES + size
    numbers = [request["PartNumber"] for request in s3.asked("UploadPart")]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))
    assert bool(numbers) != bool(s3.asked("PutObject"))
