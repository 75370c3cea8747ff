"""The archive in S3 as an operator sees it: manifests by day and contact, recordings, their state.

Sources: the keys of `call_archive.job`; the manifest of `call_archive.manifest`.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from call_archive.recording.wav import HEADER_BYTES, build_header
from call_archive_cli.exits import USAGE, CommandError
from call_archive_cli.options import DEFAULT_DAYS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from concurrent.futures import Future

    from call_archive_cli.clients import Clients

READERS: Final = 8
WINDOW: Final = 4 * READERS
"""Manifests that are asked for before they are needed."""

READ_BYTES: Final = 1_048_576
_READ_KEYS: Final = {
    "bytes",
    "channels",
    "complete",
    "contactId",
    "durationMs",
    "gaps",
    "sha256",
    "startedAt",
    "trigger",
}
_MISSING: Final = frozenset(("404", "NoSuchKey", "NotFound"))


@dataclass(frozen=True, slots=True)
class ArchivedCall:
    """A manifest in the archive.

    Attributes:
        key: of the manifest.
        recording_key: of the WAV that it describes.
        manifest: its JSON; None where the object is not a manifest.
    """

    key: str
    recording_key: str
    manifest: Mapping[str, Any] | None

    @property
    def is_complete(self) -> bool:
        """Whether there is a manifest that says so."""
        return self.manifest is not None and bool(self.manifest["complete"])


@dataclass(frozen=True, slots=True)
class CallArchive:
    """A bucket and the prefix in front of every key."""

    clients: Clients
    bucket: str
    prefix: str

    def find(self, days: list[date], contact_id: str | None = None) -> Iterator[ArchivedCall]:
        """The archived calls of these days, by day and contact.

        Raises:
            ClientError: S3 refuses.
        """
        # Two pools: a page of keys must not wait behind the manifests that it is to name.
        with ThreadPoolExecutor(READERS) as listers, ThreadPoolExecutor(READERS) as readers:
            listings = ahead(listers, lambda day: list(self._keys(day, contact_id)), days)
            keys = (key for listing in listings for key in listing)
            yield from ahead(readers, self._read, keys)

    def contact_ids(self, day: date) -> set[str]:
        """Who has a recording of this day, complete or not; nothing is read but the listing."""
        return {key.split("/")[-2] for key in self._keys(day, None)}

    def verify(self, call: ArchivedCall) -> str:
        """What is wrong with a recording; "" where it is what its manifest says.

        Reads the whole recording.

        Raises:
            ClientError: S3 refuses.
        """
        manifest = call.manifest
        if manifest is None:
            return "the object at the manifest's key is not a manifest"
        try:
            answer = self.clients.s3().get_object(Bucket=self.bucket, Key=call.recording_key)
        except ClientError as error:
            if error.response["Error"]["Code"] in _MISSING:
                return "the recording is missing"
            raise
        digest, length, header = hashlib.sha256(), 0, b""
        for read in answer["Body"].iter_chunks(READ_BYTES):
            digest.update(read)
            length += len(read)
            header = header or read[:HEADER_BYTES]
        return _difference(manifest, digest.hexdigest(), length, header)

    def presign(self, key: str, seconds: int) -> str:
        """A URL by which anybody can download the object for so long."""
        return self.clients.presigning_s3().generate_presigned_url(
            "get_object", Params={"Bucket": self.bucket, "Key": key}, ExpiresIn=seconds
        )

    def _keys(self, day: date, contact_id: str | None) -> Iterator[str]:
        prefix = f"{self.prefix}manifests/{day:year=%Y/month=%m/day=%d}/"
        pages = (
            self.clients.s3()
            .get_paginator("list_objects_v2")
            .paginate(Bucket=self.bucket, Prefix=f"{prefix}{contact_id}/" if contact_id else prefix)
        )
        for page in pages:
            for entry in page.get("Contents", []):
                if entry["Key"].endswith(".json"):
                    yield entry["Key"]

    def _read(self, key: str) -> ArchivedCall:
        body = self.clients.s3().get_object(Bucket=self.bucket, Key=key)["Body"].read()
        tail = key.removeprefix(f"{self.prefix}manifests/").removesuffix(".json")
        return ArchivedCall(key, f"{self.prefix}recordings/{tail}.wav", _decode(body))


def ahead[T, U](
    pool: ThreadPoolExecutor, work: Callable[[T], U], things: Iterable[T], window: int = WINDOW
) -> Iterator[U]:
    """The results of the work, in order, with only so many on the way at a time.

    `ThreadPoolExecutor.map` starts all of them, and keeps every result until it is asked for.
    """
    started: deque[Future[U]] = deque()
    try:
        for thing in things:
            started.append(pool.submit(work, thing))
            if len(started) == window:
                yield started.popleft().result()
        while started:
            yield started.popleft().result()
    finally:
        for future in started:
            future.cancel()


def _decode(body: bytes) -> Mapping[str, Any] | None:
    try:
        manifest = json.loads(body)
    except ValueError:
        return None
    return manifest if isinstance(manifest, dict) and manifest.keys() >= _READ_KEYS else None


def _difference(manifest: Mapping[str, Any], sha256: str, length: int, header: bytes) -> str:
    if length != manifest["bytes"]:
        return f"it has {length:,} bytes, its manifest says {manifest['bytes']:,}"
    if header != build_header(length - HEADER_BYTES, manifest["channels"]):
        return "its header is not that of a WAV of this length"
    if sha256 != manifest["sha256"]:
        return "its bytes are not those that were archived (sha256)"
    return ""


def days_between(first: date, last: date) -> list[date]:
    """Every day from the first to the last, both inclusive.

    Raises:
        CommandError: the last is before the first.
    """
    if last < first:
        raise CommandError("the last day is before the first", USAGE)
    return [first + timedelta(days=offset) for offset in range((last - first).days + 1)]


def choose_days(day: datetime | None, first: datetime | None, last: datetime | None) -> list[date]:
    """The days that a person asks for; the last week if they ask for none.

    Raises:
        CommandError: the options contradict each other.
    """
    if day is not None:
        if first or last:
            raise CommandError("give --day, or --from and --to", USAGE)
        return [day.date()]
    final = last.date() if last else datetime.now(UTC).date()
    try:
        start = first.date() if first else final - timedelta(days=DEFAULT_DAYS - 1)
    except OverflowError as error:
        raise CommandError("--to is too early: give --from, too", USAGE) from error
    return days_between(start, final)
