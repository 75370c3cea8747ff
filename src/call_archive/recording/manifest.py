"""What was archived, what is missing, and how we know: facts → JSON, version 1, and back.

The manifest is written last: if it exists, the recording does too, as far as the manifest says.
Every reader uses `Manifest`. Keys that it does not know are kept as they are, because a newer
version may have written them; keys that older versions did not write are optional.

Schema: docs/schemas/manifest.json.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from call_archive import __version__
from call_archive.errors import StorageFaultError
from call_archive.job import ArchiveJob, Trigger
from call_archive.limits import MAX_FRAGMENT_NUMBER_DIGITS, MAX_MANIFEST_BYTES
from call_archive.media.pcm import SAMPLE_RATE_HZ, Direction, milliseconds
from call_archive.moments import format_utc, to_datetime, to_ms
from call_archive.reasons import Code, Reason
from call_archive.recording.clock import Deviations
from call_archive.recording.knowledge import Held, Knowledge, Run
from call_archive.recording.timeline import Hole

MANIFEST_VERSION = 1

_MAX_CHANNELS = 2
_MAX_COUNT = 2**63 - 1  # Athena's bigint.
_NUMBER = re.compile(rf"[0-9]{{1,{MAX_FRAGMENT_NUMBER_DIGITS}}}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_START_IN_URI = re.compile(r"/([0-9]+)\.wav\Z")


class ManifestError(StorageFaultError):
    """What is at a manifest's key is not a manifest, or one of another version.

    Attributes:
        what: what is wrong with it, such as "it is not JSON".
    """

    def __init__(self, code: Code, what: str, text: str) -> None:
        super().__init__(code, text)
        self.what = what


@dataclass(frozen=True, slots=True)
class FragmentCounts:
    """Counts of the fragments in the job's range.

    received = accepted + foreign + untagged; listed + never listed = received + missing.

    Attributes:
        last: the highest number that was accepted.
        contradictory: of the foreign ones, those that also carry this contact's id.
        untagged: refused, because no ContactId proves their contact.
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
    """A WAV in S3.

    Attributes:
        version_id: "" or "null" in a bucket without versions.
        needs_tag: whether its completeness was unknown when its upload began.
    """

    uri: str
    etag: str
    size_bytes: int
    sha256: str
    version_id: str = ""
    needs_tag: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedCall:
    """What the media stages found: everything about a recording except its location.

    Attributes:
        started_at_ms: the first sample, ms since the epoch.
        samples: a channel's length.
        reasons: why the recording is not complete; empty if it is.
        may_improve: whether a retry could find the missing fragments.
        held: which fragments it holds completely.
        media_bytes: the size of the fragments that were received.
    """

    tracks: Sequence[Direction]
    started_at_ms: int
    samples: int
    fragments: FragmentCounts
    gaps: Sequence[Hole]
    overlaps: Sequence[Hole]
    clock_jumps: int
    clock_deviations: Deviations = field(default_factory=Deviations)
    reasons: Sequence[Reason]
    may_improve: bool
    held: Held
    media_bytes: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether every fragment of the call is in the recording."""
        return not self.reasons

    @property
    def duration_ms(self) -> int:
        """The recording's length, rounded down."""
        return milliseconds(self.samples)


@dataclass(frozen=True, slots=True)
class Place:
    """A gap or an overlap."""

    at_ms: int
    length_ms: int
    track: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviationSummary:
    """How often and how far the producer's clock was behind audio that was kept.

    Attributes:
        first: place and size of the first few deviations; both in ms.
    """

    count: int
    total_ms: int
    largest_ms: int
    first: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A manifest, read or about to be written; docs/architecture.md explains each key.

    Attributes:
        range_end_ms: the end of the search for fragments; None if a last fragment was known.
        start_fragment_number: of the stretch; None in a manifest of an older version.
        clock_deviations: None in a manifest of an older version.
        known: the messages' knowledge of the stretch; None in a manifest of an older version.
        held_runs: which fragments the recording holds; None in a manifest of an older version.
        others: unknown keys, by name.
    """

    contact_id: str
    initial_contact_id: str
    instance_arn: str
    stream_arn: str
    recording_uri: str
    tracks: tuple[str, ...]
    channels: int
    sample_rate_hz: int
    duration_ms: int
    started_at_ms: int
    ended_at_ms: int
    size_bytes: int
    sha256: str
    is_complete: bool
    reasons: tuple[str, ...]
    fragments: FragmentCounts
    gaps: tuple[Place, ...]
    overlaps: tuple[Place, ...]
    clock_jumps: int
    software: str
    range_end_ms: int | None
    archived_at_ms: int
    trigger: str
    clock_deviations: DeviationSummary | None = None
    start_fragment_number: int | None = None
    known: Knowledge | None = None
    held_runs: Held | None = None
    others: Mapping[str, object] = field(default_factory=dict)

    @property
    def knowledge(self) -> Knowledge:
        """What is known of the stretch; from an older manifest, as much as it allows.

        In an older manifest, a `rangeEnd` of null means that a stop fragment was named: the highest
        fragment received or found missing, unless untagged fragments behind it were refused.
        """
        if self.known is not None:
            return self.known
        counts = self.fragments
        if self.range_end_ms is not None:
            return Knowledge(end_ms=self.range_end_ms, furthest=counts.last)
        stops = () if counts.untagged else (max(counts.last, *counts.missing, 0),)
        return Knowledge(frozenset(stops), self.ended_at_ms)

    @property
    def held(self) -> Held:
        """Which fragments the recording holds; of an older one the first, the last, the count."""
        if self.held_runs is not None:
            return self.held_runs
        counts, start = self.fragments, self.stretch_start or 0
        first = start + 1 if start in counts.missing else start
        runs = (Run(first, counts.last),) if counts.accepted else ()
        return Held(runs, counts.accepted, is_exact=False)

    @property
    def stretch_start(self) -> int | None:
        """The start fragment of the stretch; None if an older manifest does not show it."""
        if self.start_fragment_number is not None:
            return self.start_fragment_number
        named = _START_IN_URI.search(self.recording_uri)
        return int(named[1]) if named and _NUMBER.fullmatch(named[1]) else None

    @property
    def audio_ms(self) -> int:
        """The recording's length without the silence that fills its gaps."""
        silence_ms = sum(gap.length_ms for gap in self.gaps)
        return self.duration_ms - silence_ms // max(1, self.channels)


def build_manifest(
    job: ArchiveJob,
    call: RecordedCall,
    recording: StoredRecording,
    *,
    known: Knowledge,
    range_end_ms: int | None,
    trigger: Trigger,
    archived_at_ms: int,
) -> Manifest:
    """Builds the manifest of a run's recording.

    Args:
        job: the stretch.
        call: what the run found.
        recording: the stored object.
        known: what is known of the stretch, including this run's message.
        range_end_ms: the end of the search for fragments; None if a last fragment was known.
        trigger: what created the job.
        archived_at_ms: the time, ms since the epoch.
    """
    return Manifest(
        contact_id=job.contact_id,
        initial_contact_id=job.initial_contact_id,
        instance_arn=job.instance_arn,
        stream_arn=job.stream_arn,
        recording_uri=recording.uri,
        tracks=tuple(call.tracks),
        channels=len(call.tracks),
        sample_rate_hz=SAMPLE_RATE_HZ,
        duration_ms=call.duration_ms,
        started_at_ms=call.started_at_ms,
        ended_at_ms=call.started_at_ms + call.duration_ms,
        size_bytes=recording.size_bytes,
        sha256=recording.sha256,
        is_complete=call.is_complete,
        reasons=tuple(map(str, call.reasons)),
        fragments=call.fragments,
        gaps=_places(call.gaps),
        overlaps=_places(call.overlaps),
        clock_jumps=call.clock_jumps,
        clock_deviations=_summarize(call.clock_deviations),
        software=f"call-archive {__version__}",
        range_end_ms=range_end_ms,
        archived_at_ms=archived_at_ms,
        trigger=trigger,
        start_fragment_number=job.start_fragment_number,
        known=known,
        held_runs=call.held,
    )


def encode_manifest(manifest: Manifest) -> dict[str, object]:
    """The manifest as a JSON object; fragment numbers are strings, times are UTC."""
    counts, end_ms = manifest.fragments, manifest.range_end_ms
    document: dict[str, object] = {
        "version": MANIFEST_VERSION,
        "contactId": manifest.contact_id,
        "initialContactId": manifest.initial_contact_id,
        "instanceArn": manifest.instance_arn,
        "streamArn": manifest.stream_arn,
        "recordingUri": manifest.recording_uri,
        "tracks": list(manifest.tracks),
        "channels": manifest.channels,
        "sampleRateHz": manifest.sample_rate_hz,
        "durationMs": manifest.duration_ms,
        "startedAt": format_utc(manifest.started_at_ms),
        "endedAt": format_utc(manifest.ended_at_ms),
        "bytes": manifest.size_bytes,
        "sha256": manifest.sha256,
        "complete": manifest.is_complete,
        "reasons": list(manifest.reasons),
        "fragments": {
            "listed": counts.listed,
            "received": counts.received,
            "accepted": counts.accepted,
            "foreign": counts.foreign,
            "contradictory": counts.contradictory,
            "untagged": counts.untagged,
            "missing": [str(number) for number in counts.missing],
            "last": str(counts.last),
        },
        "gaps": [_encode_place(gap) for gap in manifest.gaps],
        "overlaps": [_encode_place(overlap) for overlap in manifest.overlaps],
        "clockJumps": manifest.clock_jumps,
        "software": manifest.software,
        "rangeEnd": None if end_ms is None else format_utc(end_ms),
        "archivedAt": format_utc(manifest.archived_at_ms),
        "trigger": manifest.trigger,
    }
    if manifest.clock_deviations is not None:
        document["clockDeviations"] = _encode_deviations(manifest.clock_deviations)
    if manifest.known is not None and manifest.start_fragment_number is not None:
        known = manifest.known
        document["stretch"] = {
            "startFragmentNumber": str(manifest.start_fragment_number),
            "stopFragmentNumbers": [str(stop) for stop in sorted(known.stops)],
            "endsBy": None if known.end_ms is None else format_utc(known.end_ms),
            "furthestFragmentNumber": str(known.furthest),
        }
    if manifest.held_runs is not None:
        document["held"] = [
            {"first": str(run.first), "last": str(run.last)} for run in manifest.held_runs.runs
        ]
        document["heldFragments"] = manifest.held_runs.count
    return {**manifest.others, **document}


def decode_manifest(document: bytes) -> Manifest:
    """Reads a manifest from the bytes of an object.

    Raises:
        ManifestError: it is not a manifest, or one of another version.
    """
    if len(document) > MAX_MANIFEST_BYTES:
        raise _foreign(f"it has more than {MAX_MANIFEST_BYTES} bytes")
    try:
        return read_manifest(json.loads(document))
    except (ValueError, RecursionError) as error:
        raise _foreign("it is not JSON") from error


def read_manifest(document: object) -> Manifest:
    """Reads a manifest from a decoded JSON value.

    Raises:
        ManifestError: it is not a manifest, or one of another version.
    """
    if not isinstance(document, dict):
        raise _foreign("it is not a JSON object")
    keys = _Keys(document)
    _check_version(document.get("version"))
    counts = _Keys(keys.read("fragments", _mapping))
    known, start = _read_stretch(keys)
    return Manifest(
        contact_id=keys.read("contactId", _text),
        initial_contact_id=keys.read("initialContactId", _text),
        instance_arn=keys.read("instanceArn", _text),
        stream_arn=keys.read("streamArn", _text),
        recording_uri=keys.read("recordingUri", _text),
        tracks=keys.read_each("tracks", _text),
        channels=keys.read("channels", _channels),
        sample_rate_hz=keys.read("sampleRateHz", _count),
        duration_ms=keys.read("durationMs", _count),
        started_at_ms=keys.read("startedAt", _moment),
        ended_at_ms=keys.read("endedAt", _moment),
        size_bytes=keys.read("bytes", _count),
        sha256=keys.read("sha256", _sha256),
        is_complete=keys.read("complete", _truth),
        reasons=keys.read_each("reasons", _text),
        fragments=FragmentCounts(
            listed=counts.read("listed", _count),
            received=counts.read("received", _count),
            accepted=counts.read("accepted", _count),
            foreign=counts.read("foreign", _count),
            untagged=counts.read("untagged", _count),
            missing=counts.read_each("missing", _number),
            last=counts.read("last", _number),
            contradictory=counts.read_known("contradictory", _count) or 0,
        ),
        gaps=keys.read_each("gaps", _place),
        overlaps=keys.read_each("overlaps", _place),
        clock_jumps=keys.read("clockJumps", _count),
        clock_deviations=keys.read_known("clockDeviations", _deviations),
        software=keys.read("software", _text),
        range_end_ms=keys.read_known("rangeEnd", _moment),
        archived_at_ms=keys.read("archivedAt", _moment),
        trigger=keys.read("trigger", _text),
        start_fragment_number=start,
        known=known,
        held_runs=_read_held(keys),
        others={name: value for name, value in document.items() if name not in keys.used},
    )


def _read_stretch(keys: "_Keys") -> tuple[Knowledge | None, int | None]:
    stretch = keys.read_known("stretch", _mapping)
    if stretch is None:
        return None, None
    parts = _Keys(stretch)
    stops = frozenset(parts.read_each("stopFragmentNumbers", _number))
    known = Knowledge(
        stops,
        parts.read_known("endsBy", _moment),
        parts.read("furthestFragmentNumber", _number),
    )
    return known, parts.read("startFragmentNumber", _number)


def _read_held(keys: "_Keys") -> Held | None:
    if keys.read_known("held", _sequence) is None:
        return None
    return Held(keys.read_each("held", _run), keys.read("heldFragments", _count))


class _Keys:
    """The keys of a JSON object, each checked against its type.

    Attributes:
        used: the keys that were read.
    """

    def __init__(self, document: Mapping[str, object]) -> None:
        self._document = document
        self.used = {"version"}

    def read[T](self, name: str, decode: Callable[[object], T]) -> T:
        self.used.add(name)
        if name not in self._document:
            raise _foreign(f"it has no {name}")
        try:
            return decode(self._document[name])
        except (TypeError, ValueError, OverflowError) as error:
            raise _foreign(f"its {name} is not what a manifest has there") from error

    def read_known[T](self, name: str, decode: Callable[[object], T]) -> T | None:
        """The value of a key that may be missing or null."""
        self.used.add(name)
        return None if self._document.get(name) is None else self.read(name, decode)

    def read_each[T](self, name: str, decode: Callable[[object], T]) -> tuple[T, ...]:
        return self.read(name, lambda value: tuple(map(decode, _sequence(value))))


def _check_version(version: object) -> None:
    if type(version) is not int:
        raise _foreign("it has no version")
    if version != MANIFEST_VERSION:
        what = f"of version {str(version)[:20]}, and this software reads {MANIFEST_VERSION}"
        raise ManifestError(
            Code.UNKNOWN_MANIFEST,
            f"it is {what}",
            f"the manifest is {what}: deploy the newer version; never remove the manifest",
        )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _count(value: object) -> int:
    if type(value) is not int:
        raise TypeError
    if not 0 <= value <= _MAX_COUNT:
        raise ValueError
    return value


def _channels(value: object) -> int:
    if not 1 <= (channels := _count(value)) <= _MAX_CHANNELS:
        raise ValueError
    return channels


def _sha256(value: object) -> str:
    if not _SHA256.fullmatch(text := _text(value)):
        raise ValueError
    return text


def _number(value: object) -> int:
    if not _NUMBER.fullmatch(_text(value)):
        raise ValueError
    return int(_text(value))


def _moment(value: object) -> int:
    moment = datetime.fromisoformat(_text(value))
    if moment.tzinfo is None:
        raise ValueError
    moment_ms = to_ms(moment)
    # In UTC and in whole milliseconds it may be outside the years 1 to 9999.
    to_datetime(moment_ms)
    return moment_ms


def _sequence(value: object) -> Sequence[object]:
    if not isinstance(value, list):
        raise TypeError
    return value


def _mapping(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise TypeError
    return value


def _place(value: object) -> Place:
    parts = _mapping(value)
    at_ms, length_ms = _count(parts.get("atMs")), _count(parts.get("lengthMs"))
    return Place(at_ms, length_ms, _text(parts.get("track")))


def _run(value: object) -> Run:
    parts = _mapping(value)
    return Run(_number(parts.get("first")), _number(parts.get("last")))


def _places(holes: Sequence[Hole]) -> tuple[Place, ...]:
    return tuple(Place(hole.at_ms, hole.length_ms, hole.track) for hole in holes)


def _summarize(deviations: Deviations) -> DeviationSummary:
    return DeviationSummary(
        count=deviations.count,
        total_ms=milliseconds(deviations.samples),
        largest_ms=milliseconds(deviations.largest),
        first=tuple((deviation.at_ms, deviation.length_ms) for deviation in deviations.first),
    )


def _deviations(value: object) -> DeviationSummary:
    keys = _Keys(_mapping(value))
    return DeviationSummary(
        count=keys.read("count", _count),
        total_ms=keys.read("totalMs", _count),
        largest_ms=keys.read("largestMs", _count),
        first=keys.read_each("first", _deviation),
    )


def _deviation(value: object) -> tuple[int, int]:
    parts = _mapping(value)
    return _count(parts.get("atMs")), _count(parts.get("lengthMs"))


def _encode_deviations(summary: DeviationSummary) -> dict[str, object]:
    return {
        "count": summary.count,
        "totalMs": summary.total_ms,
        "largestMs": summary.largest_ms,
        "first": [{"atMs": at_ms, "lengthMs": length_ms} for at_ms, length_ms in summary.first],
    }


def _encode_place(place: Place) -> dict[str, object]:
    return {"atMs": place.at_ms, "lengthMs": place.length_ms, "track": place.track}


def _foreign(what: str) -> ManifestError:
    return ManifestError(
        Code.FOREIGN_MANIFEST,
        what,
        f"the object at the manifest's key is not a manifest, because {what}: move it away",
    )
