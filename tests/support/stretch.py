"""One stretch of a call, in every state of its media, and the messages that tell of it.

24 fragments of about a second, and the worker as it is deployed: only KVS, Connect and S3 are in
memory. Nothing waits; a message is delivered for the 1st, 5th and 10th time while it comes back.
"""

import json
import re
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cache
from typing import Any

from call_archive.job import ArchiveJob
from call_archive.keys import hold_key, tombstone_key
from call_archive.media.fragments import read_fragments
from call_archive.media.likeness import MediaFragment, decode_fragment
from call_archive.media.pcm import Direction
from call_archive.reasons import Code, Reason
from call_archive.recording.listing import (
    FetchedFragment,
    ListedFragment,
    MissingFragment,
    ReceivedFragment,
)
from call_archive.worker import ComesBack, Failed, Message, Outcome, Terms, work
from local.call import Call, Delivery, simulate_call
from local.pcm import synthetic_pcm
from tests.support.arns import INSTANCE_ARN, STREAM_ARN
from tests.support.bucket import Bucket, MemoryArchive
from tests.support.manifests import CONTACT_ID

ACCOUNT = "123456789012"
START_MS = 1_767_258_000_000
FRAGMENTS = 24
RECEIVES = (1, 5, 10)
_BLOCK = re.compile(rb"\xa3\x44\x04[\x81\x82]..\x80", re.DOTALL)


class Media(StrEnum):
    """What is wrong with the stretch in KVS."""

    WHOLE = "whole"
    EARLY_MISSING = "one missing in the first half"
    LATE_MISSING = "one missing in the second half"
    MALFORMED = "a malformed block"
    UNTAGGED = "an untagged one behind a missing one"
    UNTAGGED_LAST = "the last one untagged"
    STOP_UNLISTED = "the stop is never listed"
    CUT = "a body is cut"


class Kind(StrEnum):
    """What tells of the stretch."""

    MID_CALL = "made in mid-call"
    STOP_TIME = "stop without its number"
    STOP_NUMBER = "stop with its number"
    EVENT = "event"
    RECORD = "record"


@cache
def stretch(media: Media) -> Call:
    untagged = {
        Media.UNTAGGED: frozenset({15}),
        Media.UNTAGGED_LAST: frozenset({FRAGMENTS - 1}),
    }.get(media, frozenset())
    seconds = FRAGMENTS * 0.96
    return simulate_call(
        synthetic_pcm(seconds, 1)[:],
        synthetic_pcm(seconds, 2)[:],
        contact_id=CONTACT_ID,
        instance_arn=INSTANCE_ARN,
        stream_arn=STREAM_ARN,
        start_ms=START_MS,
        delivery=Delivery(untagged=untagged),
    )


def stop_number(media: Media) -> int:
    last = stretch(media).fragments[-1].number
    return last + 1 if media is Media.STOP_UNLISTED else last


@cache
def delivered(media: Media) -> Mapping[int, MediaFragment | None]:
    """What KVS delivers of each fragment that it lists; None for one that it does not deliver."""
    lost = {Media.EARLY_MISSING: 4, Media.LATE_MISSING: 19, Media.UNTAGGED: 14}.get(media)
    read: dict[int, MediaFragment | None] = {}
    for index, fragment in enumerate(stretch(media).fragments):
        document = fragment.document()
        blocks = list(_BLOCK.finditer(document))
        if media is Media.MALFORMED and index == 9:
            at = blocks[3].end() - 1
            document = document[:at] + b"\x86" + document[at + 1 :]
        if media is Media.CUT and index == 9:
            document = document[: blocks[10].start()]
        (whole,) = read_fragments([document])
        read[fragment.number] = None if index == lost else decode_fragment(whole)
    return read


@dataclass(frozen=True)
class Stream:
    """KVS: the stretch, without the fragments that the retention has removed."""

    media: Media
    removed: int = 0

    def list_fragments(self, from_ms: int, to_ms: int) -> list[ListedFragment]:
        return [
            ListedFragment(f.number, f.server_timestamp_ms, f.duration_ms, f.size_bytes)
            for f in reversed(stretch(self.media).fragments[self.removed :])
            if from_ms <= f.server_timestamp_ms <= to_ms
        ]

    def fetch(self, listed: Iterable[ListedFragment]) -> Generator[FetchedFragment]:
        cut = stretch(self.media).fragments[9].number if self.media is Media.CUT else None
        for fragment in listed:
            read = delivered(self.media)[fragment.number]
            if read is None:
                reason = Reason(Code.NOT_DELIVERED, "KVS leaves it out")
                yield MissingFragment(fragment.number, reason, may_improve=True)
            else:
                yield ReceivedFragment(read, is_cut_short=fragment.number == cut)


@dataclass
class World:
    """Everything that a message meets."""

    stream: Stream
    archive: MemoryArchive = field(default_factory=MemoryArchive)
    tracks: tuple[Direction, ...] = (Direction.FROM_CUSTOMER,)
    erased: bool = False

    def is_erased(self, job: ArchiveJob) -> bool:
        written = self.archive.bucket.objects
        return self.erased or any(tombstone_key("", one) in written for one in job.contact_ids)

    def is_held(self, job: ArchiveJob) -> bool:
        written = self.archive.bucket.objects
        is_held = any(hold_key("", one) in written for one in job.contact_ids)
        self.archive.on_step("after the hold was looked for")
        return is_held

    def describe_contact(self, instance_arn: str, contact_id: str) -> Mapping[str, object]:
        call = stretch(self.stream.media)
        return {
            "Id": CONTACT_ID,
            "Attributes": {
                "streamArn": STREAM_ARN,
                "startFragmentNumber": str(call.start_fragment_number),
                "startTimestamp": str(call.start_timestamp_ms),
            },
        }

    def open_source(self, job: ArchiveJob, check_time: Callable[[], None]) -> Stream:
        return self.stream

    def open_archive(self, job: ArchiveJob, *, is_held: bool = False) -> MemoryArchive:
        return replace(self.archive, is_held=is_held)

    def deliver(self, kind: Kind | str, receives: int = 1) -> Outcome:
        """One delivery of a message: a kind, or its own body."""
        body = body_of(kind, self.stream.media) if isinstance(kind, Kind) else kind
        return work(
            Message(body=body, receives=receives, sent_ms=None),
            self,
            Terms(tracks=self.tracks, account_id=ACCOUNT),
            now_ms=lambda: self.archive.bucket.now_ms,
            check_time=lambda: None,
        )

    def play(self, kind: Kind | str) -> Outcome:
        """A message, until it is done with or given up."""
        outcome: Outcome | None = None
        for receives in RECEIVES:
            outcome = self.deliver(kind, receives)
            if not isinstance(outcome, ComesBack):
                break
        assert outcome is not None
        assert not isinstance(outcome, ComesBack), "the tenth receive gives up"
        return outcome


def body_of(kind: Kind, media: Media) -> str:
    """The message, as it is in the queue."""
    call = replace(stretch(media), stop_fragment_number=stop_number(media))
    job = call.archive_job()
    match kind:
        case Kind.MID_CALL:
            del job["stopFragmentNumber"], job["stopTimestamp"]
            job["requestedAt"] = START_MS + 10_000
        case Kind.STOP_TIME:
            del job["stopFragmentNumber"]
        case Kind.STOP_NUMBER:
            pass
        case Kind.EVENT:
            return json.dumps(call.contact_event())
        case Kind.RECORD:
            return json.dumps(call.contact_record())
    return json.dumps(job)


def job_until(index: int, *, has_stop: bool, media: Media = Media.WHOLE) -> str:
    """An ArchiveJob whose last fragment is the one with this index; by its time, or exactly."""
    fragment = stretch(media).fragments[index]
    job = stretch(media).archive_job()
    job["stopTimestamp"] = fragment.server_end_ms
    job["stopFragmentNumber"] = str(fragment.number)
    if not has_stop:
        del job["stopFragmentNumber"]
    return json.dumps(job)


def new_world(media: Media, tracks: tuple[Direction, ...]) -> World:
    """Nothing is archived, an hour after the call."""
    bucket = Bucket(now_ms=START_MS + 3_600_000)
    return World(Stream(media), MemoryArchive(bucket), tracks)


def facts_of(bucket: Bucket) -> tuple[Any, ...]:
    """What a listener and an auditor see, apart from which message came last."""
    manifest = bucket.manifest
    if manifest is None or bucket.wav is None:
        return (bucket.wav, None)
    return (
        hash(bucket.wav),
        len(bucket.wav),
        manifest["complete"],
        tuple(sorted(reason.partition(":")[0] for reason in manifest["reasons"])),
        tuple(manifest["fragments"]["missing"]),
        tuple(manifest["stretch"]["stopFragmentNumbers"]),
        manifest["rangeEnd"],
    )


def failed(outcome: Outcome) -> bool:
    return isinstance(outcome, Failed)
