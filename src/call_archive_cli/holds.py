"""Holding contacts: a marker first, then a legal hold on every version that is there.

ArchiveFunction reads the marker before it writes, and writes with a legal hold if it is there. A
run that looked before the marker was written, or removed, is over when the function's timeout has
passed: so a hold, and a release, are settled only when a pass begins after that. How old a marker
or its removal is, S3 says.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from call_archive.keys import hold_key, tombstone_key
from call_archive_cli.exits import FOUND_WRONG, CommandError
from call_archive_cli.stored import Mark, Version, hash_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from call_archive_cli.erasure import Relatives

WITHOUT_LOCK = (
    "the bucket has no Object Lock, without which S3 holds nothing: deploy the stack with "
    "ObjectLock=for-ever, or for a bucket of your own run `aws s3api "
    "put-object-lock-configuration`; neither can be undone (docs/holds.md)"
)


class Store(Protocol):
    """The required operations of S3 (`stored.S3Store`)."""

    @property
    def prefix(self) -> str:
        """What every key starts with."""

    def read_mark(self, key: str) -> Mark | None:
        """A mark; None if it is not there."""

    def write_mark(self, key: str, content: Mapping[str, Any]) -> None:
        """Writes a mark."""

    def remove_mark(self, key: str) -> None:
        """Hides a mark."""

    def removed_s(self, key: str) -> float | None:
        """How many seconds ago a mark was removed; None if that never happened."""

    def versions(self, contact_ids: Iterable[str]) -> list[Version]:
        """All versions and delete markers of these contacts."""

    def has_lock(self) -> bool:
        """Whether the bucket has Object Lock."""

    def is_held(self, version: Version) -> bool:
        """Whether a version has a legal hold."""

    def set_hold(self, version: Version, *, is_on: bool) -> None:
        """Puts a legal hold on a version, or takes it off."""


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
    """Holds contacts, and releases them.

    Attributes:
        wait_s: after this time every run that began before a marker has ended.
    """

    store: Store
    relatives: Relatives
    wait_s: float
    sleep: Callable[[float], None] = time.sleep

    def hold(self, asked: Iterable[str], done: Holding, *, reason: str, waits: bool) -> None:
        """Puts a legal hold on everything of the contacts, now and later.

        Raises:
            CommandError: a contact is erased or was released meanwhile, or the bucket cannot hold
                anything.
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
        # An erasure may have begun between the look and the marker.
        self._refuse_erased(done)
        while not done.is_settled:
            ages_s = [mark.age_s for mark in self._marks(done).values() if mark]
            if len(ages_s) < len(done.contact_ids):
                raise CommandError("somebody released it meanwhile: hold it again", FOUND_WRONG)
            self._pass(done, ages_s, is_on=True)
            if not self._waits(done, waits=waits):
                return

    def release(self, asked: Iterable[str], done: Holding, *, waits: bool) -> None:
        """Removes the markers, and takes the legal holds off, now and of what runs still write.

        Raises:
            CommandError: somebody holds a contact again meanwhile.
        """
        self._relate(asked, done)
        for contact_id, mark in self._marks(done).items():
            if mark is not None:
                self.store.remove_mark(hold_key(self.store.prefix, contact_id))
        if not self.store.has_lock():
            done.notes += ("the bucket has no Object Lock, so nothing was held",)
            done.is_settled = True
        while not done.is_settled:
            if again := sorted(one for one, mark in self._marks(done).items() if mark):
                raise CommandError(
                    f"somebody holds {', '.join(again)} again: nothing more was released",
                    FOUND_WRONG,
                )
            keys = [hold_key(self.store.prefix, one) for one in done.contact_ids]
            ages_s = [age for age in map(self.store.removed_s, keys) if age is not None]
            self._pass(done, ages_s, is_on=False)
            if not self._waits(done, waits=waits):
                return

    def _relate(self, asked: Iterable[str], done: Holding) -> None:
        related = self.relatives(frozenset(asked))
        done.contact_ids, done.notes = related.contact_ids, related.notes

    def _marks(self, done: Holding) -> dict[str, Mark | None]:
        """Each contact's marker, if it is there."""
        return {
            one: self.store.read_mark(hold_key(self.store.prefix, one))
            for one in sorted(done.contact_ids)
        }

    def _pass(self, done: Holding, ages_s: Iterable[float], *, is_on: bool) -> None:
        """Sets every version that is there; settled if no run is left that began before."""
        done.wait_s = max(0.0, self.wait_s - min(ages_s, default=self.wait_s))
        real = [v for v in self.store.versions(done.contact_ids) if not v.is_marker]
        done.versions = len(real)
        for version in real:
            if self.store.is_held(version) is not is_on:
                self.store.set_hold(version, is_on=is_on)
                done.changed.add(version)
        done.is_settled = done.wait_s <= 0

    def _waits(self, done: Holding, *, waits: bool) -> bool:
        """Waits until a pass can be settled; returns whether there has to be one."""
        if done.is_settled or not waits:
            return False
        self.sleep(done.wait_s)
        return True

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
