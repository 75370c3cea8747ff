"""Runs that meet, are killed between any two steps, or lose an answer: nothing known is lost.

Up to three runs at once over one model of S3, one request at a time, in any order. The model of
what KVS has, of what a run may find in it, and of what has to hold in the end is written here,
apart from the code; from the code come `plan`, `publish` and the values between them.
"""

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from call_archive.errors import StorageFaultError
from call_archive.job import ArchiveJob, Trigger
from call_archive.media.pcm import Direction
from call_archive.reasons import Code, Reason
from call_archive.recording.knowledge import HeldBuilder, Knowledge
from call_archive.recording.manifest import FragmentCounts, RecordedCall
from call_archive.recording.publishing import (
    AddKnowledge,
    Answer,
    Command,
    Kept,
    Nothing,
    Own,
    Published,
    PutManifest,
    PutRecording,
    Read,
    Steps,
    add_knowledge,
    plan,
    publish,
)
from tests.support.arns import INSTANCE_ARN, STREAM_ARN
from tests.support.bucket import (
    MANIFEST,
    RECORDING,
    Bucket,
    MemoryArchive,
    MemoryRecording,
    answer_of,
)
from tests.support.machines import explored

START, STOP, NEXT_STRETCH = 100, 111, range(112, 115)
"""The stretch's fragments, one a second, and those of the same contact's next stretch."""

UNLISTED = 130
START_MS = 1_767_258_000_000
HEADER = b"RIFF" + bytes(40)
FRAGMENT_BYTES = 1000
OLDER_THAN_ANY_RUN_MS = 16 * 60_000


class Told(StrEnum):
    """What a message knows of the stretch."""

    MID_CALL = "a time in the middle"
    END_TIME = "the time of the end"
    LATE_TIME = "a time in the next stretch"
    GUESSED = "a time that replaces a missing one"
    STOP = "the stop fragment"
    WRONG_STOP = "a fragment that KVS never lists"
    LOW_STOP = "a stop fragment in the middle"


STOPS = {Told.STOP: STOP, Told.WRONG_STOP: UNLISTED, Told.LOW_STOP: START + 7}
ENDS = {Told.MID_CALL: 5, Told.END_TIME: 11, Told.LATE_TIME: 13, Told.GUESSED: 14}


def job_of(told: Told) -> ArchiveJob:
    stop = STOPS.get(told)
    end_ms = START_MS + 1000 * (ENDS[told] if stop is None else min(stop, STOP) - START)
    return ArchiveJob(
        contact_id="c-1",
        initial_contact_id="c-1",
        instance_arn=INSTANCE_ARN,
        stream_arn=STREAM_ARN,
        start_fragment_number=START,
        start_timestamp_ms=START_MS,
        stop_fragment_number=stop,
        stop_timestamp_ms=end_ms if stop is not None else None,
        requested_at_ms=end_ms,
        end_is_known=told is not Told.GUESSED,
    )


@dataclass
class Media:
    """What KVS lists, and what of it it does not deliver."""

    listed: set[int] = field(default_factory=lambda: {*range(START, STOP + 1), *NEXT_STRETCH})
    lost: set[int] = field(default_factory=set)

    def read(self, needed: Read) -> RecordedCall | None:
        """What a run finds; None if there is nothing."""
        stop, furthest = needed.search.stop_fragment_number, needed.known.furthest
        seconds = (needed.search.end_bound_ms - START_MS) // 1000
        last = stop if stop is not None else max(START + seconds, furthest)
        listed = sorted(number for number in self.listed if START <= number <= last)
        found = [number for number in listed if number not in self.lost]
        if not found:
            return None
        builder = HeldBuilder()
        for number in found:
            builder.add(listed.index(number), number)
        missing = {*listed} - {*found} | ({START, *needed.known.stops} - {*listed})
        reasons = [Reason(Code.NOT_DELIVERED, f"{number}") for number in sorted(missing)]
        if stop is None and furthest > found[-1]:
            reasons.append(Reason(Code.HELD_BY_ANOTHER, "not so far"))
        return RecordedCall(
            tracks=(Direction.FROM_CUSTOMER,),
            started_at_ms=START_MS,
            samples=8000 * len(found),
            fragments=FragmentCounts(
                len(listed), len(found), len(found), 0, 0, tuple(sorted(missing)), found[-1]
            ),
            gaps=(),
            overlaps=(),
            clock_jumps=0,
            reasons=reasons,
            may_improve=bool(reasons),
            held=builder.build(),
        )


def body_of(numbers: list[int]) -> bytes:
    """A recording that says which fragments it holds."""
    return json.dumps(numbers).encode().ljust(FRAGMENT_BYTES * len(numbers))


def numbers_in(recording: bytes) -> list[int]:
    numbers: list[int] = json.loads(recording[len(HEADER) :])
    return numbers


class Run:
    """A message in the hands of a run, which does one request at a time."""

    def __init__(self, told: Told, bucket: Bucket, media: Media, *, is_multipart: bool) -> None:
        self.told = told
        self.result: object = None
        self.ended = False
        self._archive = MemoryArchive(bucket, is_multipart=is_multipart)
        self._media = media
        self._steps: Steps[Any] | None = None
        self._recording: MemoryRecording | None = None
        self._command: Command | None = None
        self._needed: Read | None = None

    def step(self, *, is_answer_lost: bool = False) -> Command | None:
        """One request, or the reading of the media; the command that was done."""
        if self._steps is None:
            self._begin()
            return None
        if self._command is None:
            self._advance(None)
            return None
        command = self._command
        answer = self._do(command, is_answer_lost=is_answer_lost)
        self._advance(answer)
        return command

    def interrupt(self) -> None:
        """Ends the run, not its message: the next step begins another run."""
        self._steps, self._command = None, None

    def _begin(self) -> None:
        archive = self._archive
        seen = archive.look()
        needed = plan(job_of(self.told), seen)
        if isinstance(needed, Nothing):
            self.result, self.ended = needed, True
        elif isinstance(needed, AddKnowledge):
            self._steps = add_knowledge(needed.manifest, seen)
        else:
            call = self._media.read(needed)
            if call is None:
                self.ended = True
                return
            held = [n for run in call.held.runs for n in range(run.first, run.last + 1)]
            self._recording = MemoryRecording(
                archive, needed.known.stops, is_multipart=archive.is_multipart
            )
            self._recording.write(body_of(held))
            own = Own(
                job=job_of(self.told),
                call=call,
                known=needed.known | Knowledge(furthest=call.fragments.last),
                size_bytes=len(HEADER) + self._recording.pcm_bytes,
                searched_to_ms=needed.search.end_bound_ms,
                trigger=Trigger.FLOW,
                now_ms=archive.bucket.now_ms,
            )
            self._steps = publish(own, seen)

    def _do(self, command: Command, *, is_answer_lost: bool) -> Answer:
        archive, recording = self._archive, self._recording
        if recording is None:
            recording = MemoryRecording(archive, frozenset(), is_multipart=False)
        answer = answer_of(command, archive, recording, HEADER)
        if is_answer_lost and isinstance(command, PutManifest):
            # botocore asks again, and meets its own object.
            answer = answer_of(command, archive, recording, HEADER)
        return answer

    def _advance(self, answer: Answer) -> None:
        assert self._steps is not None
        try:
            self._command = self._steps.send(answer)
        except StopIteration as end:
            self.result, self.ended = end.value or Nothing(), True
        except StorageFaultError:
            self.interrupt()  # the message comes back

    @property
    def has_told(self) -> bool:
        return isinstance(self.result, Published | Kept | Nothing)


class PublishingMachine(RuleBasedStateMachine):
    """Messages, runs, kills, time, and a stream that loses what it had."""

    def __init__(self) -> None:
        super().__init__()
        self.bucket = Bucket(now_ms=START_MS + 3_600_000)
        self.media = Media()
        self.runs: list[Run] = []
        self.waiting: list[Told] = []
        self.told: set[Told] = set()
        self.has_changed = False
        self.before: dict[str, bytes] = {}

    # ------------------------------------------------------------------ what happens

    @precondition(lambda self: len(self.runs) < 3)
    @rule(told=st.sampled_from(Told), is_multipart=st.booleans())
    def message_comes(self, told: Told, is_multipart: bool) -> None:
        self.runs.append(Run(told, self.bucket, self.media, is_multipart=is_multipart))

    @precondition(lambda self: self.runs)
    @rule(which=st.integers(0, 2), is_answer_lost=st.booleans())
    def step(self, which: int, is_answer_lost: bool) -> None:
        self._step(self.runs[which % len(self.runs)], is_answer_lost=is_answer_lost)

    @precondition(lambda self: self.runs)
    @rule(which=st.integers(0, 2))
    def run_to_the_end(self, which: int) -> None:
        self._finish(self.runs[which % len(self.runs)])

    @precondition(lambda self: self.runs)
    @rule(which=st.integers(0, 2))
    def kill(self, which: int) -> None:
        killed = self.runs.pop(which % len(self.runs))
        self.waiting.append(killed.told)

    @precondition(lambda self: self.waiting and len(self.runs) < 3)
    @rule(is_multipart=st.booleans())
    def killed_message_comes_back(self, is_multipart: bool) -> None:
        self.message_comes(self.waiting.pop(0), is_multipart)

    @rule()
    def time_passes(self) -> None:
        """Longer than any run lasts, so no run that has begun survives it."""
        for run in self.runs:
            run.interrupt()
        self.bucket.now_ms += OLDER_THAN_ANY_RUN_MS

    @rule(count=st.integers(1, 9))
    def retention_removes_the_head(self, count: int) -> None:
        self.media.listed -= set(range(START, START + count))
        self.has_changed = True

    @rule(number=st.integers(START, STOP))
    def fragment_is_lost(self, number: int) -> None:
        self.media.lost.add(number)
        self.has_changed = True

    @rule()
    def lost_fragments_come_back(self) -> None:
        self.has_changed |= bool(self.media.lost)
        self.media.lost.clear()

    # ------------------------------------------------------------------ what has to hold

    @invariant()
    def manifest_describes_its_recording(self) -> None:
        seen = MemoryArchive(self.bucket).look()
        if seen.described is None:
            return
        held = numbers_in(self.bucket.objects[RECORDING].body)
        runs = seen.described.held.runs
        assert all(any(run.first <= n <= run.last for run in runs) for n in held)
        assert seen.described.held.count == len(held)

    @invariant()
    def what_was_told_is_known(self) -> None:
        knowledge = MemoryArchive(self.bucket).look().knowledge
        stops = {STOPS[told] for told in self.told if told in STOPS}
        assert stops <= knowledge.stops
        ends = [ENDS[told] for told in self.told if told in ENDS and told is not Told.GUESSED]
        if ends and not knowledge.stops:
            described = MemoryArchive(self.bucket).look().manifest
            assert described is not None
            reached_ms = max(knowledge.end_ms or 0, described.manifest.range_end_ms or 0)
            assert reached_ms >= START_MS + 1000 * max(ends)

    @invariant()
    def complete_is_whole(self) -> None:
        seen = MemoryArchive(self.bucket).look()
        if seen.described is None or not seen.described.is_complete:
            return
        held = numbers_in(self.bucket.objects[RECORDING].body)
        stop = max(seen.knowledge.stops, default=None)
        assert UNLISTED not in seen.knowledge.stops
        assert held == [*range(START, held[-1] + 1)]
        if stop is not None:
            assert held[-1] == stop
        else:
            assert held[-1] >= START + max((ENDS[t] for t in self.told if t in ENDS), default=0)

    def _step(self, run: Run, *, is_answer_lost: bool = False) -> None:
        before = dict(self.bucket.objects)
        command = run.step(is_answer_lost=is_answer_lost)
        if isinstance(command, PutRecording):
            self._check_replacing(before)
        if run.ended:
            self.runs.remove(run)
            if run.has_told:
                self.told.add(run.told)

    def _check_replacing(self, before: dict[str, Any]) -> None:
        """What takes the place of a recording holds all of it, or more than it, or its end."""
        was, now = before.get(RECORDING), self.bucket.objects[RECORDING]
        if was is None or was.etag == now.etag:
            return
        stop = max((int(n) for n in now.metadata["stops"].split(",") if n), default=10**9)
        old = {n for n in numbers_in(was.body) if n <= stop}
        new = {*numbers_in(now.body)}
        if old <= new:
            return
        manifest = before.get(MANIFEST)
        if manifest is None or manifest.metadata["recording-etag"] != was.etag:
            # What it holds is written nowhere: only its length is known.
            assert len(now.body) >= len(was.body) or now.metadata["stops"]
            return
        holds_start = (START in new, START in old)
        assert not new < old
        assert holds_start != (False, True)
        assert holds_start == (True, False) or len(new) >= len(old)

    def _finish(self, run: Run) -> None:
        for _ in range(60):
            if run.ended:
                return
            self._step(run)
        # An orphan may have to grow old, or to be repaired by its own run's message.

    def teardown(self) -> None:
        """Every message is delivered again; in the end no order is better than another."""
        while self.waiting:
            told = self.waiting.pop(0)
            self.runs.append(Run(told, self.bucket, self.media, is_multipart=False))
        for _ in range(4):
            for run in [*self.runs]:
                self._finish(run)
            self.time_passes()
            self.manifest_describes_its_recording()
            self.what_was_told_is_known()
            self.complete_is_whole()
        if self.has_changed:
            return
        assert not self.runs, "every message comes to its end"
        for told in sorted(self.told):
            self._finish_new(told)
        again = Bucket(now_ms=self.bucket.now_ms)
        for told in sorted(self.told, reverse=True):
            run = Run(told, again, self.media, is_multipart=False)
            while not run.ended:
                run.step()
        assert facts(again) == facts(self.bucket)

    def _finish_new(self, told: Told) -> None:
        run = Run(told, self.bucket, self.media, is_multipart=False)
        self.runs.append(run)
        self._finish(run)


def facts(bucket: Bucket) -> object:
    if not bucket.objects:
        return None
    manifest = json.loads(bucket.objects[MANIFEST].body)
    return (
        numbers_in(bucket.objects[RECORDING].body),
        manifest["complete"],
        manifest["stretch"]["stopFragmentNumbers"],
        manifest["fragments"]["missing"],
    )


TestPublishing = explored(PublishingMachine)
