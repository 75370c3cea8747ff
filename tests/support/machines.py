"""State machines as tests: `TestRetrieval = explored(RetrievalMachine)`."""

from typing import Any
from unittest import TestCase

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine

MEASURED_EXAMPLES = 100
"""A machine with more of them has no coverage taken: they take the same branches again."""


def explored(machine: type[RuleBasedStateMachine], **changes: Any) -> type[TestCase]:
    """The machine's test, with as many examples as `tests/conftest.py` says.

    Args:
        machine: the state machine.
        changes: Hypothesis settings that differ.
    """
    test = machine.TestCase
    test.settings = settings(settings.get_profile("machines"), **changes)
    if settings.get_profile("machines").max_examples > MEASURED_EXAMPLES:
        test = pytest.mark.unmeasured(test)
    return test


def explored_with_audio(machine: type[RuleBasedStateMachine]) -> type[TestCase]:
    """A tenth of the examples of a machine without audio, and shorter ones."""
    examples = settings.get_profile("machines").max_examples
    return explored(machine, max_examples=max(1, examples // 10), stateful_step_count=8)
