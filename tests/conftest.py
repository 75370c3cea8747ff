"""How many examples Hypothesis tries, here for every suite.

Properties try 150. State machines try 1,000, or as many as the variable CALL_ARCHIVE_EXAMPLES says.
They are the same on every run, unless `--hypothesis-seed` asks for others.
"""

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

PROPERTIES = 150
MACHINES = 1000


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
