"""Adapter: PCM → one S3 object with its header in front, and the manifest behind it.

The header needs the length, and the length is known last: so the first part is kept, with room
for the header, until the end and uploaded last, which S3 allows. A recording is published whole
by one conditional call or not at all, and never over a better one. The manifest follows, last.
Both objects carry tags, which lifecycle rules and policies can see; none is ever untrue.

Source: S3 API reference (multipart upload, conditional writes, PutObjectTagging).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
import uuid
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import IO, TYPE_CHECKING, TypedDict
from urllib.parse import urlencode

from call_archive.aws.faults import failures, refusal_code, storage_fault
from call_archive.errors import StorageFaultError
from call_archive.limits import MAX_MANIFEST_BYTES
from call_archive.reasons import Code
from call_archive.recording.manifest import PublishedManifest, StoredRecording, decode_manifest
from call_archive.recording.wav import HEADER_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

PART_BYTES = 5 * 1_048_576
"""The smallest part that S3 takes, so that uploading begins early."""

PARTS_IN_FLIGHT = 2
"""Parts behind the one that is being written: one on its way, one waiting on the disk."""

WRITE_BUFFER_BYTES = 131_072
READ_BYTES = 65_536

ORPHAN_AGE = timedelta(minutes=15)
"""A recording without a manifest that is older than any run was left by one that was killed."""

_FAILURES = failures()
_EXISTS = frozenset(("PreconditionFailed", "412"))
_MISSING = frozenset(("NoSuchKey", "404", "NotFound"))
_MANIFEST_TRIES = 3
_RUN_ID = "run-id"
_RECORDING_ETAG = "recording-etag"
_INSTANCE_TAG = "instance-id"
_COMPLETE_TAG = "complete"
_NO_VERSION = frozenset(("", "null"))
"""What S3 says instead of a version's id where versioning is off or suspended."""


class Condition(TypedDict, total=False):
    """On what a write depends: an object's ETag, or that there is none."""

    IfMatch: str
    IfNoneMatch: str


@dataclass(frozen=True, slots=True)
class _Version:
    """An object that S3 has taken.

    Attributes:
        version_id: "" or "null" in a bucket without versions.
    """

    etag: str
    version_id: str


@dataclass(frozen=True, slots=True)
class S3Archive:
    """Where one job's recording and manifest go.

    Attributes:
        instance_id: of the Connect instance, the value of a tag.
    """

    client: S3Client
    bucket: str
    recording_key: str
    manifest_key: str
    instance_id: str

    def find_manifest(self) -> PublishedManifest | None:
        """What an earlier run published, if the recording that it describes is there.

        Raises:
            StorageFaultError: S3 failed, or something else lies there.
        """
        manifest = self._read_manifest()
        if manifest is None or self._recording_etag() != manifest.recording_etag:
            return None
        return manifest

    def _read_manifest(self) -> PublishedManifest | None:
        try:
            answer = self.client.get_object(Bucket=self.bucket, Key=self.manifest_key)
            with contextlib.closing(answer["Body"]) as body:
                return decode_manifest(
                    body.read(MAX_MANIFEST_BYTES + 1),
                    etag=answer["ETag"],
                    recording_etag=answer["Metadata"].get(_RECORDING_ETAG, ""),
                )
        except _FAILURES as error:
            if refusal_code(error) in _MISSING:
                return None
            raise storage_fault("GetObject", error) from error

    def _recording_etag(self) -> str:
        """The ETag of the recording that is there; "" where there is none."""
        try:
            return self.client.head_object(Bucket=self.bucket, Key=self.recording_key)["ETag"]
        except _FAILURES as error:
            if refusal_code(error) in _MISSING:
                return ""
            raise storage_fault("HeadObject", error) from error

    @contextlib.contextmanager
    def open_recording(self) -> Iterator[MultipartRecording]:
        """A new recording; leaving without a commit leaves no trace."""
        recording = MultipartRecording(
            self.client, self.bucket, self.recording_key, self.instance_id, self.find_manifest
        )
        try:
            yield recording
        finally:
            recording.close()

    def put_manifest(
        self,
        manifest: dict[str, object],
        recording: StoredRecording,
        published: PublishedManifest | None,
    ) -> None:
        """Writes the manifest of the recording that is there.

        Whoever's recording is there writes the manifest, over whatever manifest there is.

        Raises:
            StorageFaultError: S3 failed, or another run has replaced the recording.
        """
        for _ in range(_MANIFEST_TRIES):
            if self._recording_etag() != recording.etag:
                break
            if self._put_manifest(manifest, recording, published):
                return
            published = self._read_manifest()
        raise StorageFaultError(
            Code.PUBLISHED_MEANWHILE, "another run has published this call", retryable=True
        )

    def _put_manifest(
        self,
        manifest: dict[str, object],
        recording: StoredRecording,
        published: PublishedManifest | None,
    ) -> bool:
        condition: Condition = {"IfMatch": published.etag} if published else {"IfNoneMatch": "*"}
        try:
            self.client.put_object(
                Bucket=self.bucket,
                Key=self.manifest_key,
                # On one line, as Athena's JSON readers want it.
                Body=json.dumps(manifest).encode() + b"\n",
                ContentType="application/json",
                Metadata={_RECORDING_ETAG: recording.etag},
                Tagging=urlencode(
                    _build_tags(self.instance_id, is_complete=manifest["complete"] is True)
                ),
                **condition,
            )
        except _FAILURES as error:
            if refusal_code(error) in _EXISTS:
                return False
            raise storage_fault("PutObject", error) from error
        return True


class MultipartRecording:
    """A WAV on its way to S3, 5 MiB at a time; parts are uploaded beside the reading.

    Parts lie in temporary files without a name until the recording is published, because its hash
    begins with the header. So a recording of any length takes the same memory, and a killed run
    leaves nothing on the disk.

    Attributes:
        pcm_bytes: how many bytes were written.
    """

    def __init__(
        self,
        client: S3Client,
        bucket: str,
        key: str,
        instance_id: str,
        find_manifest: Callable[[], PublishedManifest | None],
    ) -> None:
        self.pcm_bytes = 0
        self._instance_id = instance_id
        self._find_manifest = find_manifest
        self._client = client
        self._bucket = bucket
        self._key = key
        self._run_id = str(uuid.uuid4())
        self._files = [_open_part()]
        self._part_bytes = 0
        self._buffer = bytearray(HEADER_BYTES)
        self._upload_id = ""
        self._parts: list[CompletedPartTypeDef] = []
        self._uploads: deque[Future[CompletedPartTypeDef]] = deque()
        self._pool: ThreadPoolExecutor | None = None

    def write(self, pcm: bytes | bytearray) -> None:
        """Takes the next bytes of PCM; waits while enough parts are on their way.

        Raises:
            StorageFaultError: an earlier part failed, or the temporary storage is full.
        """
        self._buffer += pcm
        self.pcm_bytes += len(pcm)
        if len(self._buffer) >= WRITE_BUFFER_BYTES:
            self._flush()
            if self._part_bytes >= PART_BYTES:
                self._send_part()
                self._files.append(_open_part())
                self._part_bytes = 0

    def commit(self, header: bytes, *, replaces: str, is_complete: bool) -> StoredRecording:
        """Publishes the header and everything written, in place of nothing or of less.

        Args:
            header: what goes in front of the PCM.
            replaces: ETag of the recording that an earlier manifest says is worse; "" for none.
            is_complete: this recording may replace one that no complete manifest describes.

        Raises:
            StorageFaultError: S3 failed, or another run is publishing; nothing was published.
        """
        tags = _build_tags(self._instance_id, is_complete=is_complete)
        publish = self._prepare(header, tags)
        version = publish({"IfMatch": replaces} if replaces else {"IfNoneMatch": "*"})
        if version is None:
            existing, is_orphan = self._describe_existing()
            described = self._find_manifest()
            if (is_complete and (described is None or not described.is_complete)) or (
                is_orphan and described is None
            ):
                version = publish({"IfMatch": existing})
        if version is None:
            raise StorageFaultError(
                Code.PUBLISHED_MEANWHILE,
                "another run is publishing this call, or has left a longer recording",
                retryable=True,
            )
        fault = None
        if self._upload_id:
            self._upload_id = ""
            fault = self._tag(version, tags)
        return StoredRecording(
            uri=f"s3://{self._bucket}/{self._key}",
            etag=version.etag,
            size_bytes=len(header) + self.pcm_bytes,
            sha256=self._hash(),
            fault=fault,
        )

    def close(self) -> None:
        """Ends an upload that was not committed; S3's lifecycle rule ends what this cannot."""
        for upload in self._uploads:
            upload.cancel()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        for file in self._files:
            file.close()
        if self._upload_id:
            with contextlib.suppress(*_FAILURES):
                self._client.abort_multipart_upload(
                    Bucket=self._bucket, Key=self._key, UploadId=self._upload_id
                )

    def _flush(self) -> None:
        written = 0
        try:
            while written < len(self._buffer):
                written += self._files[-1].write(bytes(self._buffer[written:]))
        except OSError as error:
            raise StorageFaultError(
                Code.DISK_FULL, f"the function's temporary storage failed: {error}", retryable=True
            ) from error
        self._part_bytes += len(self._buffer)
        self._buffer.clear()

    def _send_part(self) -> None:
        """Uploads the part that has been written; the first has to wait for its header."""
        if len(self._files) > 1:
            self._send(len(self._files), self._files[-1])

    def _send(self, number: int, part: IO[bytes]) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="part")
            self._upload_id = self._create()
        while len(self._uploads) >= PARTS_IN_FLIGHT:
            self._collect()
        self._uploads.append(self._pool.submit(self._upload, number, part))

    def _collect(self) -> None:
        self._parts.append(self._uploads.popleft().result())

    def _create(self) -> str:
        try:
            return self._client.create_multipart_upload(
                Bucket=self._bucket,
                Key=self._key,
                ContentType="audio/wav",
                Metadata={_RUN_ID: self._run_id},
                # Whether it is complete is not known yet.
                Tagging=urlencode({_INSTANCE_TAG: self._instance_id}),
            )["UploadId"]
        except _FAILURES as error:
            raise storage_fault("CreateMultipartUpload", error) from error

    def _upload(self, number: int, part: IO[bytes]) -> CompletedPartTypeDef:
        part.seek(0)
        try:
            answer = self._client.upload_part(
                Bucket=self._bucket,
                Key=self._key,
                UploadId=self._upload_id,
                PartNumber=number,
                Body=part,
            )
        except _FAILURES as error:
            raise storage_fault("UploadPart", error) from error
        return {"PartNumber": number, "ETag": answer["ETag"]}

    def _prepare(
        self, header: bytes, tags: dict[str, str]
    ) -> Callable[[Condition], _Version | None]:
        """Uploads what is left, header last; returns the call that publishes on a condition."""
        self._flush()
        self._send_part()
        first = self._files[0]
        first.seek(0)
        first.write(header)
        if len(self._files) == 1:
            return lambda condition: self._publish(
                "PutObject", lambda: self._put(first, tags, condition)
            )
        while self._uploads:
            self._collect()
        self._parts.insert(0, self._upload(1, first))
        return lambda condition: self._publish(
            "CompleteMultipartUpload", lambda: self._complete(condition)
        )

    def _put(self, file: IO[bytes], tags: dict[str, str], condition: Condition) -> _Version:
        file.seek(0)
        answer = self._client.put_object(
            Bucket=self._bucket,
            Key=self._key,
            Body=file,
            ContentType="audio/wav",
            Metadata={_RUN_ID: self._run_id},
            Tagging=urlencode(tags),
            **condition,
        )
        return _Version(answer["ETag"], answer.get("VersionId", ""))

    def _complete(self, condition: Condition) -> _Version:
        answer = self._client.complete_multipart_upload(
            Bucket=self._bucket,
            Key=self._key,
            UploadId=self._upload_id,
            MultipartUpload={"Parts": self._parts},
            **condition,
        )
        return _Version(answer["ETag"], answer.get("VersionId", ""))

    def _tag(self, version: _Version, tags: dict[str, str]) -> StorageFaultError | None:
        """Adds what was not known when the upload was begun, to this run's own version only.

        Without versions another run's recording may lie there by now, so the tag is left out.

        Returns:
            Why it could not be added: the recording is published, and still needs its manifest.
        """
        if version.version_id in _NO_VERSION:
            return None
        try:
            self._client.put_object_tagging(
                Bucket=self._bucket,
                Key=self._key,
                VersionId=version.version_id,
                Tagging={"TagSet": [{"Key": key, "Value": tags[key]} for key in tags]},
            )
        except _FAILURES as error:
            return storage_fault("PutObjectTagging", error)
        return None

    def _publish(self, api: str, call: Callable[[], _Version]) -> _Version | None:
        """The object that is now ours; None where the condition does not hold."""
        try:
            return call()
        except _FAILURES as error:
            # Whatever the last answer was, one that was lost before it may have been a success.
            if own := self._find_own():
                return own
            if refusal_code(error) in _EXISTS:
                return None
            raise storage_fault(api, error) from error

    def _find_own(self) -> _Version | None:
        """The object at the key, if it is this run's."""
        try:
            answer = self._client.head_object(Bucket=self._bucket, Key=self._key)
        except _FAILURES:
            return None
        is_ours = answer.get("Metadata", {}).get(_RUN_ID) == self._run_id
        return _Version(answer["ETag"], answer.get("VersionId", "")) if is_ours else None

    def _describe_existing(self) -> tuple[str, bool]:
        """The ETag of the recording that is there, and whether it may give way without a manifest.

        It may where a killed run has left it, unless it is longer than this one: it can be
        complete, and its media gone.
        """
        try:
            answer = self._client.head_object(Bucket=self._bucket, Key=self._key)
        except _FAILURES as error:
            raise storage_fault("HeadObject", error) from error
        is_old = datetime.now(UTC) - answer["LastModified"] > ORPHAN_AGE
        is_longer = answer["ContentLength"] > HEADER_BYTES + self.pcm_bytes
        return answer["ETag"], is_old and not is_longer

    def _hash(self) -> str:
        """SHA-256 of everything that was sent."""
        digest = hashlib.sha256()
        for file in self._files:
            file.seek(0)
            while piece := file.read(READ_BYTES):
                digest.update(piece)
        return digest.hexdigest()


def _build_tags(instance_id: str, *, is_complete: bool) -> dict[str, str]:
    return {_INSTANCE_TAG: instance_id, _COMPLETE_TAG: "true" if is_complete else "false"}


def _open_part() -> IO[bytes]:
    return tempfile.TemporaryFile(buffering=0)
