"""Adapter: PCM → one S3 object with its header in front, published on a condition.

The header needs the length, which is known last. So the first part, with room for the header, is
kept until the end and uploaded last, which S3 allows. One conditional call publishes the whole
recording, or nothing is published. `recording.publishing` decides on which condition, if at all.

Source: S3 API reference (multipart upload, conditional writes, PutObjectTagging).
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
import uuid
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Literal, TypedDict
from urllib.parse import urlencode

from call_archive.aws.faults import failures, refusal_code, storage_fault
from call_archive.errors import StorageFaultError
from call_archive.reasons import Code
from call_archive.recording.manifest import StoredRecording
from call_archive.recording.publishing import NotPublished, PutRecording, Tag
from call_archive.recording.wav import HEADER_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

PART_BYTES = 5 * 1_048_576
"""The smallest part that S3 accepts, so that uploading begins early."""

PARTS_IN_FLIGHT = 2
"""Finished parts behind the one being written: one being uploaded, one waiting on the disk."""

WRITE_BUFFER_BYTES = 131_072
READ_BYTES = 65_536

RUN_ID = "run-id"
STOPS = "stop-fragment-numbers"
INSTANCE_TAG = "instance-id"
COMPLETE_TAG = "complete"

_FAILURES = failures()
_REFUSALS = {
    "PreconditionFailed": NotPublished.CONDITION,
    "412": NotPublished.CONDITION,
    "NoSuchKey": NotPublished.CONDITION,  # the object to be replaced is gone
    "ConditionalRequestConflict": NotPublished.CONFLICT,
    "409": NotPublished.CONFLICT,
}
_NO_VERSION = frozenset(("", "null"))
"""S3's version id if versioning is off or suspended."""


class Condition(TypedDict, total=False):
    """The condition of a write: an object has this ETag, or no object exists."""

    IfMatch: str
    IfNoneMatch: str


class Encryption(TypedDict, total=False):
    """The encryption headers of a write; none of them means the bucket's default encryption.

    S3 checks a policy that demands an encryption header against the request: the bucket's default
    encryption does not satisfy it.
    """

    ServerSideEncryption: Literal["AES256", "aws:kms"]
    SSEKMSKeyId: str


class Hold(TypedDict, total=False):
    """The legal hold of a write: S3 never deletes such a version until the hold is released."""

    ObjectLockLegalHoldStatus: Literal["ON"]


def build_hold(*, is_held: bool) -> Hold:
    """The legal hold of what is written of a contact."""
    return {"ObjectLockLegalHoldStatus": "ON"} if is_held else {}


def build_encryption(kms_key_arn: str, header: str) -> Encryption:
    """Encryption with this KMS key, or with the header for S3's own keys; "" for neither."""
    if kms_key_arn:
        return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key_arn}
    return {"ServerSideEncryption": "AES256"} if header else {}


def build_condition(replaces: str) -> Condition:
    """The object must have this ETag; "" means that no object may exist."""
    return {"IfMatch": replaces} if replaces else {"IfNoneMatch": "*"}


def build_tags(instance_id: str, *, is_complete: bool | None) -> dict[str, str]:
    """An object's tags; without `complete` as long as that is unknown."""
    tags = {INSTANCE_TAG: instance_id}
    if is_complete is not None:
        tags[COMPLETE_TAG] = "true" if is_complete else "false"
    return tags


@dataclass(frozen=True, slots=True)
class S3Object:
    """An object that is about to be written.

    Attributes:
        instance_id: the value of a tag.
        encryption: the encryption headers of the write.
        metadata: the object's metadata; known when the write begins.
        hold: the legal hold of the write; there is no moment at which the object is not held.
    """

    client: S3Client
    bucket: str
    key: str
    instance_id: str
    encryption: Encryption
    metadata: dict[str, str]
    hold: Hold

    @classmethod
    def of_run(
        cls,
        client: S3Client,
        bucket: str,
        key: str,
        instance_id: str,
        stops: Iterable[int],
        encryption: Encryption,
        hold: Hold | None = None,
    ) -> S3Object:
        """The object for a new run's recording, with the stop fragments that the run knows."""
        named = ",".join(str(stop) for stop in sorted(stops))
        metadata = {RUN_ID: str(uuid.uuid4())} | ({STOPS: named} if named else {})
        return cls(client, bucket, key, instance_id, encryption, metadata, hold or {})

    def put(self, content: IO[bytes], tags: dict[str, str], condition: Condition) -> _Version:
        """Writes the object by one call."""
        content.seek(0)
        answer = self.client.put_object(
            Bucket=self.bucket,
            Key=self.key,
            Body=content,
            ContentType="audio/wav",
            Metadata=self.metadata,
            Tagging=urlencode(tags),
            **self.encryption,
            **self.hold,
            **condition,
        )
        return _Version(answer["ETag"], answer.get("VersionId", ""))

    def find_own(self) -> _Version | None:
        """The object at the key, if this run wrote it."""
        try:
            answer = self.client.head_object(Bucket=self.bucket, Key=self.key)
        except _FAILURES:
            return None
        is_ours = answer.get("Metadata", {}).get(RUN_ID) == self.metadata[RUN_ID]
        return _Version(answer["ETag"], answer.get("VersionId", "")) if is_ours else None


@dataclass(frozen=True, slots=True)
class _Version:
    """An object that S3 has stored.

    Attributes:
        version_id: "" or "null" in a bucket without versions.
    """

    etag: str
    version_id: str


class S3Recording:
    """A WAV that is uploaded to S3 in parts of 5 MiB, while the media is still being read.

    Attributes:
        pcm_bytes: how many bytes were written.
    """

    def __init__(self, target: S3Object, open_part: Callable[[], IO[bytes]]) -> None:
        """Begins with the first part's file.

        Args:
            target: where to.
            open_part: opens an unnamed file on the disk.
        """
        self.pcm_bytes = 0
        self._target = target
        self._parts = _PartFiles(open_part)
        self._upload = _MultipartUpload(target)
        self._is_sealed = False

    def write(self, pcm: bytes | bytearray) -> None:
        """Takes the next bytes of PCM; waits if enough parts are in flight.

        Raises:
            StorageFaultError: an earlier part failed, or the temporary storage is full.
        """
        self.pcm_bytes += len(pcm)
        if self._parts.write(pcm):
            self._send_part()
            self._parts.begin()

    def put(self, header: bytes, command: PutRecording) -> StoredRecording | NotPublished:
        """Publishes the header and everything written, on the command's condition.

        Raises:
            StorageFaultError: S3 failed; nothing was published.
        """
        self._seal(header)
        condition = build_condition(command.replaces)
        is_multipart = self._upload.has_begun
        if is_multipart:
            version = self._publish("CompleteMultipartUpload", self._upload.complete, condition)
        else:
            tags = build_tags(self._target.instance_id, is_complete=command.is_complete)
            first = self._parts.first
            version = self._publish(
                "PutObject", lambda condition: self._target.put(first, tags, condition), condition
            )
        if isinstance(version, NotPublished):
            return version
        self._upload.has_begun = False
        return StoredRecording(
            uri=f"s3://{self._target.bucket}/{self._target.key}",
            etag=version.etag,
            size_bytes=len(header) + self.pcm_bytes,
            sha256=self._parts.hash(),
            version_id=version.version_id,
            needs_tag=is_multipart,
        )

    def tag(self, command: Tag) -> StorageFaultError | None:
        """Adds tags that were unknown when the upload began, to this run's own version only.

        In a bucket without versions, another run's recording may have replaced this one, so the tag
        is left out.

        Returns:
            Why the tag could not be added; the recording is published and still needs its manifest.
        """
        target, version_id = self._target, command.recording.version_id
        if version_id in _NO_VERSION:
            return None
        tags = build_tags(target.instance_id, is_complete=command.is_complete)
        try:
            target.client.put_object_tagging(
                Bucket=target.bucket,
                Key=target.key,
                VersionId=version_id,
                Tagging={"TagSet": [{"Key": key, "Value": tags[key]} for key in tags]},
            )
        except _FAILURES as error:
            return storage_fault("PutObjectTagging", error)
        return None

    def close(self) -> None:
        """Aborts an upload that was not published; if that fails, S3's lifecycle rule aborts it."""
        self._upload.close()
        self._parts.close()

    def _send_part(self) -> None:
        """Uploads the part that has been written; the first part waits for its header."""
        if self._parts.count > 1:
            self._upload.send(self._parts.count, self._parts.latest)

    def _seal(self, header: bytes) -> None:
        """Uploads the remaining parts, last the first part with the header."""
        if self._is_sealed:
            return
        self._parts.flush()
        if not self._parts.is_latest_empty:
            self._send_part()
        self._parts.first.seek(0)
        self._parts.first.write(header)
        if self._upload.has_begun:
            self._upload.finish(self._parts.first)
        self._is_sealed = True

    def _publish(
        self, api: str, call: Callable[[Condition], _Version], condition: Condition
    ) -> _Version | NotPublished:
        """The published object, or why it was not published."""
        try:
            return call(condition)
        except _FAILURES as error:
            # Whatever the last response says, a lost earlier response may have been a success.
            if own := self._target.find_own():
                return own
            if refusal := _REFUSALS.get(refusal_code(error)):
                return refusal
            raise storage_fault(api, error) from error


class _PartFiles:
    """The parts in temporary files without a name, the first with room for the header.

    They exist until the recording is published, because its hash begins with the header. A
    recording of any length takes the same memory, and a killed run leaves nothing on the disk.
    """

    def __init__(self, open_part: Callable[[], IO[bytes]]) -> None:
        self._open_part = open_part
        self._files = [open_part()]
        self._part_bytes = 0
        self._buffer = bytearray(HEADER_BYTES)

    @property
    def count(self) -> int:
        return len(self._files)

    @property
    def first(self) -> IO[bytes]:
        return self._files[0]

    @property
    def latest(self) -> IO[bytes]:
        return self._files[-1]

    @property
    def is_latest_empty(self) -> bool:
        """Whether the previous part ended exactly at the recording's end."""
        return not self._part_bytes

    def write(self, pcm: bytes | bytearray) -> bool:
        """Takes PCM; returns whether the part is full."""
        self._buffer += pcm
        if len(self._buffer) >= WRITE_BUFFER_BYTES:
            self.flush()
        return self._part_bytes >= PART_BYTES

    def begin(self) -> None:
        """Begins the next part."""
        self._files.append(self._open_part())
        self._part_bytes = 0

    def flush(self) -> None:
        """Writes buffered bytes to the disk.

        Raises:
            StorageFaultError: the temporary storage is full.
        """
        written = 0
        try:
            while written < len(self._buffer):
                written += self.latest.write(bytes(self._buffer[written:]))
        except OSError as error:
            raise StorageFaultError(
                Code.DISK_FULL, f"the function's temporary storage failed: {error}", retryable=True
            ) from error
        self._part_bytes += len(self._buffer)
        self._buffer.clear()

    def hash(self) -> str:
        """SHA-256 of the whole recording."""
        digest = hashlib.sha256()
        for piece in self._read():
            digest.update(piece)
        return digest.hexdigest()

    def close(self) -> None:
        for file in self._files:
            file.close()

    def _read(self) -> Iterator[bytes]:
        for file in self._files:
            file.seek(0)
            while piece := file.read(READ_BYTES):
                yield piece


class _MultipartUpload:
    """An upload that is created with its first part; one part at a time is in flight.

    Attributes:
        has_begun: whether there is an upload to complete or to abort.
    """

    def __init__(self, target: S3Object) -> None:
        self.has_begun = False
        self._target = target
        self._upload_id = ""
        self._parts: list[CompletedPartTypeDef] = []
        self._uploads: deque[Future[CompletedPartTypeDef]] = deque()
        self._pool: ThreadPoolExecutor | None = None

    def send(self, number: int, part: IO[bytes]) -> None:
        """Uploads a part in a thread, once fewer than PARTS_IN_FLIGHT parts are in flight."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="part")
            self._upload_id = self._create()
            self.has_begun = True
        while len(self._uploads) >= PARTS_IN_FLIGHT:
            self._collect()
        self._uploads.append(self._pool.submit(self._send, number, part))

    def finish(self, first: IO[bytes]) -> None:
        """Waits for every part, then uploads the first one."""
        while self._uploads:
            self._collect()
        self._parts.insert(0, self._send(1, first))

    def complete(self, condition: Condition) -> _Version:
        answer = self._target.client.complete_multipart_upload(
            Bucket=self._target.bucket,
            Key=self._target.key,
            UploadId=self._upload_id,
            MultipartUpload={"Parts": self._parts},
            **condition,
        )
        return _Version(answer["ETag"], answer.get("VersionId", ""))

    def close(self) -> None:
        for upload in self._uploads:
            upload.cancel()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        if self.has_begun:
            with contextlib.suppress(*_FAILURES):
                self._target.client.abort_multipart_upload(
                    Bucket=self._target.bucket, Key=self._target.key, UploadId=self._upload_id
                )

    def _collect(self) -> None:
        self._parts.append(self._uploads.popleft().result())

    def _create(self) -> str:
        target = self._target
        try:
            return target.client.create_multipart_upload(
                Bucket=target.bucket,
                Key=target.key,
                ContentType="audio/wav",
                Metadata=target.metadata,
                # Completeness is not known yet.
                Tagging=urlencode(build_tags(target.instance_id, is_complete=None)),
                **target.encryption,
                **target.hold,
            )["UploadId"]
        except _FAILURES as error:
            raise storage_fault("CreateMultipartUpload", error) from error

    def _send(self, number: int, part: IO[bytes]) -> CompletedPartTypeDef:
        part.seek(0)
        try:
            answer = self._target.client.upload_part(
                Bucket=self._target.bucket,
                Key=self._target.key,
                UploadId=self._upload_id,
                PartNumber=number,
                Body=part,
            )
            return {"PartNumber": number, "ETag": answer["ETag"]}
        except _FAILURES as error:
            raise storage_fault("UploadPart", error) from error


def open_part() -> IO[bytes]:
    """A part's file; the disk is freed when it is closed."""
    return tempfile.TemporaryFile(buffering=0)
