"""S3 in memory, as recordings and manifests meet it: conditions, conflicts, lost answers, time.

Written from the S3 user guide ("Conditional write behavior") and from what was recorded on AWS,
apart from the code under test: If-None-Match holds if no object is there (else 412), If-Match if
the object with that ETag is (404 if none is, 412 if another is); a Complete with If-Match fails
with 409 if any other write reached the key since the upload was created, one with If-None-Match if
the key's object was deleted since then; after a 409 the upload is gone; LastModified of a
multipart object is when its upload was created.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from call_archive.errors import ArchiveError, StorageFaultError
from call_archive.reasons import Refusal, Service
from call_archive.recording.knowledge import Knowledge
from call_archive.recording.manifest import (
    Manifest,
    StoredRecording,
    decode_manifest,
    encode_manifest,
)
from call_archive.recording.pipeline import Archive, RecordingSink
from call_archive.recording.publishing import (
    Answer,
    Command,
    FindRecording,
    Look,
    NotPublished,
    PutManifest,
    PutRecording,
    Seen,
    SeenManifest,
    SeenRecording,
    Steps,
    Tag,
)

RECORDING = "recordings/call.wav"
MANIFEST = "manifests/call.json"


@dataclass(frozen=True, slots=True)
class StoredObject:
    etag: str
    body: bytes
    metadata: dict[str, str]
    written_ms: int
    version_id: str = ""


@dataclass
class Bucket:
    """Objects by key, and how often each key was written and its object deleted.

    Attributes:
        replaced: what a versioned bucket keeps of earlier objects, by key.
        uploads: the keys of uploads that were neither completed nor aborted.
        held: the versions with a legal hold.
        removed: when the object of a key was hidden by a delete marker.
    """

    now_ms: int = 1_767_258_000_000
    objects: dict[str, StoredObject] = field(default_factory=dict)
    replaced: list[tuple[str, StoredObject]] = field(default_factory=list)
    uploads: dict[int, str] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    removed: dict[str, int] = field(default_factory=dict)
    begun: int = 0
    writes: dict[str, int] = field(default_factory=dict)
    deletes: dict[str, int] = field(default_factory=dict)

    def put(
        self,
        key: str,
        body: bytes,
        metadata: dict[str, str],
        replaces: str,
        begun_ms: int,
        *,
        is_held: bool = False,
    ) -> str | NotPublished:
        there = self.objects.get(key)
        if replaces and (there is None or there.etag != replaces):
            return NotPublished.CONDITION
        if not replaces and there is not None:
            return NotPublished.CONDITION
        if there is not None:
            self.replaced.append((key, there))
        etag = f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
        self.writes[key] = self.writes.get(key, 0) + 1
        version_id = f"v{self.writes[key]}"
        self.objects[key] = StoredObject(etag, body, metadata, begun_ms, version_id)
        if is_held:
            self.held.add(f"{key} {version_id}")
        return etag

    def delete(self, key: str) -> None:
        if self.objects.pop(key, None) is not None:
            self.deletes[key] = self.deletes.get(key, 0) + 1

    def place(self, wav: bytes, manifest: dict[str, Any]) -> None:
        """A recording and its manifest, as an earlier run left them."""
        etag = self.put(RECORDING, wav, {}, "", self.now_ms)
        assert isinstance(etag, str)
        body = json.dumps(manifest).encode()
        self.put(MANIFEST, body, {"recording-etag": etag}, "", self.now_ms)

    @property
    def manifest(self) -> dict[str, Any] | None:
        there = self.objects.get(MANIFEST)
        manifest: dict[str, Any] | None = None if there is None else json.loads(there.body)
        return manifest

    @property
    def wav(self) -> bytes | None:
        there = self.objects.get(RECORDING)
        return None if there is None else there.body


@dataclass
class MemoryArchive:
    """An Archive in a bucket; `on_step` is asked before and after each request.

    Attributes:
        tag_fault: what S3 answers to a tag.
        is_held: whether what is written gets a legal hold.
    """

    bucket: Bucket = field(default_factory=Bucket)
    is_multipart: bool = False
    on_step: Callable[[str], None] = lambda _: None
    tag_fault: StorageFaultError | None = None
    is_held: bool = False

    def look(self) -> Seen:
        self.on_step("before GetObject")
        manifest = self.bucket.objects.get(MANIFEST)
        self.on_step("before HeadObject")
        recording = self.bucket.objects.get(RECORDING)
        return Seen(
            None if recording is None else self._seen(recording),
            None
            if manifest is None
            else SeenManifest(
                manifest.etag, manifest.metadata["recording-etag"], _decode_manifest(manifest.body)
            ),
        )

    def find_recording(self) -> str:
        self.on_step("before HeadObject")
        recording = self.bucket.objects.get(RECORDING)
        return recording.etag if recording else ""

    @contextmanager
    def open_recording(self, told: Knowledge) -> Iterator["MemoryRecording"]:
        recording = MemoryRecording(self, told.stops, is_multipart=self.is_multipart)
        try:
            yield recording
        except ArchiveError:
            recording.abort()
            raise
        else:
            recording.abort()
        # A killed run, which is not our failure, leaves its upload behind.

    def put_manifest(self, command: PutManifest) -> bool:
        self.on_step("before PutObject of the manifest")
        body = json.dumps(encode_manifest(command.manifest)).encode()
        metadata = {"recording-etag": command.recording_etag}
        bucket = self.bucket
        answer = bucket.put(
            MANIFEST, body, metadata, command.replaces, bucket.now_ms, is_held=self.is_held
        )
        self.on_step("after PutObject of the manifest")
        return isinstance(answer, str)

    def _seen(self, recording: StoredObject) -> SeenRecording:
        stops = recording.metadata.get("stops", "")
        return SeenRecording(
            recording.etag,
            len(recording.body),
            self.bucket.now_ms - recording.written_ms,
            frozenset(map(int, stops.split(","))) if stops else frozenset(),
        )


@lru_cache(1000)
def _decode_manifest(body: bytes) -> Manifest:
    """Runs look at the same manifest again and again, and decoding is most of what a run costs."""
    return decode_manifest(body)


class MemoryRecording:
    """A WAV in memory; a multipart upload is created with the first write."""

    def __init__(
        self, archive: MemoryArchive, stops: frozenset[int], *, is_multipart: bool
    ) -> None:
        self.pcm = bytearray()
        self._archive = archive
        self._metadata = {"stops": ",".join(map(str, sorted(stops)))}
        self._upload: tuple[int, int, int] | None = None
        self._upload_id = 0
        self._is_multipart = is_multipart
        self._is_gone = False

    @property
    def pcm_bytes(self) -> int:
        return len(self.pcm)

    def write(self, pcm: bytes | bytearray) -> None:
        self.pcm += pcm
        if self._is_multipart and self._upload is None:
            bucket = self._archive.bucket
            self._archive.on_step("before CreateMultipartUpload")
            self._upload = (
                bucket.now_ms,
                bucket.writes.get(RECORDING, 0),
                bucket.deletes.get(RECORDING, 0),
            )
            bucket.begun += 1
            self._upload_id = bucket.begun
            bucket.uploads[self._upload_id] = RECORDING

    def abort(self) -> None:
        self._archive.bucket.uploads.pop(self._upload_id, None)

    def put(self, header: bytes, command: PutRecording) -> StoredRecording | NotPublished:
        self._archive.on_step("before the recording is published")
        answer = self._put(header + bytes(self.pcm), command.replaces)
        self._archive.on_step("after the recording is published")
        if isinstance(answer, NotPublished):
            return answer
        return StoredRecording(
            "s3://my-calls/" + RECORDING,
            answer,
            len(header) + self.pcm_bytes,
            hashlib.sha256(header + self.pcm).hexdigest(),
            needs_tag=self._is_multipart,
        )

    def tag(self, command: Tag) -> StorageFaultError | None:
        return self._archive.tag_fault

    def _put(self, body: bytes, replaces: str) -> str | NotPublished:
        bucket, is_held = self._archive.bucket, self._archive.is_held
        if self._upload is None:
            return bucket.put(
                RECORDING, body, self._metadata, replaces, bucket.now_ms, is_held=is_held
            )
        assert not self._is_gone, "an upload is gone after a 409"
        if self._upload_id not in bucket.uploads:
            code = Refusal(Service.S3, "NoSuchUpload")
            raise StorageFaultError(code, "no such upload", retryable=False)
        begun_ms, writes, deletes = self._upload
        there = bucket.objects.get(RECORDING)
        holds = there is not None and there.etag == replaces if replaces else there is None
        if holds and (
            bucket.writes.get(RECORDING, 0) != writes
            if replaces
            else bucket.deletes.get(RECORDING, 0) != deletes
        ):
            self._is_gone = True
            self.abort()
            return NotPublished.CONFLICT
        answer = bucket.put(RECORDING, body, self._metadata, replaces, begun_ms, is_held=is_held)
        if not isinstance(answer, NotPublished):
            self.abort()
        return answer


def answer_of(
    command: Command, archive: Archive, recording: RecordingSink, header: bytes
) -> Answer:
    """Does one command."""
    match command:
        case PutRecording():
            return recording.put(header, command)
        case Tag():
            return recording.tag(command)
        case PutManifest():
            return archive.put_manifest(command)
        case FindRecording():
            return archive.find_recording()
        case Look():
            return archive.look()


def finish[T](steps: Steps[T], do: Callable[[Command], Answer]) -> T:
    """Carries out what a generator decides."""
    answer: Answer = None
    while True:
        try:
            command = steps.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result
        answer = do(command)
