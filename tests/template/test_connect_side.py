"""What the stack does to the Connect instance, and which parameters go together."""

import json
import re
from typing import Any

import pytest

from flows.blocks import FLOW_FUNCTION, QUEUE
from flows.source import FLOWS
from tests.template.cloudformation import ACCOUNT, REGION, Json, deploy, load, of_type, refusals

INSTANCE = f"arn:aws:connect:{REGION}:{ACCOUNT}:instance/0f8a3b1c-5d2e-4f60-9a71-b2c3d4e5f607"
QUEUE_ARN = f"{INSTANCE}/queue/11111111-2222-3333-4444-555555555555"
MEDIA_KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/11111111-2222-3333-4444-555555555555"
STREAMING: dict[str, str | int] = {
    "ConnectInstanceArn": INSTANCE,
    "StreamPrefix": "ivr",
    "MediaKmsKeyArn": MEDIA_KEY,
    "MediaStreamRetentionHours": 24,
}
VOICEMAIL: dict[str, str | int] = {"ConnectInstanceArn": INSTANCE, "SampleFlow": "voicemail"}
WHOLE_CALL: dict[str, str | int] = {
    "ConnectInstanceArn": INSTANCE,
    "SampleFlow": "whole-call",
    "SampleFlowQueueArn": QUEUE_ARN,
}


def connect_resources(parameters: dict[str, str | int]) -> set[str]:
    return {
        logical_id
        for logical_id, resource in deploy(parameters).items()
        if resource["Type"].startswith("AWS::Connect::")
    }


class TestWhatIsMade:
    def test_nothing_without_an_instance(self) -> None:
        assert connect_resources({}) == set()

    def test_with_an_instance_its_flows_are_offered_the_function_and_no_more(self) -> None:
        assert connect_resources({"ConnectInstanceArn": INSTANCE}) == {"FlowIntegration"}

    @pytest.mark.parametrize(
        ("parameters", "made"),
        [
            (STREAMING, {"MediaStreaming"}),
            (VOICEMAIL, {"VoicemailFlow"}),
            (WHOLE_CALL, {"WholeCallFlow"}),
            (STREAMING | VOICEMAIL, {"MediaStreaming", "VoicemailFlow"}),
        ],
    )
    def test_what_is_asked_for(self, parameters: dict[str, str | int], made: set[str]) -> None:
        assert refusals(parameters) == []
        assert connect_resources(parameters) == {"FlowIntegration"} | made

    def test_live_media_streaming(self) -> None:
        (config,) = of_type(deploy(STREAMING), "AWS::Connect::InstanceStorageConfig").values()
        hours = config["KinesisVideoStreamConfig"].pop("RetentionPeriodHours")
        assert int(hours) == 24
        assert config == {
            "InstanceArn": INSTANCE,
            "ResourceType": "MEDIA_STREAMS",
            "StorageType": "KINESIS_VIDEO_STREAM",
            "KinesisVideoStreamConfig": {
                "Prefix": "ivr",
                "EncryptionConfig": {"EncryptionType": "KMS", "KeyId": MEDIA_KEY},
            },
        }


class TestSampleFlows:
    @pytest.mark.parametrize(
        ("name", "parameters"), [("voicemail", VOICEMAIL), ("whole-call", WHOLE_CALL)]
    )
    def test_content_is_the_flow_file_with_the_stacks_arns(
        self, name: str, parameters: dict[str, str | int]
    ) -> None:
        (flow,) = of_type(deploy(parameters), "AWS::Connect::ContactFlow").values()
        expected = json.dumps(FLOWS[name])
        expected = expected.replace(FLOW_FUNCTION, "<FlowFunction.Arn>").replace(QUEUE, QUEUE_ARN)
        assert json.loads(flow.pop("Content")) == json.loads(expected)
        assert "${" not in expected
        assert flow.pop("Description")
        assert flow == {
            "InstanceArn": INSTANCE,
            "Name": f"call-archive-{name}",
            "Type": "CONTACT_FLOW",
        }

    @pytest.mark.parametrize("parameters", [VOICEMAIL, WHOLE_CALL])
    def test_it_waits_until_the_instance_knows_the_function(
        self, parameters: dict[str, str | int]
    ) -> None:
        flows = [
            resource
            for resource in deploy(parameters).values()
            if resource["Type"] == "AWS::Connect::ContactFlow"
        ]
        assert [flow["DependsOn"] for flow in flows] == ["FlowIntegration"]

    def test_the_choice_is_the_flow_files(self) -> None:
        assert load()["Parameters"]["SampleFlow"]["AllowedValues"] == ["none", *FLOWS]


class TestWhatIsRefused:
    def test_the_defaults_are_not(self) -> None:
        assert refusals({}) == []

    @pytest.mark.parametrize(
        ("parameters", "missing", "value"),
        [
            (STREAMING, "ConnectInstanceArn", ""),
            (STREAMING, "StreamPrefix", "*"),
            (STREAMING, "MediaKmsKeyArn", ""),
            (VOICEMAIL, "ConnectInstanceArn", ""),
            (WHOLE_CALL, "ConnectInstanceArn", ""),
            (WHOLE_CALL, "SampleFlowQueueArn", ""),
        ],
    )
    def test_a_parameter_without_the_other_it_needs(
        self, parameters: dict[str, str | int], missing: str, value: str
    ) -> None:
        (message,) = refusals(parameters | {missing: value})
        asked = "SampleFlow" if "SampleFlow" in parameters else "MediaStreamRetentionHours"
        assert re.match(rf"{asked}.* needs {missing}: ", message)

    def test_everything_at_once_is_told_at_once(self) -> None:
        assert len(refusals({"MediaStreamRetentionHours": 24})) == 3

    @pytest.mark.parametrize(("sets_up", "alarms"), [(24, 24), (6, 6), (96, 96), (8760, 96)])
    def test_the_alarms_reckon_with_the_retention_that_is_set_up(
        self, sets_up: int, alarms: int
    ) -> None:
        hours = {"MediaStreamRetentionHours": sets_up, "StreamRetentionHours": alarms}
        assert refusals(STREAMING | hours) == []

    def test_alarms_that_would_come_too_late_are_refused(self) -> None:
        (message,) = refusals(STREAMING | {"MediaStreamRetentionHours": 6})
        assert message.startswith("StreamRetentionHours must equal MediaStreamRetentionHours")


def patterns() -> dict[str, Any]:
    return {n: p for n, p in load()["Parameters"].items() if "AllowedPattern" in p}


class TestParameters:
    def test_each_has_a_group_a_label_and_a_description(self) -> None:
        template = load()
        names = set(template["Parameters"])
        interface: Json = template["Metadata"]["AWS::CloudFormation::Interface"]
        grouped = [name for group in interface["ParameterGroups"] for name in group["Parameters"]]
        assert sorted(grouped) == sorted(names)
        assert set(interface["ParameterLabels"]) == names
        assert all(parameter["Description"] for parameter in template["Parameters"].values())

    def test_defaults_match_their_patterns(self) -> None:
        for name, parameter in patterns().items():
            assert re.match(parameter["AllowedPattern"], parameter["Default"]), name

    @pytest.mark.parametrize(
        ("name", "wrong"),
        [
            ("ConnectInstanceArn", "0f8a3b1c-5d2e-4f60-9a71-b2c3d4e5f607"),
            ("ConnectInstanceArn", f"{INSTANCE}/queue/1"),
            ("StreamPrefix", "with blank"),
            ("StreamPrefix", "ivr*"),
            ("MediaKmsKeyArn", f"arn:aws:kms:{REGION}:{ACCOUNT}:alias/connect"),
            ("SampleFlowQueueArn", INSTANCE),
            ("SampleFlowQueueArn", "BasicQueue"),
        ],
    )
    def test_what_is_mistyped_is_refused_with_an_example(self, name: str, wrong: str) -> None:
        assert not re.match(patterns()[name]["AllowedPattern"], wrong)

    @pytest.mark.parametrize("name", patterns())
    def test_a_refusal_says_what_is_taken(self, name: str) -> None:
        """CloudFormation prints the regular expression of a parameter without a description."""
        parameter = patterns()[name]
        described = parameter["ConstraintDescription"]
        example = re.search(r"such as (\S+?),? ", f"{described} ")
        if example:
            given = example[1].replace("UUID", "5f3b1c9e-2d47-4a86-9c01-7be0d2a4f611")
            assert re.match(parameter["AllowedPattern"], given)
