"""Holding contacts: a marker first, then a legal hold on every version that is there.

ArchiveFunction reads the marker after it has published, and puts a legal hold on what it wrote. A
run that looked before the marker was written is over when the function's timeout has passed: so a
hold is settled only when a pass begins after that. How old a marker is, S3 says.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from call_archive.keys import hold_key, tombstone_key
from call_archive_cli.exits import FOUND_WRONG, CommandError
from call_archive_cli.stored import S3Store, Version, hash_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from call_archive_cli.erasure import Relatives

WITHOUT_LOCK = (
    "the bucket has no Object Lock, without which S3 holds nothing: deploy the stack with "
    "ObjectLock=for-ever, or for a bucket of your own run `aws s3api "
    "put-object-lock-configuration`; neither can be undone (docs/holds.md)"
)


@dataclass(slots=True)
class Holding:
    """What a run did.

    Attributes:
        changed: versions whose legal hold was put on, or taken off.
        is_settled: no run is left that began before.
        wait_s: how long until another run can be settled.
    """

    contact_ids: frozenset[str] = frozenset()
    versions: int = 0
    changed: set[Version] = field(default_factory=set)
    notes: tuple[str, ...] = ()
    is_settled: bool = False
    wait_s: float = 0.0

    def as_json(self, *, is_held: bool) -> dict[str, Any]:
        """For `--json`."""
        return {
            "held": is_held,
            "contacts": sorted(self.contact_ids),
            "versions": self.versions,
            "changed": [{"key": v.key, "versionId": v.version_id} for v in sorted(self.changed)],
            "settled": self.is_settled,
            "settledInSeconds": round(self.wait_s),
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class Holds:
    """Holds contacts, and releases them."""

    store: S3Store
    relatives: Relatives
    wait_s: float
    sleep: Callable[[float], None] = time.sleep

    def hold(self, asked: Iterable[str], done: Holding, *, reason: str, waits: bool) -> None:
        """Puts a legal hold on everything of the contacts, now and later.

        Raises:
            CommandError: a contact is erased, or the bucket cannot hold anything.
        """
        if not self.store.has_lock():
            raise CommandError(WITHOUT_LOCK)
        self._relate(asked, done)
        self._refuse_erased(done)
        content = {
            "version": 1,
            "reason": reason,
            "group": sorted(map(hash_of, done.contact_ids)),
        }
        for contact_id in sorted(done.contact_ids):
            key = hold_key(self.store.prefix, contact_id)
            if self.store.read_mark(key) is None:
                self.store.write_mark(key, content)
        # Somebody may have begun to erase between the look and the marker.
        self._refuse_erased(done)
        while True:
            done.wait_s = self.wait_s - min(
                mark.age_s if mark else 0.0
                for mark in (
                    self.store.read_mark(hold_key(self.store.prefix, one))
                    for one in done.contact_ids
                )
            )
            self._set(done, is_on=True)
            done.is_settled = done.wait_s <= 0
            if done.is_settled or not waits:
                return
            self.sleep(done.wait_s)

    def release(self, asked: Iterable[str], done: Holding) -> None:
        """Removes the markers, and takes the legal holds off."""
        self._relate(asked, done)
        for contact_id in sorted(done.contact_ids):
            key = hold_key(self.store.prefix, contact_id)
            if self.store.read_mark(key) is not None:
                self.store.remove_mark(key)
        if self.store.has_lock():
            self._set(done, is_on=False)
        done.is_settled = True

    def _relate(self, asked: Iterable[str], done: Holding) -> None:
        related = self.relatives(frozenset(asked))
        done.contact_ids, done.notes = related.contact_ids, related.notes

    def _set(self, done: Holding, *, is_on: bool) -> None:
        real = [v for v in self.store.versions(done.contact_ids) if not v.is_marker]
        done.versions = len(real)
        for version in real:
            if self.store.is_held(version) is not is_on:
                self.store.set_hold(version, is_on=is_on)
                done.changed.add(version)

    def _refuse_erased(self, done: Holding) -> None:
        erased = [
            one
            for one in sorted(done.contact_ids)
            if self.store.read_mark(tombstone_key(self.store.prefix, one)) is not None
        ]
        if erased:
            raise CommandError(
                f"{', '.join(erased)} is erased, or about to be: what is gone cannot be held",
                FOUND_WRONG,
            )
