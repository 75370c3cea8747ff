"""One run with everything at hand: what may be published, and what may not."""

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field, replace

import pytest

from call_archive.errors import MediaError, StorageFaultError
from call_archive.job import ArchiveJob, Trigger, decode_job
from call_archive.media.fragments import read_fragments
from call_archive.media.likeness import decode_fragment
from call_archive.media.pcm import Direction
from call_archive.reasons import Code, Reason, Refusal, Service
from call_archive.recording.knowledge import Run
from call_archive.recording.listing import (
    FetchedFragment,
    ListedFragment,
    MissingFragment,
    ReceivedFragment,
)
from call_archive.recording.pipeline import (
    AlreadyArchived,
    Archived,
    Conditions,
    Erased,
    archive_call,
)
from local.call import Call, Delivery, simulate_call
from local.encoder import FROM_CUSTOMER, TO_CUSTOMER
from local.pcm import synthetic_pcm
from tests.support.arns import INSTANCE_ARN, STREAM_ARN
from tests.support.bucket import MemoryArchive

START_MS = 1_767_258_000_000


@dataclass
class Stream:
    """A KVS stream that holds one call and never fails."""

    call: Call

    def list_fragments(self, from_ms: int, to_ms: int) -> list[ListedFragment]:
        return [
            ListedFragment(
                f.number,
                f.server_timestamp_ms,
                f.duration_ms,
                f.size_bytes,
                f.producer_timestamp_ms,
            )
            for f in reversed(self.call.fragments)
            if from_ms <= f.server_timestamp_ms <= to_ms
        ]

    def fetch(self, listed: Iterable[ListedFragment]) -> Generator[FetchedFragment]:
        documents = {fragment.number: fragment.document() for fragment in self.call.fragments}
        for fragment in listed:
            for read in read_fragments([documents[fragment.number]]):
                media = decode_fragment(read)
                if media.number is None:
                    media = media._replace(
                        number=fragment.number, server_timestamp_ms=fragment.server_timestamp_ms
                    )
                yield ReceivedFragment(media)


def call_of(delivery: Delivery, seconds: float = 5, *, one_track: bool = False) -> Call:
    return simulate_call(
        synthetic_pcm(seconds, 1)[:],
        None if one_track else synthetic_pcm(seconds, 2)[:],
        contact_id="c-1",
        instance_arn=INSTANCE_ARN,
        stream_arn=STREAM_ARN,
        start_ms=START_MS,
        delivery=delivery,
    )


def run(call: Call, archive: MemoryArchive, *tracks: Direction) -> Archived:
    return run_stream(call, Stream(call), archive, *tracks)


def run_stream(
    call: Call,
    stream: Stream,
    archive: MemoryArchive,
    *tracks: Direction,
    job: ArchiveJob | None = None,
) -> Archived:
    job = job or decode_job(call.archive_job())
    archived = archive_call(job, stream, archive, conditions_of(call, *tracks))
    assert isinstance(archived, Archived)
    return archived


def conditions_of(call: Call, *tracks: Direction) -> Conditions:
    return Conditions(
        tracks=tracks or (Direction.FROM_CUSTOMER,),
        trigger=Trigger.FLOW,
        accept_partial=False,
        now_ms=lambda: call.end_ms + 60_000,
        check_time=lambda: None,
    )


def open_ended(call: Call) -> ArchiveJob:
    return replace(decode_job(call.archive_job()), stop_fragment_number=None)


def pcm_of(archive: MemoryArchive) -> bytes:
    wav = archive.bucket.wav
    assert wav is not None
    return wav[44:]


def test_a_call_is_archived_whole() -> None:
    archive = MemoryArchive()
    archived = run(call_of(Delivery()), archive, Direction.FROM_CUSTOMER)
    assert pcm_of(archive) == synthetic_pcm(5, 1)[:]
    assert archived.call.is_complete
    assert archive.bucket.manifest is not None


@pytest.mark.parametrize("seconds", [5, 100])
def test_a_call_without_a_word_of_the_customer_is_not_a_success(seconds: float) -> None:
    """The flow streams only what the customer hears, and the archive wants what they say."""
    archive = MemoryArchive()
    delivery = Delivery(track_names=(TO_CUSTOMER, FROM_CUSTOMER))
    with pytest.raises(MediaError) as caught:
        run(call_of(delivery, seconds, one_track=True), archive, Direction.FROM_CUSTOMER)
    assert caught.value.code == "NO_AUDIO"
    assert archive.bucket.wav is None
    assert archive.bucket.manifest is None


@pytest.mark.parametrize("odd", [frozenset({3}), frozenset({3, 4}), frozenset({5})])
def test_fragments_without_any_tags_lose_no_audio(odd: frozenset[int]) -> None:
    archive = MemoryArchive()
    archived = run(call_of(Delivery(without_tags=odd)), archive, Direction.FROM_CUSTOMER)
    assert pcm_of(archive) == synthetic_pcm(5, 1)[:]
    assert archived.call.clock_jumps == 0
    assert archived.call.is_complete


def test_both_tracks_are_left_and_right() -> None:
    archive = MemoryArchive()
    run(call_of(Delivery()), archive, *Direction)
    frames = pcm_of(archive)
    left = b"".join(frames[at : at + 2] for at in range(0, len(frames), 4))
    right = b"".join(frames[at : at + 2] for at in range(2, len(frames), 4))
    assert (left, right) == (synthetic_pcm(5, 1)[:], synthetic_pcm(5, 2)[:])


@dataclass
class StreamWith(Stream):
    """A stream whose fragments carry other contact ids than the encoder gave them."""

    tags: Mapping[int, frozenset[str]] = field(default_factory=dict)

    def fetch(self, listed: Iterable[ListedFragment]) -> Generator[FetchedFragment]:
        places = {fragment.number: place for place, fragment in enumerate(self.call.fragments)}
        for delivery in super().fetch(listed):
            assert isinstance(delivery, ReceivedFragment)
            place = places[delivery.media.number or 0]
            ids = self.tags.get(place, delivery.media.contact_ids)
            yield ReceivedFragment(delivery.media._replace(contact_ids=ids))


def test_a_fragment_with_two_contact_ids_is_refused_and_said() -> None:
    call, archive = call_of(Delivery()), MemoryArchive()
    stream = StreamWith(call, {2: frozenset(("c-1", "someone-else"))})
    archived = run_stream(call, stream, archive)
    assert [reason.code for reason in archived.call.reasons] == [Code.CONTRADICTORY_TAGS]
    assert archived.call.fragments.contradictory == archived.call.fragments.foreign == 1


def test_behind_a_stranger_at_an_open_end_nothing_is_missing() -> None:
    call, archive = call_of(Delivery()), MemoryArchive()
    tags = {4: frozenset(("someone-else",)), 5: frozenset[str]()}
    archived = run_stream(call, StreamWith(call, tags), archive, job=open_ended(call))
    assert archived.call.fragments.untagged == archived.call.fragments.foreign == 1
    assert archived.call.is_complete


def test_a_recording_whose_end_nothing_tells_says_so() -> None:
    """A fragment is missing, or streaming has started again, right after the stop's time."""
    call = call_of(Delivery(lost=frozenset({2})))
    first, second = call.fragments[2:4]
    job = replace(open_ended(call), stop_timestamp_ms=first.server_timestamp_ms - 700)
    archived = run_stream(call, Stream(call), MemoryArchive(), job=job)
    assert [reason.code for reason in archived.call.reasons] == [Code.END_UNCERTAIN]
    assert archived.call.fragments.last == first.number < second.number


def test_a_strangers_call_right_after_the_end_leaves_no_doubt() -> None:
    call = call_of(Delivery(lost=frozenset({2})))
    foreign = dict.fromkeys(range(2, 9), frozenset(("someone-else",)))
    stop_ms = call.fragments[2].server_timestamp_ms - 700
    job = replace(open_ended(call), stop_timestamp_ms=stop_ms)
    archived = run_stream(call, StreamWith(call, foreign), MemoryArchive(), job=job)
    assert archived.call.fragments.foreign == 1
    assert archived.call.is_complete


# ------------------------------------------------------------------------- beside the usual course


@pytest.mark.parametrize("is_multipart", [False, True])
def test_a_contact_that_is_erased_while_its_media_is_read_is_not_published(
    *, is_multipart: bool
) -> None:
    call, archive = call_of(Delivery()), MemoryArchive(is_multipart=is_multipart)
    answers = iter([False, True])
    conditions = replace(conditions_of(call), is_erased=lambda: next(answers))
    assert archive_call(decode_job(call.archive_job()), Stream(call), archive, conditions) == (
        Erased()
    )
    assert archive.bucket.objects == {}


def test_a_tag_that_s3_refuses_fails_the_job_behind_a_whole_recording() -> None:
    """The recording is published and described; only what selects it by its tag would miss it."""
    fault = StorageFaultError(Refusal(Service.S3, "AccessDenied"), "s3:PutObjectTagging")
    call, archive = call_of(Delivery()), MemoryArchive(is_multipart=True, tag_fault=fault)
    with pytest.raises(StorageFaultError) as caught:
        run(call, archive)
    assert caught.value is fault
    assert pcm_of(archive) == synthetic_pcm(5, 1)[:]
    assert archive.bucket.manifest is not None
    assert archive.bucket.manifest["complete"] is True
    again = archive_call(decode_job(call.archive_job()), Stream(call), archive, conditions_of(call))
    assert again == AlreadyArchived()


@dataclass
class StreamThatHides(Stream):
    """A stream that delivers a fragment which it does not list."""

    unlisted: int = 2

    def list_fragments(self, from_ms: int, to_ms: int) -> list[ListedFragment]:
        number = self.call.fragments[self.unlisted].number
        return [f for f in super().list_fragments(from_ms, to_ms) if f.number != number]

    def fetch(self, listed: Iterable[ListedFragment]) -> Generator[FetchedFragment]:
        every = super().list_fragments(0, self.call.end_ms)
        yield from super().fetch(sorted(every))


def test_a_fragment_that_is_delivered_and_not_listed_is_recorded_and_not_counted_as_held() -> None:
    """Only the listing says which fragments are next to each other."""
    call, archive = call_of(Delivery()), MemoryArchive()
    archived = run_stream(call, StreamThatHides(call), archive)
    numbers = [fragment.number for fragment in call.fragments]
    assert pcm_of(archive) == synthetic_pcm(5, 1)[:]
    assert archived.call.held.count == len(numbers) - 1
    assert archived.call.held.runs == (Run(numbers[0], numbers[-1]),)


def test_a_stereo_recording_says_that_a_track_has_a_name_that_nobody_knows() -> None:
    call = call_of(Delivery(track_names=(FROM_CUSTOMER, "AUDIO_OF_A_SUPERVISOR")))
    archived = run(call, MemoryArchive(), *Direction)
    assert [reason.code for reason in archived.call.reasons] == [Code.UNKNOWN_TRACKS]
    assert not archived.call.is_complete
    mono = run(call, MemoryArchive(), Direction.FROM_CUSTOMER)
    assert mono.call.is_complete, "the customer's track is all that it is to hold"


@dataclass
class StreamWithout(Stream):
    """A stream that does not deliver some of what it lists."""

    undelivered: frozenset[int] = frozenset()

    def fetch(self, listed: Iterable[ListedFragment]) -> Generator[FetchedFragment]:
        numbers = {self.call.fragments[at].number for at in self.undelivered}
        reason = Reason(Code.NOT_DELIVERED, "KVS leaves it out")
        for fragment in listed:
            if fragment.number in numbers:
                yield MissingFragment(fragment.number, reason, may_improve=True)
            else:
                yield from super().fetch([fragment])


def test_a_run_that_does_not_get_as_far_as_an_earlier_one_says_so() -> None:
    """Both know the end only as a time; the first run proved more to be this contact's."""
    call, archive = call_of(Delivery()), MemoryArchive()
    conditions, job = replace(conditions_of(call), accept_partial=True), open_ended(call)
    last = len(call.fragments) - 1
    first = archive_call(job, StreamWithout(call, frozenset({2})), archive, conditions)
    assert isinstance(first, Archived)
    assert [reason.code for reason in first.call.reasons] == [Code.NOT_DELIVERED]
    second = archive_call(job, StreamWithout(call, frozenset({last})), archive, conditions)
    assert isinstance(second, Archived)
    assert (
        Reason(
            Code.HELD_BY_ANOTHER,
            f"an earlier run found this call's fragment {call.fragments[last].number}, and this "
            "one did not get so far",
        )
        in second.call.reasons
    )
    assert second.call.may_improve
