"""The real template, deployed by `sam deploy` into the emulator, and what is left out of it.

Left out is what MiniStack does not have: saved queries, query definitions, Glue, Connect's own
resources, and alarms on metric math. Connect is not allowed to send events there, as on AWS, where
only AWS may put an event with a source `aws.…`; so the rule takes one more source. For
`aws:PrincipalArn` MiniStack gives the session's ARN, where AWS gives the role's (IAM user guide,
global condition keys), so the queues' Deny of other senders would meet the functions themselves.
"""

import json
import os
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samcli.yamlhelper import yaml_dump, yaml_parse

from local.clients import REGION
from local.server import LocalAws
from tests.emulators.ministack import MiniStack

type Json = dict[str, Any]

EVENT_SOURCE = "test.connect"
CODE_BUCKET = "sam-code"
LEFT_OUT = ("AWS::Athena::", "AWS::Connect::", "AWS::Glue::", "AWS::Logs::QueryDefinition")
WAIT_S = 120


@dataclass(frozen=True)
class Stack:
    """A deployed stack, whose functions reach KVS and Connect on the local AWS.

    Attributes:
        outputs: of the stack.
    """

    ministack: MiniStack
    outputs: Mapping[str, str]

    def invoke_flow_function(self, event: Json) -> Json:
        """What a flow's Lambda block does."""
        answer = self.ministack.client("lambda").invoke(
            FunctionName=self.outputs["FlowFunctionArn"], Payload=json.dumps(event).encode()
        )
        decoded: Json = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, decoded
        return decoded

    def put_contact_event(self, event: Json) -> None:
        """What Connect does when a call ends."""
        entry = {
            "Source": EVENT_SOURCE,
            "DetailType": event["detail-type"],
            "Detail": json.dumps(event["detail"]),
        }
        answer = self.ministack.client("events").put_events(Entries=[entry])
        assert answer["FailedEntryCount"] == 0, answer

    def await_recordings(self, contact_ids: Collection[str]) -> dict[str, tuple[Json, bytes]]:
        """Manifest and recording of each contact, as soon as all are there."""
        return _await(lambda: self._recordings(contact_ids), f"manifests of {contact_ids}")

    def _recordings(self, contact_ids: Collection[str]) -> dict[str, tuple[Json, bytes]]:
        """The same if they are there now; empty if not."""
        s3, bucket = self.ministack.client("s3"), self.outputs["ArchiveBucket"]
        found: dict[str, tuple[Json, bytes]] = {}
        for entry in s3.list_objects_v2(Bucket=bucket).get("Contents", []):
            if not entry["Key"].endswith(".json"):
                continue
            body = s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
            manifest: Json = json.loads(body)
            if manifest.get("contactId") in contact_ids:
                assert manifest["contactId"] not in found, "a contact has two manifests"
                wav = manifest["recordingUri"].removeprefix(f"s3://{bucket}/")
                recording = s3.get_object(Bucket=bucket, Key=wav)["Body"].read()
                found[manifest["contactId"]] = manifest, recording
        return found if found.keys() == set(contact_ids) else {}

    def send_batch(self, messages: Sequence[Json]) -> None:
        """Puts messages into the archive queue, small enough for one invocation."""
        functions, sqs = self.ministack.client("lambda"), self.ministack.client("sqs")
        (mapping,) = functions.list_event_source_mappings(
            FunctionName=self.outputs["ArchiveFunctionArn"]
        )["EventSourceMappings"]
        # Now, with an empty queue: the poller forgets what it holds when its mapping changes.
        sqs.purge_queue(QueueUrl=self.outputs["ArchiveQueueUrl"])
        functions.update_event_source_mapping(UUID=mapping["UUID"], BatchSize=len(messages))
        sqs.send_message_batch(
            QueueUrl=self.outputs["ArchiveQueueUrl"],
            Entries=[
                {"Id": str(number), "MessageBody": json.dumps(message)}
                for number, message in enumerate(messages)
            ],
        )

    def await_waiting(self, count: int) -> None:
        """Until this many messages are in the archive queue, also the hidden ones."""
        names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")

        def is_so_many() -> bool:
            attributes = self.ministack.client("sqs").get_queue_attributes(
                QueueUrl=self.outputs["ArchiveQueueUrl"], AttributeNames=list(names)
            )["Attributes"]
            return sum(int(attributes[name]) for name in names) == count

        _await(is_so_many, f"{count} messages in the archive queue")

    def failed_jobs(self) -> list[Json]:
        """What is in the failed-jobs queue."""
        answer = self.ministack.client("sqs").receive_message(
            QueueUrl=self.outputs["FailedJobsQueueUrl"], MessageAttributeNames=["All"]
        )
        messages: list[Json] = answer.get("Messages", [])
        return messages


def _await[T](look: Callable[[], T], what: str) -> T:
    """What `look` finds, as soon as it finds something."""
    deadline_s = time.monotonic() + WAIT_S
    while time.monotonic() < deadline_s:
        if found := look():
            return found
        time.sleep(0.3)
    raise TimeoutError(f"after {WAIT_S} s, still no {what}")


def deploy(
    ministack: MiniStack, built: Path, name: str, parameters: Mapping[str, str], aws: LocalAws
) -> Stack:
    """`sam deploy`, as the documents say it; the functions are then led to the local AWS."""
    template = built / f"{name}.yaml"
    trimmed = _trim(yaml_parse((built / "template.yaml").read_text()))
    template.write_text(yaml_dump(trimmed))  # type: ignore[no-untyped-call] # sam's own, untyped
    command = [
        *("sam", "deploy", "--template-file", str(template), "--stack-name", name),
        *("--s3-bucket", CODE_BUCKET, "--region", REGION, "--no-confirm-changeset"),
        *("--capabilities", "CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"),
        *("--config-env", "emulator", "--parameter-overrides"),
        *(f"{key}={value}" for key, value in parameters.items()),
    ]
    done = subprocess.run(
        command,
        env={**os.environ, **ministack.variables, "SAM_CLI_TELEMETRY": "0"},
        cwd=built,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    described = ministack.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
    stack = Stack(
        ministack, {each["OutputKey"]: each["OutputValue"] for each in described["Outputs"]}
    )
    _lead_functions(stack, aws)
    return stack


def _lead_functions(stack: Stack, aws: LocalAws) -> None:
    """Points the functions at both services; wakes the queue's poller, as its scaling is set."""
    functions = stack.ministack.client("lambda")
    for name in ("FlowFunctionArn", "ArchiveFunctionArn"):
        arn = stack.outputs[name]
        known = functions.get_function_configuration(FunctionName=arn)["Environment"]["Variables"]
        added = {
            "AWS_CA_BUNDLE": str(stack.ministack.certificate),
            "AWS_ENDPOINT_URL": stack.ministack.endpoint_url,
            "AWS_ENDPOINT_URL_CONNECT": aws.endpoint_url,
            "AWS_ENDPOINT_URL_KINESIS_VIDEO": aws.endpoint_url,
        }
        functions.update_function_configuration(
            FunctionName=arn, Environment={"Variables": {**known, **added}}
        )
    for mapping in functions.list_event_source_mappings()["EventSourceMappings"]:
        functions.update_event_source_mapping(
            UUID=mapping["UUID"], ScalingConfig={"MaximumConcurrency": 2}
        )


def _trim(template: Json) -> Json:
    resources: Json = template["Resources"]
    dropped = {name for name, resource in resources.items() if _is_left_out(resource)}
    kept = {name: resource for name, resource in resources.items() if name not in dropped}
    for resource in kept.values():
        awaited = resource.get("DependsOn", [])
        names = [awaited] if isinstance(awaited, str) else awaited
        if set(names) & dropped:
            resource["DependsOn"] = [name for name in names if name not in dropped]
    for name in ("ArchiveQueuePolicy", "FailedJobsQueuePolicy"):
        policy = kept[name]["Properties"]["PolicyDocument"]
        policy["Statement"] = [
            each for each in policy["Statement"] if each["Sid"] != "OnlyOurSenders"
        ]
    pattern = kept["DisconnectRule"]["Properties"]["EventPattern"]
    pattern["source"] = [*pattern["source"], EVENT_SOURCE]
    outputs = {
        name: output
        for name, output in template["Outputs"].items()
        if not dropped & set(_references(output))
    }
    return {**template, "Resources": kept, "Outputs": outputs}


def _is_left_out(resource: Json) -> bool:
    is_metric_math = resource["Type"] == "AWS::CloudWatch::Alarm" and (
        "Metrics" in resource["Properties"]
    )
    return is_metric_math or str(resource["Type"]).startswith(LEFT_OUT)


def _references(value: Any) -> Iterator[str]:
    """The logical ids that a value names."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "Ref":
                yield str(inner)
            elif key == "Fn::GetAtt":
                yield str(inner[0] if isinstance(inner, list) else inner.split(".")[0])
            else:
                yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)
