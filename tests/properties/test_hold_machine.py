"""Held is held: until it is released, no version is deleted, and later versions are held, too.

The worker is the deployed one, and so is what `hold`, `release` and `erase` decide; KVS, Connect
and S3 are in memory. Messages come at any time; operators hold, release and erase in any order,
also inside of a run and of each other's commands; everything is killed at any request.
"""

from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from call_archive.keys import hold_key, tombstone_key
from call_archive_cli.exits import CommandError
from tests.support import operators
from tests.support.bucket import Bucket
from tests.support.erasing import audio_of, unheld, versions_of
from tests.support.machines import explored_with_audio
from tests.support.manifests import CONTACT_ID
from tests.support.operators import ERASING_STEPS, HOLDING_STEPS, WAITS
from tests.support.runs import KINDS, RUN_STEPS, RunMachine, kill, nothing
from tests.support.stretch import Kind

HOLD, TOMBSTONE = hold_key("", CONTACT_ID), tombstone_key("", CONTACT_ID)
type Do = Callable[[], object]


class HoldMachine(RunMachine):
    """One bucket, one stretch, any messages, and operators who disagree.

    Attributes:
        is_settled: a hold was settled, and nobody has begun to release since.
        is_free: a release was settled, and nobody has begun to hold since.
        kept: the versions that were there while the hold was settled.
    """

    def __init__(self) -> None:
        super().__init__()
        self.is_settled = self.is_free = False
        self.kept: set[tuple[str, str]] = set()

    @rule(waits=st.booleans())
    def operator_holds(self, waits: bool) -> None:
        self._hold(waits=waits)

    @rule(waits=st.booleans())
    def operator_releases(self, waits: bool) -> None:
        self._release(waits=waits)

    @rule(waits=st.booleans())
    def operator_erases(self, waits: bool) -> None:
        self._erase(waits=waits)

    @rule(step=HOLDING_STEPS)
    def holding_is_killed(self, step: str) -> None:
        self._hold(step, kill)

    @rule(step=HOLDING_STEPS)
    def releasing_is_killed(self, step: str) -> None:
        self._release(step, kill)

    @rule(step=ERASING_STEPS)
    def erasing_is_killed(self, step: str) -> None:
        self._erase(step, kill)

    @rule(kind=KINDS, step=RUN_STEPS, waits=st.booleans())
    def operator_holds_inside_of_a_run(self, kind: Kind, step: str, waits: bool) -> None:
        self.deliver(kind, 5, step, lambda: self._hold(waits=waits))

    @rule(kind=KINDS, step=RUN_STEPS, waits=st.booleans())
    def operator_releases_inside_of_a_run(self, kind: Kind, step: str, waits: bool) -> None:
        self.deliver(kind, 5, step, lambda: self._release(waits=waits))

    @rule(kind=KINDS, step=HOLDING_STEPS)
    def message_comes_while_somebody_holds(self, kind: Kind, step: str) -> None:
        self._hold(step, lambda: self.deliver(kind, 5))

    @rule(kind=KINDS, step=HOLDING_STEPS)
    def message_comes_while_somebody_releases(self, kind: Kind, step: str) -> None:
        self._release(step, lambda: self.deliver(kind, 5))

    @rule(step=ERASING_STEPS, waits=st.booleans())
    def somebody_holds_while_another_erases(self, step: str, waits: bool) -> None:
        """A hold that succeeded ends the erasure."""
        held: list[bool] = []
        is_erased = self._erase(step, lambda: held.append(self._hold(waits=False)), waits=waits)
        assert not (is_erased and held == [True])

    @rule(step=HOLDING_STEPS)
    def somebody_erases_while_another_holds(self, step: str) -> None:
        self._hold(step, lambda: self._erase(waits=False))

    @rule(step=HOLDING_STEPS)
    def somebody_releases_while_another_holds(self, step: str) -> None:
        self._hold(step, lambda: self._release(waits=False))

    @rule(step=HOLDING_STEPS)
    def somebody_holds_while_another_releases(self, step: str) -> None:
        self._release(step, lambda: self._hold(waits=False))

    @invariant()
    def held_is_held(self) -> None:
        if not self.is_settled:
            return
        assert unheld(self._bucket) == []
        there = {(key, version.version_id) for key, version in versions_of(self._bucket)}
        assert self.kept <= there
        self.kept = there

    @invariant()
    def released_is_released(self) -> None:
        if self.is_free:
            assert self._bucket.held == set()

    @property
    def _bucket(self) -> Bucket:
        return self.world.archive.bucket

    def _hold(self, step: str = "", do: Do = nothing, *, waits: bool = True) -> bool:
        """Whether the command did not refuse."""
        self.is_free = False
        was_erased = TOMBSTONE in self._bucket.objects
        try:
            done = operators.hold(self._bucket, step, do, waits=waits)
        except CommandError:
            # Erased, or released by another operator meanwhile.
            assert was_erased or step
            return False
        if done is not None and done.is_settled:
            assert TOMBSTONE not in self._bucket.objects
            # A release during its last pass is the later one; one while it waited is noticed.
            assert HOLD in self._bucket.objects or step not in ("", WAITS)
            self.is_settled = HOLD in self._bucket.objects
            self.is_free = False
        return True

    def _release(self, step: str = "", do: Do = nothing, *, waits: bool = True) -> None:
        self.is_settled = False
        self.kept = set()
        try:
            done = operators.release(self._bucket, step, do, waits=waits)
        except CommandError:
            # Held again by another operator meanwhile.
            assert step
            return
        if done is not None and done.is_settled:
            assert HOLD not in self._bucket.objects or step not in ("", WAITS)
            self.is_free = HOLD not in self._bucket.objects
        self.is_settled = False

    def _erase(self, step: str = "", do: Do = nothing, *, waits: bool = True) -> bool:
        """Whether the command did not refuse; a contact that was held before stays as it was."""
        bucket = self._bucket
        is_held, before = HOLD in bucket.objects, {*audio_of(bucket)}
        was_erased = TOMBSTONE in bucket.objects
        try:
            receipt = operators.erase(bucket, step, do, waits=waits)
        except CommandError:
            if is_held and not step:
                assert {*audio_of(bucket)} == before
                assert (TOMBSTONE in bucket.objects) is was_erased
            return False
        assert receipt is None or not is_held or step
        return True

    def teardown(self) -> None:
        """In the end it is released and erased, and every message comes again."""
        self._release()
        assert self._bucket.held == set()
        self._erase()
        for kind in Kind:
            self.world.play(kind)
        assert audio_of(self._bucket) == []


TestHold = explored_with_audio(HoldMachine)
