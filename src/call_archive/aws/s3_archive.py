"""Adapter: reads and writes one job's recording and manifest in S3.

Both objects carry tags for lifecycle rules and policies; a tag is never wrong. The manifest's
metadata holds the ETag of the recording that it describes.

Source: S3 API reference (GetObject, HeadObject, PutObject).
"""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from call_archive.aws.faults import failures, refusal_code, storage_fault
from call_archive.aws.s3_recording import (
    STOPS,
    Encryption,
    Hold,
    S3Object,
    S3Recording,
    build_condition,
    build_tags,
    open_part,
)
from call_archive.limits import MAX_FRAGMENT_NUMBER_DIGITS, MAX_MANIFEST_BYTES, MAX_STOPS
from call_archive.recording.manifest import decode_manifest, encode_manifest
from call_archive.recording.publishing import Seen, SeenManifest, SeenRecording

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO

    from mypy_boto3_s3 import S3Client

    from call_archive.recording.knowledge import Knowledge
    from call_archive.recording.publishing import PutManifest

_FAILURES = failures()
_EXISTS = frozenset(("PreconditionFailed", "412", "ConditionalRequestConflict", "409"))
_MISSING = frozenset(("NoSuchKey", "404", "NotFound"))
_RECORDING_ETAG = "recording-etag"
_NUMBER = re.compile(rf"[0-9]{{1,{MAX_FRAGMENT_NUMBER_DIGITS}}}")


@dataclass(frozen=True, slots=True)
class S3Archive:
    """Reads and writes one job's recording and manifest.

    Attributes:
        instance_id: of the Connect instance, the value of a tag.
        encryption: the encryption headers of every write.
        hold: the legal hold of every write, if the contact is held.
        open_part: opens a file on the disk for a part of a recording.
    """

    client: S3Client
    bucket: str
    recording_key: str
    manifest_key: str
    instance_id: str
    encryption: Encryption = field(default_factory=Encryption)
    hold: Hold = field(default_factory=Hold)
    open_part: Callable[[], IO[bytes]] = open_part

    def look(self) -> Seen:
        """Reads the current state of both objects.

        Raises:
            StorageFaultError: S3 failed, or the object at the manifest's key is not a manifest.
        """
        manifest = self._read_manifest()
        return Seen(self._read_recording(), manifest)

    def find_recording(self) -> str:
        """The ETag of the current recording; "" if there is none.

        Raises:
            StorageFaultError: S3 failed.
        """
        recording = self._read_recording()
        return recording.etag if recording else ""

    @contextlib.contextmanager
    def open_recording(self, known: Knowledge) -> Iterator[S3Recording]:
        """A new recording; if the block ends before it is published, nothing remains of it."""
        recording = S3Recording(
            S3Object.of_run(
                self.client,
                self.bucket,
                self.recording_key,
                self.instance_id,
                known.stops,
                self.encryption,
                self.hold,
            ),
            self.open_part,
        )
        try:
            yield recording
        finally:
            recording.close()

    def put_manifest(self, command: PutManifest) -> bool:
        """Writes a manifest on the command's condition; returns whether the condition held.

        Raises:
            StorageFaultError: S3 failed.
        """
        tags = build_tags(self.instance_id, is_complete=command.manifest.is_complete)
        try:
            self.client.put_object(
                Bucket=self.bucket,
                Key=self.manifest_key,
                # One line: Athena's JSON readers require it.
                Body=json.dumps(encode_manifest(command.manifest)).encode() + b"\n",
                ContentType="application/json",
                Metadata={_RECORDING_ETAG: command.recording_etag},
                Tagging=urlencode(tags),
                **self.encryption,
                **self.hold,
                **build_condition(command.replaces),
            )
        except _FAILURES as error:
            if refusal_code(error) in _EXISTS | _MISSING:
                return False
            raise storage_fault("PutObject", error) from error
        return True

    def _read_manifest(self) -> SeenManifest | None:
        try:
            answer = self.client.get_object(Bucket=self.bucket, Key=self.manifest_key)
            with contextlib.closing(answer["Body"]) as body:
                document = body.read(MAX_MANIFEST_BYTES + 1)
            etag, metadata = answer["ETag"], answer["Metadata"]
        except _FAILURES as error:
            if refusal_code(error) in _MISSING:
                return None
            raise storage_fault("GetObject", error) from error
        return SeenManifest(etag, metadata.get(_RECORDING_ETAG, ""), decode_manifest(document))

    def _read_recording(self) -> SeenRecording | None:
        try:
            answer = self.client.head_object(Bucket=self.bucket, Key=self.recording_key)
            age = datetime.now(UTC) - answer["LastModified"]
            return SeenRecording(
                etag=answer["ETag"],
                size_bytes=answer["ContentLength"],
                age_ms=age // timedelta(milliseconds=1),
                stops=_decode_stops(answer.get("Metadata", {}).get(STOPS, "")),
            )
        except _FAILURES as error:
            if refusal_code(error) in _MISSING:
                return None
            raise storage_fault("HeadObject", error) from error


def exists(client: S3Client, bucket: str, key: str) -> bool:
    """Whether an object exists; S3 is strongly consistent, so the result is current.

    Raises:
        StorageFaultError: S3 does not answer, or refuses.
    """
    try:
        client.head_object(Bucket=bucket, Key=key)
    except _FAILURES as error:
        if refusal_code(error) in _MISSING:
            return False
        raise storage_fault("HeadObject", error) from error
    return True


def _decode_stops(named: str) -> frozenset[int]:
    """The stop fragments in a recording's metadata; malformed entries are left out."""
    numbers = named.split(",", MAX_STOPS)[:MAX_STOPS]
    return frozenset(int(number) for number in numbers if _NUMBER.fullmatch(number))
