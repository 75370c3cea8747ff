"""S3 in memory, as erasing meets it: every version, every open upload, marks, and their times."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from call_archive.keys import hold_key
from call_archive_cli.stored import Mark, Upload, Version, hash_of
from tests.support.bucket import MANIFEST, RECORDING, Bucket, StoredObject
from tests.support.manifests import CONTACT_ID

CURRENT = "current"


@dataclass
class MemoryStore:
    """`erasure.Store` over a bucket of one contact; `on_step` is asked before and after a write."""

    bucket: Bucket
    on_step: Callable[[str], None] = lambda _: None
    prefix: str = ""
    groups: dict[str, frozenset[str]] = field(default_factory=dict)

    def read_mark(self, key: str) -> Mark | None:
        mark = self.bucket.objects.get(key)
        if mark is None:
            return None
        written_at = datetime.fromtimestamp(mark.written_ms / 1000, UTC)
        age_s = (self.bucket.now_ms - mark.written_ms) / 1000
        return Mark(written_at, age_s, frozenset(mark.metadata["group"].split()))

    def write_mark(self, key: str, content: Mapping[str, Any]) -> None:
        self.on_step("before the tombstone")
        group = {"group": " ".join(content["group"])}
        self.bucket.objects[key] = StoredObject("", b"{}", group, self.bucket.now_ms)
        self.on_step("after the tombstone")

    def find_contacts(self, hashes: frozenset[str]) -> frozenset[str]:
        return frozenset({CONTACT_ID} if hash_of(CONTACT_ID) in hashes else ())

    def versions(self, contact_ids: Iterable[str]) -> list[Version]:
        self.on_step("before a listing")
        found = [
            Version(f"{CONTACT_ID}/{key}", CURRENT)
            for key in self.bucket.objects
            if key in (RECORDING, MANIFEST)
        ]
        found += [
            Version(f"{CONTACT_ID}/{key}", str(id(there))) for key, there in self.bucket.replaced
        ]
        return found if CONTACT_ID in contact_ids else []

    def uploads(self, contact_ids: Iterable[str] | None = None) -> list[Upload]:
        return [Upload(f"{CONTACT_ID}/{key}", str(n)) for n, key in self.bucket.uploads.items()]

    def remove(self, version: Version) -> str:
        self.on_step("before a version is removed")
        key = version.key.removeprefix(f"{CONTACT_ID}/")
        if version.version_id == CURRENT:
            self.bucket.delete(key)
            # What was behind it is the current version now.
            behind = [pair for pair in self.bucket.replaced if pair[0] == key]
            if behind:
                self.bucket.replaced.remove(behind[-1])
                self.bucket.objects[key] = behind[-1][1]
        else:
            self.bucket.replaced = [
                pair for pair in self.bucket.replaced if str(id(pair[1])) != version.version_id
            ]
        return ""

    def abort(self, upload: Upload) -> str:
        self.on_step("before an upload is aborted")
        self.bucket.uploads.pop(int(upload.upload_id), None)
        return ""

    def has_lock(self) -> bool:
        return hold_key(self.prefix, CONTACT_ID) in self.bucket.objects

    def is_held(self, version: Version) -> bool:
        return True


def audio_of(bucket: Bucket) -> list[str]:
    """Where something of the contact is."""
    return [
        *(key for key in bucket.objects if key in (RECORDING, MANIFEST)),
        *(key for key, _ in bucket.replaced),
        *bucket.uploads.values(),
    ]
