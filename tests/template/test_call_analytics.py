"""examples/call-analytics: its state machine in moto's Step Functions, on manifests in moto's S3.

`AwsSdk` answers what moto does not: Step Functions gives a Task the text of an object (moto: the
stream) and of a time (moto: a datetime), names errors after the service in Pascal case (moto:
`s3.…`), and starts Call Analytics jobs, which moto's Transcribe does not have. Every call is
checked by botocore's models.
"""

import itertools
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import boto3
import pytest
from botocore.session import Session
from botocore.validate import ParamValidator
from moto import mock_aws
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service import (
    state_task_service_aws_sdk as moto_tasks,
)
from samcli.yamlhelper import yaml_parse

from tests.cli.archive import build_manifest, wav

type Json = dict[str, Any]

ROOT = Path(__file__).parents[2] / "examples/call-analytics"
TEMPLATE: Json = yaml_parse((ROOT / "template.yaml").read_text())
PROPERTIES: Json = TEMPLATE["Resources"]["Analysis"]["Properties"]
SUBSTITUTIONS = {
    "DataRoleArn": "arn:aws:iam::123456789012:role/data",
    "Bucket": "calls",
    "ResultsPrefix": "analytics/",
    "LanguageCode": "en-US",
}
KEY = "manifests/year=2026/month=01/day=01/8c2b/77.json"
REGION: Final = "eu-west-2"
ROLE = "arn:aws:iam::123456789012:role/analysis"
EVENT: Json = {"detail": {"bucket": {"name": "calls"}, "object": {"key": KEY}}}


def definition() -> Json:
    """The state machine as CloudFormation fills it in."""
    text = json.dumps(PROPERTIES["Definition"])
    for name, value in SUBSTITUTIONS.items():
        text = text.replace(f"${{{name}}}", value)
    assert "${" not in text
    states: Json = json.loads(text)
    return states


@dataclass
class AwsSdk:
    """What Step Functions' SDK integrations call, in the place of moto's clients.

    Attributes:
        service: by its name in a state's resource.
        analyses: Call Analytics jobs that were started, by name.
    """

    service: str
    analyses: dict[str, Json] = field(default_factory=dict)

    def get_object(self, **parameters: Any) -> Json:
        answer = self._client().get_object(**parameters)
        return _as_json(answer | {"Body": answer["Body"].read().decode()})

    def start_transcription_job(self, **parameters: Any) -> Json:
        return _as_json(self._client().start_transcription_job(**parameters))

    def start_call_analytics_job(self, **parameters: Any) -> Json:
        name = parameters["CallAnalyticsJobName"]
        model = Session().get_service_model(self.service).operation_model("StartCallAnalyticsJob")
        assert model.input_shape is not None
        report = ParamValidator().validate(parameters, model.input_shape)
        assert not report.has_errors(), report.generate_report()
        if name in self.analyses:
            raise self._client().exceptions.ConflictException(
                {
                    "Error": {"Code": "ConflictException", "Message": "the name is taken"},
                    "ResponseMetadata": {"HTTPStatusCode": 409, "RequestId": "1"},
                },
                "StartCallAnalyticsJob",
            )
        self.analyses[name] = parameters
        return {"CallAnalyticsJob": {"CallAnalyticsJobName": name}}

    def _client(self) -> Any:
        return boto3.client(self.service, region_name=REGION)  # type: ignore[call-overload] # by name


def _as_json(answer: Json) -> Json:
    """What the next state gets; a time is text there."""
    decoded: Json = json.loads(json.dumps(answer, default=str))
    return decoded


@dataclass
class Account:
    """The state machine, the bucket, and the jobs of Transcribe."""

    arn: str
    analyses: dict[str, Json]
    names: Iterator[int] = field(default_factory=itertools.count)

    def run(self, manifest: Json | None) -> list[str]:
        """The states that an execution passes; it has to succeed."""
        s3 = boto3.client("s3", region_name=REGION)
        if manifest is None:
            s3.delete_object(Bucket="calls", Key=KEY)
        else:
            s3.put_object(Bucket="calls", Key=KEY, Body=json.dumps(manifest).encode() + b"\n")
        states = boto3.client("stepfunctions", region_name=REGION)
        execution = states.start_execution(
            stateMachineArn=self.arn, name=f"run-{next(self.names)}", input=json.dumps(EVENT)
        )["executionArn"]
        while (described := states.describe_execution(executionArn=execution))[
            "status"
        ] == "RUNNING":
            time.sleep(0.01)
        assert described["status"] == "SUCCEEDED", (described.get("error"), described.get("cause"))
        history = states.get_execution_history(executionArn=execution)["events"]
        return [
            event["stateEnteredEventDetails"]["name"]
            for event in history
            if "stateEnteredEventDetails" in event
        ]

    def transcripts(self) -> list[str]:
        client = boto3.client("transcribe", region_name=REGION)
        jobs = client.list_transcription_jobs()["TranscriptionJobSummaries"]
        return [job["TranscriptionJobName"] for job in jobs]

    def finished(self, name: str) -> Json:
        """A job of Transcribe's, which comes one step further each time that moto is asked."""
        client = boto3.client("transcribe", region_name=REGION)
        while True:
            job: Any = client.get_transcription_job(TranscriptionJobName=name)["TranscriptionJob"]
            if job["TranscriptionJobStatus"] == "COMPLETED":
                return dict(job)


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    analyses: dict[str, Json] = {}

    def client_for(region: str, service: str, state_credentials: Any = None) -> AwsSdk:
        return AwsSdk(service, analyses)

    monkeypatch.setattr(moto_tasks, "boto_client_for", client_for)
    for service, name in (("s3", "S3"), ("transcribe", "Transcribe")):
        monkeypatch.setitem(moto_tasks._SERVICE_ERROR_NAMES, service, name)
    with mock_aws(config={"stepfunctions": {"execute_state_machine": True}}):
        boto3.client("s3", region_name=REGION).create_bucket(
            Bucket="calls", CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        machine = boto3.client("stepfunctions", region_name=REGION).create_state_machine(
            name="analysis", definition=json.dumps(definition()), roleArn=ROLE
        )
        yield Account(machine["stateMachineArn"], analyses)


def manifest_of(**changes: Any) -> Json:
    return build_manifest("8c2b", "recordings/a.wav", wav(bytes(16_000))) | changes


def test_stereo_is_analyzed_once(account: Account) -> None:
    manifest = manifest_of(channels=2)
    begun = ["Read the manifest", "Is it complete", "Analyze both sides"]
    assert account.run(manifest) == begun
    # The event comes twice: Transcribe knows the name.
    assert account.run(manifest) == [*begun, "Nothing to do"]
    ((name, parameters),) = account.analyses.items()
    assert name == f"call-archive-{manifest['sha256']}"
    assert parameters["Media"] == {"MediaFileUri": manifest["recordingUri"]}
    assert parameters["OutputLocation"] == "s3://calls/analytics/8c2b/"
    assert [c["ParticipantRole"] for c in parameters["ChannelDefinitions"]] == ["CUSTOMER", "AGENT"]
    assert account.transcripts() == []


def test_mono_is_transcribed_once(account: Account) -> None:
    manifest = manifest_of()
    begun = ["Read the manifest", "Is it complete", "Transcribe one side"]
    assert account.run(manifest) == begun
    assert account.run(manifest) == [*begun, "Nothing to do"]
    assert account.transcripts() == [f"call-archive-{manifest['sha256']}"]
    assert account.analyses == {}
    job = account.finished(f"call-archive-{manifest['sha256']}")
    assert job["Media"]["MediaFileUri"] == manifest["recordingUri"]
    assert job["Transcript"]["TranscriptFileUri"].endswith(
        f"/calls/analytics/8c2b/{manifest['sha256']}.json"
    )


@pytest.mark.parametrize("channels", [1, 2])
def test_what_is_incomplete_is_left_alone(account: Account, channels: int) -> None:
    passed = account.run(manifest_of(channels=channels, complete=False))
    assert passed == ["Read the manifest", "Is it complete", "Nothing to do"]
    assert (account.analyses, account.transcripts()) == ({}, [])


def test_a_manifest_that_was_deleted_meanwhile_is_nothing_to_do(account: Account) -> None:
    assert account.run(None) == ["Read the manifest", "Nothing to do"]


def test_every_state_that_is_named_exists() -> None:
    states = definition()["States"]
    named = set(re.findall(r'"(?:Next|Default|StartAt)": "([^"]+)"', json.dumps(definition())))
    assert named == states.keys()


def test_the_rule_matches_manifests_only() -> None:
    pattern = TEMPLATE["Resources"]["ManifestRule"]["Properties"]["EventPattern"]
    assert pattern["source"] == ["aws.s3"]
    assert pattern["detail-type"] == ["Object Created"]
    assert pattern["detail"]["object"]["key"] == [
        {"prefix": {"Fn::Sub": "${ArchivePrefix}manifests/"}}
    ]
