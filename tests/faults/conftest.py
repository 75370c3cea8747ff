"""ArchiveFunction in this process, to see what a fault does; the fixtures of the whole journey.

A kind of fault meets the deployed function once, in its own process and through HTTP: by
`mono_process` or `stereo_process`. Every other case runs here, in milliseconds.
"""

from types import SimpleNamespace

import botocore.endpoint
import pytest

from local.runtime import Function
from local.server import LocalAws
from tests.integration.conftest import (
    archive_functions,
    flow_function,
    impatient,
    patient,
    shared_aws,
)
from tests.integration.journey import Journey, environment
from tests.support.in_process import InProcessFunction
from tests.support.wire import Wire

__all__ = ["archive_functions", "flow_function", "impatient", "patient", "shared_aws"]


@pytest.fixture(scope="session")
def wire(shared_aws: LocalAws) -> Wire:
    return Wire(shared_aws)


@pytest.fixture
def mono(shared_aws: LocalAws, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Journey:
    """The customer's track alone, on an empty AWS, in this process."""
    return _in_process(shared_aws, wire, monkeypatch, "customer")


@pytest.fixture
def stereo(shared_aws: LocalAws, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Journey:
    """Both tracks, on an empty AWS, in this process."""
    return _in_process(shared_aws, wire, monkeypatch, "both")


@pytest.fixture
def mono_process(shared_aws: LocalAws, archive_functions: dict[str, Function]) -> Journey:
    """The customer's track alone, by the deployed function in its own process."""
    return Journey(shared_aws, archive_functions["customer"])


@pytest.fixture
def stereo_process(shared_aws: LocalAws, archive_functions: dict[str, Function]) -> Journey:
    """Both tracks, by the deployed function in its own process."""
    return Journey(shared_aws, archive_functions["both"])


def _in_process(aws: LocalAws, wire: Wire, monkeypatch: pytest.MonkeyPatch, tracks: str) -> Journey:
    function = InProcessFunction(environment(aws, tracks), wire)
    # botocore's own pauses between its tries.
    monkeypatch.setattr(botocore.endpoint, "time", SimpleNamespace(sleep=function.clock.sleep))
    return Journey(aws, function, wire.client)
