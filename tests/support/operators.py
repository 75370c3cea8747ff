"""Operators who erase, hold and release as the command does, beside `tests.support.runs`."""

from collections.abc import Callable

from hypothesis import strategies as st

from call_archive_cli.erasure import Erasure, Receipt, Related
from call_archive_cli.holds import Holding, Holds
from tests.support.bucket import Bucket
from tests.support.erasing import MemoryStore
from tests.support.manifests import CONTACT_ID
from tests.support.runs import KilledError, nothing, once

WAIT_S = 660.0
"""ArchiveFunction's timeout, and a minute."""

WAITS = "while it waits"
ERASING = (
    "before a mark is written",
    "after a mark is written",
    "before a listing",
    "before a version is removed",
    "before an upload is aborted",
    WAITS,
)
ERASING_STEPS = st.sampled_from(ERASING)
HOLDING = (
    "before a mark is written",
    "after a mark is written",
    "before a mark is removed",
    "after a mark is removed",
    "before a listing",
    "before a legal hold is set",
    WAITS,
)
HOLDING_STEPS = st.sampled_from(HOLDING)


def sleeper(bucket: Bucket, on_step: Callable[[str], None]) -> Callable[[float], None]:
    """Time passes; something may happen in the middle of it."""

    def sleep(seconds: float) -> None:
        bucket.now_ms += round(seconds * 500)
        on_step(WAITS)
        bucket.now_ms += round(seconds * 500) + 1

    return sleep


def erase(
    bucket: Bucket, step: str = "", do: Callable[[], object] = nothing, *, waits: bool = True
) -> Receipt | None:
    """Erases the contact; None if the command is killed at the step.

    Raises:
        CommandError: the contact is held.
    """
    on_step = once(step, do)
    erasure = Erasure(MemoryStore(bucket, on_step), Related, WAIT_S, sleeper(bucket, on_step))
    receipt = Receipt(reason="REQUESTED")
    try:
        erasure.run([CONTACT_ID], receipt, waits=waits)
    except KilledError:
        return None
    return receipt


def hold(
    bucket: Bucket, step: str = "", do: Callable[[], object] = nothing, *, waits: bool = True
) -> Holding | None:
    """Holds the contact; None if the command is killed at the step.

    Raises:
        CommandError: the contact is erased, or was released meanwhile.
    """
    done = Holding()
    try:
        _holds(bucket, step, do).hold([CONTACT_ID], done, reason="CASE", waits=waits)
    except KilledError:
        return None
    return done


def release(
    bucket: Bucket, step: str = "", do: Callable[[], object] = nothing, *, waits: bool = True
) -> Holding | None:
    """Releases the contact; None if the command is killed at the step.

    Raises:
        CommandError: the contact is held again meanwhile.
    """
    done = Holding()
    try:
        _holds(bucket, step, do).release([CONTACT_ID], done, waits=waits)
    except KilledError:
        return None
    return done


def _holds(bucket: Bucket, step: str, do: Callable[[], object]) -> Holds:
    on_step = once(step, do)
    return Holds(MemoryStore(bucket, on_step), Related, WAIT_S, sleeper(bucket, on_step))
