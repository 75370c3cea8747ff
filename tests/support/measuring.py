"""Coverage, switched off for tests that are marked `unmeasured`.

Measuring nearly doubles what a test costs. Tests of anything but `src/`, and the many examples of
state machines, which take the same branches again and again, go without.
"""

import os
from typing import Any, Final

import pytest

_CHILDREN: Final = "COVERAGE_PROCESS_CONFIG"
"""Tells coverage's start-up code in a child process what to measure."""


class Measuring:
    """A pytest plugin; without `--cov` it does nothing."""

    def __init__(self) -> None:
        self._is_paused = False
        self._children = ""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> None:
        """Switches if this test differs from the last one: switching takes time, too."""
        controller: Any = getattr(
            item.config.pluginmanager.getplugin("_cov"), "cov_controller", None
        )
        is_unmeasured = item.get_closest_marker("unmeasured") is not None
        if controller is None or is_unmeasured is self._is_paused:
            return
        self._is_paused = is_unmeasured
        if is_unmeasured:
            controller.pause()
            self._children = os.environ.pop(_CHILDREN)
        else:
            os.environ[_CHILDREN] = self._children
            controller.resume()
