"""What goes wrong outside this program: one clear line, the documented exit code, no traceback."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from call_archive_cli import exits
from call_archive_cli.clients import Clients
from local.behaviour import CallFault
from local.demo_call import INSTANCE_ARN, STREAM_ARN
from local.server import LocalAws, Step
from tests.cli.archive import Archive, Queues
from tests.cli.conftest import Run
from tests.integration.journey import CONTACT_ID, RESOURCES, call

LIST = ("list", "--bucket", RESOURCES.bucket)
GET = ("get", CONTACT_ID, "--bucket", RESOURCES.bucket, "--day", "2026-01-01")
FETCH = ("fetch", CONTACT_ID, "--instance-arn", INSTANCE_ARN)
INSPECT = ("inspect", STREAM_ARN)
FOLLOW = ("follow", "--stream-arn", STREAM_ARN, "--now")
DOCTOR = ("doctor", "--stack", "call-archive")
COMMANDS = pytest.mark.parametrize("command", [LIST, GET, FETCH, INSPECT, FOLLOW, DOCTOR])


def assert_one_line(told: str, words: str) -> None:
    assert told.count("\n") == 1, told
    assert told.startswith("error: ")
    assert words in told


@COMMANDS
def test_no_credentials(
    run_alone: Run, aws: LocalAws, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    result = run_alone(*command)
    assert result.exit_code == 3
    assert_one_line(result.stderr, "no usable AWS credentials: log in (aws sso login)")
    assert result.stdout == ""


@pytest.mark.parametrize("command", [DOCTOR, ("redrive", "--stack", "call-archive")])
def test_no_region(
    run_alone: Run, aws: LocalAws, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    result = run_alone(*command)
    assert result.exit_code == 3
    assert_one_line(result.stderr, "no AWS region: give --region")


@COMMANDS
def test_unknown_profile(run_alone: Run, aws: LocalAws, command: tuple[str, ...]) -> None:
    result = run_alone("--profile", "nobody", *command)
    assert result.exit_code == 3
    assert_one_line(result.stderr, "nobody")


@pytest.mark.parametrize(
    ("error_type", "status", "words"),
    [
        ("ExpiredTokenException", 403, "log in (aws sso login)"),
        ("UnrecognizedClientException", 403, "log in (aws sso login)"),
        ("AccessDeniedException", 403, "your credentials do not allow it"),
        ("NotAuthorizedException", 401, "your credentials do not allow it"),
    ],
)
@pytest.mark.parametrize(
    ("command", "api"),
    [
        (FETCH, "DescribeContact"),
        (INSPECT, "DescribeStream"),
        (INSPECT, "ListFragments"),
        (FOLLOW, "GetMedia"),
        (FOLLOW, "GetDataEndpoint"),
    ],
)
def test_refusals(
    run: Run,
    aws: LocalAws,
    command: tuple[str, ...],
    api: str,
    error_type: str,
    status: int,
    words: str,
) -> None:
    aws.place(call())
    fault = CallFault(api, error_type, status, "no", times=None)  # type: ignore[arg-type] # a name
    aws.behaviour = replace(aws.behaviour, call_faults=(fault,))
    result = run(*command)
    assert result.exit_code == 3
    assert_one_line(result.stderr, f"{api} answered {error_type}: no; {words}")


def test_expired_token_is_not_tried_again(run: Run, aws: LocalAws) -> None:
    aws.place(call())
    fault = CallFault("GetMedia", "ExpiredTokenException", 403, "no", times=None)
    aws.behaviour = replace(aws.behaviour, call_faults=(fault,))
    assert run(*FOLLOW).exit_code == 3
    assert aws.requests["GetMedia"] == 1


def test_day_that_is_none(run: Run, aws: LocalAws) -> None:
    result = run(*LIST, "--day", "2026-13-01")
    assert result.exit_code == 2
    assert "2026-13-01 is not a day: one looks like 2026-11-23" in result.stderr


def test_endpoint_that_is_no_url(
    run_alone: Run, aws: LocalAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "foo")
    result = run_alone(*LIST)
    assert result.exit_code == 3
    assert_one_line(result.stderr, "Invalid endpoint: foo: check AWS_ENDPOINT_URL")


@pytest.mark.parametrize(
    "process", ["echo nonsense", "false", "no-such-program", "sh -c 'echo >&2 MFA; exit 1'"]
)
def test_credentials_that_cannot_be_had(
    run_alone: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, process: str
) -> None:
    config = tmp_path / "config"
    config.write_text(f"[profile broken]\nregion = eu-west-2\ncredential_process = {process}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    result = run_alone("--profile", "broken", *LIST)
    assert result.exit_code == 3
    assert_one_line(result.stderr, "no usable AWS credentials")


def test_unknown_bucket(run: Run, aws: LocalAws) -> None:
    result = run("list", "--bucket", "no-such-bucket")
    assert result.exit_code == 3
    assert_one_line(result.stderr.replace("\r", ""), "check the name of the bucket")


def test_unknown_queue(run: Run, queues: Queues) -> None:
    url = f"{queues.url(RESOURCES.queue)}-none"
    result = run("redrive", "--dry-run", "--failed-queue-url", url)
    assert result.exit_code == 3
    assert_one_line(result.stderr, "check the queue's URL and the region")


@pytest.mark.parametrize("command", ["list", "verify", "redrive", "doctor"])
def test_unknown_stack(run: Run, aws: LocalAws, command: str) -> None:
    result = run(command, "--stack", "none")
    assert result.exit_code == 2
    assert_one_line(result.stderr, "there is no stack none in eu-west-2: give --region")


def test_stack_whose_name_is_too_long_to_exist(run: Run, aws: LocalAws) -> None:
    result = run("doctor", "--stack", "c" * 69)
    assert result.exit_code == 2
    assert_one_line(result.stderr, "its name has 69 characters")
    assert_one_line(result.stderr, "at most 68")


@pytest.mark.parametrize("command", ["list", "verify", "redrive", "doctor"])
def test_neither_stack_nor_names(run: Run, aws: LocalAws, command: str) -> None:
    result = run(command)
    assert result.exit_code == 2
    assert_one_line(result.stderr, "--stack STACK_NAME")


def test_nobody_answers(run_alone: Run, aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    result = run_alone("doctor", "--stack", "call-archive")
    assert result.exit_code == 3
    assert_one_line(result.stderr, "check the region and the network")


def test_days_that_are_reversed(run: Run, aws: LocalAws) -> None:
    result = run(*LIST, "--from", "2026-01-02", "--to", "2026-01-01")
    assert result.exit_code == 2
    assert_one_line(result.stderr, "the last day, 2026-01-01, is before the first, 2026-01-02")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads and writes everything")
def test_file_that_may_not_be_read(run: Run, aws: LocalAws) -> None:
    Path("body.mkv").touch(mode=0)
    result = run("inspect", "body.mkv")
    assert result.exit_code == 3
    assert_one_line(result.stderr, "body.mkv: Permission denied")


def test_directory_that_is_a_file(run: Run, archive: Archive) -> None:
    archive.put()
    Path("calls").write_text("mine")
    result = run(*GET, "-o", "calls")
    assert result.exit_code == 3
    assert_one_line(result.stderr, "calls")


def test_text_from_elsewhere_cannot_break_the_line(run: Run, aws: LocalAws) -> None:
    aws.place(call())
    fault = CallFault("DescribeContact", "[bold]\nX", 400, "[/]\x1b[2J\nline", times=None)
    aws.behaviour = replace(aws.behaviour, call_faults=(replace(fault, error_type="Odd"),))
    result = run("inspect", STREAM_ARN.replace("call-archive-connect", "none"))
    assert result.exit_code == 3
    result = run(*FETCH)
    assert result.exit_code == 3
    assert_one_line(result.stderr, "[/]")
    assert "\x1b" not in result.stderr


@pytest.mark.parametrize(
    ("error", "code"), [(KeyboardInterrupt, 130), (BrokenPipeError, 141), (OSError, 3)]
)
def test_exit_codes(error: Callable[[], BaseException], code: int) -> None:
    with pytest.raises(typer.Exit) as left, exits.failures_as_lines():
        raise error()
    assert left.value.exit_code == code


def test_what_is_wrong_with_this_program_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError), exits.failures_as_lines():
        raise ZeroDivisionError


def test_interrupt_is_one_word(aws: LocalAws) -> None:
    aws.place(call())
    # Nothing more arrives: the command waits.
    command = [sys.executable, "-m", "call_archive_cli", *FOLLOW]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while aws.requests.get("GetMedia", 0) == 0:
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        told = process.stderr.read()
    assert process.returncode == 130
    assert told == "interrupted\n"


@pytest.mark.parametrize("name", ["list", "verify"])
def test_interrupted_command_says_what_it_has(aws: LocalAws, archive: Archive, name: str) -> None:
    archive.put()
    held, go_on = threading.Event(), threading.Event()

    def hold(step: Step) -> None:
        if step.api == "GetObject" and not step.has_effect:
            held.set()
            go_on.wait(60)

    aws.watcher = hold
    options = ("--bucket", RESOURCES.bucket, "--day", "2026-01-01", "--json")
    command = [sys.executable, "-m", "call_archive_cli", name, *options]
    try:
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            held.wait(60)
            process.send_signal(signal.SIGINT)
            told, errors = process.communicate()
    finally:
        aws.watcher = None
        go_on.set()
    assert process.returncode == 130
    if name == "list":
        assert json.loads(told) == []
        assert "0 recordings, interrupted before the rest was read" in errors
    else:
        assert errors == ""
        assert json.loads(told)["interrupted"] is True


def test_output_that_nobody_reads(aws: LocalAws, archive: Archive) -> None:
    for number in range(3):
        archive.put(f"contact-{number}")
    command = [sys.executable, "-m", "call_archive_cli", *LIST, "--day", "2026-01-01"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        told = process.stderr.read()
    assert process.returncode == 141
    assert told == ""


def test_profile_beats_keys_in_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.write_text("[profile prod]\naws_access_key_id = PROD\naws_secret_access_key = x\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")
    monkeypatch.setenv("AWS_PROFILE", "other")
    credentials = Clients("prod").session.get_credentials()
    assert credentials is not None
    assert credentials.access_key == "PROD"
