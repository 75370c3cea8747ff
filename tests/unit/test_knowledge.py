"""The better recording wins: each case that an order of messages, or two runs, once got wrong."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from call_archive.media.pcm import Direction
from call_archive.reasons import Code
from call_archive.recording.knowledge import Held, Knowledge, Run
from call_archive.worker import ComesBack, Done, Failed, Outcome
from tests.support.bucket import MANIFEST, RECORDING, Bucket, MemoryArchive
from tests.support.manifests import older_manifest
from tests.support.stretch import (
    FRAGMENTS,
    Kind,
    Media,
    Stream,
    World,
    job_until,
    new_world,
    stretch,
)

MONO = (Direction.FROM_CUSTOMER,)


def manifest_of(world: World) -> dict[str, Any]:
    manifest = world.archive.bucket.manifest
    assert manifest is not None
    return manifest


def accepted(world: World) -> int:
    count: int = manifest_of(world)["fragments"]["accepted"]
    return count


def codes(world: World) -> set[str]:
    return {reason.partition(":")[0] for reason in manifest_of(world)["reasons"]}


def world_of(media: Media = Media.WHOLE) -> World:
    return new_world(media, MONO)


# ------------------------------------------------------------------ one message after the other


@pytest.mark.parametrize("media", [Media.EARLY_MISSING, Media.LATE_MISSING])
def test_job_of_the_middle_never_replaces_what_reached_further(media: Media) -> None:
    world = world_of(media)
    world.play(Kind.STOP_NUMBER)
    before = manifest_of(world)
    assert (before["complete"], accepted(world)) == (False, FRAGMENTS - 1)
    assert isinstance(world.play(Kind.MID_CALL), Failed)
    assert manifest_of(world) == before


def test_event_without_a_stop_takes_over_one_that_is_never_listed() -> None:
    world = world_of(Media.STOP_UNLISTED)
    world.play(Kind.RECORD)
    assert codes(world) == {"STOP_NOT_LISTED"}
    assert isinstance(world.play(Kind.EVENT), Failed)
    assert codes(world) == {"STOP_NOT_LISTED"}


@pytest.mark.parametrize("media", [Media.EARLY_MISSING, Media.LATE_MISSING, Media.MALFORMED])
def test_run_to_the_end_replaces_a_short_one_that_was_complete(media: Media) -> None:
    world = world_of(media)
    short = job_until(2, has_stop=False)
    world.play(short)
    if media is not Media.EARLY_MISSING:
        assert manifest_of(world)["complete"] is True
    outcome = world.deliver(Kind.STOP_NUMBER, 5)
    assert not isinstance(outcome, Done)
    assert "the recording is published without everything" in str(outcome.failure)
    outcome = world.deliver(Kind.STOP_NUMBER, 10)
    assert isinstance(outcome, Failed)
    assert "this run found no better one" in str(outcome.failure)
    assert accepted(world) >= FRAGMENTS - 1
    assert manifest_of(world)["complete"] is False


def test_exact_stop_takes_away_what_was_streamed_after_it() -> None:
    world = world_of()
    world.play(Kind.STOP_TIME)
    assert accepted(world) == FRAGMENTS
    assert isinstance(world.play(job_until(19, has_stop=True)), Done)
    assert accepted(world) == 20
    assert manifest_of(world)["complete"] is True
    assert isinstance(world.play(Kind.STOP_TIME), Done)
    assert accepted(world) == 20


def test_exact_stop_never_loses_a_fragment_of_the_stretch() -> None:
    """The recording continues behind the stop, and holds what the retention has since removed."""
    world = world_of()
    world.play(Kind.STOP_TIME)
    world.stream = Stream(Media.WHOLE, removed=4)
    outcome = world.play(job_until(19, has_stop=True))
    assert isinstance(outcome, Failed)
    assert "this run found no better one" in str(outcome.failure)
    assert accepted(world) == FRAGMENTS
    assert manifest_of(world)["complete"] is False
    assert "AUDIO_BEHIND_STOP" in codes(world)


def test_two_stops_are_both_known_and_the_higher_is_the_end() -> None:
    first, second = job_until(19, has_stop=True), job_until(21, has_stop=True)
    ends = []
    for jobs in ((first, second), (second, first)):
        world = world_of()
        for job in jobs:
            assert isinstance(world.play(job), Done)
        named = manifest_of(world)["stretch"]["stopFragmentNumbers"]
        assert named == [str(stretch(Media.WHOLE).fragments[at].number) for at in (19, 21)]
        ends.append((world.archive.bucket.wav, manifest_of(world)["complete"]))
    assert ends[0] == ends[1]
    assert ends[0][1] is True


def test_told_is_written_down_without_reading_the_media_again() -> None:
    world = world_of()
    world.play(Kind.STOP_TIME)
    world.stream = Stream(Media.WHOLE, removed=FRAGMENTS)
    assert isinstance(world.play(Kind.STOP_NUMBER), Done)
    assert manifest_of(world)["stretch"]["stopFragmentNumbers"] == [
        str(stretch(Media.WHOLE).stop_fragment_number)
    ]
    assert manifest_of(world)["rangeEnd"] is None


# ------------------------------------------------------------------ the untagged


def test_a_stop_that_was_taken_over_proves_no_one_s_voice() -> None:
    world = world_of(Media.UNTAGGED_LAST)
    world.play(Kind.EVENT)
    assert accepted(world) == FRAGMENTS - 1
    assert codes(world) == {"UNTAGGED_REFUSED"}
    assert isinstance(world.play(Kind.STOP_NUMBER), Done)
    assert accepted(world) == FRAGMENTS
    assert manifest_of(world)["complete"] is True
    # Made again by a job that does not name the stop itself.
    del world.archive.bucket.objects[RECORDING]
    world.play(Kind.EVENT)
    assert accepted(world) == FRAGMENTS - 1
    assert manifest_of(world)["complete"] is False


# ------------------------------------------------------------------ the retention


def test_a_recording_with_the_start_stays_when_only_the_tail_is_left() -> None:
    world = world_of()
    world.play(Kind.MID_CALL)
    short = accepted(world)
    assert short < FRAGMENTS - 4
    world.stream = Stream(Media.WHOLE, removed=4)
    assert isinstance(world.play(Kind.STOP_NUMBER), Failed)
    assert accepted(world) == short
    assert manifest_of(world)["complete"] is False
    assert "HELD_BY_ANOTHER" in codes(world)
    assert manifest_of(world)["stretch"]["stopFragmentNumbers"]


def test_message_that_could_not_read_the_media_has_told_no_one() -> None:
    world = world_of()
    world.play(Kind.STOP_TIME)
    before = dict(world.archive.bucket.objects)
    world.stream = Stream(Media.WHOLE, removed=FRAGMENTS)
    outcome = world.play(job_until(19, has_stop=True))
    assert isinstance(outcome, Failed)
    assert world.archive.bucket.objects == before


# ------------------------------------------------------------------ runs that meet, or are killed


class KilledError(Exception):
    """The run is killed."""


def at(step: str, do: Callable[[], None]) -> Callable[[str], None]:
    """Something that happens once, at a step of a run."""
    left = [do]

    def on_step(name: str) -> None:
        if name == step and left:
            left.pop()()

    return on_step


def kill() -> None:
    raise KilledError


def run_with(world: World, on_step: Callable[[str], None]) -> World:
    """Another run over the same bucket."""
    archive = MemoryArchive(world.archive.bucket, world.archive.is_multipart, on_step)
    return replace(world, archive=archive)


STEPS = (
    "before GetObject",
    "before HeadObject",
    "before the recording is published",
    "after the recording is published",
    "before PutObject of the manifest",
    "after PutObject of the manifest",
)
PAIRS = [
    (Kind.MID_CALL, Kind.STOP_NUMBER),
    (Kind.STOP_NUMBER, Kind.MID_CALL),
    (Kind.EVENT, Kind.RECORD),
    (Kind.RECORD, Kind.EVENT),
    (Kind.MID_CALL, Kind.EVENT),
    (Kind.STOP_NUMBER, Kind.STOP_NUMBER),
]


@pytest.mark.parametrize("is_multipart", [False, True], ids=["one part", "many parts"])
@pytest.mark.parametrize("media", [Media.WHOLE, Media.EARLY_MISSING, Media.STOP_UNLISTED])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("kinds", PAIRS, ids=" and ".join)
def test_two_runs_at_once_end_as_one_after_the_other(
    kinds: tuple[Kind, Kind], step: str, media: Media, is_multipart: bool
) -> None:
    outer, inner = kinds
    world = world_of(media)
    world.archive.is_multipart = is_multipart
    outcomes: dict[Kind, Outcome] = {}

    def run_the_other() -> None:
        outcomes[inner] = world.deliver(inner, 5)

    outcomes[outer] = run_with(world, at(step, run_the_other)).deliver(outer, 5)
    for kind, outcome in outcomes.items():
        if isinstance(outcome, ComesBack):
            world.play(kind)
    expected = world_of(media)
    for kind in kinds:
        expected.play(kind)
    assert end_of(world) == end_of(expected)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("kinds", PAIRS, ids=" and ".join)
def test_a_run_that_was_killed_takes_nothing_with_it(kinds: tuple[Kind, Kind], step: str) -> None:
    killed, other = kinds
    world = world_of()
    with pytest.raises(KilledError):
        run_with(world, at(step, kill)).deliver(killed, 5)
    left = world.archive.bucket.wav
    world.deliver(other, 5)
    assert len(world.archive.bucket.wav or b"") >= len(left or b"")
    world.archive.bucket.now_ms += 20 * 60_000
    world.play(other)
    world.play(killed)
    world.play(other)
    expected = world_of()
    for kind in kinds:
        expected.play(kind)
    assert end_of(world) == end_of(expected)


def test_who_knows_less_never_replaces_a_longer_recording_without_its_manifest() -> None:
    world = world_of()
    with pytest.raises(KilledError):
        run_with(world, at("before PutObject of the manifest", kill)).deliver(Kind.STOP_NUMBER)
    longer = world.archive.bucket.wav
    outcome = world.deliver(Kind.MID_CALL)
    assert isinstance(outcome, ComesBack)
    assert outcome.failure.code == Code.PUBLISHED_MEANWHILE
    assert world.archive.bucket.wav == longer
    assert isinstance(world.deliver(Kind.STOP_NUMBER), Done)


def end_of(world: World) -> tuple[Any, ...]:
    manifest = manifest_of(world)
    return (
        world.archive.bucket.wav,
        manifest["complete"],
        manifest["stretch"]["stopFragmentNumbers"],
        manifest["fragments"]["missing"],
    )


# ------------------------------------------------------------------ the way out, what is foreign


def test_deleting_the_manifest_forgets_a_wrong_stop() -> None:
    world = world_of()
    wrong = json.loads(job_until(23, has_stop=True))
    wrong["stopFragmentNumber"] = str(int(wrong["stopFragmentNumber"]) + 1)
    world.play(json.dumps(wrong))
    assert codes(world) == {"STOP_NOT_LISTED"}
    world.play(Kind.STOP_NUMBER)
    assert codes(world) == {"STOP_NOT_LISTED"}
    world.archive.bucket.delete(MANIFEST)
    assert isinstance(world.play(Kind.STOP_NUMBER), Done)
    assert manifest_of(world)["complete"] is True
    assert manifest_of(world)["stretch"]["stopFragmentNumbers"] == [
        str(stretch(Media.WHOLE).stop_fragment_number)
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"contactId": "another"},
        {"instanceArn": "arn:aws:connect:eu-west-2:123456789012:instance/another"},
        {"streamArn": "arn:aws:kinesisvideo:eu-west-2:123456789012:stream/another/1"},
        {"recordingUri": "s3://my-calls/recordings/1.wav"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_manifest_of_another_stretch_is_foreign(changes: dict[str, Any]) -> None:
    world = world_of()
    start = stretch(Media.WHOLE).start_fragment_number
    ours = {"recordingUri": f"s3://my-calls/recordings/{start}.wav"}
    world.archive.bucket.place(b"RIFF", older_manifest(**ours | changes))
    before = dict(world.archive.bucket.objects)
    outcome = world.play(Kind.STOP_NUMBER)
    assert isinstance(outcome, Failed)
    assert outcome.failure.code == Code.FOREIGN_MANIFEST
    assert world.archive.bucket.objects == before


def test_an_older_manifest_is_taken_over() -> None:
    """It was partial, and named its stop: `rangeEnd` is null."""
    world = world_of()
    call = stretch(Media.WHOLE)
    numbers = [fragment.number for fragment in call.fragments]
    counts = {
        **older_manifest()["fragments"],
        "accepted": 23,
        "missing": [str(numbers[-1])],
        "last": str(numbers[-2]),
    }
    older = older_manifest(
        recordingUri=f"s3://my-calls/recordings/{numbers[0]}.wav",
        startedAt="2026-01-01T09:00:00.000Z",
        endedAt="2026-01-01T09:00:22.000Z",
        durationMs=22_080,
        complete=False,
        reasons=["STOP_NOT_LISTED: KVS does not list the stop fragment"],
        fragments=counts,
        rangeEnd=None,
    )
    world.archive.bucket.place(b"RIFF", older)
    assert isinstance(world.play(Kind.MID_CALL), Done)
    assert accepted(world) == FRAGMENTS
    assert manifest_of(world)["complete"] is True


# ------------------------------------------------------------------ the values

KNOWLEDGE = st.builds(
    Knowledge,
    st.frozensets(st.integers(1, 20), max_size=3),
    st.none() | st.integers(1, 9),
    st.integers(0, 9),
).map(lambda knowledge: knowledge | Knowledge())


@given(KNOWLEDGE, KNOWLEDGE, KNOWLEDGE)
def test_knowledge_only_grows_in_any_order(a: Knowledge, b: Knowledge, c: Knowledge) -> None:
    assert a | b == b | a
    assert (a | b) | c == a | (b | c)
    assert a | a == a
    assert a <= a | b
    assert not (a <= b <= c) or a <= c


def test_what_is_held_is_compared_by_runs() -> None:
    whole = Held((Run(1, 9),), 9)
    assert whole >= Held((Run(1, 4), Run(6, 9)), 8)
    assert not Held((Run(1, 4), Run(6, 9)), 8) >= whole
    assert not Held((Run(1, 9),), 8) >= whole
    assert whole.up_to(4) >= Held((Run(1, 4),), 4)
    assert whole.up_to(20) is whole
    assert Held((), 0).first == Held((), 0).last == 0
    assert whole >= Held((), 0)
    assert not Held((), 0) >= whole


def test_an_older_recording_is_compared_by_its_ends_and_its_count() -> None:
    older = Held((Run(1, 9),), 8, is_exact=False)
    assert Held((Run(1, 4), Run(6, 9)), 8) >= older
    assert older >= Held((Run(1, 4), Run(6, 9)), 8)
    assert not Held((Run(1, 9),), 7) >= older
    assert not Held((Run(2, 9),), 8) >= older


def test_bucket_refuses_as_s3_does() -> None:
    bucket = Bucket()
    etag = bucket.put("k", b"1", {}, "", 0)
    assert isinstance(etag, str)
    assert bucket.put("k", b"2", {}, "", 0) is not etag
    assert bucket.objects["k"].body == b"1"
