"""Both functions as `sam build` packs them, in Lambda containers, against the local AWS.

Commands, events and configuration are those that README.md gives to a user.
"""

import io
import json
import wave
from pathlib import Path
from typing import Any

import pytest

from tests.sam_local.conftest import BUCKET, Invoke, LocalAws

ROOT = Path(__file__).parents[2]
CALLER = ROOT / "src/call_archive_cli/rehearsal/voices/caller.wav"
ANSWER_KEYS = {
    "mediaStreaming",
    "streamArn",
    "startFragmentNumber",
    "startTimestamp",
    "stopFragmentNumber",
    "stopTimestamp",
    "archiveStatus",
    "archiveUri",
    "reason",
}


def recorded_audio(event: str) -> dict[str, str]:
    """What Connect put into a flow event."""
    contact = json.loads((ROOT / f"events/{event}.json").read_text())["Details"]["ContactData"]
    audio: dict[str, str] = contact["MediaStreams"]["Customer"]["Audio"]
    return audio


def queued_jobs(aws: LocalAws) -> list[dict[str, Any]]:
    """What lay on the archive queue."""
    messages = aws.take_messages("FlowFunction", "ARCHIVE_QUEUE_URL")
    return [json.loads(message["Body"]) for message in messages]


def stored(aws: LocalAws) -> dict[str, bytes]:
    """Every object of the bucket, by key."""
    s3 = aws.client("s3")
    keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])]
    return {key: s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}


def assert_is_the_callers_voice(recording: bytes) -> None:
    with wave.open(str(CALLER)) as spoken, wave.open(io.BytesIO(recording)) as archived:
        assert archived.getparams() == spoken.getparams()
        samples = archived.readframes(archived.getnframes())
        assert samples == spoken.readframes(spoken.getnframes())


def assert_archived(aws: LocalAws, event: str) -> None:
    """One recording, the caller's voice sample for sample, and a manifest that says so."""
    assert aws.take_messages("ArchiveFunction", "FAILED_JOBS_QUEUE_URL") == []
    (manifest_key, manifest_bytes), (recording_key, recording) = sorted(stored(aws).items())
    assert manifest_key.startswith("manifests/year=")
    assert manifest_key.endswith(".json")
    assert recording_key.startswith("recordings/year=")
    assert recording_key.endswith(".wav")
    assert_is_the_callers_voice(recording)
    manifest = json.loads(manifest_bytes)
    assert manifest["complete"] is True, (event, manifest["reasons"])
    assert manifest["recordingUri"] == f"s3://{BUCKET}/{recording_key}"
    assert manifest["fragments"]["missing"] == []


def assert_answers_started(answer: dict[str, Any], aws: LocalAws) -> None:
    audio = recorded_audio("flow-started")
    assert answer.keys() == ANSWER_KEYS
    assert all(isinstance(value, str) for value in answer.values())
    assert (answer["mediaStreaming"], answer["archiveStatus"]) == ("STARTED", "PENDING")
    assert answer["streamArn"] == audio["StreamARN"]
    assert answer["startFragmentNumber"] == audio["StartFragmentNumber"]
    assert answer["startTimestamp"] == audio["StartTimestamp"]
    assert (answer["stopFragmentNumber"], answer["stopTimestamp"], answer["reason"]) == ("", "", "")
    assert queued_jobs(aws) == []


def assert_answers_stopped(answer: dict[str, Any], aws: LocalAws) -> None:
    audio = recorded_audio("flow-stopped")
    assert answer.keys() == ANSWER_KEYS
    assert all(isinstance(value, str) for value in answer.values())
    assert (answer["mediaStreaming"], answer["archiveStatus"]) == ("STOPPED", "QUEUED")
    assert answer["stopFragmentNumber"] == audio["StopFragmentNumber"]
    assert answer["stopTimestamp"] == audio["StopTimestamp"]
    assert answer["archiveUri"].startswith(f"s3://{BUCKET}/recordings/year=")
    (job,) = queued_jobs(aws)
    assert (job["kind"], job["version"]) == ("ArchiveJob", 1)
    assert job["streamArn"] == audio["StreamARN"]
    assert job["startFragmentNumber"] == audio["StartFragmentNumber"]
    assert job["stopFragmentNumber"] == audio["StopFragmentNumber"]


def test_flow_function_after_the_start(invoke: Invoke, aws: LocalAws) -> None:
    assert_answers_started(invoke("FlowFunction", "flow-started"), aws)


def test_flow_function_after_the_stop(invoke: Invoke, aws: LocalAws) -> None:
    assert_answers_stopped(invoke("FlowFunction", "flow-stopped"), aws)


@pytest.mark.parametrize("event", ["archive-job", "contact-disconnected", "contact-record"])
def test_archive_function(invoke: Invoke, aws: LocalAws, event: str) -> None:
    assert invoke("ArchiveFunction", event) == {"batchItemFailures": []}
    assert_archived(aws, event)


def test_both_functions_through_the_lambda_api(invoke_by_api: Invoke, aws: LocalAws) -> None:
    assert_answers_started(invoke_by_api("FlowFunction", "flow-started"), aws)
    assert_answers_stopped(invoke_by_api("FlowFunction", "flow-stopped"), aws)
    assert invoke_by_api("ArchiveFunction", "archive-job") == {"batchItemFailures": []}
    assert_archived(aws, "archive-job")


def test_bundle_holds_what_the_functions_need_with_its_bytecode(project: Path) -> None:
    for name in ("FlowFunction", "ArchiveFunction"):
        bundle = project / ".aws-sam/build" / name
        packages = {path.name for path in bundle.iterdir() if not path.name.endswith("-info")}
        assert packages == {
            "__pycache__",
            "aws_lambda_powertools",
            "boto3",
            "botocore",
            "call_archive",
            "dateutil",
            "ebmlite",
            "jmespath",
            "s3transfer",
            "six.py",
            "typing_extensions.py",
            "urllib3",
        }
        services = {path.name for path in (bundle / "botocore/data").iterdir() if path.is_dir()}
        assert services == {"connect", "kinesis-video-archived-media", "kinesisvideo", "s3", "sqs"}
        handler = bundle / "call_archive/__pycache__/archive_handler.cpython-313.pyc"
        # Flags of PEP 552: by hash, and not checked, so that the source's date does not matter.
        assert handler.read_bytes()[4:8] == b"\x01\0\0\0"
