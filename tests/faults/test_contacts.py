"""DescribeContact at its worst: a streamed contact is archived or told of, another is let go."""

from datetime import UTC, datetime
from typing import Any

import pytest

from local.behaviour import BodyFault, CallFault, ConnectionFault
from local.call import Call
from tests.integration.journey import GIVES_UP, SETTLES, Journey, call, caller

WAIT_MS = 600_000
"""How long after the end of a call a contact without a recording is asked about."""


def _now_ms() -> int:
    return round(datetime.now(UTC).timestamp() * 1000)


def _recent_call(**options: Any) -> Call:
    """A call that has just ended, so that Connect may still have to fill in its recordings."""
    return call(start_ms=_now_ms() - 10_000, **options)


@pytest.mark.parametrize("times", [1, 3, 7])
@pytest.mark.parametrize(
    "trouble",
    [
        {"call_faults": ("TooManyRequestsException", 429)},
        {"call_faults": ("InternalServiceException", 500)},
        {"call_faults": ("ResourceNotFoundException", 404)},
        {"connection_faults": ("reset", "start")},
        {"connection_faults": ("close", "headers")},
        {"body_faults": ("end",)},
    ],
    ids=str,
)
def test_trouble_that_passes(mono: Journey, trouble: dict[str, Any], times: int) -> None:
    one = mono.place(_recent_call())
    build: dict[str, Any] = {
        "call_faults": lambda name, status: CallFault("DescribeContact", name, status, "no", times),
        "connection_faults": lambda kind, stage: ConnectionFault(
            "DescribeContact", kind, stage, times
        ),
        "body_faults": lambda kind: BodyFault(0, kind, times, "DescribeContact"),
    }
    mono.behave(**{name: (build[name](*fault),) for name, fault in trouble.items()})
    receives = 1
    while not mono.run(one.contact_event(), receives):
        receives += 1
        assert receives < GIVES_UP
    assert mono.pcm() == caller()
    assert mono.failed_jobs() == []


def test_contact_that_connect_never_knows_is_said(mono: Journey) -> None:
    one = mono.place(_recent_call())
    fault = CallFault("DescribeContact", "ResourceNotFoundException", 404, "no", times=None)
    mono.behave(call_faults=(fault,))
    assert not mono.run(one.contact_event())
    assert mono.run(one.contact_event(), GIVES_UP)
    assert mono.failure_codes() == ["CONNECT_ResourceNotFoundException"]


@pytest.mark.parametrize("kind", ["end", "garbage", "flip"])
def test_answer_that_is_always_damaged_is_said(mono: Journey, kind: Any) -> None:
    one = mono.place(_recent_call())
    mono.behave(body_faults=(BodyFault(0, kind, None, "DescribeContact"),))
    assert not mono.run(one.contact_event())
    assert mono.run(one.contact_event(), GIVES_UP)
    assert mono.failure_codes() == ["CONNECT_MALFORMED_ANSWER"]


def test_refusal_that_nothing_mends_is_said_at_once(mono: Journey) -> None:
    one = mono.place(_recent_call())
    mono.behave(
        call_faults=(CallFault("DescribeContact", "AccessDeniedException", 403, "no", times=None),)
    )
    assert mono.run(one.contact_event())
    assert mono.failure_codes() == ["CONNECT_AccessDeniedException"]


def test_recordings_that_are_filled_in_late_are_waited_for(mono: Journey) -> None:
    one = mono.place(_recent_call())
    mono.behave(recordings_delay_ms=300_000)
    for receives in range(1, SETTLES + 2):
        assert not mono.run(one.contact_event(), receives, _now_ms())
    assert mono.failed_jobs() == []
    mono.aws.clock.advance_ms(300_000)
    assert mono.run(one.contact_event(), SETTLES + 2, _now_ms())
    assert mono.pcm() == caller()


def test_contact_that_was_never_streamed_is_let_go_after_ten_minutes(mono: Journey) -> None:
    one = call(start_ms=_now_ms() - 20_000)
    mono.aws.connect.register(one, recordings_from_ms=one.stop_timestamp_ms + 10 * WAIT_MS)
    assert not mono.run(one.contact_event(), sent_ms=_now_ms())
    long_ago = call(start_ms=_now_ms() - WAIT_MS - 20_000)
    mono.aws.connect.register(long_ago, recordings_from_ms=_now_ms() + 10 * WAIT_MS)
    assert mono.run(long_ago.contact_event(), sent_ms=_now_ms())
    assert mono.keys() == []
    assert mono.failed_jobs() == []


def test_contact_that_was_streamed_twice_has_two_recordings(mono: Journey) -> None:
    first = mono.place(call())
    second = call(
        customer=caller(2.0),
        to_customer=caller(2.0),
        start_ms=first.stop_timestamp_ms + 60_000,
        first_sequence=9001,
    )
    mono.aws.place(second)
    assert mono.run(second.contact_event())
    kinds = [key.rpartition(".")[2] for key in mono.keys()]  # noqa: SIM118 - our own method
    assert sorted(kinds) == ["json", "json", "wav", "wav"]
    assert mono.failed_jobs() == []
