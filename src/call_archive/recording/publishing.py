"""Which run publishes: the state in S3 and this run's result → what to do next. No I/O.

`plan` decides before the media is read what a run looks for, or that nothing is left to do.
`publish` is a generator: it yields commands, receives their answers, and returns the outcome of
the recording. However many runs overlap, and wherever one is killed, this holds:

* A manifest replaces another only if it knows at least as much of the stretch. So no message's
  knowledge is lost, unless a person deletes the manifest.
* A recording is replaced only if the new one holds everything that it held of the stretch. Of
  two that each lack something of the other, the one with the start, then with more audio, stays.
* `complete` covers everything that is known, and is set only by a run that knows all of it: a run
  that learns at the end that another run knows more comes back.

The rules, their reasons and the cases that they answer: docs/decisions/0015-knowledge-grows.md.
"""

from collections.abc import Generator
from dataclasses import dataclass, replace
from enum import Enum, auto

from call_archive.errors import StorageFaultError
from call_archive.job import ArchiveJob, Trigger
from call_archive.limits import MAX_CALL_MS, MAX_REASONS
from call_archive.moments import format_utc
from call_archive.reasons import Code, Reason
from call_archive.recording.knowledge import Knowledge
from call_archive.recording.manifest import (
    Manifest,
    RecordedCall,
    StoredRecording,
    build_manifest,
)

ORPHAN_AGE_MS = 900_000
"""A recording without a manifest that is older than any run was left by a killed run."""

_TRIES = 3

# ------------------------------------------------------------------------------ what is seen in S3


@dataclass(frozen=True, slots=True)
class SeenRecording:
    """The object at the recording's key.

    Attributes:
        age_ms: since it was written; of a multipart upload, since it was begun.
        stops: the stop fragments in its metadata: those that its run knew when the write began.
    """

    etag: str
    size_bytes: int
    age_ms: int
    stops: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class SeenManifest:
    """The object at the manifest's key.

    Attributes:
        recording_etag: of the recording that it describes.
    """

    etag: str
    recording_etag: str
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Seen:
    """Both objects; None for one that does not exist."""

    recording: SeenRecording | None = None
    manifest: SeenManifest | None = None

    @property
    def described(self) -> Manifest | None:
        """The manifest of the current recording; None if either is missing or they do not match."""
        if self.recording is None or self.manifest is None:
            return None
        is_its_own = self.manifest.recording_etag == self.recording.etag
        return self.manifest.manifest if is_its_own else None

    @property
    def knowledge(self) -> Knowledge:
        """The manifest's knowledge of the stretch, even if its recording is gone."""
        return self.manifest.manifest.knowledge if self.manifest else Knowledge()


# ---------------------------------------------------------------------------- commands and answers


@dataclass(frozen=True, slots=True)
class Look:
    """Read both objects again; answered by `Seen`."""


@dataclass(frozen=True, slots=True)
class FindRecording:
    """Read the recording's ETag; answered by it, "" if there is no recording."""


@dataclass(frozen=True, slots=True)
class PutRecording:
    """Publish this run's recording; answered by StoredRecording or `NotPublished`.

    Attributes:
        replaces: the ETag of what has to be there; "" if nothing may be.
    """

    replaces: str
    is_complete: bool


@dataclass(frozen=True, slots=True)
class Tag:
    """Add tags to this run's version that were unknown when it began; answered by the failure."""

    recording: StoredRecording
    is_complete: bool


@dataclass(frozen=True, slots=True)
class PutManifest:
    """Write a manifest; answered by whether the condition held.

    Attributes:
        recording_etag: of the recording that it describes.
        replaces: the ETag of what has to be there; "" if nothing may be.
    """

    manifest: Manifest
    recording_etag: str
    replaces: str


class NotPublished(Enum):
    """Why a recording was not published."""

    CONDITION = auto()
    """The object at the key is not the one that the condition names, or is gone."""

    CONFLICT = auto()
    """Another write reached the key after this run began to write: the upload is void."""


type Command = Look | FindRecording | PutRecording | Tag | PutManifest
type Answer = Seen | str | StoredRecording | NotPublished | StorageFaultError | bool | None
type Steps[T] = Generator[Command, Answer, T]

# --------------------------------------------------------------------------------- before the media


@dataclass(frozen=True, slots=True)
class Nothing:
    """Everything that the job knows is published."""


@dataclass(frozen=True, slots=True)
class AddKnowledge:
    """The recording is right, but its manifest does not yet include the job's knowledge."""

    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Read:
    """The media has to be read.

    Attributes:
        known: everything known of the stretch, including the job's own knowledge.
        search: the job, widened to what is known.
        list_to_ms: the end of the listing that finds the furthest known fragment.
    """

    known: Knowledge
    search: ArchiveJob
    list_to_ms: int


def plan(job: ArchiveJob, seen: Seen) -> Nothing | AddKnowledge | Read:
    """What a job needs, given the objects in S3.

    Raises:
        StorageFaultError: the manifest is of another stretch.
    """
    _check_stretch(job, seen)
    known = seen.knowledge | knowledge_of(job)
    described = seen.described
    if described is not None and described.is_complete:
        if _covers(described, job):
            return Nothing()
        if not described.knowledge.stops and job.stop_fragment_number == described.held.last:
            return AddKnowledge(_with_knowledge(described, job, known))
    search = _widen(job, known)
    ended_ms = seen.manifest.manifest.ended_at_ms if seen.manifest else 0
    return Read(known, search, max(search.end_bound_ms, ended_ms))


def knowledge_of(job: ArchiveJob) -> Knowledge:
    """A job's knowledge of its stretch."""
    stop, end_ms = job.stop_fragment_number, job.stop_timestamp_ms
    if end_ms is None and job.end_is_known:
        end_ms = job.end_bound_ms
    return Knowledge(frozenset() if stop is None else frozenset((stop,)), end_ms)


def _covers(described: Manifest, job: ArchiveJob) -> bool:
    """Whether a complete recording was judged with everything that the job knows."""
    stops, reached_ms = described.knowledge.stops, described.range_end_ms
    if job.stop_fragment_number is not None:
        return job.stop_fragment_number in stops
    return bool(stops) or (reached_ms is not None and job.end_bound_ms <= reached_ms)


def _widen(job: ArchiveJob, known: Knowledge) -> ArchiveJob:
    """The job with the known end: knowledge from the manifest widens the search."""
    end_ms = max(job.end_bound_ms, known.end_ms or 0)
    return replace(
        job,
        stop_fragment_number=known.stop,
        stop_timestamp_ms=min(end_ms, job.start_timestamp_ms + MAX_CALL_MS),
    )


def _check_stretch(job: ArchiveJob, seen: Seen) -> None:
    """Refuses a manifest of another stretch: its knowledge is not used."""
    if seen.manifest is None:
        return
    manifest = seen.manifest.manifest
    for name, theirs, ours in (
        ("contactId", manifest.contact_id, job.contact_id),
        ("instanceArn", manifest.instance_arn, job.instance_arn),
        ("streamArn", manifest.stream_arn, job.stream_arn),
        ("start fragment", manifest.stretch_start, job.start_fragment_number),
    ):
        if theirs is not None and theirs != ours:
            raise StorageFaultError(
                Code.FOREIGN_MANIFEST,
                f"the manifest at this job's key is of another stretch: its {name} differs; move "
                "it and its recording away",
            )


# ---------------------------------------------------------------------------------- after the media


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """A run's result after it has read the media.

    Attributes:
        known: everything that the run knew of the stretch when it judged the recording.
        size_bytes: of the recording, including its header.
        searched_to_ms: the end of the search for fragments.
        now_ms: the time.
    """

    job: ArchiveJob
    call: RecordedCall
    known: Knowledge
    size_bytes: int
    searched_to_ms: int
    trigger: Trigger
    now_ms: int

    @property
    def range_end_ms(self) -> int | None:
        """The end of the search for fragments; None if a last fragment is known."""
        return None if self.known.stops else self.searched_to_ms


@dataclass(frozen=True, slots=True)
class Published:
    """This run's recording and manifest are published.

    Attributes:
        fault: what went wrong besides them.
    """

    call: RecordedCall
    manifest: Manifest
    fault: StorageFaultError | None


@dataclass(frozen=True, slots=True)
class Kept:
    """An earlier recording is at least as good; its manifest includes this run's knowledge."""

    manifest: Manifest


@dataclass(frozen=True, slots=True)
class _Replace:
    etag: str
    call: RecordedCall


@dataclass(frozen=True, slots=True)
class _Amend:
    manifest: Manifest


def add_knowledge(manifest: Manifest, seen: Seen) -> Steps[None]:
    """Adds a job's knowledge to the manifest of a recording that is right.

    Raises:
        StorageFaultError: another run was faster.
    """
    if (yield _put_over(manifest, seen)) is not True:
        raise _overtaken()


def publish(own: Own, seen: Seen) -> Steps[Published | Kept]:
    """Publishes this run's recording, or keeps a better one.

    Args:
        own: the run's result.
        seen: both objects as they were before the media was read.

    Raises:
        StorageFaultError: another run is publishing, or knows more: this one comes back.
    """
    if seen.recording is not None and seen.described is None:
        seen = yield from _look(own)
    for _ in range(_TRIES):
        decision = judge(own, seen)
        if isinstance(decision, Kept):
            return decision
        if isinstance(decision, _Amend):
            if (yield _put_over(decision.manifest, seen)) is True:
                return Kept(decision.manifest)
        else:
            stored = yield PutRecording(decision.etag, decision.call.is_complete)
            if isinstance(stored, StoredRecording):
                return (yield from _describe(own, decision.call, stored, seen))
            if stored is NotPublished.CONFLICT:
                break
        seen = yield from _look(own)
    raise _overtaken()


def judge(own: Own, seen: Seen) -> _Replace | _Amend | Kept:
    """Whether this run's recording replaces the current one.

    Raises:
        StorageFaultError: another run is publishing, or knows more: this one comes back.
    """
    if not seen.knowledge <= own.known:
        raise _overtaken()
    if seen.recording is None:
        return _Replace("", own.call)
    described = seen.described
    if described is not None:
        return _compare(own, described, seen.recording.etag)
    if not _may_replace_orphan(own, seen.recording):
        raise _overtaken()
    return _Replace(seen.recording.etag, own.call)


def _may_replace_orphan(own: Own, orphan: SeenRecording) -> bool:
    """Whether a recording without a manifest may be replaced.

    It may be whole while its media is gone, so it is judged by its length and by the stop fragment
    that its run knew. A recent one may be about to get its manifest.
    """
    if own.size_bytes < orphan.size_bytes:
        stop = own.known.stop
        return own.call.is_complete and stop is not None and max(orphan.stops, default=0) <= stop
    return own.call.is_complete or orphan.age_ms > ORPHAN_AGE_MS


def _compare(own: Own, theirs: Manifest, etag: str) -> _Replace | _Amend | Kept:
    """Compares which fragments of the stretch are held; those behind its stop do not count."""
    ours_held, their_held = own.call.held, theirs.held.up_to(own.known.stop)
    has_all, lacks_none = ours_held >= their_held, their_held >= ours_held
    if has_all and not lacks_none:
        return _Replace(etag, own.call)
    if has_all and lacks_none:
        return _compare_judgement(own, theirs, etag)
    if not lacks_none and _rank(own, own.call.held.first, _audio_ms(own.call)) > _rank(
        own, their_held.first, theirs.audio_ms
    ):
        return _Replace(etag, _noting(own.call, _held_earlier(theirs)))
    return _amend(own, theirs)


def _compare_judgement(own: Own, theirs: Manifest, etag: str) -> _Replace | _Amend | Kept:
    """Both hold the same fragments: more audio wins, then more knowledge."""
    ours_ms, theirs_ms = _audio_ms(own.call), theirs.audio_ms
    if _goes_on_behind(theirs, own.known) or ours_ms > theirs_ms:
        return _Replace(etag, own.call)
    if ours_ms == theirs_ms and own.call.is_complete != theirs.is_complete:
        knows_more = not own.known <= theirs.knowledge
        if own.call.is_complete or knows_more:
            return _Replace(etag, own.call)
    return _amend(own, theirs)


def _goes_on_behind(theirs: Manifest, known: Knowledge) -> bool:
    """Whether a recording holds audio behind a stop fragment that was named later."""
    return known.stop is not None and theirs.held.last > known.stop


def _rank(own: Own, first: int, audio_ms: int) -> tuple[bool, int]:
    return first == own.job.start_fragment_number, audio_ms


def _audio_ms(call: RecordedCall) -> int:
    silence_ms = sum(gap.length_ms for gap in call.gaps)
    return call.duration_ms - silence_ms // len(call.tracks)


def _noting(call: RecordedCall, reason: Reason) -> RecordedCall:
    return replace(call, reasons=(*call.reasons, reason))


def _amend(own: Own, theirs: Manifest) -> _Amend | Kept:
    """Keeps the earlier recording; adds this run's knowledge and findings to its manifest."""
    their_held = theirs.held.up_to(own.known.stop)
    missing = {*theirs.fragments.missing}
    new_missing = {n for n in own.call.fragments.missing if n not in their_held} - missing
    reasons = [*theirs.reasons]
    if _goes_on_behind(theirs, own.known):
        reasons.append(str(_BEHIND_STOP))
    if not their_held >= own.call.held:
        reasons.append(str(_FOUND_LATER))
    if new_missing or (own.known.stop or 0) > theirs.held.last:
        reasons += map(str, own.call.reasons)
    amended = replace(
        _with_knowledge(theirs, own.job, own.known, own.range_end_ms),
        is_complete=theirs.is_complete and not reasons,
        reasons=tuple(dict.fromkeys(reasons))[:MAX_REASONS],
        fragments=replace(theirs.fragments, missing=tuple(sorted(missing | new_missing))),
    )
    return Kept(theirs) if amended == theirs else _Amend(amended)


_BEHIND_STOP = Reason(
    Code.AUDIO_BEHIND_STOP, "the recording goes on behind the stop fragment, which was named later"
)
_FOUND_LATER = Reason(
    Code.HELD_BY_ANOTHER, "a later run found fragments that this recording lacks, and lacked others"
)


def _held_earlier(theirs: Manifest) -> Reason:
    return Reason(
        Code.HELD_BY_ANOTHER,
        f"the recording that was archived at {format_utc(theirs.archived_at_ms)} held fragments "
        "that this one lacks: in a bucket with versions it is an earlier version",
    )


def _with_knowledge(
    theirs: Manifest, job: ArchiveJob, known: Knowledge, range_end_ms: int | None = None
) -> Manifest:
    """The other run's manifest, with everything that is known now."""
    ends = [end for end in (theirs.range_end_ms, range_end_ms) if end is not None]
    return replace(
        theirs,
        known=known,
        start_fragment_number=job.start_fragment_number,
        range_end_ms=None if known.stops else max(ends, default=None),
    )


def _describe(
    own: Own, call: RecordedCall, stored: StoredRecording, seen: Seen
) -> Steps[Published]:
    """The tags and the manifest of the recording that this run has just published."""
    fault = None
    if stored.needs_tag:
        answer = yield Tag(stored, call.is_complete)
        fault = answer if isinstance(answer, StorageFaultError) else None
    manifest = build_manifest(
        own.job,
        call,
        stored,
        known=own.known,
        range_end_ms=own.range_end_ms,
        trigger=own.trigger,
        archived_at_ms=own.now_ms,
    )
    for _ in range(_TRIES):
        replaces = seen.manifest.etag if seen.manifest else ""
        if (yield PutManifest(manifest, stored.etag, replaces)) is True:
            break
        seen = yield from _look(own)
        is_ours = seen.recording is not None and seen.recording.etag == stored.etag
        if not is_ours or not seen.knowledge <= own.known:
            raise _overtaken()
    else:
        raise _overtaken()
    if (yield FindRecording()) != stored.etag:
        raise _overtaken()
    return Published(call, manifest, fault)


def _look(own: Own) -> Steps[Seen]:
    seen = yield Look()
    if not isinstance(seen, Seen):
        raise TypeError(seen)
    _check_stretch(own.job, seen)
    return seen


def _put_over(manifest: Manifest, seen: Seen) -> PutManifest:
    """Replaces the manifest that was seen, for the same recording."""
    if seen.manifest is None:
        raise ValueError(seen)
    return PutManifest(manifest, seen.manifest.recording_etag, seen.manifest.etag)


def _overtaken() -> StorageFaultError:
    return StorageFaultError(
        Code.PUBLISHED_MEANWHILE,
        "another run is publishing this call, knows more of it, or has left a longer recording "
        "without a manifest",
        retryable=True,
    )
