"""The journey of one job, as a sentence: list, fetch, select, lay on the clock, write, publish.

What talks to AWS comes in as `FragmentSource` and `Archive`; time comes in as numbers and a
callable. A run publishes a recording and its manifest, or raises and leaves nothing behind.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from itertools import chain
from typing import Protocol

from call_archive.errors import MediaError, NotYetError, StreamFaultError
from call_archive.job import ArchiveJob, Trigger
from call_archive.limits import MAX_HOLES, MAX_REASONS
from call_archive.media.likeness import MediaFragment, decode_audio
from call_archive.media.pcm import Direction, Piece
from call_archive.reasons import Code, Reason
from call_archive.recording.listing import (
    LISTING_PAD_MS,
    Delivery,
    FragmentListing,
    ListedFragment,
    MissingFragment,
)
from call_archive.recording.manifest import (
    FragmentCounts,
    PublishedManifest,
    RecordedCall,
    StoredRecording,
    build_manifest,
)
from call_archive.recording.selection import ContactSelection, fragments_in_range
from call_archive.recording.timeline import Timeline
from call_archive.recording.wav import build_header, build_mixer

WIDE_LISTING_PAD_MS = 3_600_000
"""Listed where the start fragment is not in the narrow range: Connect's clock is far off."""

SETTLE_MS = 10_000
"""How long after a stop without a fragment number the last fragment may take to be listed."""


class FragmentSource(Protocol):
    """A KVS stream, as far as the pipeline needs it."""

    def list_fragments(self, from_ms: int, to_ms: int) -> Iterable[ListedFragment]:
        """Every fragment that KVS began to receive in the range, in any order."""

    def fetch(self, listed: Iterable[ListedFragment]) -> Generator[Delivery]:
        """Each listed fragment once, in their order; closed when the run ends."""


class RecordingSink(Protocol):
    """A WAV on its way to S3."""

    def write(self, pcm: bytes | bytearray) -> None:
        """Takes the next bytes of PCM."""

    @property
    def pcm_bytes(self) -> int:
        """How many bytes were written."""

    def commit(self, header: bytes, *, replaces: str, is_complete: bool) -> StoredRecording:
        """Publishes the header and everything written, in place of an earlier recording's ETag."""


class Archive(Protocol):
    """Where one job's recording and manifest go."""

    def find_manifest(self) -> PublishedManifest | None:
        """What an earlier run published."""

    def open_recording(self) -> AbstractContextManager[RecordingSink]:
        """A new recording; leaving without a commit leaves no trace."""

    def put_manifest(
        self,
        manifest: dict[str, object],
        recording: StoredRecording,
        published: PublishedManifest | None,
    ) -> None:
        """Writes the manifest, in place of `published` where there is one."""


@dataclass(frozen=True, slots=True)
class AlreadyArchived:
    """An earlier run, or another trigger, has published a complete recording."""


@dataclass(frozen=True, slots=True)
class Archived:
    """This run's recording.

    Attributes:
        is_published: False where an earlier partial recording is at least as good.
    """

    call: RecordedCall
    is_published: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What a run is given besides its job.

    Attributes:
        tracks: the directions to record, in channel order.
        settle: archive what there is instead of coming back for what may still arrive.
        now_ms: the time, ms since the epoch.
        check_time: raises OutOfTimeError when the run has to end.
    """

    tracks: tuple[Direction, ...]
    trigger: Trigger
    settle: bool
    now_ms: Callable[[], int]
    check_time: Callable[[], None]


def archive_call(
    job: ArchiveJob, source: FragmentSource, archive: Archive, conditions: Conditions
) -> Archived | AlreadyArchived:
    """Archives one job.

    Raises:
        ArchiveError: nothing was published, or something went wrong beside the recording and its
            manifest; `retryable` says whether to come back.
    """
    published = archive.find_manifest()
    if published is not None and published.covers(job):
        return AlreadyArchived()
    run = _Run(job, conditions)
    listed = run.list_range(source)
    with archive.open_recording() as recording, closing(source.fetch(listed)) as deliveries:
        for pcm in run.record(deliveries):
            recording.write(pcm)
        call = run.describe(listed)
        if published is not None and not published.is_worse_than(call):
            return Archived(call, is_published=False)
        header = build_header(recording.pcm_bytes, len(conditions.tracks))
        replaces = published.recording_etag if published is not None else ""
        stored = recording.commit(header, replaces=replaces, is_complete=call.is_complete)
    manifest = build_manifest(
        job, call, stored, trigger=conditions.trigger, archived_at_ms=conditions.now_ms()
    )
    archive.put_manifest(manifest, stored, published)
    if stored.fault is not None:
        raise stored.fault
    return Archived(call, is_published=True)


@dataclass(slots=True)
class _Shortfall:
    """What keeps a recording from being complete, gathered along the way."""

    reasons: list[Reason] = field(default_factory=list)
    missing: set[int] = field(default_factory=set)
    may_improve: bool = False

    def note(self, reason: Reason, *, may_improve: bool) -> None:
        if len(self.reasons) < MAX_REASONS and reason not in self.reasons:
            self.reasons.append(reason)
        self.may_improve |= may_improve


class _Run:
    """The stages of one run and what they counted."""

    def __init__(self, job: ArchiveJob, conditions: Conditions) -> None:
        self._job = job
        self._conditions = conditions
        self._selection = ContactSelection(job)
        self._timeline = Timeline(conditions.tracks)
        self._shortfall = _Shortfall()
        self._received = 0
        self._media_bytes = 0

    def list_range(self, source: FragmentSource) -> FragmentListing:
        """The fragments to fetch: everything listed from start to stop, inclusive.

        Raises:
            NotYetError: the beginning or the end is not listed yet.
            StreamFaultError: there is nothing to fetch, or more than a call can have.
        """
        job, pad_ms = self._job, LISTING_PAD_MS
        self._await_settling()
        listed = self._list(source, pad_ms)
        if job.start_fragment_number not in listed:
            pad_ms = WIDE_LISTING_PAD_MS
            listed = self._list(source, pad_ms)
        if listed.has_hole():
            # The stream may have it, or a page was lost: only a second listing tells.
            listed = FragmentListing(chain(listed, self._list(source, pad_ms)))
        for number, reason in (
            (
                job.start_fragment_number,
                Reason(Code.START_NOT_LISTED, "KVS does not list the start fragment"),
            ),
            (self._stop(), Reason(Code.STOP_NOT_LISTED, "KVS does not list the stop fragment")),
        ):
            if number not in listed:
                self._miss(number, reason)
        if not listed:
            raise StreamFaultError(Code.NOTHING_LISTED, "KVS lists no fragment in the job's range")
        return listed

    def record(self, deliveries: Iterable[Delivery]) -> Iterator[bytes | bytearray]:
        """The recording's PCM, from what KVS delivers."""
        tracks = self._conditions.tracks
        mix = build_mixer(len(tracks))
        for pieces in self._lay(self._selection.select(self._receive(deliveries))):
            columns = [pieces[direction] for direction in tracks]
            yield from mix(columns)

    def describe(self, listed: FragmentListing) -> RecordedCall:
        """What the run found.

        Raises:
            MediaError: nothing in the range is proved to be this contact's, or holds audio.
        """
        counts, timeline = self._selection.counts, self._timeline
        if not counts.accepted:
            raise self._nothing(
                Code.NO_FRAGMENT_OF_CONTACT, "no fragment carries this contact's id"
            )
        if not timeline.has_audio:
            raise self._nothing(Code.NO_AUDIO, "the contact's fragments hold no audio to record")
        if counts.unproved:
            self._shortfall.note(
                Reason(
                    Code.UNTAGGED_REFUSED,
                    f"{counts.unproved} fragments without a ContactId are not proved to be "
                    "this contact's",
                ),
                may_improve=False,
            )
        if counts.contradictory:
            self._shortfall.note(
                Reason(
                    Code.CONTRADICTORY_TAGS,
                    f"{counts.contradictory} fragments carry this contact's id and another's, so "
                    "they are refused",
                ),
                may_improve=False,
            )
        if timeline.unlisted_holes:
            self._shortfall.note(
                Reason(
                    Code.TOO_MANY_HOLES,
                    f"the manifest lists {MAX_HOLES} gaps and overlaps at most, and not "
                    f"{timeline.unlisted_holes} more",
                ),
                may_improve=False,
            )
        return RecordedCall(
            tracks=self._conditions.tracks,
            started_at_ms=timeline.started_at_ms or self._job.start_timestamp_ms,
            samples=timeline.samples,
            fragments=FragmentCounts(
                listed=len(listed),
                received=self._received,
                accepted=counts.accepted,
                foreign=counts.foreign,
                contradictory=counts.contradictory,
                untagged=counts.untagged,
                missing=tuple(sorted(self._shortfall.missing)),
                last=counts.last,
            ),
            gaps=timeline.gaps,
            overlaps=timeline.overlaps,
            clock_jumps=timeline.clock_jumps,
            reasons=self._shortfall.reasons,
            may_improve=self._shortfall.may_improve,
            media_bytes=self._media_bytes,
        )

    def _await_settling(self) -> None:
        """Waits for the tail where only a time says when the call ended."""
        job, conditions = self._job, self._conditions
        age_ms = conditions.now_ms() - job.end_bound_ms
        if job.stop_fragment_number is None and age_ms < SETTLE_MS and not conditions.settle:
            raise NotYetError(Code.TAIL_NOT_SETTLED, "the call has only just ended")

    def _list(self, source: FragmentSource, pad_ms: int) -> FragmentListing:
        job = self._job
        self._conditions.check_time()
        return fragments_in_range(
            job,
            source.list_fragments(job.start_timestamp_ms - pad_ms, job.end_bound_ms + pad_ms),
        )

    def _stop(self) -> int:
        """The stop fragment; where it is not known, the start has to be listed at least."""
        return self._job.stop_fragment_number or self._job.start_fragment_number

    def _receive(self, deliveries: Iterable[Delivery]) -> Iterator[MediaFragment | MissingFragment]:
        for delivery in deliveries:
            self._conditions.check_time()
            if isinstance(delivery, MissingFragment):
                self._miss(delivery.number, delivery.reason, may_improve=delivery.may_improve)
                yield delivery
                continue
            if delivery.is_cut_short:
                self._fall_short(
                    Reason(
                        Code.FRAGMENT_CUT_SHORT, "KVS delivers less of a fragment than it lists"
                    ),
                    may_improve=True,
                )
            self._received += 1
            self._media_bytes += len(delivery.media.fragment.document)
            yield delivery.media

    def _fall_short(self, reason: Reason, *, may_improve: bool) -> None:
        """Comes back for what may still arrive; notes the reason when it is time to settle."""
        if may_improve and not self._conditions.settle:
            raise NotYetError(reason.code, reason.text)
        self._shortfall.note(reason, may_improve=may_improve)

    def _miss(self, number: int, reason: Reason, *, may_improve: bool = True) -> None:
        self._fall_short(reason, may_improve=may_improve)
        self._shortfall.missing.add(number)

    def _lay(self, own: Iterable[MediaFragment]) -> Iterator[dict[Direction, list[Piece]]]:
        for fragment in own:
            try:
                audio = decode_audio(fragment.fragment, self._conditions.tracks)
            except MediaError as error:
                self._shortfall.note(error.reason, may_improve=False)
                continue
            if audio is None:
                continue
            if audio.leaves_out and len(self._conditions.tracks) > 1:
                self._shortfall.note(
                    Reason(
                        Code.UNKNOWN_TRACKS, "a track's name does not tell whose voice it holds"
                    ),
                    may_improve=False,
                )
            yield self._timeline.place(audio, fragment.server_timestamp_ms)
        yield self._timeline.finish()

    def _nothing(self, code: Code, text: str) -> MediaError:
        """Why there is nothing to record, with whatever went wrong on the way."""
        return MediaError(
            code,
            "; ".join((text, *map(str, self._shortfall.reasons))),
            retryable=self._shortfall.may_improve,
        )
