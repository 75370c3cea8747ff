"""Erases contacts for good: first a tombstone, then all objects, then a check after all runs ended.

A tombstone keeps every later run from publishing. A run that looked before the tombstone was
written may still publish; it is over when the function's timeout has passed. So only a pass that
begins after that, finds no new contact and leaves nothing is final. S3 gives the age of a
tombstone, so the next run of the command continues after an interruption.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from call_archive.keys import hold_key, tombstone_key
from call_archive_cli.exits import FOUND_WRONG, CommandError
from call_archive_cli.stored import Mark, Upload, Version, hash_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

MOST_ROUNDS: Final = 20
"""A contact's transfers are found in one or two passes; more is a loop to check by hand."""

NOT_REACHED: Final = (
    (
        "the audio in the Kinesis video stream stays until the stream's retention ends; no run "
        "archives it any more"
    ),
    (
        "Amazon Connect's own recordings, transcripts, contact records and reports: delete them "
        "there (Contact search, the storage bucket, DeleteContactData)"
    ),
    "copies: downloads, replicas, backups, transcripts and analyses of other programs",
    "contact ids in logs, without other data of the caller, until LogRetentionDays",
    "messages in the queues name the contact and hold no audio; they end as ERASED when they run",
)


class Store(Protocol):
    """The required operations of S3 (`stored.S3Store`)."""

    @property
    def prefix(self) -> str:
        """What every key starts with."""

    def read_mark(self, key: str) -> Mark | None:
        """A mark; None if it is not there."""

    def write_mark(self, key: str, content: Mapping[str, Any]) -> None:
        """Writes a mark, in place of one that is there."""

    def find_contacts(self, hashes: frozenset[str]) -> frozenset[str]:
        """The contacts with these hashes of which the archive still holds objects."""

    def versions(self, contact_ids: Iterable[str]) -> list[Version]:
        """All versions and delete markers of these contacts."""

    def uploads(self, contact_ids: Iterable[str] | None = None) -> list[Upload]:
        """The open uploads of these contacts."""

    def remove(self, version: Version) -> str:
        """Deletes one version for good; returns why S3 does not, or ""."""

    def abort(self, upload: Upload) -> str:
        """Aborts an upload; returns why S3 does not, or ""."""

    def has_lock(self) -> bool:
        """Whether the bucket has Object Lock."""

    def is_held(self, version: Version) -> bool:
        """Whether a version has a legal hold."""


@dataclass(frozen=True, slots=True)
class Related:
    """Contacts that belong together.

    Attributes:
        contact_ids: the named contacts, and those that share their initial contact.
        notes: questions without an answer, and why.
    """

    contact_ids: frozenset[str]
    notes: tuple[str, ...] = ()


type Relatives = Callable[[frozenset[str]], Related]


@dataclass(frozen=True, slots=True)
class Found:
    """The contacts' objects before anything is changed.

    Attributes:
        asked: the contacts that were named.
        contact_ids: these and the related ones.
        held: contacts that have to be kept.
        notes: what could not be asked, and why.
    """

    asked: frozenset[str]
    contact_ids: frozenset[str]
    versions: tuple[Version, ...]
    uploads: tuple[Upload, ...]
    held: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(slots=True)
class Receipt:
    """What was removed, and whether that was all.

    Attributes:
        tombstones: contact → when its tombstone was written.
        kept: key and version → why S3 keeps it.
        wait_s: how long it takes until another run can be final.
    """

    by: str = ""
    at: datetime | None = None
    reason: str = ""
    tombstones: dict[str, datetime] = field(default_factory=dict)
    removed: set[Version] = field(default_factory=set)
    aborted: set[Upload] = field(default_factory=set)
    kept: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    is_final: bool = False
    wait_s: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """The receipt, with the hash of its content."""
        document: dict[str, Any] = {
            "version": 1,
            "final": self.is_final,
            "finalInSeconds": round(self.wait_s),
            "erasedBy": self.by,
            "at": self.at.isoformat() if self.at else "",
            "reason": self.reason,
            "contacts": [
                {"contactId": one, "sha256": hash_of(one), "tombstoneWrittenAt": at.isoformat()}
                for one, at in sorted(self.tombstones.items())
            ],
            "removed": [
                {"key": v.key, "versionId": v.version_id, "deleteMarker": v.is_marker}
                for v in sorted(self.removed)
            ],
            "abortedUploads": [u.key for u in sorted(self.aborted)],
            "kept": self.kept,
            "notes": self.notes,
            "notReached": list(NOT_REACHED),
        }
        text = json.dumps(document, sort_keys=True, separators=(",", ":"))
        return {**document, "sha256": hashlib.sha256(text.encode()).hexdigest()}


@dataclass(frozen=True, slots=True)
class Erasure:
    """Erases contacts.

    Attributes:
        relatives: which other contacts belong to the named ones.
        wait_s: after this time every run that began before a tombstone has ended.
        sleep: waits.
    """

    store: Store
    relatives: Relatives
    wait_s: float
    sleep: Callable[[float], None] = time.sleep

    def find(self, asked: Iterable[str]) -> Found:
        """Finds the contacts' objects; changes nothing."""
        related = self.relatives(frozenset(asked))
        ids = related.contact_ids
        # An earlier run may have removed what tells that they belong together.
        if unknown := self._group(ids) - set(map(hash_of, ids)):
            ids |= self.store.find_contacts(unknown)
        versions = tuple(self.store.versions(ids))
        return Found(
            frozenset(asked),
            ids,
            versions,
            tuple(self.store.uploads(ids)),
            self._held(ids, versions),
            related.notes,
        )

    def run(self, asked: Iterable[str], receipt: Receipt, *, waits: bool = True) -> None:
        """Erases; the receipt records what was done, even if this ends early.

        Raises:
            CommandError: a contact is held: nothing more is removed.
        """
        wanted, ids = frozenset(asked), frozenset(asked)
        for _ in range(MOST_ROUNDS):
            found = self.find(ids)
            if found.held:
                raise _refuse(found.held, is_begun=bool(receipt.tombstones))
            ids = found.contact_ids
            receipt.notes = list(found.notes)
            receipt.wait_s = self._mark(ids, receipt)
            # A hold that was set between the search and the tombstone also wins.
            if held := self._held(ids, ()):
                raise _refuse(held, is_begun=True)
            self._remove(found, wanted, receipt)
            if receipt.kept:
                return
            if receipt.wait_s <= 0:
                if not (self.store.versions(ids) or self.store.uploads(ids)):
                    receipt.is_final = True
                    return
            elif waits:
                self.sleep(receipt.wait_s)
            else:
                return
        raise CommandError(
            "something of the contacts appears again and again: is every function that writes to "
            "this bucket of this release?",
            FOUND_WRONG,
        )

    def _mark(self, ids: Iterable[str], receipt: Receipt) -> float:
        """Writes a tombstone for each contact; returns how long until all are old enough."""
        hashes = frozenset(map(hash_of, ids)) | self._group(ids)
        content = {"version": 1, "reason": receipt.reason, "group": sorted(hashes)}
        for contact_id in sorted(ids):
            key = tombstone_key(self.store.prefix, contact_id)
            mark = self.store.read_mark(key)
            if mark is None or not hashes <= mark.group:
                self.store.write_mark(key, content)
        receipt.tombstones = {
            contact_id: mark.written_at
            for contact_id in sorted(ids)
            if (mark := self.store.read_mark(tombstone_key(self.store.prefix, contact_id)))
        }
        marks = [self.store.read_mark(f"{self.store.prefix}tombstones/{h}.json") for h in hashes]
        return self.wait_s - min((mark.age_s if mark else 0.0) for mark in marks)

    def _group(self, ids: Iterable[str]) -> frozenset[str]:
        """The hashes of the contacts that were marked together with these."""
        keys = (tombstone_key(self.store.prefix, contact_id) for contact_id in ids)
        marks = [mark for mark in map(self.store.read_mark, keys) if mark]
        return frozenset(one for mark in marks for one in mark.group)

    def _remove(self, found: Found, wanted: frozenset[str], receipt: Receipt) -> None:
        """Removes all objects; last the manifests that show which contacts belong together."""
        receipt.kept = {}
        for upload in found.uploads:
            if why := self.store.abort(upload):
                receipt.kept[f"{upload.key} (upload {upload.upload_id})"] = why
            else:
                receipt.aborted.add(upload)

        def order(version: Version) -> tuple[bool, bool, Version]:
            return not version.key.endswith(".wav"), version.contact_id in wanted, version

        for version in sorted(found.versions, key=order):
            if why := self.store.remove(version):
                receipt.kept[f"{version.key} ({version.version_id})"] = why
            else:
                receipt.removed.add(version)

    def _held(self, ids: Iterable[str], versions: Iterable[Version]) -> tuple[str, ...]:
        prefix = self.store.prefix
        held = {one for one in ids if self.store.read_mark(hold_key(prefix, one)) is not None}
        real = [version for version in versions if not version.is_marker]
        if real and self.store.has_lock():
            held |= {version.contact_id for version in real if self.store.is_held(version)}
        return tuple(sorted(held))


def _refuse(held: Iterable[str], *, is_begun: bool) -> CommandError:
    what = (
        "no more is removed; the tombstone remains, so later runs publish nothing of it"
        if is_begun
        else "nothing was changed"
    )
    return CommandError(
        f"{', '.join(held)} is held, so {what}; `call-archive release` ends a hold",
        FOUND_WRONG,
    )
