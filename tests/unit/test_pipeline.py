"""One run with everything at hand: what may be published, and what may not."""

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field, replace

import pytest

from call_archive.errors import MediaError
from call_archive.job import ArchiveJob, Trigger, decode_job
from call_archive.media.fragments import read_fragments
from call_archive.media.likeness import decode_fragment
from call_archive.media.pcm import Direction
from call_archive.reasons import Code
from call_archive.recording.listing import Delivery as Delivered
from call_archive.recording.listing import ListedFragment, ReceivedFragment
from call_archive.recording.pipeline import Archived, Conditions, archive_call
from local.call import Call, Delivery, simulate_call
from local.encoder import FROM_CUSTOMER, TO_CUSTOMER
from local.pcm import synthetic_pcm
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

    def fetch(self, listed: Iterable[ListedFragment]) -> Generator[Delivered]:
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
        instance_arn="arn:aws:connect:eu-west-2:123456789012:instance/i-1",
        stream_arn="arn:aws:kinesisvideo:eu-west-2:123456789012:stream/s/1640168106910",
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
    conditions = Conditions(
        tracks=tracks or (Direction.FROM_CUSTOMER,),
        trigger=Trigger.FLOW,
        accept_partial=False,
        now_ms=lambda: call.end_ms + 60_000,
        check_time=lambda: None,
    )
    archived = archive_call(job, stream, archive, conditions)
    assert isinstance(archived, Archived)
    return archived


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

    def fetch(self, listed: Iterable[ListedFragment]) -> Generator[Delivered]:
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
