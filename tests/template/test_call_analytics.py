"""examples/call-analytics: its state machine by AWS's own models, and what it does with a manifest.

The evaluator below knows the few words of the Amazon States Language that the definition uses.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from botocore.session import Session
from botocore.validate import ParamValidator
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
EVENT: Json = {"detail": {"bucket": {"name": "calls"}, "object": {"key": KEY}}}


def definition() -> Json:
    """The state machine as CloudFormation fills it in."""
    text = json.dumps(PROPERTIES["Definition"])
    for name, value in SUBSTITUTIONS.items():
        text = text.replace(f"${{{name}}}", value)
    assert "${" not in text
    states: Json = json.loads(text)
    return states


def find(path: str, data: Json) -> Any:
    found: Any = data
    for name in path.removeprefix("$.").split("."):
        found = found[name]
    return found


def value_of(expression: str, data: Json) -> Any:
    """A path, States.Format or States.StringToJson."""
    called = re.fullmatch(r"States\.(\w+)\((.*)\)", expression)
    if called is None:
        return find(expression, data)
    name, arguments = called.groups()
    if name == "StringToJson":
        return json.loads(find(arguments, data))
    assert name == "Format"
    pattern, *paths = re.split(r",\s*(?=\$)", arguments)
    return pattern.strip("'").format(*(find(path, data) for path in paths))


def fill(parameters: Any, data: Json) -> Any:
    if isinstance(parameters, list):
        return [fill(each, data) for each in parameters]
    if not isinstance(parameters, dict):
        return parameters
    return {
        name.removesuffix(".$"): value_of(value, data) if name.endswith(".$") else fill(value, data)
        for name, value in parameters.items()
    }


def run(manifest: Json) -> tuple[str, Json]:
    """The last task that was run, and its parameters; "" if there is nothing to do."""
    states, name, data = definition()["States"], "Read the manifest", EVENT
    while True:
        state = states[name]
        match state["Type"]:
            case "Succeed":
                return "", {}
            case "Choice":
                name = next(
                    (c["Next"] for c in state["Choices"] if holds(c, data)), state["Default"]
                )
            case "Task":
                parameters = fill(state["Parameters"], data)
                check(state["Resource"], parameters)
                if state.get("End"):
                    return state["Resource"].rpartition(":")[2], parameters
                assert parameters == {"Bucket": "calls", "Key": KEY}
                data, name = (
                    fill(state["ResultSelector"], {"Body": json.dumps(manifest)}),
                    state["Next"],
                )


def holds(choice: Json, data: Json) -> bool:
    found = find(choice["Variable"], data)
    return bool(found == choice.get("BooleanEquals", choice.get("NumericEquals")))


def check(resource: str, parameters: Json) -> None:
    """The operation exists, and takes these parameters, by botocore's model."""
    *_, service, action = resource.split(":")
    model = Session().get_service_model(service)
    operation = model.operation_model(action[0].upper() + action[1:])
    assert operation.input_shape is not None
    report = ParamValidator().validate(parameters, operation.input_shape)
    assert not report.has_errors(), report.generate_report()


def manifest_of(**changes: Any) -> Json:
    return build_manifest("8c2b", "recordings/a.wav", wav(bytes(16_000))) | changes


def test_stereo_is_analyzed() -> None:
    manifest = manifest_of(channels=2)
    action, parameters = run(manifest)
    assert action == "startCallAnalyticsJob"
    assert parameters["CallAnalyticsJobName"] == f"call-archive-{manifest['sha256']}"
    assert parameters["Media"] == {"MediaFileUri": manifest["recordingUri"]}
    assert parameters["OutputLocation"] == "s3://calls/analytics/8c2b/"
    assert [c["ParticipantRole"] for c in parameters["ChannelDefinitions"]] == ["CUSTOMER", "AGENT"]


def test_mono_is_transcribed() -> None:
    manifest = manifest_of()
    action, parameters = run(manifest)
    assert action == "startTranscriptionJob"
    assert parameters["OutputKey"] == f"analytics/8c2b/{manifest['sha256']}.json"


@pytest.mark.parametrize("channels", [1, 2])
def test_what_is_incomplete_is_left_alone(channels: int) -> None:
    assert run(manifest_of(channels=channels, complete=False)) == ("", {})


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
