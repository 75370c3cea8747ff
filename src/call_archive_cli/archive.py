"""The archive in S3 for operators: manifests by day and contact, recordings, their state.

Source: the keys of `call_archive.keys`. Within a day S3 lists keys in their order, so those of the
manifests and those of the recordings go side by side.
"""

from __future__ import annotations

import heapq
import re
import time
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from call_archive_cli.errors import describe, is_about_credentials
from call_archive_cli.exits import CommandError
from call_archive_cli.manifests import ManifestError, StoredManifest, decode_manifest
from call_archive_cli.threads import Pool, ahead
from call_archive_cli.verification import find_difference, take_fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from mypy_boto3_s3.type_defs import ListObjectsV2RequestTypeDef

    from call_archive.recording.manifest import Manifest
    from call_archive_cli.clients import Clients
    from call_archive_cli.days import Wanted

LISTERS: Final = 16
READERS: Final = 16
VERIFIERS: Final = 8
WINDOW: Final = 4
"""Objects in flight for each thread."""

READ_BYTES: Final = 1_048_576
PAUSES_S: Final = (0.2, 1.0)
"""The pauses before a body that broke off is read again; botocore retries calls, but not bodies."""

REPLACEMENTS: Final = 3
"""How often a recording may be replaced while it is verified."""

PUBLISHING_S: Final = 0.5
"""A recording is published, then its manifest: about so much later."""

_GONE: Final = frozenset(("404", "NoSuchKey", "NotFound"))
_EVERY_OBJECT: Final = frozenset(("NoSuchBucket", "PermanentRedirect", "InvalidBucketName"))
"""Codes that every other object would give, too."""

MOST_UNREAD_IN_A_ROW: Final = 20
_SUFFIXES: Final = {"manifests": ".json", "recordings": ".wav"}
_DAY: Final = re.compile(r"year=(\d{4})/month=(\d\d)/day=(\d\d)/$")


class GoneError(Exception):
    """The object was deleted after it was listed."""


class UnreadError(Exception):
    """S3 did not deliver an object after every retry; the text says why."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a call's manifest and recording are.

    Attributes:
        tail: what both keys have in common.
        manifest_etag: as S3 lists it; "" if no manifest is listed.
        recording_etag: the same of the recording, if the recordings were listed, too.
    """

    tail: str
    manifest_key: str
    recording_key: str
    manifest_etag: str
    recording_etag: str = ""

    @property
    def contact_id(self) -> str:
        """The contact id in its key."""
        return self.tail.split("/")[-2]

    @property
    def day(self) -> str:
        """The day of its key."""
        return self.tail.rpartition("/")[0].rpartition("/")[0]


@dataclass(frozen=True, slots=True)
class ArchivedCall:
    """A manifest in the archive, read.

    Attributes:
        stored: its manifest; None if it cannot be read as one.
        problem: why not.
        is_foreign: the object at the manifest's key is not a manifest.
    """

    entry: Entry
    stored: StoredManifest | None
    problem: str = ""
    is_foreign: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether there is a manifest that says so."""
        return self.stored is not None and self.stored.manifest.is_complete

    @property
    def unread(self) -> str:
        """Why S3 did not give the manifest; "" if it did."""
        return "" if self.is_foreign else self.problem


@dataclass(frozen=True, slots=True)
class Checked:
    """A recording, compared with its manifest.

    Attributes:
        damage: what is wrong with it; "" if nothing is.
        unread: why it could not be compared; "" if it was.
        is_gone: both were deleted after they were listed.
    """

    entry: Entry
    is_complete: bool = True
    damage: str = ""
    unread: str = ""
    is_gone: bool = False


@dataclass(frozen=True, slots=True)
class CallArchive:
    """A bucket and the prefix in front of every key; any thread may use it."""

    clients: Clients
    bucket: str
    prefix: str
    sleep: Callable[[float], None] = time.sleep

    def describe(self) -> str:
        """The bucket, and the prefix if there is one, in words."""
        return f"bucket {self.bucket}{f', prefix {self.prefix}' if self.prefix else ''}"

    def choose(self, wanted: Wanted) -> Sequence[date]:
        """The days to look at; for everything, those that hold a manifest or a recording.

        Raises:
            ClientError: S3 refuses.
        """
        if not wanted.is_everything:
            return list(wanted.days())
        with Pool(LISTERS) as pool:
            roots = [f"{self.prefix}manifests/", f"{self.prefix}recordings/"]
            for _ in ("year", "month", "day"):
                levels = ahead(pool, self._folders, roots, LISTERS * WINDOW)
                roots = [folder for level in levels for folder in level]
        found = {date(*map(int, day.groups())) for day in map(_DAY.search, roots) if day}
        return sorted(found)

    def entries(
        self, days: Iterable[date], contact_id: str | None = None, *, recordings: bool = False
    ) -> Iterator[Entry]:
        """The calls of these days, by day and key, only from the listing.

        Args:
            days: in order.
            contact_id: only this contact's.
            recordings: list the recordings, too, also those without a manifest.

        Raises:
            ClientError: S3 refuses.
        """
        kinds = ("manifests", "recordings") if recordings else ("manifests",)
        with Pool(LISTERS) as pool:
            # The first page of each day on several threads; a day's other pages as they are needed.
            firsts = ahead(
                pool,
                lambda day: [self._page(kind, day, contact_id) for kind in kinds],
                days,
                LISTERS * WINDOW,
            )
            for pages in firsts:
                yield from self._joined(pages)

    def count(self, days: Iterable[date], contact_id: str | None = None) -> int:
        """How many manifests these days have, only from the listing."""
        return sum(1 for _ in self.entries(days, contact_id))

    def contact_ids(self, day: date) -> set[str]:
        """Contacts with a recording on this day, complete or not; reads only the listing."""
        return {entry.contact_id for entry in self.entries([day])}

    def find(self, entries: Iterable[Entry]) -> Iterator[ArchivedCall]:
        """The manifests, in the order of the entries; without those that were deleted meanwhile.

        Raises:
            ClientError, BotoCoreError: S3 refuses what it would refuse for every object.
        """
        with Pool(READERS) as pool:
            for call in ahead(pool, self._read_call, entries, READERS * WINDOW):
                if call is not None:
                    yield call

    def verify_each(self, entries: Iterable[Entry]) -> Iterator[Checked]:
        """Every recording, compared with its manifest, in the order of the entries.

        Raises:
            ClientError, BotoCoreError: S3 refuses what it would refuse for every object.
        """
        with Pool(VERIFIERS) as pool:
            yield from ahead(pool, self.verify, entries, VERIFIERS * WINDOW)

    def verify(self, entry: Entry) -> Checked:
        """Compares a recording with its manifest; reads all of it.

        Raises:
            ClientError, BotoCoreError: S3 refuses what it would refuse for every object.
        """
        try:
            return self._verify(entry)
        except UnreadError as error:
            return Checked(entry, unread=str(error))

    def read(self, key: str) -> bytes:
        """A small object, whole.

        Raises:
            GoneError, UnreadError: S3 does not give it.
            ClientError, BotoCoreError: S3 refuses what it would refuse for every object.
        """
        return self.consume(key, b"".join)

    def consume[T](self, key: str, use: Callable[[Iterable[bytes]], T]) -> T:
        """The result of `use` for an object, read again from its start if the body breaks off.

        Raises:
            GoneError, UnreadError: S3 does not give it.
            ClientError, BotoCoreError: S3 refuses what it would refuse for every object.
        """
        client = self.clients.s3()
        for pause_s in (*PAUSES_S, None):
            try:
                body = client.get_object(Bucket=self.bucket, Key=key)["Body"]
                with body:
                    return use(body.iter_chunks(READ_BYTES))
            except ClientError as error:
                code = error.response["Error"].get("Code", "")
                if code in _GONE:
                    raise GoneError(key) from error
                if code in _EVERY_OBJECT or is_about_credentials(error):
                    raise
                raise UnreadError(describe(error)) from error
            except (BotoCoreError, HTTPError) as error:
                if is_about_credentials(error):
                    raise
                if pause_s is None:
                    raise UnreadError(describe(error)) from error
                self.sleep(pause_s)
        raise AssertionError

    def presign(self, key: str, seconds: int) -> str:
        """A URL with which anyone can download the object for this long."""
        return self.clients.presigning_s3().generate_presigned_url(
            "get_object", Params={"Bucket": self.bucket, "Key": key}, ExpiresIn=seconds
        )

    def read_manifest(self, entry: Entry) -> StoredManifest:
        """An entry's manifest.

        Raises:
            ManifestError: the object is none.
            GoneError, UnreadError: S3 does not give it.
            ClientError, BotoCoreError: S3 refuses what it would refuse for every object.
        """
        return decode_manifest(self.read(entry.manifest_key))

    def _read_call(self, entry: Entry) -> ArchivedCall | None:
        try:
            return ArchivedCall(entry, self.read_manifest(entry))
        except GoneError:
            return None
        except ManifestError as error:
            return ArchivedCall(entry, None, str(error), is_foreign=True)
        except UnreadError as error:
            return ArchivedCall(entry, None, str(error))

    def _verify(self, entry: Entry) -> Checked:
        before, damage = None, ""
        for _ in range(REPLACEMENTS):
            try:
                stored = self.read_manifest(entry)
            except ManifestError as error:
                return Checked(entry, damage=f"its manifest is not one: {error}")
            except GoneError:
                return self._verify_without_manifest(entry)
            manifest = stored.manifest
            if stored == before:
                return Checked(entry, manifest.is_complete, damage)
            before = stored
            damage = _mismatch(entry, manifest) or self._compare(entry, manifest)
            if not damage:
                return Checked(entry, manifest.is_complete)
            # It may be being replaced: its manifest is written last.
            self.sleep(PUBLISHING_S)
        return Checked(entry, unread="it was replaced repeatedly: verify it again")

    def _verify_without_manifest(self, entry: Entry) -> Checked:
        """Waits for the manifest of a recording that is being published."""
        try:
            self.consume(entry.recording_key, lambda reads: next(iter(reads), b""))
        except GoneError:
            return Checked(entry, is_gone=True)
        self.sleep(PUBLISHING_S)
        try:
            self.read(entry.manifest_key)
        except GoneError:
            return Checked(entry, damage="no manifest describes it")
        return self._verify(entry)

    def _compare(self, entry: Entry, manifest: Manifest) -> str:
        try:
            return find_difference(manifest, self.consume(entry.recording_key, take_fingerprint))
        except GoneError:
            return "the recording is missing"

    def _folders(self, root: str) -> list[str]:
        pages = (
            self.clients.s3()
            .get_paginator("list_objects_v2")
            .paginate(Bucket=self.bucket, Prefix=root, Delimiter="/")
        )
        return [folder["Prefix"] for page in pages for folder in page.get("CommonPrefixes", [])]

    def _page(self, kind: str, day: date, contact_id: str | None) -> _Page:
        """The first thousand keys of a day, or of a contact on it."""
        prefix = f"{self.prefix}{kind}/{day:year=%Y/month=%m/day=%d}/"
        return self._list(kind, f"{prefix}{contact_id}/" if contact_id else prefix, None)

    def _list(self, kind: str, prefix: str, token: str | None) -> _Page:
        request: ListObjectsV2RequestTypeDef = {"Bucket": self.bucket, "Prefix": prefix}
        if token:
            request["ContinuationToken"] = token
        answer = self.clients.s3().list_objects_v2(**request)
        suffix = _SUFFIXES[kind]
        start = len(f"{self.prefix}{kind}/")
        listed = [
            (entry["Key"][start : -len(suffix)], entry["ETag"])
            for entry in answer.get("Contents", [])
            if entry["Key"].endswith(suffix)
        ]
        return _Page(kind, prefix, listed, answer.get("NextContinuationToken"))

    def _pages(self, page: _Page) -> Iterator[tuple[str, str, str]]:
        """Kind, tail and ETag of everything from this page on."""
        while True:
            for tail, etag in page.listed:
                yield tail, page.kind, etag
            if page.token is None:
                return
            page = self._list(page.kind, page.prefix, page.token)

    def _joined(self, pages: Iterable[_Page]) -> Iterator[Entry]:
        """A day's manifests and recordings side by side: both come in the order of their tails."""
        merged = heapq.merge(*map(self._pages, pages))
        for tail, same in groupby(merged, key=itemgetter(0)):
            etags = {kind: etag for _, kind, etag in same}
            yield Entry(
                tail,
                f"{self.prefix}manifests/{tail}.json",
                f"{self.prefix}recordings/{tail}.wav",
                etags.get("manifests", ""),
                etags.get("recordings", ""),
            )


@dataclass(frozen=True, slots=True)
class _Page:
    kind: str
    prefix: str
    listed: list[tuple[str, str]]
    token: str | None


def stop_if_nothing_can_be_read[T: (ArchivedCall, Checked)](
    things: Iterable[T],
) -> Iterator[T]:
    """The same things; ends a run in which one object after the other cannot be read.

    Raises:
        CommandError: too many in a row.
    """
    in_a_row = 0
    for thing in things:
        yield thing
        in_a_row = in_a_row + 1 if thing.unread else 0
        if in_a_row == MOST_UNREAD_IN_A_ROW:
            raise CommandError(f"{in_a_row} objects in a row cannot be read: {thing.unread}")


def _mismatch(entry: Entry, manifest: Manifest) -> str:
    """Why the manifest at this key belongs to another recording; "" if it does not."""
    if manifest.contact_id != entry.contact_id:
        return f"its manifest is of contact {manifest.contact_id}"
    if not manifest.recording_uri.endswith(f"/{entry.tail}.wav"):
        return f"its manifest describes {manifest.recording_uri}"
    return ""
