"""A stream and a short call for the tests of the simulated services."""

import pytest

from local.call import Call, Delivery, simulate_call
from local.clock import Clock
from local.pcm import synthetic_pcm
from tests.unit.local_aws.samples import CONTACT_ID, INSTANCE_ARN, START_MS, STREAM_ARN, MakeCall


@pytest.fixture
def make_call() -> MakeCall:
    def make(seconds: float = 5, delivery: Delivery | None = None, **changes: object) -> Call:
        arguments: dict[str, object] = {
            "contact_id": CONTACT_ID,
            "instance_arn": INSTANCE_ARN,
            "stream_arn": STREAM_ARN,
            "start_ms": START_MS,
            "delivery": delivery,
        }
        customer, agent = synthetic_pcm(seconds, 1), synthetic_pcm(seconds, 2)
        return simulate_call(customer, agent, **(arguments | changes))  # type: ignore[arg-type] # JSON by name

    return make


@pytest.fixture
def call(make_call: MakeCall) -> Call:
    return make_call()


@pytest.fixture
def clock(call: Call) -> Clock:
    """A minute after the call."""
    clock = Clock()
    clock.set_ms(call.end_ms + 60_000)
    return clock
