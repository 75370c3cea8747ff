"""One job from start to end: list, fetch, select, place on the clock, write, publish.

AWS is reached through `FragmentSource` and `Archive`; time is passed in as numbers and a callable.
A run publishes a recording and its manifest, or raises and leaves nothing behind.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from itertools import chain
from typing import Protocol

from call_archive.errors import MediaError, NotYetError, StorageFaultError, StreamFaultError
from call_archive.job import ArchiveJob, Trigger
from call_archive.limits import MAX_HOLES, MAX_REASONS
from call_archive.media.likeness import MediaFragment, decode_audio
from call_archive.media.pcm import Direction, Piece
from call_archive.reasons import Code, Reason
from call_archive.recording.knowledge import HeldBuilder, Knowledge
from call_archive.recording.listing import (
    LISTING_PAD_MS,
    FetchedFragment,
    FragmentListing,
    ListedFragment,
    MissingFragment,
    ReceivedFragment,
)
from call_archive.recording.manifest import (
    FragmentCounts,
    Manifest,
    RecordedCall,
    StoredRecording,
)
from call_archive.recording.publishing import (
    AddKnowledge,
    Answer,
    Command,
    FindRecording,
    Kept,
    Nothing,
    NotPublished,
    Own,
    PutManifest,
    PutRecording,
    Read,
    Seen,
    Steps,
    Tag,
    add_knowledge,
    plan,
    publish,
)
from call_archive.recording.selection import ContactSelection, fragments_in_range
from call_archive.recording.timeline import Timeline
from call_archive.recording.wav import build_header, build_mixer

WIDE_LISTING_PAD_MS = 3_600_000
"""Listed if the narrow range lacks a named fragment, because its times are far off."""

TAIL_WAIT_MS = 10_000
"""How long the last fragment may take to be listed, after a stop without a fragment number."""

LISTED_WITHIN_MS = 30_000
"""How long a run waits for a fragment that KVS may not list yet: listings are eventually
consistent, each fragment for itself (docs/capacity.md has the model).
"""


def _never() -> bool:
    return False


class FragmentSource(Protocol):
    """The part of a KVS stream that the pipeline needs."""

    def list_fragments(self, from_ms: int, to_ms: int) -> Iterable[ListedFragment]:
        """Every fragment that KVS began to receive in the range, in any order."""

    def fetch(self, listed: Iterable[ListedFragment]) -> Generator[FetchedFragment]:
        """Yields each listed fragment once, in order; closed when the run ends."""


class RecordingSink(Protocol):
    """A WAV that is being uploaded."""

    def write(self, pcm: bytes | bytearray) -> None:
        """Takes the next bytes of PCM."""

    @property
    def pcm_bytes(self) -> int:
        """How many bytes were written."""

    def put(self, header: bytes, command: PutRecording) -> StoredRecording | NotPublished:
        """Publishes the header and everything written, on the command's condition."""

    def tag(self, command: Tag) -> StorageFaultError | None:
        """Tags the published object; returns the failure, if any."""


class Archive(Protocol):
    """The place of one job's recording and manifest."""

    def look(self) -> Seen:
        """Reads the state of both objects."""

    def find_recording(self) -> str:
        """The recording's ETag; "" if there is none."""

    def open_recording(self, known: Knowledge) -> AbstractContextManager[RecordingSink]:
        """A new recording, for a run with this knowledge; unpublished, it leaves no trace."""

    def put_manifest(self, command: PutManifest) -> bool:
        """Writes a manifest on the command's condition; returns whether the condition held."""


@dataclass(frozen=True, slots=True)
class AlreadyArchived:
    """An earlier run, or another trigger, has published a complete recording."""


@dataclass(frozen=True, slots=True)
class Erased:
    """The contact is erased: nothing of it is published, now or later."""


@dataclass(frozen=True, slots=True)
class Archived:
    """What a run found, and the published recording.

    Attributes:
        call: what this run found.
        is_published: whether this run's recording was published; if not, an earlier one is kept.
        manifest: of the recording that is published.
    """

    call: RecordedCall
    is_published: bool
    manifest: Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """The inputs of a run besides its job.

    Attributes:
        tracks: the directions to record, in channel order.
        accept_partial: publish the available fragments instead of waiting for more.
        now_ms: the time, ms since the epoch.
        check_time: raises OutOfTimeError when the run has to end.
        is_erased: whether the contact is erased; called before the media is read, and again before
            anything is published.
    """

    tracks: tuple[Direction, ...]
    trigger: Trigger
    accept_partial: bool
    now_ms: Callable[[], int]
    check_time: Callable[[], None]
    is_erased: Callable[[], bool] = _never


def archive_call(
    job: ArchiveJob, source: FragmentSource, archive: Archive, conditions: Conditions
) -> Archived | AlreadyArchived | Erased:
    """Archives one job.

    Raises:
        ArchiveError: nothing was published, or something went wrong besides the recording and its
            manifest; `retryable` says whether to come back.
    """
    if conditions.is_erased():
        return Erased()
    seen = archive.look()
    needed = plan(job, seen)
    if isinstance(needed, Nothing):
        return AlreadyArchived()
    if isinstance(needed, AddKnowledge):
        _carry_out(add_knowledge(needed.manifest, seen), lambda command: _do(command, archive))
        return AlreadyArchived()
    run = _Run(job, needed, conditions)
    listed = run.list_range(source)
    with (
        archive.open_recording(needed.known) as recording,
        closing(source.fetch(listed)) as deliveries,
    ):
        for pcm in run.record(deliveries, listed):
            recording.write(pcm)
        call = run.describe(listed)
        if conditions.is_erased():
            return Erased()
        header = build_header(recording.pcm_bytes, len(conditions.tracks))
        own = Own(
            job=job,
            call=call,
            known=needed.known | Knowledge(furthest=call.fragments.last),
            size_bytes=len(header) + recording.pcm_bytes,
            searched_to_ms=needed.search.end_bound_ms,
            trigger=conditions.trigger,
            now_ms=conditions.now_ms(),
        )
        result = _carry_out(
            publish(own, seen), lambda command: _do_with(command, archive, recording, header)
        )
    if isinstance(result, Kept):
        return Archived(call, is_published=False, manifest=result.manifest)
    if result.fault is not None:
        raise result.fault
    return Archived(result.call, is_published=True, manifest=result.manifest)


def _carry_out[T](steps: Steps[T], do: Callable[[Command], Answer]) -> T:
    """Carries out the decided commands until there is a result."""
    answer: Answer = None
    while True:
        try:
            command = steps.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result
        answer = do(command)


def _do_with(command: Command, archive: Archive, recording: RecordingSink, header: bytes) -> Answer:
    match command:
        case PutRecording():
            return recording.put(header, command)
        case Tag():
            return recording.tag(command)
        case _:
            return _do(command, archive)


def _do(command: Command, archive: Archive) -> Answer:
    match command:
        case PutManifest():
            return archive.put_manifest(command)
        case FindRecording():
            return archive.find_recording()
        case _:
            return archive.look()


@dataclass(slots=True)
class _Shortfall:
    """Why a recording is not complete, collected during the run."""

    reasons: list[Reason] = field(default_factory=list)
    missing: set[int] = field(default_factory=set)
    may_improve: bool = False

    def note(self, reason: Reason, *, may_improve: bool) -> None:
        if len(self.reasons) < MAX_REASONS and reason not in self.reasons:
            self.reasons.append(reason)
        self.may_improve |= may_improve


class _Received:
    """The fragments that KVS delivered.

    Attributes:
        held: the fragments that the recording holds whole.
    """

    def __init__(self) -> None:
        self.count = 0
        self.media_bytes = 0
        self.held = HeldBuilder()
        self._cut_short: set[int | None] = {None}

    def take(self, received: ReceivedFragment) -> None:
        """Counts a fragment."""
        self.count += 1
        self.media_bytes += len(received.media.fragment.document)
        if received.is_cut_short:
            self._cut_short.add(received.media.number)

    def hold(self, number: int | None, listed: FragmentListing) -> None:
        """Notes that the recording holds a fragment, unless part of it is missing."""
        if number is None or number in self._cut_short:
            return
        place = listed.place_of(number)
        if place is not None:
            self.held.add(place, number)


class _Run:
    """The stages of one run and their counts."""

    def __init__(self, job: ArchiveJob, needed: Read, conditions: Conditions) -> None:
        self._job = needed.search
        self._needed = needed
        self._conditions = conditions
        self._selection = ContactSelection(job, known_stop=needed.known.stop)
        self._timeline = Timeline(conditions.tracks)
        self._shortfall = _Shortfall()
        self._received = _Received()

    def list_range(self, source: FragmentSource) -> FragmentListing:
        """The fragments to fetch: everything listed from start to stop, inclusive.

        Raises:
            NotYetError: the beginning or the end is not listed yet.
            StreamFaultError: there is nothing to fetch, or more than a call can have.
        """
        self._await_tail()
        named = self._named()
        pad_ms = LISTING_PAD_MS
        listed = self._list(source, pad_ms)
        if any(number not in listed for number in named):
            pad_ms = WIDE_LISTING_PAD_MS
            listed = self._list_more(source, listed, pad_ms)
        if listed.has_hole():
            # The stream may have it, or a page was lost: only a second listing shows which.
            listed = self._list_more(source, listed, pad_ms)
        for number, reason in named.items():
            if number not in listed:
                self._miss(number, reason)
        self._await_hole(listed)
        if not listed:
            raise StreamFaultError(Code.NOTHING_LISTED, "KVS lists no fragment in the job's range")
        return listed

    def record(
        self, deliveries: Iterable[FetchedFragment], listed: FragmentListing
    ) -> Iterator[bytes | bytearray]:
        """The recording's PCM, from the listed fragments that KVS delivers."""
        tracks = self._conditions.tracks
        mix = build_mixer(len(tracks))
        for pieces in self._lay(self._selection.select(self._receive(deliveries)), listed):
            columns = [pieces[direction] for direction in tracks]
            yield from mix(columns)

    def describe(self, listed: FragmentListing) -> RecordedCall:
        """What the run found.

        Raises:
            MediaError: no fragment in the range is proved to be this contact's, or has audio.
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
        if listed.uncertain_from is not None and counts.last >= listed.uncertain_from:
            self._shortfall.note(
                Reason(
                    Code.END_UNCERTAIN,
                    "streaming may have started again right after the end, which is only known as "
                    f"a time: fragment {listed.uncertain_from} and those behind it may be of the "
                    "next stretch",
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
        known = self._needed.known
        if known.stop is None and known.furthest > counts.last:
            self._shortfall.note(
                Reason(
                    Code.HELD_BY_ANOTHER,
                    f"an earlier run found this call's fragment {known.furthest}, and this "
                    "one did not get so far",
                ),
                may_improve=True,
            )
        return RecordedCall(
            tracks=self._conditions.tracks,
            started_at_ms=timeline.started_at_ms or self._job.start_timestamp_ms,
            samples=timeline.samples,
            fragments=FragmentCounts(
                listed=len(listed),
                received=self._received.count,
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
            clock_deviations=timeline.clock_deviations,
            reasons=self._shortfall.reasons,
            may_improve=self._shortfall.may_improve,
            media_bytes=self._received.media_bytes,
            held=self._received.held.build(),
        )

    def _await_hole(self, listed: FragmentListing) -> None:
        """Waits for a fragment that is not listed although later ones are, while it is new."""
        hole_ms, conditions = listed.last_hole_ms(), self._conditions
        if hole_ms is None or conditions.accept_partial:
            return
        if conditions.now_ms() - hole_ms < LISTED_WITHIN_MS:
            raise NotYetError(
                Code.TAIL_NOT_SETTLED,
                "the call has only just ended, and KVS may not list all of its fragments yet",
            )

    def _await_tail(self) -> None:
        """Waits for the tail if only a time gives the end of the call."""
        job, conditions = self._job, self._conditions
        age_ms = conditions.now_ms() - job.end_bound_ms
        if (
            job.stop_fragment_number is None
            and age_ms < TAIL_WAIT_MS
            and not conditions.accept_partial
        ):
            raise NotYetError(
                Code.TAIL_NOT_SETTLED,
                "the call has only just ended",
                retry_after_s=-(-(TAIL_WAIT_MS - age_ms) // 1000),
            )

    def _list(
        self, source: FragmentSource, pad_ms: int, before: Iterable[ListedFragment] = ()
    ) -> FragmentListing:
        """The fragments listed in the range, together with those listed before."""
        job = self._job
        self._conditions.check_time()
        listed = source.list_fragments(
            job.start_timestamp_ms - pad_ms, self._needed.list_to_ms + pad_ms
        )
        return fragments_in_range(job, chain(before, listed), self._needed.known.furthest)

    def _list_more(
        self, source: FragmentSource, listed: FragmentListing, pad_ms: int
    ) -> FragmentListing:
        """Fragments listed before and now; a refusal removes nothing."""
        try:
            return self._list(source, pad_ms, listed)
        except StreamFaultError as failure:
            if failure.retryable or not listed:
                raise
            return listed

    def _named(self) -> dict[int, Reason]:
        """The fragments that must be listed, and the reason to give if they are not."""
        start = Reason(Code.START_NOT_LISTED, "KVS does not list the start fragment")
        stop = Reason(
            Code.STOP_NOT_LISTED,
            "KVS does not list the stop fragment; if its number is wrong, delete the manifest, "
            "which forgets it",
        )
        return dict.fromkeys(self._needed.known.stops, stop) | {
            self._job.start_fragment_number: start
        }

    def _receive(
        self, deliveries: Iterable[FetchedFragment]
    ) -> Iterator[MediaFragment | MissingFragment]:
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
            self._received.take(delivery)
            yield delivery.media

    def _fall_short(self, reason: Reason, *, may_improve: bool) -> None:
        """Raises to wait for late fragments; if a partial recording is accepted, notes why."""
        if may_improve and not self._conditions.accept_partial:
            raise NotYetError(reason.code, reason.text)
        self._shortfall.note(reason, may_improve=may_improve)

    def _miss(self, number: int, reason: Reason, *, may_improve: bool = True) -> None:
        self._fall_short(reason, may_improve=may_improve)
        self._shortfall.missing.add(number)

    def _lay(
        self, own: Iterable[MediaFragment], listed: FragmentListing
    ) -> Iterator[dict[Direction, list[Piece]]]:
        for fragment in own:
            try:
                audio = decode_audio(fragment.fragment, self._conditions.tracks)
            except MediaError as error:
                self._shortfall.note(error.reason, may_improve=False)
                continue
            self._received.hold(fragment.number, listed)
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
        """Why there is nothing to record, with all problems of the run."""
        return MediaError(
            code,
            "; ".join((text, *map(str, self._shortfall.reasons))),
            retryable=self._shortfall.may_improve,
        )
