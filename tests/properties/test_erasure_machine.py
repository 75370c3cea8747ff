"""Erased is erased: after a final receipt nothing of the contact is in the bucket, ever again.

The worker is the deployed one, and so is what `call-archive erase` decides; KVS, Connect and S3
are in memory. Messages of any trigger come at any time, runs are killed or overtaken at any
request, and so is the command; runs end with the function's timeout, as Lambda ends them.
"""

import contextlib
from collections.abc import Callable
from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from call_archive.media.pcm import Direction
from call_archive_cli.erasure import Erasure, Receipt, Related
from tests.properties.test_worker_machine import STEPS, KilledError
from tests.support.bucket import MemoryArchive
from tests.support.erasing import MemoryStore, audio_of
from tests.support.machines import explored_with_audio
from tests.support.manifests import CONTACT_ID
from tests.support.stretch import RECEIVES, Kind, Media, World, new_world

TIMEOUT_MS = 600_000
WAIT_S = 660.0
ERASING = (
    "before the tombstone",
    "after the tombstone",
    "before a listing",
    "before a version is removed",
    "before an upload is aborted",
    "while it waits",
)


class ErasureMachine(RuleBasedStateMachine):
    """One bucket, one stretch, any messages, and an operator who erases."""

    def __init__(self) -> None:
        super().__init__()
        self.world = new_world(Media.WHOLE, (Direction.FROM_CUSTOMER,))
        self.is_final = False

    @initialize(media=st.sampled_from(Media), is_multipart=st.booleans())
    def begin(self, media: Media, is_multipart: bool) -> None:
        self.world = new_world(media, (Direction.FROM_CUSTOMER,))
        self.world.archive.is_multipart = is_multipart

    @rule(kind=st.sampled_from(Kind), receives=st.sampled_from(RECEIVES))
    def message_comes(self, kind: Kind, receives: int) -> None:
        self._deliver(kind, receives)

    @rule(
        kind=st.sampled_from(Kind),
        inner=st.sampled_from(Kind),
        step=st.sampled_from(STEPS),
        receives=st.sampled_from(RECEIVES),
    )
    def run_is_overtaken(self, kind: Kind, inner: Kind, step: str, receives: int) -> None:
        self._deliver(kind, receives, step, lambda: self._deliver(inner, receives))

    @rule(kind=st.sampled_from(Kind), step=st.sampled_from(STEPS))
    def run_is_killed(self, kind: Kind, step: str) -> None:
        self._deliver(kind, 5, step, _kill)

    @rule(waits=st.booleans())
    def operator_erases(self, waits: bool) -> None:
        self._erase(waits=waits)

    @rule(kind=st.sampled_from(Kind), step=st.sampled_from(STEPS), waits=st.booleans())
    def operator_erases_inside_of_a_run(self, kind: Kind, step: str, waits: bool) -> None:
        self._deliver(kind, 5, step, lambda: self._erase(waits=waits))

    @rule(kind=st.sampled_from(Kind), step=st.sampled_from(ERASING), waits=st.booleans())
    def message_comes_while_somebody_erases(self, kind: Kind, step: str, waits: bool) -> None:
        self._erase(step, lambda: self._deliver(kind, 5), waits=waits)

    @rule(
        outer=st.sampled_from(Kind),
        at=st.sampled_from(STEPS),
        inner=st.sampled_from(Kind),
        step=st.sampled_from(ERASING),
    )
    def run_around_and_run_inside(self, outer: Kind, at: str, inner: Kind, step: str) -> None:
        def erase() -> None:
            self._erase(step, lambda: self._deliver(inner, 5), waits=False)

        self._deliver(outer, 5, at, erase)

    @rule(step=st.sampled_from(ERASING))
    def erasing_is_killed(self, step: str) -> None:
        self._erase(step, _kill)

    @rule(minutes=st.sampled_from((1, 9, 12)))
    def time_passes(self, minutes: int) -> None:
        self.world.archive.bucket.now_ms += minutes * 60_000

    @invariant()
    def erased_is_erased(self) -> None:
        if self.is_final:
            assert audio_of(self.world.archive.bucket) == []

    def _deliver(
        self,
        kind: Kind,
        receives: int,
        step: str = "",
        do: Callable[[], object] = lambda: None,
    ) -> None:
        """A run, in which something happens once; Lambda ends it when its time is over."""
        bucket, left = self.world.archive.bucket, [do] if step else []
        ends_ms = bucket.now_ms + TIMEOUT_MS

        def on_step(name: str) -> None:
            if name == step and left:
                left.pop()()
            if bucket.now_ms > ends_ms:
                raise KilledError

        archive = MemoryArchive(bucket, self.world.archive.is_multipart, on_step)
        world: World = replace(self.world, archive=archive)
        with contextlib.suppress(KilledError):
            world.deliver(kind, receives)

    def _erase(
        self, step: str = "", do: Callable[[], object] = lambda: None, *, waits: bool = True
    ) -> None:
        bucket, left = self.world.archive.bucket, [do] if step else []

        def on_step(name: str) -> None:
            if name == step and left:
                left.pop()()

        def sleep(seconds: float) -> None:
            bucket.now_ms += round(seconds * 500)
            on_step("while it waits")
            bucket.now_ms += round(seconds * 500) + 1

        erasure = Erasure(MemoryStore(bucket, on_step), Related, WAIT_S, sleep)
        receipt = Receipt(reason="REQUESTED")
        try:
            erasure.run([CONTACT_ID], receipt, waits=waits)
        except KilledError:
            return
        self.is_final = self.is_final or receipt.is_final
        assert receipt.is_final or not waits

    def teardown(self) -> None:
        """In the end somebody erases, and every message comes once more."""
        self._erase()
        for kind in Kind:
            self.world.play(kind)
        assert audio_of(self.world.archive.bucket) == []


def _kill() -> None:
    raise KilledError


TestErasure = explored_with_audio(ErasureMachine)
