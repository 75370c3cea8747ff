"""What every state machine over the worker shares: messages, runs inside of runs, kills, time.

KVS, Connect and S3 are in memory (`tests.support.stretch`). In the middle of a run, at any of its
requests to S3, something else happens once, or the run is killed. Lambda ends a run when its time
is over.
"""

import contextlib
from collections.abc import Callable
from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from call_archive.media.pcm import Direction
from call_archive.reasons import Code
from call_archive.worker import Done
from tests.support.bucket import MemoryArchive
from tests.support.stretch import RECEIVES, Kind, Media, new_world

STEPS = (
    "after the hold was looked for",
    "before GetObject",
    "before HeadObject",
    "before CreateMultipartUpload",
    "before the recording is published",
    "after the recording is published",
    "before PutObject of the manifest",
    "after PutObject of the manifest",
)
TIMEOUT_MS = 600_000
KINDS = st.sampled_from(Kind)
RUN_STEPS = st.sampled_from(STEPS)


class KilledError(Exception):
    """The run, or the command, is no more."""


def kill() -> None:
    """Ends what is under way."""
    raise KilledError


def once(step: str, do: Callable[[], object]) -> Callable[[str], None]:
    """Does something at a step, the first time that it is reached."""
    left = [do]

    def on_step(name: str) -> None:
        if name == step and left:
            left.pop()()

    return on_step


def nothing() -> None:
    """Happens."""


class RunMachine(RuleBasedStateMachine):
    """One bucket, one stretch, any messages.

    Attributes:
        delivered: what was told so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.world = new_world(Media.WHOLE, (Direction.FROM_CUSTOMER,))
        self.delivered: set[Kind] = set()

    @initialize(media=st.sampled_from(Media), is_multipart=st.booleans())
    def begin(self, media: Media, is_multipart: bool) -> None:
        self.world = new_world(media, (Direction.FROM_CUSTOMER,))
        self.world.archive.is_multipart = is_multipart

    @rule(kind=KINDS, receives=st.sampled_from(RECEIVES))
    def message_comes(self, kind: Kind, receives: int) -> None:
        self.deliver(kind, receives)

    @rule(
        outer=KINDS,
        inner=KINDS,
        receives=st.tuples(st.sampled_from(RECEIVES), st.sampled_from(RECEIVES)),
        step=RUN_STEPS,
    )
    def message_comes_inside_of_a_run(
        self, outer: Kind, inner: Kind, receives: tuple[int, int], step: str
    ) -> None:
        self.deliver(outer, receives[0], step, lambda: self.deliver(inner, receives[1]))

    @rule(kind=KINDS, step=RUN_STEPS)
    def run_is_killed(self, kind: Kind, step: str) -> None:
        self.deliver(kind, 5, step, kill)

    @rule(minutes=st.sampled_from((1, 9, 12, 16)))
    def time_passes(self, minutes: int) -> None:
        self.world.archive.bucket.now_ms += minutes * 60_000

    def deliver(
        self, kind: Kind, receives: int, step: str = "", do: Callable[[], object] = nothing
    ) -> None:
        """A run, in which something happens once at a step."""
        self.delivered.add(kind)
        bucket, happens = self.world.archive.bucket, once(step, do)
        ends_ms = bucket.now_ms + TIMEOUT_MS

        def on_step(name: str) -> None:
            happens(name)
            if bucket.now_ms > ends_ms:
                raise KilledError

        archive = MemoryArchive(bucket, self.world.archive.is_multipart, on_step)
        with contextlib.suppress(KilledError):
            outcome = replace(self.world, archive=archive).deliver(kind, receives)
            assert isinstance(outcome, Done) or outcome.failure.code != Code.UNFORESEEN
