"""What a run does next, one answer of S3 at a time."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from call_archive.errors import StorageFaultError
from call_archive.job import ArchiveJob, Trigger, decode_job
from call_archive.limits import MAX_CALL_MS
from call_archive.media.pcm import Direction
from call_archive.reasons import Code, Reason, Refusal, Service
from call_archive.recording.knowledge import Held, Knowledge, Run
from call_archive.recording.manifest import (
    FragmentCounts,
    Manifest,
    RecordedCall,
    StoredRecording,
    build_manifest,
)
from call_archive.recording.publishing import (
    ORPHAN_AGE_MS,
    AddKnowledge,
    Answer,
    Command,
    FindRecording,
    Kept,
    Look,
    Nothing,
    NotPublished,
    Own,
    Published,
    PutManifest,
    PutRecording,
    Read,
    Seen,
    SeenManifest,
    SeenRecording,
    Tag,
    add_knowledge,
    knowledge_of,
    plan,
    publish,
)
from call_archive.recording.timeline import Hole
from call_archive.worker import Done, Failed
from tests.support.bucket import finish
from tests.support.stretch import Kind, Media, Stream, body_of, new_world

JOB: ArchiveJob = decode_job(json.loads(body_of(Kind.STOP_NUMBER, Media.WHOLE)))
START = JOB.start_fragment_number
TOLD = Knowledge(frozenset((START + 20,)), JOB.stop_timestamp_ms)
STORED = StoredRecording("s3://b/k", "ours", 1044, "ab" * 32)
GONE = (Reason(Code.GONE, "something"),)
NOW_MS = JOB.end_bound_ms + 60_000


def call(
    *runs: tuple[int, int], samples: int | None = None, is_complete: bool = True
) -> RecordedCall:
    """A call that holds fragments START + first to START + last."""
    held = tuple(Run(START + first, START + last) for first, last in runs)
    count = sum(run.last - run.first + 1 for run in held)
    return RecordedCall(
        tracks=(Direction.FROM_CUSTOMER,),
        started_at_ms=JOB.start_timestamp_ms,
        samples=count * 8000 if samples is None else samples,
        fragments=FragmentCounts(count, count, count, 0, 0, (), held[-1].last),
        gaps=(),
        overlaps=(),
        clock_jumps=0,
        reasons=() if is_complete else GONE,
        may_improve=not is_complete,
        held=Held(held, count),
    )


def own(recorded: RecordedCall, told: Knowledge = TOLD) -> Own:
    return Own(
        job=JOB,
        call=recorded,
        known=told,
        size_bytes=44 + 2 * recorded.samples,
        searched_to_ms=JOB.end_bound_ms,
        trigger=Trigger.FLOW,
        now_ms=NOW_MS,
    )


def manifest_of(recorded: RecordedCall, told: Knowledge = TOLD) -> Manifest:
    return build_manifest(
        JOB,
        recorded,
        STORED,
        known=told,
        range_end_ms=None if told.stops else JOB.end_bound_ms,
        trigger=Trigger.FLOW,
        archived_at_ms=JOB.end_bound_ms,
    )


def seen(manifest: Manifest, *, etag: str = "theirs") -> Seen:
    return Seen(SeenRecording(etag, manifest.size_bytes, 0), SeenManifest("m", "theirs", manifest))


def answering(*answers: Answer) -> tuple[Callable[[Command], Answer], list[Command]]:
    """S3, by its answers in order; and what it was asked."""
    left, asked = list(answers), list[Command]()

    def do(command: Command) -> Answer:
        asked.append(command)
        return left.pop(0)

    return do, asked


OVERTAKEN = Reason(
    Code.PUBLISHED_MEANWHILE,
    "another run is publishing this call, knows more of it, or has left a longer recording "
    "without a manifest",
)


def overtaken(error: StorageFaultError) -> bool:
    return error.reason == OVERTAKEN and error.retryable


# ------------------------------------------------------------------ before the media

ENDS_MS = JOB.end_bound_ms
BY_TIME = replace(JOB, stop_fragment_number=None)
NO_TIME = replace(BY_TIME, stop_timestamp_ms=None, requested_at_ms=ENDS_MS - 3)


@pytest.mark.parametrize(
    ("job", "known"),
    [
        (JOB, Knowledge(frozenset((JOB.stop_fragment_number or 0,)), ENDS_MS)),
        (BY_TIME, Knowledge(end_ms=ENDS_MS)),
        (NO_TIME, Knowledge(end_ms=ENDS_MS - 3)),
        (replace(NO_TIME, end_is_known=False), Knowledge()),
        (replace(BY_TIME, end_is_known=False), Knowledge(end_ms=ENDS_MS)),
    ],
)
def test_a_job_knows_the_end_that_connect_gave(job: ArchiveJob, known: Knowledge) -> None:
    assert knowledge_of(job) == known


def searched(known: Knowledge, end_ms: int | None, *, is_complete: bool = True) -> Manifest:
    """The manifest of fragments 0 to 20; `end_ms` is the end of its search."""
    manifest = manifest_of(call((0, 20), is_complete=is_complete), known)
    return replace(manifest, range_end_ms=end_ms)


def until(last: int) -> ArchiveJob:
    return replace(JOB, stop_fragment_number=START + last)


STOP_20, STOP_25 = frozenset((START + 20,)), frozenset((START + 25,))


@pytest.mark.parametrize(
    ("job", "manifest", "expected"),
    [
        (BY_TIME, searched(Knowledge(end_ms=ENDS_MS), ENDS_MS), Nothing),
        (BY_TIME, searched(Knowledge(end_ms=ENDS_MS), ENDS_MS - 1), Read),
        (BY_TIME, searched(Knowledge(STOP_20), None), Nothing),
        (BY_TIME, searched(Knowledge(), None), Read),
        (until(20), searched(Knowledge(STOP_20), None), Nothing),
        (until(20), searched(Knowledge(STOP_25), None), Read),
        (until(20), searched(Knowledge(), ENDS_MS), AddKnowledge),
        (until(21), searched(Knowledge(), ENDS_MS), Read),
        (BY_TIME, searched(Knowledge(STOP_20), None, is_complete=False), Read),
    ],
)
def test_media_is_read_unless_a_complete_recording_answers_the_job(
    job: ArchiveJob, manifest: Manifest, expected: type
) -> None:
    assert isinstance(plan(job, seen(manifest)), expected)
    assert isinstance(plan(job, seen(manifest, etag="not described")), Read)


def test_a_stop_that_the_recording_ends_at_is_all_that_its_manifest_lacks() -> None:
    manifest = replace(
        searched(Knowledge(end_ms=ENDS_MS - 9), ENDS_MS - 9), start_fragment_number=None
    )
    needed = plan(until(20), seen(manifest))
    assert needed == AddKnowledge(
        replace(
            manifest,
            known=Knowledge(STOP_20, ENDS_MS),
            range_end_ms=None,
            start_fragment_number=START,
        )
    )


@pytest.mark.parametrize(
    ("job", "known", "stop", "end_ms"),
    [
        (BY_TIME, Knowledge(end_ms=ENDS_MS + 7000), None, ENDS_MS + 7000),
        (BY_TIME, Knowledge(end_ms=ENDS_MS - 7000), None, ENDS_MS),
        (BY_TIME, Knowledge(STOP_25), START + 25, ENDS_MS),
        (JOB, Knowledge(STOP_25), max(START + 25, JOB.stop_fragment_number or 0), ENDS_MS),
        (BY_TIME, Knowledge(end_ms=1 << 44), None, JOB.start_timestamp_ms + MAX_CALL_MS),
    ],
)
def test_what_others_knew_widens_the_search(
    job: ArchiveJob, known: Knowledge, stop: int | None, end_ms: int
) -> None:
    needed = plan(job, seen(searched(known, ENDS_MS, is_complete=False)))
    assert isinstance(needed, Read)
    assert needed.known == known | knowledge_of(job)
    assert needed.search == replace(job, stop_fragment_number=stop, stop_timestamp_ms=end_ms)


@pytest.mark.parametrize("later_ms", [-60_000, 0, 60_000])
def test_the_listing_reaches_what_the_recording_holds(later_ms: int) -> None:
    """A recording may end behind the job's time; a fragment that it has is not missing."""
    manifest = searched(Knowledge(), ENDS_MS, is_complete=False)
    needed = plan(BY_TIME, seen(replace(manifest, ended_at_ms=ENDS_MS + later_ms)))
    assert isinstance(needed, Read)
    assert needed.list_to_ms == ENDS_MS + max(0, later_ms)
    assert plan(BY_TIME, Seen()) == Read(knowledge_of(BY_TIME), BY_TIME, ENDS_MS)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("contactId", {"contact_id": "x"}),
        ("instanceArn", {"instance_arn": "x"}),
        ("streamArn", {"stream_arn": "x"}),
        ("start fragment", {"start_fragment_number": START + 1}),
    ],
)
def test_the_manifest_of_another_stretch_is_refused_and_says_why(
    name: str, other: dict[str, Any]
) -> None:
    manifest = replace(manifest_of(call((0, 20))), **other)
    with pytest.raises(StorageFaultError, match=f"its {name} differs; move it") as caught:
        plan(JOB, seen(manifest))
    assert caught.value.code == Code.FOREIGN_MANIFEST
    assert not caught.value.retryable


def test_a_manifest_that_does_not_name_its_stretch_is_no_other_ones() -> None:
    older = replace(manifest_of(call((0, 20))), start_fragment_number=None)
    assert older.stretch_start is None
    assert isinstance(plan(JOB, seen(older)), Nothing | AddKnowledge | Read)


# ------------------------------------------------------------------ one way after the other


def test_first_recording_is_published_if_nothing_is_there() -> None:
    do, asked = answering(STORED, True, "ours")
    result = finish(publish(own(call((0, 20))), Seen()), do)
    assert isinstance(result, Published)
    assert result.manifest.is_complete
    assert asked == [
        PutRecording("", is_complete=True),
        PutManifest(result.manifest, "ours", ""),
        FindRecording(),
    ]


def test_failure_of_the_tag_is_told_when_the_manifest_is_there() -> None:
    stored = replace(STORED, needs_tag=True)
    fault = StorageFaultError(Refusal(Service.S3, "AccessDenied"), "no tags")
    do, asked = answering(stored, fault, True, "ours")
    result = finish(publish(own(call((0, 20))), Seen()), do)
    assert isinstance(result, Published)
    assert result.fault is fault
    assert asked[1] == Tag(stored, is_complete=True)


def test_conflict_voids_the_upload_and_the_run_comes_back() -> None:
    do, asked = answering(NotPublished.CONFLICT)
    with pytest.raises(StorageFaultError) as caught:
        finish(publish(own(call((0, 20))), Seen()), do)
    assert overtaken(caught.value)
    assert len(asked) == 1


def test_run_that_is_refused_again_and_again_comes_back() -> None:
    there = seen(manifest_of(call((0, 3), is_complete=False)))
    do, asked = answering(*(NotPublished.CONDITION, there) * 3)
    with pytest.raises(StorageFaultError) as caught:
        finish(publish(own(call((0, 20))), Seen()), do)
    assert overtaken(caught.value)
    assert [type(command) for command in asked] == [PutRecording, Look] * 3
    assert asked[2] == PutRecording("theirs", is_complete=True)


def test_manifest_that_is_refused_again_and_again_comes_back() -> None:
    ours = Seen(SeenRecording("ours", 1044, 0))
    do, _ = answering(STORED, *(False, ours) * 3)
    with pytest.raises(StorageFaultError) as caught:
        finish(publish(own(call((0, 20))), Seen()), do)
    assert overtaken(caught.value)


@pytest.mark.parametrize("now", [None, SeenRecording("another's", 1044, 0)])
def test_a_recording_that_another_run_replaced_gets_no_manifest(now: SeenRecording | None) -> None:
    do, asked = answering(STORED, False, Seen(now))
    with pytest.raises(StorageFaultError) as caught:
        finish(publish(own(call((0, 20))), Seen()), do)
    assert overtaken(caught.value)
    assert [type(command) for command in asked] == [PutRecording, PutManifest, Look]


def test_manifest_whose_answer_was_lost_is_written_over() -> None:
    mine = manifest_of(call((0, 20)))
    there = Seen(SeenRecording("ours", 1044, 0), SeenManifest("m2", "ours", mine))
    do, asked = answering(STORED, False, there, True, "ours")
    assert isinstance(finish(publish(own(call((0, 20))), Seen()), do), Published)
    assert isinstance(asked[3], PutManifest)
    assert asked[3].replaces == "m2"


def test_who_was_told_more_meanwhile_is_not_written_over() -> None:
    more = manifest_of(call((0, 20)), Knowledge(frozenset((START + 20, START + 25))))
    there = Seen(SeenRecording("ours", 1044, 0), SeenManifest("m2", "before", more))
    do, _ = answering(STORED, False, there)
    with pytest.raises(StorageFaultError) as caught:
        finish(publish(own(call((0, 20))), Seen()), do)
    assert overtaken(caught.value)


def test_a_run_that_learns_that_another_knows_more_writes_nothing() -> None:
    more = manifest_of(call((0, 3)), Knowledge(frozenset((START + 25,))))
    with pytest.raises(StorageFaultError) as caught:
        publish(own(call((0, 20))), seen(more)).send(None)
    assert overtaken(caught.value)


def test_a_recording_that_is_replaced_before_its_manifest_was_written_comes_back() -> None:
    do, asked = answering(STORED, True, "another's")
    with pytest.raises(StorageFaultError) as caught:
        finish(publish(own(call((0, 20))), Seen()), do)
    assert overtaken(caught.value)
    assert asked[-1] == FindRecording()


def test_telling_is_refused_if_another_was_faster() -> None:
    manifest = manifest_of(call((0, 20)))
    do, asked = answering(False)
    with pytest.raises(StorageFaultError) as caught:
        finish(add_knowledge(manifest, seen(manifest)), do)
    assert overtaken(caught.value)
    assert asked == [PutManifest(manifest, "theirs", "m")]


def test_what_is_kept_learns_although_another_wrote_meanwhile() -> None:
    theirs = manifest_of(call((0, 20)), Knowledge(end_ms=JOB.end_bound_ms))
    shorter = own(call((0, 3), (5, 20), is_complete=False))
    do, asked = answering(False, seen(theirs), True)
    result = finish(publish(shorter, seen(theirs)), do)
    assert isinstance(result, Kept)
    assert result.manifest.knowledge == TOLD
    assert [type(command) for command in asked] == [PutManifest, Look, PutManifest]


# ------------------------------------------------------------------ which of two stays


def decided(ours: RecordedCall, theirs: RecordedCall, known: Knowledge = TOLD) -> Command | Kept:
    """The first command, or that the earlier recording is kept as it is."""
    steps = publish(own(ours), seen(manifest_of(theirs, known)))
    try:
        return steps.send(None)
    except StopIteration as end:
        return Kept(end.value.manifest)


@pytest.mark.parametrize(
    ("ours", "theirs", "replaces"),
    [
        (call((0, 20)), call((0, 3), (5, 20), is_complete=False), True),
        (call((0, 3), (5, 20), is_complete=False), call((0, 20)), False),
        (call((0, 20)), call((0, 20)), False),
        (call((0, 20), samples=9), call((0, 20), samples=9, is_complete=False), True),
        (call((0, 20), samples=9, is_complete=False), call((0, 20), samples=9), False),
        (call((0, 20), samples=90_000), call((0, 20), samples=80_000), True),
        (call((0, 20), samples=80_000), call((0, 20), samples=90_000), False),
        # Neither holds all of the other: the start, then more audio.
        (call((0, 9), is_complete=False), call((2, 20), is_complete=False), True),
        (call((2, 20), is_complete=False), call((0, 9), is_complete=False), False),
        (call((0, 3), (5, 20), is_complete=False), call((0, 4), is_complete=False), True),
        (call((0, 4), is_complete=False), call((0, 3), (5, 20), is_complete=False), False),
        (call((0, 3), (5, 20), is_complete=False), call((0, 4), (6, 20), is_complete=False), False),
        # What is behind the stop is not of the stretch.
        (call((0, 20)), call((0, 24)), True),
        (call((1, 20), is_complete=False), call((0, 24)), False),
    ],
)
def test_the_better_recording_stays(
    ours: RecordedCall, theirs: RecordedCall, replaces: bool
) -> None:
    command = decided(ours, theirs)
    assert isinstance(command, PutRecording) is replaces
    if isinstance(command, PutRecording):
        assert command.replaces == "theirs"


def test_new_knowledge_takes_complete_away() -> None:
    by_time = Knowledge(end_ms=JOB.end_bound_ms)
    incomplete = replace(
        call((0, 19), is_complete=False),
        fragments=FragmentCounts(20, 20, 20, 0, 0, (START + 20,), START + 19),
    )
    command = decided(incomplete, call((0, 19)), by_time)
    assert command == PutRecording("theirs", is_complete=False)
    command = decided(replace(incomplete, held=call((0, 18)).held), call((0, 19)), by_time)
    assert isinstance(command, PutManifest)
    assert not command.manifest.is_complete
    assert command.manifest.fragments.missing == (START + 20,)
    assert command.manifest.reasons == ("GONE: something",)


def test_a_recording_that_is_just_as_good_is_kept_without_a_word() -> None:
    theirs = call((0, 20))
    assert decided(theirs, theirs) == Kept(manifest_of(theirs))


def lacking(*runs: tuple[int, int], missing: tuple[int, ...] = ()) -> RecordedCall:
    """An incomplete call that names fragments as missing."""
    recorded = call(*runs, is_complete=False)
    numbers = tuple(START + number for number in missing)
    return replace(recorded, fragments=replace(recorded.fragments, missing=numbers))


BY_END = Knowledge(end_ms=ENDS_MS)
BEHIND = "AUDIO_BEHIND_STOP: the recording goes on behind the stop fragment, which was named later"
LATER = "HELD_BY_ANOTHER: a later run found fragments that this recording lacks, and lacked others"
EARLIER = ("THEIRS: x",)


@pytest.mark.parametrize(
    ("ours", "theirs", "reasons"),
    [
        # What it misses is in the earlier recording.
        (lacking((0, 18), missing=(19, 20)), call((0, 20)), ()),
        (lacking((0, 3), (5, 20), missing=(4,)), call((0, 20)), ()),
        # A fragment that neither holds; a stop behind all that the earlier one holds.
        (lacking((0, 3), (6, 20), missing=(4,)), call((0, 3), (5, 20)), ("GONE: something",)),
        (lacking((0, 18)), call((0, 19)), ("GONE: something",)),
        (lacking((1, 20)), call((0, 24)), (BEHIND,)),
        (lacking((2, 20)), call((0, 9), (11, 20)), (LATER,)),
    ],
)
def test_a_kept_recording_is_incomplete_if_a_run_knows_why(
    ours: RecordedCall, theirs: RecordedCall, reasons: tuple[str, ...]
) -> None:
    for earlier in ((), EARLIER):
        there = replace(manifest_of(theirs, BY_END), reasons=earlier, is_complete=not earlier)
        command = publish(own(ours), seen(there)).send(None)
        assert isinstance(command, PutManifest)
        assert command.manifest.reasons == earlier + reasons
        assert command.manifest.is_complete is (not earlier and not reasons)
        missing = set(ours.fragments.missing) if reasons and ours.fragments.missing else set()
        assert set(command.manifest.fragments.missing) == missing


@pytest.mark.parametrize("later_ms", [-9, 0, 9])
def test_a_kept_recording_is_searched_as_far_as_the_further_of_two_runs(later_ms: int) -> None:
    theirs = replace(manifest_of(call((0, 20)), BY_END), range_end_ms=ENDS_MS)
    ours = replace(
        own(lacking((0, 18)), Knowledge(end_ms=ENDS_MS + 1)), searched_to_ms=ENDS_MS + later_ms
    )
    command = publish(ours, seen(theirs)).send(None)
    assert isinstance(command, PutManifest)
    assert command.manifest.range_end_ms == ENDS_MS + max(0, later_ms)
    assert command.manifest.reasons == ()


@pytest.mark.parametrize(("known", "end_ms"), [(TOLD, None), (BY_END, ENDS_MS)])
def test_a_manifest_says_what_its_run_knew(known: Knowledge, end_ms: int | None) -> None:
    do, _ = answering(replace(STORED, needs_tag=True), None, True, "ours")
    result = finish(publish(own(call((0, 20)), known), Seen()), do)
    assert isinstance(result, Published)
    assert result.manifest == replace(manifest_of(call((0, 20)), known), archived_at_ms=NOW_MS)
    assert (result.manifest.known, result.manifest.range_end_ms) == (known, end_ms)
    assert result.fault is None


def test_silence_of_two_tracks_counts_half() -> None:
    """Rounded like the silence of the manifest: equal recordings have equal audio."""
    both = replace(
        call((0, 20)),
        tracks=(Direction.FROM_CUSTOMER, Direction.TO_CUSTOMER),
        gaps=(Hole(Direction.FROM_CUSTOMER, 0, 8 * 25), Hole(Direction.TO_CUSTOMER, 0, 8 * 20)),
    )
    incomplete = replace(both, reasons=GONE, may_improve=True)
    assert decided(both, incomplete) == PutRecording("theirs", is_complete=True)


@pytest.mark.parametrize(
    ("ours", "orphan", "replaces"),
    [
        (call((0, 20)), SeenRecording("o", 336_044, 0), True),
        (call((0, 20)), SeenRecording("o", 400_044, 0), True),
        (call((0, 20)), SeenRecording("o", 400_044, 0, frozenset((START + 20,))), True),
        (call((0, 20)), SeenRecording("o", 400_044, 0, frozenset((START + 21,))), False),
        (call((0, 20), is_complete=False), SeenRecording("o", 400_044, 10**9), False),
        (call((0, 20), is_complete=False), SeenRecording("o", 336_044, ORPHAN_AGE_MS), False),
        (call((0, 20), is_complete=False), SeenRecording("o", 336_044, ORPHAN_AGE_MS + 1), True),
    ],
)
def test_recording_without_a_manifest_is_judged_by_length_and_stop(
    ours: RecordedCall, orphan: SeenRecording, replaces: bool
) -> None:
    do, asked = answering(Seen(orphan), STORED, True, "ours")
    steps = publish(own(ours), Seen(orphan))
    if replaces:
        assert isinstance(finish(steps, do), Published)
        assert asked[1] == PutRecording("o", is_complete=ours.is_complete)
    else:
        with pytest.raises(StorageFaultError) as caught:
            finish(steps, do)
        assert overtaken(caught.value)


def test_what_the_other_held_is_named() -> None:
    world = new_world(Media.LATE_MISSING, (Direction.FROM_CUSTOMER,))
    world.stream = Stream(Media.WHOLE, removed=4)
    assert isinstance(world.play(Kind.STOP_NUMBER), Failed)
    world.stream = Stream(Media.LATE_MISSING)
    assert isinstance(world.play(Kind.STOP_NUMBER), Failed)
    manifest = world.archive.bucket.manifest
    assert manifest is not None
    (named,) = (reason for reason in manifest["reasons"] if reason.startswith("HELD_BY_ANOTHER"))
    assert "held fragments that this one lacks" in named
    world.stream = Stream(Media.WHOLE)
    assert isinstance(world.play(Kind.STOP_NUMBER), Done)


@pytest.mark.parametrize("wrong", [None, "etag", STORED])
def test_an_answer_to_another_question_is_a_bug(wrong: Answer) -> None:
    do, _ = answering(NotPublished.CONDITION, wrong)
    with pytest.raises(TypeError) as caught:
        finish(publish(own(call((0, 20))), Seen()), do)
    assert caught.value.args == (wrong,)
    with pytest.raises(ValueError, match="Seen"):
        finish(add_knowledge(manifest_of(call((0, 20))), Seen()), do)
