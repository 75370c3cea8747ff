"""Erased is erased: after a final receipt nothing of the contact is in the bucket, ever again.

The worker is the deployed one, and so is what `call-archive erase` decides; KVS, Connect and S3
are in memory. Messages of any trigger come at any time, runs are killed or overtaken at any
request, and so is the command.
"""

from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from tests.support.erasing import audio_of
from tests.support.machines import explored_with_audio
from tests.support.operators import ERASING_STEPS, erase
from tests.support.runs import KINDS, RUN_STEPS, RunMachine, kill, nothing
from tests.support.stretch import Kind


class ErasureMachine(RunMachine):
    """One bucket, one stretch, any messages, and an operator who erases."""

    def __init__(self) -> None:
        super().__init__()
        self.is_final = False

    @rule(waits=st.booleans())
    def operator_erases(self, waits: bool) -> None:
        self._erase(waits=waits)

    @rule(kind=KINDS, step=RUN_STEPS, waits=st.booleans())
    def operator_erases_inside_of_a_run(self, kind: Kind, step: str, waits: bool) -> None:
        self.deliver(kind, 5, step, lambda: self._erase(waits=waits))

    @rule(kind=KINDS, step=ERASING_STEPS, waits=st.booleans())
    def message_comes_while_somebody_erases(self, kind: Kind, step: str, waits: bool) -> None:
        self._erase(step, lambda: self.deliver(kind, 5), waits=waits)

    @rule(outer=KINDS, at=RUN_STEPS, inner=KINDS, step=ERASING_STEPS)
    def run_around_and_run_inside(self, outer: Kind, at: str, inner: Kind, step: str) -> None:
        def erase_around() -> None:
            self._erase(step, lambda: self.deliver(inner, 5), waits=False)

        self.deliver(outer, 5, at, erase_around)

    @rule(step=ERASING_STEPS)
    def erasing_is_killed(self, step: str) -> None:
        self._erase(step, kill)

    @invariant()
    def erased_is_erased(self) -> None:
        if self.is_final:
            assert audio_of(self.world.archive.bucket) == []

    def _erase(
        self, step: str = "", do: Callable[[], object] = nothing, *, waits: bool = True
    ) -> None:
        receipt = erase(self.world.archive.bucket, step, do, waits=waits)
        if receipt is not None:
            self.is_final = self.is_final or receipt.is_final
            assert receipt.is_final or not waits

    def teardown(self) -> None:
        """In the end the contact is erased, and every message comes again."""
        self._erase()
        for kind in Kind:
            self.world.play(kind)
        assert audio_of(self.world.archive.bucket) == []


TestErasure = explored_with_audio(ErasureMachine)
