"""DescribeContact at its worst: a streamed contact is archived or told of, another is let go."""

from datetime import UTC, datetime
from typing import Any

import pytest

from local.behaviour import BodyFault, CallFault, ConnectionFault
from local.call import Call
from tests.integration.journey import GIVES_UP, Journey, call, caller

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
