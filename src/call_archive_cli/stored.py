"""Everything that S3 keeps of a contact: versions, delete markers, open uploads, and its marks.

A listing shows what is current; a version behind a delete marker still holds audio, and so
do the parts of an upload that was never completed. A mark is an object whose key has the contact's
hash (`call_archive.keys`): a tombstone or a hold.

Source: S3 API reference (ListObjectVersions, ListMultipartUploads, DeleteObject, Object Lock).
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from call_archive_cli.errors import describe
from call_archive_cli.threads import Pool, ahead

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mypy_boto3_s3 import S3Client

    from call_archive_cli.clients import Clients

THREADS: Final = 16
WINDOW: Final = 4
MAX_MARK_BYTES: Final = 1_048_576
KINDS: Final = ("recordings", "manifests")

_HASH: Final = re.compile(r"[0-9a-f]{64}")
_MISSING: Final = frozenset(("404", "NoSuchKey", "NotFound"))
_DENIED: Final = frozenset(("AccessDenied", "403", "AccessDeniedException"))
_GONE: Final = frozenset(("NoSuchUpload", "NoSuchVersion", "NoSuchKey", "404"))
_NO_LOCK: Final = frozenset(
    (
        "ObjectLockConfigurationNotFoundError",
        "NoSuchObjectLockConfiguration",
        "InvalidRequest",
        "NoSuchKey",
        "NoSuchVersion",
        "404",
    )
)


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """One version of an object, or a delete marker."""

    key: str
    version_id: str
    is_marker: bool = False
    size_bytes: int = 0

    @property
    def contact_id(self) -> str:
        """The contact id in its key."""
        return contact_of(self.key)


@dataclass(frozen=True, slots=True, order=True)
class Upload:
    """An upload that was neither completed nor aborted; its parts hold audio."""

    key: str
    upload_id: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A tombstone or a hold that is there.

    Attributes:
        age_s: since it was written; both times are S3's.
        group: the hashes of the contacts that were marked together.
    """

    written_at: datetime
    age_s: float
    group: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class S3Store:
    """A bucket and the prefix in front of every key; any thread may use it."""

    clients: Clients
    bucket: str
    prefix: str

    @property
    def _client(self) -> S3Client:
        return self.clients.s3()

    def read_mark(self, key: str) -> Mark | None:
        """A mark; None if it is not there.

        Raises:
            ClientError: S3 refuses.
        """
        try:
            answer = self._client.get_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            if _code(error) in _MISSING:
                return None
            raise
        with answer["Body"] as body:
            content = body.read(MAX_MARK_BYTES)
        written = answer["LastModified"]
        return Mark(written, (_now_of(answer) - written).total_seconds(), _decode_group(content))

    def write_mark(self, key: str, content: Mapping[str, Any]) -> None:
        """Writes a mark, in place of one that is there.

        Raises:
            ClientError: S3 refuses.
        """
        self._client.put_object(
            Bucket=self.bucket,
            Key=key,
            Body=json.dumps(content).encode() + b"\n",
            ContentType="application/json",
        )

    def remove_mark(self, key: str) -> None:
        """Hides a mark; in a versioned bucket its versions stay as a record.

        Raises:
            ClientError: S3 refuses.
        """
        self._client.delete_object(Bucket=self.bucket, Key=key)

    def removed_s(self, key: str) -> float | None:
        """How many seconds ago a mark was removed, by S3's clock; None if that never happened.

        Raises:
            ClientError: S3 refuses.
        """
        answer = self._client.list_object_versions(Bucket=self.bucket, Prefix=key, MaxKeys=1000)
        removed = [
            entry["LastModified"]
            for entry in answer.get("DeleteMarkers", [])
            if entry["Key"] == key and entry["IsLatest"]
        ]
        return (_now_of(answer) - max(removed)).total_seconds() if removed else None

    def marks(self, kind: str) -> dict[str, float]:
        """All tombstones, or all holds: the hash of each, and how many seconds old it is.

        Raises:
            ClientError: S3 refuses.
        """
        root = f"{self.prefix}{kind}/"
        found: dict[str, float] = {}
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=root
        )
        for page in pages:
            now = _now_of(page)
            for entry in page.get("Contents", []):
                name = entry["Key"].removeprefix(root).removesuffix(".json")
                found[name] = (now - entry["LastModified"]).total_seconds()
        return found

    def versions(self, contact_ids: Iterable[str]) -> list[Version]:
        """All versions and delete markers of these contacts' recordings and manifests.

        Raises:
            ClientError: S3 refuses.
        """
        wanted = sorted(set(contact_ids))
        with Pool(THREADS) as pool:
            places = [f"{day}{one}/" for day in self._days(pool) for one in wanted]
            found = ahead(pool, self._versions_at, places, THREADS * WINDOW)
            return sorted(version for versions in found for version in versions)

    def all_versions(self) -> Iterator[Version]:
        """All versions and delete markers of every contact, day by day.

        Raises:
            ClientError: S3 refuses.
        """
        with Pool(THREADS) as pool:
            for versions in ahead(pool, self._versions_at, self._days(pool), THREADS * WINDOW):
                yield from versions

    def find_contacts(self, hashes: frozenset[str]) -> frozenset[str]:
        """The contacts with these hashes that still have something in the archive.

        Raises:
            ClientError: S3 refuses.
        """
        ids = {version.contact_id for version in self.all_versions()}
        ids |= {contact_of(upload.key) for upload in self.uploads()}
        return frozenset(one for one in ids if hash_of(one) in hashes)

    def uploads(self, contact_ids: Iterable[str] | None = None) -> list[Upload]:
        """The open uploads of these contacts; of all for None.

        Raises:
            ClientError: S3 refuses.
        """
        wanted = None if contact_ids is None else frozenset(contact_ids)
        pages = self._client.get_paginator("list_multipart_uploads").paginate(
            Bucket=self.bucket, Prefix=f"{self.prefix}recordings/"
        )
        found = (
            Upload(entry["Key"], entry["UploadId"])
            for page in pages
            for entry in page.get("Uploads", [])
        )
        return sorted(
            upload for upload in found if wanted is None or contact_of(upload.key) in wanted
        )

    def remove(self, version: Version) -> str:
        """Deletes one version for good; why S3 does not, or "".

        Raises:
            ClientError: S3 refuses for another reason than a right or a lock.
        """
        try:
            self._client.delete_object(
                Bucket=self.bucket, Key=version.key, VersionId=version.version_id
            )
        except ClientError as error:
            if _code(error) in _GONE:
                return ""
            if _code(error) in _DENIED:
                return self._lock_of(version) or f"{describe(error)}, or a lock keeps it"
            raise
        return ""

    def abort(self, upload: Upload) -> str:
        """Aborts an upload; why S3 does not, or "".

        Raises:
            ClientError: S3 refuses for another reason than a right.
        """
        try:
            self._client.abort_multipart_upload(
                Bucket=self.bucket, Key=upload.key, UploadId=upload.upload_id
            )
        except ClientError as error:
            if _code(error) in _GONE:
                return ""
            if _code(error) in _DENIED:
                return describe(error)
            raise
        return ""

    def has_lock(self) -> bool:
        """Whether the bucket has Object Lock, without which nothing can be held.

        Raises:
            ClientError: S3 refuses.
        """
        try:
            answer = self._client.get_object_lock_configuration(Bucket=self.bucket)
        except ClientError as error:
            if _code(error) in _NO_LOCK:
                return False
            raise
        return answer["ObjectLockConfiguration"].get("ObjectLockEnabled") == "Enabled"

    def is_held(self, version: Version) -> bool:
        """Whether a version has a legal hold.

        Raises:
            ClientError: S3 refuses.
        """
        try:
            answer = self._client.get_object_legal_hold(
                Bucket=self.bucket, Key=version.key, VersionId=version.version_id
            )
        except ClientError as error:
            if _code(error) in _NO_LOCK:
                return False
            raise
        return answer["LegalHold"].get("Status") == "ON"

    def set_hold(self, version: Version, *, is_on: bool) -> None:
        """Puts a legal hold on a version, or takes it off.

        Raises:
            ClientError: S3 refuses.
        """
        self._client.put_object_legal_hold(
            Bucket=self.bucket,
            Key=version.key,
            VersionId=version.version_id,
            LegalHold={"Status": "ON" if is_on else "OFF"},
        )

    def replicas(self) -> str:
        """Where the bucket is replicated to, or why that is not known; "" if nowhere.

        Raises:
            ClientError: S3 refuses for another reason than a right.
        """
        try:
            rules = self._client.get_bucket_replication(Bucket=self.bucket)[
                "ReplicationConfiguration"
            ]["Rules"]
        except ClientError as error:
            if _code(error) == "ReplicationConfigurationNotFoundError":
                return ""
            if _code(error) in _DENIED:
                return f"whether the bucket is replicated is not known: {describe(error)}"
            raise
        names = sorted({rule["Destination"]["Bucket"].rpartition(":")[2] for rule in rules})
        return (
            f"the bucket is replicated to {', '.join(names)}: S3 does not replicate the deletion "
            "of versions; erase there, too"
        )

    def _lock_of(self, version: Version) -> str:
        """The lock that keeps a version, in words; "" if none is known."""
        where: dict[str, Any] = {
            "Bucket": self.bucket,
            "Key": version.key,
            "VersionId": version.version_id,
        }
        try:
            if self._client.get_object_legal_hold(**where)["LegalHold"].get("Status") == "ON":
                return "it has a legal hold"
        except ClientError:
            # The credentials may not read the reason: the refusal itself is reported instead.
            pass
        try:
            retention = self._client.get_object_retention(**where).get("Retention", {})
        except ClientError:
            return ""
        until = retention.get("RetainUntilDate")
        if until is None:
            return ""
        return f"it is locked ({retention.get('Mode')}) until {until:%Y-%m-%d %H:%M} UTC"

    def _days(self, pool: Pool) -> list[str]:
        """The folders of days, also of those that only hold what is hidden by delete markers."""
        roots = [f"{self.prefix}{kind}/" for kind in KINDS]
        for _ in ("year", "month", "day"):
            levels = ahead(pool, self._folders, roots, THREADS * WINDOW)
            roots = [folder for level in levels for folder in level]
        return roots

    def _folders(self, root: str) -> list[str]:
        pages = self._client.get_paginator("list_object_versions").paginate(
            Bucket=self.bucket, Prefix=root, Delimiter="/"
        )
        return [folder["Prefix"] for page in pages for folder in page.get("CommonPrefixes", [])]

    def _versions_at(self, prefix: str) -> list[Version]:
        pages = self._client.get_paginator("list_object_versions").paginate(
            Bucket=self.bucket, Prefix=prefix
        )
        found: list[Version] = []
        for page in pages:
            found += [
                Version(entry["Key"], entry["VersionId"], size_bytes=entry["Size"])
                for entry in page.get("Versions", [])
            ]
            found += [
                Version(entry["Key"], entry["VersionId"], is_marker=True)
                for entry in page.get("DeleteMarkers", [])
            ]
        return found


def contact_of(key: str) -> str:
    """Whose object it is, by its key; "" if the key is none of the archive's layout."""
    parts = key.rsplit("/", 2)
    return parts[1] if len(parts) == 3 else ""


def hash_of(contact_id: str) -> str:
    """What the keys of a contact's marks say of it."""
    return hashlib.sha256(contact_id.encode()).hexdigest()


def _now_of(answer: Mapping[str, Any]) -> datetime:
    """The time by S3's clock; by ours if the answer does not say it."""
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date", "")
    return parsedate_to_datetime(date) if date else datetime.now(UTC)


def _decode_group(content: bytes) -> frozenset[str]:
    """The hashes that a mark names; of what is not ours, none."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return frozenset()
    group = document.get("group") if isinstance(document, dict) else None
    if not isinstance(group, list):
        return frozenset()
    return frozenset(one for one in group if isinstance(one, str) and _HASH.fullmatch(one))


def _code(error: ClientError) -> str:
    return error.response["Error"].get("Code", "")
