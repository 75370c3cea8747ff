"""What the fuzz targets assert, of inputs that Hypothesis chooses, and shrinks.

Selection, timeline and whole calls are asked here only: their inputs are choices, not bytes that
somebody sends.
"""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.targets import TARGETS
from tests.properties.samples import at_most_seconds
from tests.properties.test_messages import CONTACTS, FLOW_EVENTS, JOBS, RECORDS

# Most choices are among few, so small bytes choose more evenly than any do.
CHOICES = st.lists(st.integers(0, 7) | st.integers(0, 255), max_size=300).map(bytes)


@pytest.mark.parametrize("target", ["selection", "timeline", "call"])
@given(choices=CHOICES)
def test_any_choices(target: str, choices: bytes) -> None:
    with at_most_seconds(30):
        TARGETS[target](choices)


@given(FLOW_EVENTS)
def test_any_flow_event_is_answered(event: object) -> None:
    TARGETS["flow"](json.dumps(event).encode())


@given(RECORDS, CONTACTS)
def test_keys_of_any_contact_stay_inside_their_prefix(record: object, contact: object) -> None:
    TARGETS["message"](b"\0".join((json.dumps(record).encode(), json.dumps(contact).encode())))


@given(JOBS)
def test_keys_of_any_job_stay_inside_their_prefix(job: object) -> None:
    TARGETS["job"](json.dumps(job).encode())
