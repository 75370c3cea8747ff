"""The packaged functions in a deployed stack on somebody else's AWS: TLS, IAM, its own poller.

moto is patched by this repository, so it cannot contradict it. Here `sam build` and `sam deploy`
make the stack, the emulator's own event source mapping and EventBridge run the functions, and
every call of theirs is judged by the roles and policies of the template.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from local.demo_call import INSTANCE_ARN
from local.server import LocalAws
from tests.emulators.ministack import MiniStack
from tests.emulators.stack import Stack, deploy
from tests.integration.journey import agent, call, caller, interleave, neighbours

COMMON = {"ConnectInstanceArn": INSTANCE_ARN}
SETS: Mapping[str, Mapping[str, str]] = {
    "mono": COMMON,
    "stereo": {**COMMON, "Tracks": "both", "ArchivePrefix": "calls/"},
    "kept": {**COMMON, "RetentionDays": "30", "AlarmEmail": "ops@example.com"},
    "any-instance": {"Tracks": "both", "LogLevel": "DEBUG"},
}
CHOSEN = tuple(SETS) if os.environ.get("CALL_ARCHIVE_EMULATOR_SETS") == "all" else ("mono",)
HEADER_BYTES = 44


def expected_pcm(parameters: Mapping[str, str]) -> bytes:
    return interleave(caller(), agent()) if parameters.get("Tracks") == "both" else caller()


def archives_both_ways(stack: Stack, aws: LocalAws, parameters: Mapping[str, str]) -> None:
    """By the flow and by the contact event: one recording, whatever comes first."""
    one = call()
    aws.place(one, *neighbours(one))
    aws.connect.register(one)
    answer = stack.invoke_flow_function(one.flow_event("stopped"))
    assert answer["archiveStatus"] == "QUEUED"
    stack.put_contact_event(one.contact_event("DISCONNECTED"))
    manifest, wav = stack.await_manifest()
    assert manifest["recordingUri"] == answer["archiveUri"]
    assert manifest["complete"] is True
    assert wav[HEADER_BYTES:] == expected_pcm(parameters)
    assert stack.failed_jobs() == []


@pytest.mark.parametrize("name", CHOSEN)
def test_the_deployed_stack_archives_a_call(
    ministack: MiniStack, built: Path, aws: LocalAws, name: str
) -> None:
    stack = deploy(ministack, built, name, SETS[name], aws)
    archives_both_ways(stack, aws, SETS[name])
