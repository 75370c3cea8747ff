"""Holding and releasing, where the hold machine's one contact does not reach."""

import pytest

from call_archive.keys import hold_key
from call_archive_cli.erasure import Related
from call_archive_cli.exits import CommandError
from call_archive_cli.holds import Holding, Holds
from tests.support.bucket import Bucket
from tests.support.erasing import MemoryStore
from tests.support.manifests import CONTACT_ID

OTHER = "1e7a9c34-2f6b-4d0e-8a5c-3b9d7f1e6a20"
WAIT_S = 660.0


def holds(bucket: Bucket) -> Holds:
    return Holds(MemoryStore(bucket), Related, WAIT_S)


def test_the_youngest_marker_decides_how_long_a_hold_waits() -> None:
    bucket = Bucket()
    holds(bucket).hold([OTHER], Holding(), reason="CASE", waits=False)
    bucket.now_ms += 600_000
    both = Holding()
    holds(bucket).hold([CONTACT_ID, OTHER], both, reason="CASE", waits=False)
    assert (both.is_settled, both.wait_s) == (False, WAIT_S)


def test_the_latest_removal_decides_how_long_a_release_waits() -> None:
    bucket, one, both = Bucket(), Holding(), Holding()
    holds(bucket).hold([CONTACT_ID, OTHER], Holding(), reason="CASE", waits=False)
    holds(bucket).release([OTHER], one, waits=False)
    assert (one.is_settled, one.wait_s) == (False, WAIT_S)
    bucket.now_ms += 600_000
    holds(bucket).release([CONTACT_ID, OTHER], both, waits=False)
    assert (both.is_settled, both.wait_s) == (False, WAIT_S)
    bucket.now_ms += 660_000
    holds(bucket).release([CONTACT_ID, OTHER], both, waits=False)
    assert both.is_settled


def test_a_contact_that_was_never_held_is_released_at_once() -> None:
    done = Holding()
    holds(Bucket()).release([CONTACT_ID], done, waits=True)
    assert (done.is_settled, done.wait_s) == (True, 0.0)


def test_a_release_during_a_hold_is_told() -> None:
    bucket = Bucket()

    def release(_: float) -> None:
        holds(bucket).release([CONTACT_ID], Holding(), waits=False)

    with pytest.raises(CommandError, match="released it meanwhile"):
        Holds(MemoryStore(bucket), Related, WAIT_S, release).hold(
            [CONTACT_ID], Holding(), reason="CASE", waits=True
        )
    assert hold_key("", CONTACT_ID) not in bucket.objects


def test_a_hold_during_a_release_is_told() -> None:
    bucket = Bucket()
    holds(bucket).hold([CONTACT_ID], Holding(), reason="CASE", waits=False)

    def hold(_: float) -> None:
        holds(bucket).hold([CONTACT_ID], Holding(), reason="CASE", waits=False)

    with pytest.raises(CommandError, match=r"holds .* again"):
        Holds(MemoryStore(bucket), Related, WAIT_S, hold).release(
            [CONTACT_ID], Holding(), waits=True
        )
    assert hold_key("", CONTACT_ID) in bucket.objects
