"""The packaged functions in a deployed stack on an independent AWS: TLS, IAM, its own poller.

moto is patched by this repository, so it cannot contradict it. Here `sam build` and `sam deploy`
make the stack, the emulator's own event source mapping and EventBridge run the functions, and
each of their calls is judged by the roles and policies of the template.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from call_archive.keys import hold_key
from local.demo_call import INSTANCE_ARN
from local.server import LocalAws
from tests.emulators.ministack import MiniStack
from tests.emulators.stack import Stack, deploy
from tests.integration.journey import CONTACT_ID, agent, call, caller, interleave, neighbours

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


@pytest.fixture(scope="module")
def aws() -> Iterator[LocalAws]:
    """KVS and Connect."""
    with LocalAws() as local:
        yield local


@pytest.fixture(scope="module")
def stacks(ministack: MiniStack, built: Path, aws: LocalAws) -> Callable[[str], Stack]:
    """The deployed stack of each set of parameters."""
    return cache(lambda name: deploy(ministack, built, name, SETS[name], aws))


@pytest.mark.parametrize("name", CHOSEN)
def test_the_deployed_stack_archives_a_call(
    stacks: Callable[[str], Stack], aws: LocalAws, name: str
) -> None:
    """By the flow and by the contact event: one recording, whatever comes first."""
    stack = stacks(name)
    one = call()
    aws.reset()
    aws.place(one, *neighbours(one))
    answer = stack.invoke_flow_function(one.flow_event("stopped"))
    assert answer["archiveStatus"] == "QUEUED"
    stack.put_contact_event(one.contact_event("DISCONNECTED"))
    manifest, wav = stack.await_recordings({CONTACT_ID})[CONTACT_ID]
    assert manifest["recordingUri"] == answer["archiveUri"]
    assert manifest["complete"] is True
    assert wav[HEADER_BYTES:] == expected_pcm(SETS[name])
    assert stack.failed_jobs() == []
    stack.await_waiting(0)


def test_what_is_written_of_a_held_contact_is_held(
    stacks: Callable[[str], Stack], aws: LocalAws
) -> None:
    """Object Lock is enabled by S3's own call: the emulator's CloudFormation leaves it out."""
    stack = stacks("mono")
    s3, bucket = stack.ministack.client("s3"), stack.outputs["ArchiveBucket"]
    s3.put_object_lock_configuration(
        Bucket=bucket, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"}
    )
    one = call(contact_id="cccccccc-1111-2222-3333-444455556666", first_sequence=8001)
    s3.put_object(Bucket=bucket, Key=hold_key("", one.contact_id), Body=b"{}")
    aws.reset()
    aws.place(one)
    stack.send_batch([one.archive_job()])
    manifest, _ = stack.await_recordings({one.contact_id})[one.contact_id]
    recording = manifest["recordingUri"].removeprefix(f"s3://{bucket}/")
    for key in (recording, recording.replace("recordings/", "manifests/")[:-4] + ".json"):
        stored = s3.head_object(Bucket=bucket, Key=key)
        assert stored["ObjectLockLegalHoldStatus"] == "ON"
        with pytest.raises(ClientError, match="AccessDenied"):
            s3.delete_object(Bucket=bucket, Key=key, VersionId=stored["VersionId"])
    stack.await_waiting(0)


def test_of_a_batch_each_message_goes_its_own_way(
    stacks: Callable[[str], Stack], aws: LocalAws
) -> None:
    """The poller of the emulator deletes what is done, and delivers again what is not."""
    stack = stacks("mono")
    now, later = (
        call(contact_id=f"{digit * 8}-1111-2222-3333-444455556666", first_sequence=sequence)
        for digit, sequence in (("a", 6001), ("b", 7001))
    )
    aws.reset()
    aws.place(now)
    foreign = {"kind": "of another program"}
    stack.send_batch([foreign, later.contact_event("DISCONNECTED"), now.archive_job()])
    _, wav = stack.await_recordings({now.contact_id})[now.contact_id]
    assert wav[HEADER_BYTES:] == caller()
    # Done with: the recording, and what became a failed job.
    stack.await_waiting(1)
    (failed,) = stack.failed_jobs()
    assert json.loads(failed["Body"]) == foreign
    assert failed["MessageAttributes"]["code"]["StringValue"] == "UNKNOWN_MESSAGE"
    # What came too early comes back, after the delay that ArchiveFunction set.
    aws.place(later)
    manifest, wav = stack.await_recordings({later.contact_id})[later.contact_id]
    assert manifest["trigger"] == "contactEvent"
    assert wav[HEADER_BYTES:] == caller()
    stack.await_waiting(0)
