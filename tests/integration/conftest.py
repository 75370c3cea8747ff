"""One local AWS and one warm ArchiveFunction a setting, for every test of the whole journey."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from local.runtime import ARCHIVE_HANDLER, FLOW_HANDLER, Function
from local.server import LocalAws
from tests.integration.journey import Journey, environment, flow_environment


@pytest.fixture(scope="session")
def shared_aws() -> Iterator[LocalAws]:
    with LocalAws() as aws:
        yield aws


@pytest.fixture(scope="session")
def archive_functions(
    shared_aws: LocalAws, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Function]]:
    """A warm ArchiveFunction for each setting of ARCHIVE_TRACKS."""
    logs = tmp_path_factory.mktemp("archive")
    with ExitStack() as running:
        yield {
            tracks: running.enter_context(
                Function(
                    ARCHIVE_HANDLER,
                    environment(shared_aws, tracks),
                    logs / tracks,
                    skips_pauses=True,
                )
            )
            for tracks in ("customer", "both")
        }


@pytest.fixture(scope="session")
def flow_function(
    shared_aws: LocalAws, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Function]:
    log = tmp_path_factory.mktemp("flow") / "function.log"
    with Function(
        FLOW_HANDLER, flow_environment(shared_aws), log, timeout_s=8, skips_pauses=True
    ) as function:
        yield function


@pytest.fixture
def mono(shared_aws: LocalAws, archive_functions: dict[str, Function]) -> Journey:
    """The customer's track alone, on an empty AWS that behaves like the service."""
    return Journey(shared_aws, archive_functions["customer"])


@pytest.fixture
def stereo(shared_aws: LocalAws, archive_functions: dict[str, Function]) -> Journey:
    """Both tracks, on an empty AWS that behaves like the service."""
    return Journey(shared_aws, archive_functions["both"])


@pytest.fixture
def patient(shared_aws: LocalAws, tmp_path: Path) -> Iterator[Journey]:
    """A journey in mono whose function really sleeps: for limits that count in real time."""
    log = tmp_path / "patient.log"
    with Function(ARCHIVE_HANDLER, environment(shared_aws), log) as function:
        yield Journey(shared_aws, function)


@pytest.fixture
def impatient(shared_aws: LocalAws, tmp_path: Path) -> Iterator[Journey]:
    """A journey in mono in which an answer that takes over a second never arrives."""
    log = tmp_path / "impatient.log"
    with Function(
        ARCHIVE_HANDLER, environment(shared_aws), log, skips_pauses=True, longest_wait_s=1
    ) as function:
        yield Journey(shared_aws, function)
