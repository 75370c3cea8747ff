"""How many examples Hypothesis tries, what is measured, and what runs first, for every suite.

Properties try 150. State machines try 1,000, or as many as the variable CALL_ARCHIVE_EXAMPLES says.
They are the same on every run, unless `--hypothesis-seed` asks for others.
"""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support.measuring import Measuring

PROPERTIES = 150
MACHINES = 1000

TESTS = Path(__file__).parent
TOGETHER = ("tests/emulators/", "tests/sam_local/")
"""All files of these run in one process, which builds the functions once."""
UNMEASURED = (
    "emulators",
    "faults/test_campaign.py",
    "faults/test_kills.py",
    "faults/test_long.py",
    "sam_local",
    "security",
    "template",
    "unit/flows",
    "unit/load",
    "unit/local_aws",
)
"""They run none of `src/` in this process or in a child, or only what others run as well."""
ORDER = ("emulators", "sam_local", "report", "faults", "cli", "integration", "properties")
"""Long files first, and all others behind them, so that the processes end together."""


def pytest_configure(config: pytest.Config) -> None:
    """Registers both profiles: `properties` is loaded, `machines` is for `explored`.

    A shell starts background jobs with SIGINT ignored, and every child inherits that. Tests that
    interrupt a process give it the signal's default back.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    common = settings(
        deadline=None,
        derandomize=config.getoption("hypothesis_seed") is None,
        database=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],
    )
    examples = int(os.environ.get("CALL_ARCHIVE_EXAMPLES", str(MACHINES)))
    settings.register_profile("properties", common, max_examples=PROPERTIES)
    settings.register_profile("machines", common, max_examples=examples)
    settings.load_profile("properties")
    config.pluginmanager.register(Measuring())


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what is not measured, and puts long files first."""
    ranks = {suite: rank for rank, suite in enumerate(ORDER)}
    items.sort(key=lambda item: ranks.get(_place(item).parts[0], len(ranks)))
    for item in items:
        if any(_place(item).is_relative_to(suite) for suite in UNMEASURED):
            item.add_marker("unmeasured")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """As `--dist loadfile`, with some suites kept together."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling  # noqa: PLC0415 - mutmut's environment has no xdist

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            together = (suite for suite in TOGETHER if nodeid.startswith(suite))
            return next(together, super()._split_scope(nodeid))

    return Scheduling(config, log)


def _place(item: pytest.Item) -> Path:
    return item.path.relative_to(TESTS)
