"""Fragments → a recording, by the deployed pipeline, with sources and sinks in memory.

What has to hold whatever the bytes are: an ArchiveError, or a recording that is well formed and
holds no fragment of another contact.
"""

import hashlib
import json
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

from call_archive.errors import ArchiveError, OutOfTimeError
from call_archive.job import ArchiveJob, Trigger
from call_archive.media.fragments import Fragment, read_fragments
from call_archive.media.likeness import MediaFragment, decode_fragment
from call_archive.media.pcm import Direction
from call_archive.reasons import Code, Reason
from call_archive.recording.knowledge import Knowledge
from call_archive.recording.listing import (
    FetchedFragment,
    ListedFragment,
    MissingFragment,
    ReceivedFragment,
)
from call_archive.recording.manifest import StoredRecording, decode_manifest, encode_manifest
from call_archive.recording.pipeline import Archived, Conditions, archive_call
from call_archive.recording.publishing import PutManifest, PutRecording, Seen, Tag

BOTH = tuple(Direction)
START_MS = 1_767_258_000_000
FIRST_NUMBER = 91343852333181452199722691208580038832309429352
CONTACT_ID, INITIAL_CONTACT_ID, OTHER_CONTACT_ID = "c-1", "c-0", "c-2"
INSTANCE_ARN = "arn:aws:connect:eu-west-2:123456789012:instance/i-1"
STREAM_ARN = "arn:aws:kinesisvideo:eu-west-2:123456789012:stream/s/1640168106910"

MOST_PCM_BYTES = 16 * 1_048_576
"""A run ends here as one does whose time is over: silence between far timestamps is long."""


def build_job(*, stop_number: int | None, duration_ms: int = 60_000) -> ArchiveJob:
    """The job of a call on the stream that every target uses."""
    return ArchiveJob(
        contact_id=CONTACT_ID,
        initial_contact_id=INITIAL_CONTACT_ID,
        instance_arn=INSTANCE_ARN,
        stream_arn=STREAM_ARN,
        start_fragment_number=FIRST_NUMBER,
        start_timestamp_ms=START_MS,
        stop_fragment_number=stop_number,
        stop_timestamp_ms=START_MS + duration_ms,
        requested_at_ms=START_MS + duration_ms,
    )


class Source:
    """A stream that delivers what is decoded from the fragments, and lists it.

    Attributes:
        missing: numbers that are listed and not delivered.
    """

    def __init__(self, fragments: Iterable[MediaFragment], missing: Sequence[int] = ()) -> None:
        self._media = {f.number: f for f in fragments if f.number and not f.fault_code}
        self._missing = set(missing)

    def list_fragments(self, from_ms: int, to_ms: int) -> Iterator[ListedFragment]:
        """Every fragment, whatever the requested range."""
        del from_ms, to_ms
        for number in {*self._media, *self._missing}:
            media = self._media.get(number)
            server_ms = media.server_timestamp_ms if media else None
            yield ListedFragment(number, server_ms or START_MS, 1000, 1000)

    def fetch(self, listed: Iterable[ListedFragment]) -> Generator[FetchedFragment]:
        """Each listed fragment once."""
        for fragment in listed:
            if fragment.number in self._missing:
                yield MissingFragment(
                    fragment.number, Reason(Code.GONE, "left out"), may_improve=False
                )
            else:
                yield ReceivedFragment(self._media[fragment.number])


class Recording:
    """A WAV in memory: its length, and its bytes while they are few."""

    def __init__(self) -> None:
        self.pcm_bytes = 0
        self.kept = bytearray()
        self.header = b""

    def write(self, pcm: bytes | bytearray) -> None:
        """Takes PCM until a run's time would be over."""
        self.pcm_bytes += len(pcm)
        if self.pcm_bytes > MOST_PCM_BYTES:
            raise OutOfTimeError(Code.OUT_OF_TIME, "more silence than a target waits for")
        self.kept += pcm

    def put(self, header: bytes, command: PutRecording) -> StoredRecording:
        """Keeps the header."""
        del command
        self.header = header
        digest = hashlib.sha256(header + self.kept).hexdigest()
        return StoredRecording("s3://b/k.wav", "etag", len(header) + self.pcm_bytes, digest)

    def tag(self, command: Tag) -> None:
        """Nothing has tags here."""


class MemoryArchive:
    """Where the recording and its manifest go."""

    def __init__(self) -> None:
        self.recording = Recording()
        self.manifest: dict[str, object] | None = None

    def look(self) -> Seen:
        """Nothing was published before."""
        return Seen()

    def find_recording(self) -> str:
        """The one recording."""
        return "etag"

    @contextmanager
    def open_recording(self, told: Knowledge) -> Iterator[Recording]:
        """The one recording."""
        del told
        yield self.recording

    def put_manifest(self, command: PutManifest) -> bool:
        """Keeps the manifest."""
        self.manifest = encode_manifest(command.manifest)
        return True


def cut(body: bytes, places: Iterable[int]) -> list[bytes]:
    """The body in reads that end at these places."""
    bounds = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[start:end] for start, end in pairwise(bounds)]


def frame(reads: Iterable[bytes]) -> tuple[list[Fragment], str]:
    """The fragments of a body, and why there are not more; "" if it was read to its end."""
    fragments: list[Fragment] = []
    try:
        fragments.extend(read_fragments(reads))
    except ArchiveError as error:
        return fragments, str(error.reason)
    return fragments, ""


def decode(fragments: Iterable[Fragment]) -> Iterator[MediaFragment]:
    """What can be decoded of the fragments."""
    for fragment in fragments:
        try:
            yield decode_fragment(fragment)
        except ArchiveError:
            continue


def archive(
    fragments: Iterable[Fragment],
    job: ArchiveJob,
    *,
    tracks: tuple[Direction, ...] = BOTH,
    accept_partial: bool = True,
    missing: Sequence[int] = (),
) -> MemoryArchive:
    """Archives a job; checks what was published.

    Raises:
        ArchiveError: nothing was.
    """
    archive = MemoryArchive()
    conditions = Conditions(
        tracks=tracks,
        trigger=Trigger.FLOW,
        accept_partial=accept_partial,
        now_ms=lambda: START_MS + 600_000,
        check_time=lambda: None,
    )
    outcome = archive_call(job, Source(decode(fragments), missing), archive, conditions)
    assert isinstance(outcome, Archived)
    _check(archive, outcome, len(tracks))
    return archive


def _check(archive: MemoryArchive, outcome: Archived, channels: int) -> None:
    """The published recording, its header and its manifest agree."""
    header, length = archive.recording.header, archive.recording.pcm_bytes
    assert length and length % (2 * channels) == 0, "frames are whole"
    riff_bytes, pcm_bytes = (int.from_bytes(header[at : at + 4], "little") for at in (4, 40))
    assert header[:4] == b"RIFF" and (riff_bytes, pcm_bytes) == (length + 36, length)
    assert length == outcome.call.samples * 2 * channels, "every channel is as long as it is said"
    counts = outcome.call.fragments
    assert counts.received == counts.accepted + counts.foreign + counts.untagged
    published = decode_manifest(json.dumps(archive.manifest, allow_nan=False).encode())
    assert published.fragments == counts
    assert published.is_complete == outcome.call.is_complete
