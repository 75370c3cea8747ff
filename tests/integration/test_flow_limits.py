"""What FlowFunction owes a caller who is listening: a quick start, an end before 8 seconds."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.runtime import FLOW_HANDLER, SOURCE, Function, FunctionError
from local.server import LocalAws
from tests.integration.journey import flow_environment
from tests.support.schemas import schema

EVENTS = Path(__file__).parents[2] / "events"

SCRIPT = """
import json, sys
from call_archive.flow_handler import handler
answer = handler(json.load(open(sys.argv[1])), None)
print(json.dumps([answer, [name for name in ("boto3", "botocore.session") if name in sys.modules]]))
"""


@pytest.mark.parametrize(
    ("event", "status"), [("flow-started", "PENDING"), ("flow-not-started", "NONE")]
)
def test_answer_before_the_stop_never_loads_boto3(
    shared_aws: LocalAws, event: str, status: str
) -> None:
    output = subprocess.check_output(
        [sys.executable, "-c", SCRIPT, str(EVENTS / f"{event}.json")],
        env=flow_environment(shared_aws) | {"PYTHONPATH": str(SOURCE)},
        text=True,
    )
    answer, loaded = json.loads(output.splitlines()[-1])
    assert answer["archiveStatus"] == status
    schema("flow-answer").validate(answer)
    assert loaded == []


@pytest.fixture
def silent_server() -> Iterator[str]:
    """The kernel accepts every connection; no answer ever comes."""
    with socket.create_server(("127.0.0.1", 0), backlog=8) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_queue_that_never_answers_is_given_up(
    shared_aws: LocalAws, silent_server: str, tmp_path: Path
) -> None:
    """In how many seconds at most is in `unit/test_clients.py`."""
    environment = flow_environment(shared_aws) | {"AWS_ENDPOINT_URL": silent_server}
    stopped = json.loads((EVENTS / "flow-stopped.json").read_text())
    with (
        Function(
            FLOW_HANDLER, environment, tmp_path / "log", skips_pauses=True, longest_wait_s=0.2
        ) as flow,
        pytest.raises(FunctionError, match="QueueFaultError"),
    ):
        flow.invoke(stopped)
