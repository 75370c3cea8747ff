"""The worker as it is deployed: messages in any order, runs inside of runs, kills, the retention.

In the end every message is delivered again: what is archived does not depend on how it came there.
"""

from hypothesis.stateful import invariant, rule

from tests.support.machines import explored_with_audio
from tests.support.runs import RunMachine
from tests.support.stretch import Stream, facts_of, new_world, stretch

OLDER_THAN_ANY_RUN_MS = 16 * 60_000
BYTES_A_FRAGMENT = 15 * 1024


class WorkerMachine(RunMachine):
    """One bucket, one stretch, any messages, and a retention that ends."""

    def __init__(self) -> None:
        super().__init__()
        self.is_gone = False

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
