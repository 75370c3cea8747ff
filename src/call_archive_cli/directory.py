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
from call_archive.recording.manifest import PublishedManifest, StoredRecording, decode_manifest
from call_archive.recording.wav import HEADER_BYTES


@dataclass(frozen=True, slots=True)
class DirectoryArchive:
    """Where one job's recording and manifest go.

    Attributes:
        recording: the path of the WAV.
        manifest: the path of the manifest.
        tracks: what is asked for, in channel order.
        is_open_ended: nobody says where the call stops, so a range that somebody cut is too short.
    """

    recording: Path
    manifest: Path
    tracks: tuple[Direction, ...]
    is_open_ended: bool

    def find_manifest(self) -> PublishedManifest | None:
        """What an earlier run published, if its recording is there and is what is asked for now.

        Raises:
            StorageFaultError: something else lies there.
        """
        if not self.manifest.exists() or not self.recording.exists():
            return None
        document = self.manifest.read_bytes()
        described = decode_manifest(document, etag="", recording_etag="")
        manifest = json.loads(document)
        is_there = self.recording.stat().st_size == manifest.get("bytes")
        is_as_wanted = manifest.get("tracks") == list(self.tracks) and not (
            self.is_open_ended and described.range_end_ms is None
        )
        return described if is_there and is_as_wanted else None

    @contextmanager
    def open_recording(self) -> Iterator["FileRecording"]:
        """A new recording; leaving without a commit leaves no trace."""
        self.recording.parent.mkdir(parents=True, exist_ok=True)
        partial, path = tempfile.mkstemp(dir=self.recording.parent, prefix=".", suffix=".partial")
        try:
            with os.fdopen(partial, "w+b") as file:
                yield FileRecording(file, Path(path), self.recording)
        finally:
            Path(path).unlink(missing_ok=True)

    def put_manifest(
        self,
        manifest: dict[str, object],
        recording: StoredRecording,
        published: PublishedManifest | None,
    ) -> None:
        """Writes the manifest, in place of `published` where there is one."""
        del recording, published
        partial = self.manifest.with_name(f".{self.manifest.name}.partial")
        partial.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        partial.replace(self.manifest)


@dataclass(slots=True)
class FileRecording:
    """A WAV on its way to a file, its header last.

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
            OSError: the disk is full, for one.
        """
        self._file.write(pcm)
        self.pcm_bytes += len(pcm)

    def commit(self, header: bytes, *, replaces: str, is_complete: bool) -> StoredRecording:
        """Publishes the header and everything written, in place of what is there."""
        del replaces, is_complete
        self._file.seek(0)
        self._file.write(header)
        self._file.flush()
        self._file.seek(0)
        sha256 = hashlib.file_digest(self._file, "sha256").hexdigest()
        self._partial.replace(self._target)
        return StoredRecording(
            uri=self._target.resolve().as_uri(),
            etag="",
            size_bytes=len(header) + self.pcm_bytes,
            sha256=sha256,
        )
