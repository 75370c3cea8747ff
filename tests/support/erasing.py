"""S3 in memory, as erasing and holding meet it: versions, open uploads, marks, and their times."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from call_archive_cli.stored import Mark, Upload, Version, hash_of
from tests.support.bucket import MANIFEST, RECORDING, Bucket, StoredObject
from tests.support.manifests import CONTACT_ID


@dataclass
class MemoryStore:
    """`erasure.Store` and `holds.Store` over a locked bucket of one contact.

    `on_step` is asked before a listing, and before or after a change.
    """

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
        self.on_step("before a mark is written")
        group = {"group": " ".join(content["group"])}
        self.bucket.objects[key] = StoredObject("", b"{}", group, self.bucket.now_ms)
        self.on_step("after a mark is written")

    def remove_mark(self, key: str) -> None:
        self.on_step("before a mark is removed")
        self.bucket.objects.pop(key, None)
        self.bucket.removed[key] = self.bucket.now_ms
        self.on_step("after a mark is removed")

    def removed_s(self, key: str) -> float | None:
        removed_ms = self.bucket.removed.get(key)
        if removed_ms is None or key in self.bucket.objects:
            return None
        return (self.bucket.now_ms - removed_ms) / 1000

    def find_contacts(self, hashes: frozenset[str]) -> frozenset[str]:
        return frozenset({CONTACT_ID} if hash_of(CONTACT_ID) in hashes else ())

    def versions(self, contact_ids: Iterable[str]) -> list[Version]:
        self.on_step("before a listing")
        if CONTACT_ID not in contact_ids:
            return []
        return [
            Version(f"{CONTACT_ID}/{key}", there.version_id)
            for key, there in versions_of(self.bucket)
        ]

    def uploads(self, contact_ids: Iterable[str] | None = None) -> list[Upload]:
        return [Upload(f"{CONTACT_ID}/{key}", str(n)) for n, key in self.bucket.uploads.items()]

    def remove(self, version: Version) -> str:
        """One version for good; S3 refuses if it has a legal hold."""
        self.on_step("before a version is removed")
        if self.is_held(version):
            return "it has a legal hold"
        key = version.key.removeprefix(f"{CONTACT_ID}/")
        bucket = self.bucket
        if key in bucket.objects and bucket.objects[key].version_id == version.version_id:
            bucket.delete(key)
            # What was behind it is the current version now.
            behind = [pair for pair in bucket.replaced if pair[0] == key]
            if behind:
                bucket.replaced.remove(behind[-1])
                bucket.objects[key] = behind[-1][1]
        else:
            bucket.replaced = [
                (one, there)
                for one, there in bucket.replaced
                if (one, there.version_id) != (key, version.version_id)
            ]
        return ""

    def abort(self, upload: Upload) -> str:
        self.on_step("before an upload is aborted")
        self.bucket.uploads.pop(int(upload.upload_id), None)
        return ""

    def has_lock(self) -> bool:
        return True

    def is_held(self, version: Version) -> bool:
        return _name(version) in self.bucket.held

    def set_hold(self, version: Version, *, is_on: bool) -> None:
        self.on_step("before a legal hold is set")
        self.bucket.held.discard(_name(version))
        if is_on:
            self.bucket.held.add(_name(version))


def versions_of(bucket: Bucket) -> Iterator[tuple[str, StoredObject]]:
    """Every version of the contact's recording and manifest, by key."""
    yield from (
        (key, bucket.objects[key]) for key in (RECORDING, MANIFEST) if key in bucket.objects
    )
    yield from bucket.replaced


def unheld(bucket: Bucket) -> list[str]:
    """The versions without a legal hold."""
    names = [f"{key} {there.version_id}" for key, there in versions_of(bucket)]
    return [name for name in names if name not in bucket.held]


def _name(version: Version) -> str:
    return f"{version.key.removeprefix(f'{CONTACT_ID}/')} {version.version_id}"


def audio_of(bucket: Bucket) -> list[str]:
    """Where something of the contact is."""
    return [
        *(key for key, _ in versions_of(bucket)),
        *bucket.uploads.values(),
    ]
