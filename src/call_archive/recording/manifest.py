"""What was archived, what is missing, and how we know: facts → JSON, version 1, and back.

The manifest is written last: where it is, the recording is whole as far as the manifest says.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from call_archive import __version__
from call_archive.errors import StorageFaultError
from call_archive.job import ArchiveJob, Trigger
from call_archive.limits import MAX_MANIFEST_BYTES
from call_archive.media.pcm import SAMPLE_RATE_HZ, Direction
from call_archive.moments import format_utc, read_ms
from call_archive.reasons import Code, Reason
from call_archive.recording.selection import STOP_TOLERANCE_MS
from call_archive.recording.timeline import Hole

MANIFEST_VERSION = 1


@dataclass(frozen=True, slots=True)
class FragmentCounts:
    """What became of the fragments in the job's range.

    received = accepted + foreign + untagged; listed + never listed = received + missing.

    Attributes:
        last: the highest number that was accepted.
        contradictory: of the foreign ones, those that carry this contact's id, too.
        untagged: refused, because no ContactId proves whose they are.
        missing: fragment numbers that were listed or named by Connect and never received.
    """

    listed: int
    received: int
    accepted: int
    foreign: int
    untagged: int
    missing: tuple[int, ...]
    last: int
    contradictory: int = 0


@dataclass(frozen=True, slots=True)
class StoredRecording:
    """A WAV as it lies in S3.

    Attributes:
        fault: what went wrong after it was published; it is raised when the manifest is there.
    """

    uri: str
    etag: str
    size_bytes: int
    sha256: str
    fault: StorageFaultError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedCall:
    """What the media stages found: everything about a recording but where it is.

    Attributes:
        started_at_ms: the first sample, ms since the epoch.
        samples: a channel's length.
        reasons: why the recording is not complete; empty when it is.
        may_improve: whether a later try could find what is missing.
        media_bytes: the size of the fragments that were received.
    """

    tracks: Sequence[Direction]
    started_at_ms: int
    samples: int
    fragments: FragmentCounts
    gaps: Sequence[Hole]
    overlaps: Sequence[Hole]
    clock_jumps: int
    reasons: Sequence[Reason]
    may_improve: bool
    media_bytes: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether every fragment of the call is in the recording."""
        return not self.reasons

    @property
    def duration_ms(self) -> int:
        """The recording's length, rounded down."""
        return self.samples * 1000 // SAMPLE_RATE_HZ


@dataclass(frozen=True, slots=True)
class PublishedManifest:
    """What a later run has to know of a manifest that lies in S3 already.

    Attributes:
        last: the highest fragment number in its recording.
        range_end_ms: up to when fragments were looked for; None where the job named its last one.
        etag: of the manifest object.
        recording_etag: of the recording that it describes.
    """

    is_complete: bool
    accepted: int
    last: int
    duration_ms: int
    etag: str
    recording_etag: str
    range_end_ms: int | None = None

    def covers(self, job: ArchiveJob) -> bool:
        """Whether there is nothing left to do for the job.

        A job without a stop fragment may have been archived before its call was over; one that
        names a later stop fragment, or a later end, then makes it whole.
        """
        if not self.is_complete:
            return False
        if job.stop_fragment_number is not None:
            return job.stop_fragment_number <= self.last
        reached_ms = self.range_end_ms
        return reached_ms is None or job.end_bound_ms <= reached_ms + STOP_TOLERANCE_MS

    def is_worse_than(self, call: RecordedCall) -> bool:
        """Whether `call` may replace it: complete beats partial, more beats less.

        One that was called complete before anybody knew of a later fragment, which is missing, is
        replaced by a partial one that has as much and says so.
        """
        ours = (self.accepted, self.duration_ms)
        theirs = (call.fragments.accepted, call.duration_ms)
        if self.is_complete and not call.is_complete:
            return max(call.fragments.missing, default=0) > self.last and ours <= theirs
        return (call.is_complete and not self.is_complete) or ours < theirs


def build_manifest(
    job: ArchiveJob,
    call: RecordedCall,
    recording: StoredRecording,
    *,
    trigger: Trigger,
    archived_at_ms: int,
) -> dict[str, object]:
    """The manifest as a JSON object; fragment numbers are strings, times are UTC."""
    return {
        "version": MANIFEST_VERSION,
        "contactId": job.contact_id,
        "initialContactId": job.initial_contact_id,
        "instanceArn": job.instance_arn,
        "streamArn": job.stream_arn,
        "recordingUri": recording.uri,
        "tracks": list(call.tracks),
        "channels": len(call.tracks),
        "sampleRateHz": SAMPLE_RATE_HZ,
        "durationMs": call.duration_ms,
        "startedAt": format_utc(call.started_at_ms),
        "endedAt": format_utc(call.started_at_ms + call.duration_ms),
        "bytes": recording.size_bytes,
        "sha256": recording.sha256,
        "complete": call.is_complete,
        "reasons": [str(reason) for reason in call.reasons],
        "fragments": {
            "listed": call.fragments.listed,
            "received": call.fragments.received,
            "accepted": call.fragments.accepted,
            "foreign": call.fragments.foreign,
            "contradictory": call.fragments.contradictory,
            "untagged": call.fragments.untagged,
            "missing": [str(number) for number in call.fragments.missing],
            "last": str(call.fragments.last),
        },
        "gaps": [_describe(hole) for hole in call.gaps],
        "overlaps": [_describe(hole) for hole in call.overlaps],
        "clockJumps": call.clock_jumps,
        "software": f"call-archive {__version__}",
        "rangeEnd": format_utc(job.end_bound_ms) if job.stop_fragment_number is None else None,
        "archivedAt": format_utc(archived_at_ms),
        "trigger": trigger,
    }


def decode_manifest(document: bytes, *, etag: str, recording_etag: str) -> PublishedManifest:
    """What a manifest in S3 says of its recording.

    Raises:
        StorageFaultError: it is not a manifest of this version.
    """
    if len(document) > MAX_MANIFEST_BYTES:
        raise StorageFaultError(
            Code.FOREIGN_MANIFEST,
            f"the object at the manifest's key has more than {MAX_MANIFEST_BYTES} bytes, so it is "
            "not a manifest: remove it",
        )
    try:
        manifest = json.loads(document)
        return PublishedManifest(
            is_complete=manifest["complete"] is True,
            accepted=int(manifest["fragments"]["accepted"]),
            last=int(manifest["fragments"]["last"]),
            duration_ms=int(manifest["durationMs"]),
            etag=etag,
            recording_etag=recording_etag,
            range_end_ms=_read_range_end(manifest.get("rangeEnd")),
        )
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise StorageFaultError(
            Code.FOREIGN_MANIFEST, "the object at the manifest's key is not a manifest: remove it"
        ) from error


def _describe(hole: Hole) -> dict[str, object]:
    return {"atMs": hole.at_ms, "lengthMs": hole.length_ms, "track": hole.track}


def _read_range_end(field: object) -> int | None:
    """A moment; None for null or a missing key.

    Raises:
        ValueError: it is something else.
    """
    moment_ms = read_ms(field)
    if field is not None and moment_ms is None:
        raise ValueError("rangeEnd is not a time")
    return moment_ms
