"""The flow's part: FlowFunction is invoked as after Start and after Stop, or its job is queued."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from call_archive.job import build_job_message
from call_archive.keys import recording_key
from call_archive_cli.doctor import FORBIDDEN, Verdict
from call_archive_cli.rehearsal.flow_event import Streamed, build_flow_event
from call_archive_cli.rehearsal.recorder import POLICY
from call_archive_cli.rehearsal.stage import Stage, job_of
from call_archive_cli.rehearsal.steps import StepError

if TYPE_CHECKING:
    from collections.abc import Mapping


def invoke(stage: Stage, streamed: Streamed) -> None:
    """Both invocations; each answer is compared with the contract."""
    place = stage.plan.place
    archived = f"s3://{place.bucket}/{recording_key(place.prefix, job_of(streamed))}"
    for name, is_stopped, wanted in (
        ("flow, after Start", False, {"mediaStreaming": "STARTED", "archiveStatus": "PENDING"}),
        ("flow, after Stop", True, {"mediaStreaming": "STOPPED", "archiveStatus": "QUEUED"}),
    ):
        with stage.recorder.step(name, ", ".join(wanted.values())) as step:
            try:
                answer = _answer(stage, streamed, is_stopped=is_stopped)
            except ClientError as error:
                if error.response["Error"]["Code"] not in FORBIDDEN:
                    raise
                step.seen = "your credentials do not allow Invoke of FlowFunction"
                step.fix, step.verdict = POLICY, Verdict.UNKNOWN
                if is_stopped:
                    send(stage, build_job_message(job_of(streamed)))
                    step.seen += "; the job was queued without it"
            else:
                _check_answer(
                    answer,
                    wanted
                    | {
                        "streamArn": streamed.stream_arn,
                        "startFragmentNumber": streamed.start_fragment_number,
                        "archiveUri": archived,
                        "reason": "",
                    },
                )
                step.seen = ", ".join(str(answer[key]) for key in wanted)
            stage.made.is_queued = stage.made.is_queued or is_stopped


def _answer(stage: Stage, streamed: Streamed, *, is_stopped: bool) -> Mapping[str, Any]:
    which = "stop" if is_stopped else "start"
    event = build_flow_event(streamed, is_stopped=is_stopped)
    stage.observed(f"flow-event-{which}.json", event)
    answer = _call_flow_function(stage, event)
    stage.observed(f"flow-answer-{which}.json", dict(answer))
    return answer


def _call_flow_function(stage: Stage, event: dict[str, Any]) -> Mapping[str, Any]:
    setup = stage.plan.setup
    answer = setup.client("lambda").invoke(
        FunctionName=setup.resources["FlowFunction"], Payload=json.dumps(event).encode()
    )
    body = json.loads(answer["Payload"].read())
    if answer.get("FunctionError"):
        raise StepError(
            f"FlowFunction failed: {body.get('errorType')}: {body.get('errorMessage')}",
            "FlowFunction, or ArchiveQueue's policy",
            f"look at the log group {setup.resources.get('FlowLogGroup', '')}",
        )
    if not isinstance(body, dict):
        raise StepError(f"FlowFunction answered {body!r}", "FlowFunction")
    return body


def _check_answer(answer: Mapping[str, Any], wanted: Mapping[str, str]) -> None:
    for key, value in wanted.items():
        if answer.get(key) != value:
            raise StepError(
                f"{key} is {answer.get(key)!r}; {answer.get('reason')}".rstrip("; "),
                "FlowFunction",
                "deploy the stack again; docs/troubleshooting.md explains the reason",
            )


def send(stage: Stage, message: Mapping[str, object]) -> None:
    """Puts a message into ArchiveQueue."""
    stage.plan.setup.clients.sqs().send_message(
        QueueUrl=stage.plan.setup.resources["ArchiveQueue"], MessageBody=json.dumps(message)
    )
