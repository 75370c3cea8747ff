"""The worker as it is deployed: messages in any order, runs inside of runs, kills, the retention.

KVS, Connect and S3 are in memory (`tests.support.stretch`). In the middle of a run, at any of its
requests to S3, another message is delivered, or the run is killed. In the end every message is
delivered again: what is archived does not depend on how it came there.
"""

from collections.abc import Callable
from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from call_archive.media.pcm import Direction
from call_archive.reasons import Code
from call_archive.worker import Done, Outcome
from tests.support.bucket import MemoryArchive
from tests.support.machines import explored_with_audio
from tests.support.stretch import RECEIVES, Kind, Media, Stream, World, facts_of, new_world, stretch

STEPS = (
    "before GetObject",
    "before HeadObject",
    "before CreateMultipartUpload",
    "before the recording is published",
    "after the recording is published",
    "before PutObject of the manifest",
    "after PutObject of the manifest",
)
OLDER_THAN_ANY_RUN_MS = 16 * 60_000
BYTES_A_FRAGMENT = 15 * 1024


class KilledError(Exception):
    """The run is no more."""


class WorkerMachine(RuleBasedStateMachine):
    """One bucket, one stretch, any messages."""

    def __init__(self) -> None:
        super().__init__()
        self.world = new_world(Media.WHOLE, (Direction.FROM_CUSTOMER,))
        self.delivered: set[Kind] = set()
        self.is_gone = False

    @initialize(media=st.sampled_from(Media), is_multipart=st.booleans())
    def begin(self, media: Media, is_multipart: bool) -> None:
        self.world = new_world(media, (Direction.FROM_CUSTOMER,))
        self.world.archive.is_multipart = is_multipart

    @rule(kind=st.sampled_from(Kind), receives=st.sampled_from(RECEIVES))
    def message_comes(self, kind: Kind, receives: int) -> None:
        self._deliver(self.world, kind, receives)

    @rule(
        outer=st.sampled_from(Kind),
        inner=st.sampled_from(Kind),
        receives=st.tuples(st.sampled_from(RECEIVES), st.sampled_from(RECEIVES)),
        step=st.sampled_from(STEPS),
    )
    def message_comes_inside_of_a_run(
        self, outer: Kind, inner: Kind, receives: tuple[int, int], step: str
    ) -> None:
        slow = self._with(step, lambda: self._deliver(self.world, inner, receives[1]))
        self._deliver(slow, outer, receives[0])

    @rule(kind=st.sampled_from(Kind), step=st.sampled_from(STEPS))
    def run_is_killed(self, kind: Kind, step: str) -> None:
        def kill() -> None:
            raise KilledError

        try:
            self._deliver(self._with(step, kill), kind, 5)
        except KilledError:
            self.delivered.add(kind)

    @rule()
    def time_passes(self) -> None:
        self.world.archive.bucket.now_ms += OLDER_THAN_ANY_RUN_MS

    @rule()
    def retention_ends(self) -> None:
        self.world.stream = Stream(self.world.stream.media, removed=4)
        self.is_gone = True

    @invariant()
    def complete_is_whole(self) -> None:
        """Judged by the recording's length: every fragment of the stretch is as long."""
        seen = self.world.archive.look()
        if seen.described is None or seen.recording is None or not seen.described.is_complete:
            return
        assert not seen.described.fragments.missing
        assert seen.recording.size_bytes == seen.described.size_bytes
        if seen.described.knowledge.stops:
            last = stretch(self.world.stream.media).fragments[-1]
            assert seen.described.fragments.last == last.number
            assert seen.recording.size_bytes > 23 * BYTES_A_FRAGMENT

    def _with(self, step: str, do: Callable[[], object]) -> World:
        """The same world, in which something happens once, at a run's step."""
        left = [do]

        def on_step(name: str) -> None:
            if name == step and left:
                left.pop()()

        archive = self.world.archive
        return replace(
            self.world, archive=MemoryArchive(archive.bucket, archive.is_multipart, on_step)
        )

    def _deliver(self, world: World, kind: Kind, receives: int) -> Outcome:
        self.delivered.add(kind)
        outcome = world.deliver(kind, receives)
        if not isinstance(outcome, Done):
            assert outcome.failure.code != Code.UNFORESEEN
        return outcome

    def teardown(self) -> None:
        for _ in range(2):
            self.world.archive.bucket.now_ms += OLDER_THAN_ANY_RUN_MS
            for kind in sorted(self.delivered):
                self.world.play(kind)
        if self.is_gone or not self.delivered:
            return
        expected = new_world(self.world.stream.media, self.world.tracks)
        for kind in sorted(self.delivered, reverse=True):
            expected.play(kind)
        assert facts_of(self.world.archive.bucket) == facts_of(expected.archive.bucket)


TestWorker = explored_with_audio(WorkerMachine)
