"""The random campaign's bounded form, and a checker that has to notice what is wrong."""

import hashlib
import io
import json
import wave
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.faults.campaign import describe, run, seeds_of
from tests.faults.check import judge
from tests.faults.drive import Outcome
from tests.faults.plan import Plan, build_plan

CALLS = 60
NOW_MS = 1_767_258_000_000


def test_sixty_random_calls() -> None:
    played = list(run(seeds_of(1, CALLS), workers=1))
    assert len(played) == CALLS
    assert not [call for call in played if call.verdict.wrongs], describe(played)


# ------------------------------------------------------------------ the checker


def _plan() -> Plan:
    """A mono call with nothing lost, and no silence at its beginning."""
    plans = (build_plan(seed, NOW_MS) for seed in range(1000))
    return next(
        plan
        for plan in plans
        if plan.tracks == "customer"
        and plan.is_streamed
        and len(plan.call.fragments) > 3
        and not (plan.delivery.lost or plan.delivery.holes_ms or plan.delivery.short_blocks)
        and not plan.delivery.without_cluster
        and all(plan.customer[at : at + 8] != bytes(8) for at in range(0, 48_000, 8))
    )


PLAN = _plan()
FAILED = (({"contactId": PLAN.call.contact_id}, {"code": "INCOMPLETE", "reason": "INCOMPLETE: x"}),)


def _wav(pcm: bytes) -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as recording:
        recording.setparams((1, 2, 8000, 0, "NONE", ""))
        recording.writeframes(pcm)
    return content.getvalue()


def _outcome(pcm: bytes, *, complete: bool = True, missing: tuple[int, ...] = ()) -> Outcome:
    content = _wav(pcm)
    manifest = {
        "complete": complete,
        "reasons": [] if complete else ["NOT_DELIVERED: x"],
        "sha256": hashlib.sha256(content).hexdigest(),
        "fragments": {"missing": [str(number) for number in missing], "untagged": 0},
    }
    return Outcome(
        objects={"a.wav": content, "a.json": json.dumps(manifest).encode()},
        failed=() if complete else FAILED,
        ended=True,
        uploads=0,
        invocations=1,
        errors=(),
    )


def _silenced(fragment: int) -> bytes:
    length = round(PLAN.delivery.fragment_ms * 16 / PLAN.delivery.block_bytes)
    start = fragment * length * PLAN.delivery.block_bytes
    stop = start + length * PLAN.delivery.block_bytes
    return PLAN.customer[:start] + bytes(stop - start) + PLAN.customer[stop:]


def test_what_was_said_is_right() -> None:
    assert judge(PLAN, _outcome(PLAN.customer)).wrongs == ()


def test_a_missing_fragment_that_is_named_is_right() -> None:
    number = PLAN.call.fragments[1].number
    assert judge(PLAN, _outcome(_silenced(1), complete=False, missing=(number,))).wrongs == ()


def test_a_recording_that_begins_late_is_right() -> None:
    first = _silenced(0).lstrip(b"\0")
    number = PLAN.call.fragments[0].number
    assert judge(PLAN, _outcome(first, complete=False, missing=(number,))).wrongs == ()


NEIGHBOUR = (PLAN.neighbour_seeds[0] & 0xFFFF_FFFF).to_bytes(4, "little") + bytes(4)
WRONG: dict[str, tuple[str, Callable[[], Outcome]]] = {
    "one sample": ("wrong samples", lambda: _outcome(PLAN.customer[:-2] + b"\x55\x55")),
    "one sample less": ("wrong samples", lambda: _outcome(PLAN.customer[:-2])),
    "silence called complete": ("wrong samples", lambda: _outcome(_silenced(1))),
    "another place": (
        "wrong samples",
        lambda: _outcome(PLAN.customer[2:], complete=False),
    ),
    "a neighbour": ("foreign samples", lambda: _outcome(NEIGHBOUR + PLAN.customer[8:])),
    "a neighbour in a part": (
        "foreign samples",
        lambda: _outcome(NEIGHBOUR + PLAN.customer[8:], complete=False),
    ),
    "not named": (
        "incomplete and not said",
        lambda: _outcome(_silenced(1), complete=False, missing=(1,)),
    ),
    "nobody told": (
        "incomplete and not said",
        lambda: replace(_outcome(PLAN.customer, complete=False), failed=()),
    ),
    "nothing at all": ("lost", lambda: replace(_outcome(b""), objects={})),
    "two recordings": (
        "duplicates",
        lambda: replace(
            _outcome(PLAN.customer),
            objects={**_outcome(PLAN.customer).objects, "b.wav": b"", "b.json": b"{}"},
        ),
    ),
    "an upload": ("left behind", lambda: replace(_outcome(PLAN.customer), uploads=1)),
    "a message": ("ended nowhere", lambda: replace(_outcome(PLAN.customer), ended=False)),
    "an error": ("function errors", lambda: replace(_outcome(PLAN.customer), errors=("x",))),
}


@pytest.mark.parametrize(("wrong", "build"), WRONG.values(), ids=WRONG)
def test_the_checker_notices(wrong: str, build: Callable[[], Outcome]) -> None:
    assert wrong in [found for found, _ in judge(PLAN, build()).wrongs]


def test_a_seed_gives_the_same_call_again() -> None:
    one, other = build_plan(5, NOW_MS), build_plan(5, NOW_MS)
    documents = [[f.document() for f in plan.call.fragments] for plan in (one, other)]
    assert documents[0] == documents[1]
    assert (one.kinds, one.triggers, one.behaviour) == (
        other.kinds,
        other.triggers,
        other.behaviour,
    )
