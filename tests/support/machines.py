"""State machines as tests: `TestRetrieval = explored(RetrievalMachine)`."""

from unittest import TestCase

from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine


def explored(machine: type[RuleBasedStateMachine]) -> type[TestCase]:
    """The machine's test, with as many examples as `tests/conftest.py` says."""
    test = machine.TestCase
    test.settings = settings.get_profile("machines")
    return test
