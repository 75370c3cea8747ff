"""Where `fetch` puts a recording and its manifest: a directory instead of a bucket.

The rules are those of the archive in S3: both files appear whole or not at all, the manifest
last, and a complete recording is never replaced by a worse one.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BufferedRandom
from pathlib import Path

from call_archive.media.pcm import Direction
from call_archive.recording.knowledge import Knowledge
from call_archive.recording.manifest import StoredRecording, decode_manifest, encode_manifest
from call_archive.recording.publishing import (
    PutManifest,
    PutRecording,
    Seen,
    SeenManifest,
    SeenRecording,
    Tag,
)
from call_archive.recording.wav import HEADER_BYTES

_THERE = "there"
"""Used instead of an ETag, because no other program writes here."""


@dataclass(frozen=True, slots=True)
class DirectoryArchive:
    """The place of one job's recording and manifest.

    Attributes:
        recording: the path of the WAV.
        manifest: the path of the manifest.
        tracks: what is asked for, in channel order.
        is_open_ended: the end of the call is unknown, so a range that was cut is too short.
    """

    recording: Path
    manifest: Path
    tracks: tuple[Direction, ...]
    is_open_ended: bool

    def look(self) -> Seen:
        """An earlier run's objects, if its recording exists and matches the request.

        Raises:
            StorageFaultError: something else is at the manifest's path.
        """
        if not self.manifest.exists() or not self.recording.exists():
            return Seen()
        manifest = decode_manifest(self.manifest.read_bytes())
        size_bytes = self.recording.stat().st_size
        is_as_wanted = manifest.tracks == self.tracks and not (
            self.is_open_ended and manifest.range_end_ms is None
        )
        if size_bytes != manifest.size_bytes or not is_as_wanted:
            return Seen()
        return Seen(
            SeenRecording(_THERE, size_bytes, age_ms=0), SeenManifest(_THERE, _THERE, manifest)
        )

    def find_recording(self) -> str:
        """A non-empty text if the recording exists."""
        return _THERE if self.recording.exists() else ""

    @contextmanager
    def open_recording(self, told: Knowledge) -> Iterator["FileRecording"]:
        """A new recording; if the block ends before it is published, nothing remains of it."""
        del told
        self.recording.parent.mkdir(parents=True, exist_ok=True)
        partial, path = tempfile.mkstemp(dir=self.recording.parent, prefix=".", suffix=".partial")
        try:
            with os.fdopen(partial, "w+b") as file:
                yield FileRecording(file, Path(path), self.recording)
        finally:
            Path(path).unlink(missing_ok=True)

    def put_manifest(self, command: PutManifest) -> bool:
        """Writes the manifest; no other program writes here."""
        partial = self.manifest.with_name(f".{self.manifest.name}.partial")
        document = json.dumps(encode_manifest(command.manifest), indent=2)
        partial.write_text(document + "\n", encoding="utf-8")
        partial.replace(self.manifest)
        return True


@dataclass(slots=True)
class FileRecording:
    """A WAV that is being written to a file, its header last.

    Attributes:
        pcm_bytes: how many bytes were written.
    """

    _file: BufferedRandom
    _partial: Path
    _target: Path
    pcm_bytes: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._file.write(bytes(HEADER_BYTES))

    def write(self, pcm: bytes | bytearray) -> None:
        """Takes the next bytes of PCM.

        Raises:
            OSError: the file cannot be written, for example because the disk is full.
        """
        self._file.write(pcm)
        self.pcm_bytes += len(pcm)

    def put(self, header: bytes, command: PutRecording) -> StoredRecording:
        """Publishes the header and everything written; replaces an existing file."""
        del command
        self._file.seek(0)
        self._file.write(header)
        self._file.flush()
        self._file.seek(0)
        sha256 = hashlib.file_digest(self._file, "sha256").hexdigest()
        self._partial.replace(self._target)
        return StoredRecording(
            uri=self._target.resolve().as_uri(),
            etag=_THERE,
            size_bytes=len(header) + self.pcm_bytes,
            sha256=sha256,
        )

    def tag(self, command: Tag) -> None:
        """A file has no tags."""
