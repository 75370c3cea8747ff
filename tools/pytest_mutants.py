"""A pytest plugin for `make mutants`: a defect is found soon, or the run ends.

Unit tests run before properties, whatever order mutmut names them in. Hypothesis does not shrink:
one failing example is enough. A test that takes more CPU time than any takes without a defect ends
the process with the exit code that mutmut counts as a timeout.
"""

import os
import signal
from types import FrameType

import pytest
from hypothesis import Phase, settings

CPU_LIMIT_S = 20
TIMEOUT = 24


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sorts the quick suites first; otherwise the order stays."""
    items.sort(key=lambda item: (not item.nodeid.startswith("tests/unit"), item.path.name))


def pytest_sessionstart() -> None:
    """Changes the profiles that the root conftest has registered."""
    for name in ("properties", "machines"):
        phases = (Phase.explicit, Phase.generate)
        settings.register_profile(name, settings.get_profile(name), phases=phases)
    settings.load_profile("properties")
    signal.signal(signal.SIGVTALRM, _end)


def pytest_runtest_setup() -> None:
    """Starts the clock of a test."""
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_LIMIT_S)


def _end(_signal: int, _frame: FrameType | None) -> None:
    os._exit(TIMEOUT)
