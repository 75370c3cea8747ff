"""The rehearsal against both functions: green, each fault named, and nothing left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from typer.testing import CliRunner

from call_archive_cli.app import app
from call_archive_cli.doctor import Verdict
from call_archive_cli.rehearsal.journey import Journey
from call_archive_cli.rehearsal.leftovers import TAG, clean, find
from call_archive_cli.rehearsal.plan import place_of
from call_archive_cli.rehearsal.recorder import Audience
from call_archive_cli.rehearsal.steps import Report, Step
from local.behaviour import CallFault, PutMediaFault
from local.call import simulate_call
from local.demo_call import INSTANCE_ARN
from local.faults import ServiceError
from local.moto_faults import MotoFault
from local.pcm import synthetic_pcm
from local.server import Step as RequestStep
from local.stack import NAME
from tests.cli.rehearsal.conftest import INSTANCE_ID, QUICK, World, step_of

STREAM = "arn:aws:kinesisvideo:eu-west-2:123456789012:stream/x-connect-y"
GREEN = [
    "set-up",
    "stream",
    "speak",
    "listed",
    "flow, after Start",
    "flow, after Stop",
    "archived",
    "recording",
    "other contacts",
    "manifest",
    "tags",
    "encryption",
    "cleaned up",
]


def run(*arguments: str) -> Any:
    return CliRunner().invoke(
        app, ["--stack", NAME, "rehearse", *arguments], catch_exceptions=False
    )


# ------------------------------------------------------------------------------------------- green


def test_a_call_is_archived_as_it_was_spoken_and_nothing_is_left(world: World) -> None:
    report = world.rehearse()
    assert [step.name for step in report.steps] == GREEN
    assert {step.name: step.verdict for step in report.steps} == dict.fromkeys(GREEN, Verdict.GOOD)
    assert report.is_good
    assert "exactly as it was spoken" in report.verdict
    assert world.is_clean()


def test_the_command_prints_a_table_a_verdict_and_json(world: World) -> None:
    told = run("--yes", "--fast", "--json")
    assert told.exit_code == 0, told.stdout
    report = json.loads(told.stdout)
    assert report["good"]
    assert [step["name"] for step in report["steps"]] == GREEN
    assert report["contactId"].startswith("rehearsal-")
    assert "costs about 0.000" in told.stderr
    assert world.is_clean()


def test_the_stream_is_like_connects_and_tagged_in_the_same_call(world: World) -> None:
    seen: list[Any] = []

    def look(name: str) -> None:
        if name == "speak":
            (stream,) = world.aws.kvs.streams.list({})["StreamInfoList"]
            tags = world.aws.kvs.streams.list_tags({"StreamARN": stream["StreamARN"]})["Tags"]
            seen.append((stream, tags))

    world.journey(Audience(begun=look)).run()
    ((stream, tags),) = seen
    assert stream["StreamName"].startswith("call-archive-connect-rehearsal-contact-")
    assert stream["DataRetentionInHours"] == 24
    assert stream["KmsKeyId"] == world.running.stack.parameters["MediaKmsKeyArn"]
    assert tags == {TAG: NAME}
    assert "TagStream" not in world.aws.requests


def test_dry_run_says_what_it_would_do_and_makes_nothing(world: World) -> None:
    before = world.aws.requests.get("CreateStream", 0)
    told = run("--dry-run")
    assert told.exit_code == 0
    assert "creates the stream call-archive-connect-rehearsal-contact-" in told.stdout
    assert "then deletes the stream and both objects" in told.stdout
    assert world.aws.requests.get("CreateStream", 0) == before


def test_without_a_yes_nothing_is_made(world: World) -> None:
    before = world.aws.requests.get("CreateStream", 0)
    told = CliRunner().invoke(app, ["--stack", NAME, "rehearse"], input="n\n")
    assert told.exit_code == 1
    assert world.aws.requests.get("CreateStream", 0) == before


def test_a_real_contact_is_archived_as_after_a_hang_up(world: World) -> None:
    now_ms = world.aws.clock.now_ms()
    call = simulate_call(
        synthetic_pcm(4, 1),
        synthetic_pcm(4, 2),
        contact_id="8c2b1f0e-6d1f-4c58-9a5e-0d6a4d1f7c21",
        instance_arn=INSTANCE_ARN,
        stream_arn=f"{STREAM}/{now_ms - 3_600_000}",
        start_ms=now_ms - 40_000,
    )
    world.aws.place(call, ended_s_ago=None)
    report = world.rehearse(contact_id=call.contact_id)
    assert step_of(report, "hang-up").verdict is Verdict.GOOD
    assert call.contact_id in step_of(report, "hang-up").seen
    # The real contact's recording stays.
    assert {call.contact_id in key for key in world.objects()} == {True}


# ------------------------------------------------------------------------------------------- faults


def _deny(api: str) -> Callable[[World], None]:
    def break_it(world: World) -> None:
        fault = CallFault(api, "AccessDeniedException", 403, "no", times=None)  # type: ignore[arg-type] # by name
        world.aws.behaviour = replace(QUICK, call_faults=(fault,))

    return break_it


def _put_media(fault: PutMediaFault) -> Callable[[World], None]:
    def break_it(world: World) -> None:
        world.aws.behaviour = replace(QUICK, put_media_faults=(fault,))

    return break_it


def _not_associated(world: World) -> None:
    world.aws.connect.instances.functions.clear()


def _without_retention(world: World) -> None:
    world.aws.connect.instances.stream_media(INSTANCE_ID, RetentionPeriodHours=0)


def _without_streaming(world: World) -> None:
    world.aws.connect.instances.storage.clear()


def _queue_blocked(world: World) -> None:
    world.aws.moto_faults = (MotoFault("SendMessage", "AccessDenied", times=None),)


@pytest.mark.parametrize(
    ("break_it", "failing", "seen", "convicts"),
    [
        (_without_streaming, "set-up", "streams no media", "media streaming"),
        (_without_retention, "set-up", "the retention is 0", "retention"),
        (_not_associated, "set-up", "is not associated", "association"),
        (_deny("CreateStream"), "stream", "do not allow CreateStream", "your permissions"),
        (_deny("DescribeStream"), "stream", "do not allow DescribeStream", "your permissions"),
        (_deny("GetDataEndpoint"), "speak", "do not allow GetDataEndpoint", "your permissions"),
        (_deny("PutMedia"), "speak", "do not allow PutMedia", "your permissions"),
        (_put_media(PutMediaFault(4, error_id=4503)), "speak", "ERROR 4503", "the key"),
        (_put_media(PutMediaFault(4)), "speak", "ERROR 5000", "PutMedia"),
        (_put_media(PutMediaFault(4, "reset")), "speak", "connection was lost", "the network"),
        (_put_media(PutMediaFault(2, "silence")), "speak", "nothing for 1 s", "PutMedia"),
        (_deny("ListFragments"), "listed", "do not allow ListFragments", "your permissions"),
        (_queue_blocked, "flow, after Stop", "FlowFunction failed", "ArchiveQueue's policy"),
    ],
)
def test_each_fault_is_named_and_nothing_is_left(
    world: World, break_it: Callable[[World], None], failing: str, seen: str, convicts: str
) -> None:
    break_it(world)
    report = world.rehearse(silence_s=1.0)
    step = step_of(report, failing)
    assert step.verdict is Verdict.WRONG
    assert seen in step.seen
    assert convicts in step.convicts
    assert step.fix
    assert not report.is_good
    assert failing in report.verdict
    assert world.is_clean()


def test_a_stream_that_is_not_known_yet_is_asked_again(world: World) -> None:
    fault = CallFault("PutMedia", "ResourceNotFoundException", 404, "not yet", times=2)
    world.aws.behaviour = replace(QUICK, call_faults=(fault,))
    assert step_of(world.rehearse(), "speak").verdict is Verdict.GOOD


def test_a_hang_up_without_the_queues_role_says_which_role(world: World) -> None:
    now_ms = world.aws.clock.now_ms()
    call = simulate_call(
        synthetic_pcm(2, 1),
        None,
        contact_id="7b1b1f0e-6d1f-4c58-9a5e-0d6a4d1f7c22",
        instance_arn=INSTANCE_ARN,
        stream_arn=f"{STREAM}/{now_ms - 3_600_000}",
        start_ms=now_ms - 40_000,
    )
    world.aws.place(call, ended_s_ago=None)

    def deny(name: str) -> None:
        if name == "hang-up":
            world.aws.moto_faults = (MotoFault("SendMessage", "AccessDenied", times=None),)

    step = step_of(world.journey(Audience(begun=deny), contact_id=call.contact_id).run(), "hang-up")
    assert "do not allow SendMessage" in step.seen
    assert "RedriveRoleArn" in step.fix


def test_what_may_not_be_looked_at_is_said_and_the_rest_goes_on(world: World) -> None:
    _deny("ListInstanceStorageConfigs")(world)
    report = world.rehearse()
    assert step_of(report, "set-up").verdict is Verdict.UNKNOWN
    assert "do not allow ListInstanceStorageConfigs" in step_of(report, "set-up").seen
    assert report.is_good


def _one_mapping(world: World) -> str:
    (mapping,) = world.client("lambda").list_event_source_mappings(
        FunctionName=world.resources["ArchiveFunction"]
    )["EventSourceMappings"]
    return str(mapping["UUID"])


def test_a_disabled_event_source_is_named(world: World) -> None:
    mapping, functions = _one_mapping(world), world.client("lambda")
    functions.update_event_source_mapping(UUID=mapping, Enabled=False)
    try:
        report = world.rehearse(patience_s=2.0)
    finally:
        functions.update_event_source_mapping(UUID=mapping, Enabled=True)
    assert step_of(report, "set-up").convicts == "event source"
    assert "1 in ArchiveQueue, and nobody takes them" in step_of(report, "archived").seen
    assert "its job is still in a queue" in step_of(report, "cleaned up").seen
    assert world.is_clean()


def test_a_throttled_archive_function_is_named(world: World) -> None:
    functions, name = world.client("lambda"), world.resources["ArchiveFunction"]
    functions.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    try:
        report = world.rehearse(patience_s=2.0)
    finally:
        functions.delete_function_concurrency(FunctionName=name)
    assert step_of(report, "archived").convicts == "ArchiveFunction is throttled"
    assert "reserved concurrency of 0" in step_of(report, "archived").seen


def test_a_job_that_fails_is_named_by_its_code_and_stays_in_its_queue(world: World) -> None:
    world.aws.moto_faults = (MotoFault("PutObject", "AccessDenied", times=None),)
    report = world.rehearse()
    step = step_of(report, "archived")
    assert "AccessDenied" in step.seen
    assert "messageId" in step.seen
    assert step.convicts == "ArchiveRole or the bucket's policy"
    sqs = world.client("sqs")
    (message,) = sqs.receive_message(
        QueueUrl=world.resources["FailedJobsQueue"],
        MessageAttributeNames=["All"],
        MessageSystemAttributeNames=["All"],
    )["Messages"]
    # Nobody has received it before: other jobs' counts are as they were.
    assert message["Attributes"]["ApproximateReceiveCount"] == "1"
    assert message["MessageAttributes"]["messageId"]["StringValue"] in step.seen


def test_a_recording_that_is_not_what_was_said_is_noticed(world: World) -> None:
    bucket = world.resources["ArchiveBucket"]

    def spoil(step: Step) -> None:
        if step.name != "archived":
            return
        s3 = world.client("s3")
        for key in {key for key in world.objects() if key.endswith(".wav")}:
            body = bytearray(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
            body[1044] ^= 1
            s3.put_object(Bucket=bucket, Key=key, Body=bytes(body))

    report = world.journey(Audience(done=spoil)).run()
    assert step_of(report, "recording").seen == "differs from sample 500 on (0.062 s)"
    assert "sha256 is not the recording's" in step_of(report, "manifest").seen
    assert world.is_clean()


def test_without_invoke_the_job_goes_through_the_queue(world: World) -> None:
    name = world.resources["FlowFunction"]
    flow = world.aws.invocations[name]

    def refuse(event: object) -> None:
        raise ServiceError(403, "AccessDeniedException", "not authorized")

    world.aws.invocations[name] = refuse
    try:
        report = world.rehearse()
    finally:
        world.aws.invocations[name] = flow
    assert step_of(report, "flow, after Start").verdict is Verdict.UNKNOWN
    assert "queued without it" in step_of(report, "flow, after Stop").seen
    assert report.is_good


# ------------------------------------------------------------------------------ interrupted, killed


class Killed(BaseException):
    """What nothing may catch: the process is gone."""


def _journey_that_ends(world: World, at: str, how: type[BaseException]) -> Journey:
    def begun(name: str) -> None:
        if name == at:
            raise how

    return world.journey(Audience(begun=begun))


STEPS = GREEN[1:7]


@pytest.mark.parametrize("step", STEPS)
def test_ctrl_c_in_any_step_removes_everything(world: World, step: str) -> None:
    def begun(name: str) -> None:
        if name == step:
            raise KeyboardInterrupt

    report = world.journey(Audience(begun=begun)).run()
    assert report.was_interrupted
    assert not report.is_good
    _await_quiet(world)
    clean(world.clients, place_of(world.setup(), NAME), sleep=time.sleep)
    assert world.is_clean()


@pytest.mark.parametrize("step", [*STEPS, "recording", "cleaned up"])
def test_what_a_killed_run_left_is_found_by_name_and_tag(world: World, step: str) -> None:
    def ends(name: str) -> None:
        if name == step:
            raise Killed

    audience = Audience(begun=ends, done=lambda done: ends(done.name))
    with pytest.raises(Killed):
        world.journey(audience).run()
    _await_quiet(world)
    told = clean(world.clients, place_of(world.setup(), NAME), sleep=lambda _: time.sleep(0.02))
    assert "nothing is left" in told
    assert world.is_clean()


def _await_quiet(world: World) -> None:
    """The functions still process a job that was queued."""
    sqs = world.client("sqs")
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        attributes = sqs.get_queue_attributes(
            QueueUrl=world.resources["ArchiveQueue"], AttributeNames=names
        )["Attributes"]
        if not any(int(attributes[name]) for name in names):
            return
        time.sleep(0.05)


def test_another_persons_stream_is_left_alone(world: World) -> None:
    streams = world.aws.kvs.streams
    streams.create({"StreamName": "call-archive-connect-rehearsal-contact-mine", "Tags": {}})
    streams.create(
        {"StreamName": "call-archive-connect-rehearsal-contact-b", "Tags": {TAG: "other-stack"}}
    )
    streams.create({"StreamName": "call-archive-connect-x-contact-1", "Tags": {TAG: NAME}})
    time.sleep(0.06)
    place = place_of(world.setup(), NAME)
    assert find(world.clients, place).streams == []
    assert clean(world.clients, place) == "0 things removed, nothing is left"
    assert len(world.streams()) == 3


def test_a_stale_rehearsal_does_not_disturb_the_next_one(world: World) -> None:
    with pytest.raises(Killed):
        _journey_that_ends(world, "speak", Killed).run()
    assert len(world.streams()) == 1
    assert world.rehearse().is_good
    assert len(world.streams()) == 1
    told = run("--clean")
    assert told.exit_code == 0
    assert "1 thing removed, nothing is left" in told.stdout
    assert world.is_clean()


@pytest.mark.parametrize(
    ("number", "exit_code"),
    [
        (signal.SIGINT, 130),
        pytest.param(signal.SIGTERM, 130, marks=pytest.mark.long),
        (signal.SIGKILL, -9),
    ],
)
def test_a_process_that_is_ended_while_it_speaks(
    world: World, number: signal.Signals, exit_code: int
) -> None:
    processes: list[subprocess.Popen[bytes]] = []

    def end(request: RequestStep) -> None:
        if request.api == "PutMedia" and processes:
            processes.pop().send_signal(number)

    world.aws.watcher = end
    # In real time: there are 28 s in which the signal may come.
    process = subprocess.Popen(
        [sys.executable, "-m", "call_archive_cli", "--stack", NAME, "rehearse", "--yes"],
        env={**os.environ, "PYTHONPATH": "src"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    processes.append(process)
    process.communicate(timeout=60)
    world.aws.watcher = None
    assert process.returncode == exit_code
    if number is signal.SIGKILL:
        assert len(world.streams()) == 1
        assert run("--clean").exit_code == 0
    assert world.is_clean()


def test_a_report_without_steps_proves_nothing() -> None:
    report = Report(NAME, "rehearsal-1", was_interrupted=True)
    assert not report.is_good
    assert "nothing is proved" in report.verdict
