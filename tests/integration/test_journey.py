"""The main job from the flow's event to S3, by every trigger, once and many times."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import wave
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from local.call import Call
from local.demo_call import VOICES, demo_calls
from local.pcm import read_wav
from local.runtime import ARCHIVE_HANDLER, FLOW_HANDLER, EventSource, Function
from local.sample_events import build_sqs_event
from tests.integration.journey import (
    RESOURCES,
    SETTLES,
    START_MS,
    WAV_HEADER_BYTES,
    Journey,
    call,
    caller,
    environment,
    flow_environment,
    interleave,
)
from tests.support.schemas import schema
from tests.support.sqs import messages_in, pass_time

EVENTS = Path(__file__).parents[2] / "events"
PAIRS = {"committed_sample": (VOICES / "caller.wav", VOICES / "agent.wav")}
# Calls of one's own: a folder of NAME-caller.wav and NAME-agent.wav.
if OWN_CALLS := os.environ.get("CALL_ARCHIVE_CALLS"):
    for own in sorted(Path(OWN_CALLS).glob("*-caller.wav")):
        name = own.name.removesuffix("-caller.wav")
        PAIRS[name] = (own, own.with_name(f"{name}-agent.wav"))


@pytest.fixture(params=PAIRS)
def pair(request: pytest.FixtureRequest) -> tuple[Path, Path]:
    """The WAV files of caller and agent."""
    files = PAIRS[request.param]
    if not files[0].exists():
        pytest.skip(f"{files[0].parent} is not on this machine")
    return files


def event(name: str) -> dict[str, Any]:
    """A committed sample event."""
    loaded: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return loaded


def _place_fixed_calls(journey: Journey, pair: tuple[Path, Path] | None = None) -> Call:
    before, fixed, after = demo_calls(*(pair or ()))
    journey.aws.place(before, fixed, after)
    return fixed


# ------------------------------------------------------------------ what comes out


def test_mono_recording_equals_the_callers_file(mono: Journey, pair: tuple[Path, Path]) -> None:
    assert mono.archive(_place_fixed_calls(mono, pair))
    assert mono.wav()[WAV_HEADER_BYTES:] == read_wav(pair[0])
    assert mono.manifest()["complete"] is True


def test_stereo_recording_holds_both_files(stereo: Journey, pair: tuple[Path, Path]) -> None:
    assert stereo.archive(_place_fixed_calls(stereo, pair))
    expected = interleave(read_wav(pair[0]), read_wav(pair[1]))
    assert stereo.wav()[WAV_HEADER_BYTES:] == expected


@pytest.mark.parametrize("channels", [1, 2])
def test_header_as_other_programs_read_it(
    mono: Journey, stereo: Journey, pair: tuple[Path, Path], channels: int, tmp_path: Path
) -> None:
    journey = mono if channels == 1 else stereo
    assert journey.archive(_place_fixed_calls(journey, pair))
    recording = tmp_path / "recording.wav"
    recording.write_bytes(journey.wav())
    frames = len(read_wav(pair[0])) // 2
    with wave.open(str(recording)) as wav:
        assert (wav.getframerate(), wav.getsampwidth(), wav.getnchannels()) == (8000, 2, channels)
        assert wav.getnframes() == frames
    assert _soxi(recording) == [8000, 16, channels, frames]
    assert _ffprobe(recording) == ["pcm_s16le", 8000, channels, frames]


def _soxi(recording: Path) -> list[int]:
    if shutil.which("soxi") is None:
        pytest.skip("soxi is not installed (Debian: sox)")
    return [
        int(subprocess.check_output(["soxi", option, str(recording)], text=True))
        for option in ("-r", "-b", "-c", "-s")
    ]


def _ffprobe(recording: Path) -> list[object]:
    if shutil.which("ffprobe") is None:
        pytest.skip("ffprobe is not installed (Debian: ffmpeg)")
    command = ["ffprobe", "-v", "error", "-show_streams", "-of", "json", str(recording)]
    (stream,) = json.loads(subprocess.check_output(command))["streams"]
    return [
        stream["codec_name"],
        int(stream["sample_rate"]),
        stream["channels"],
        stream["duration_ts"],
    ]


def test_manifest_proves_the_recording(mono: Journey) -> None:
    fixed = _place_fixed_calls(mono)
    assert mono.archive(fixed)
    wav, manifest = mono.wav(), mono.manifest()
    assert manifest["bytes"] == len(wav)
    assert manifest["sha256"] == hashlib.sha256(wav).hexdigest()
    assert manifest["durationMs"] == (len(wav) - WAV_HEADER_BYTES) // 16
    assert manifest["contactId"] == fixed.contact_id
    assert manifest["trigger"] == "flow"
    assert manifest["tracks"] == ["AUDIO_FROM_CUSTOMER"]
    assert manifest["channels"] == 1
    assert manifest["fragments"]["listed"] == len(fixed.fragments)


def test_keys_follow_the_start_of_streaming(mono: Journey) -> None:
    fixed = _place_fixed_calls(mono)
    assert mono.archive(fixed)
    tail = f"year=2026/month=01/day=01/{fixed.contact_id}/{fixed.start_fragment_number}"
    assert mono.keys() == [f"manifests/{tail}.json", f"recordings/{tail}.wav"]
    assert mono.manifest()["recordingUri"] == f"s3://{RESOURCES.bucket}/recordings/{tail}.wav"


def test_recording_of_many_parts(stereo: Journey) -> None:
    # 12 minutes of stereo are 23 MB: four parts and a rest.
    said, heard = caller(720), caller(721)[16_000:]
    one = stereo.place(call(customer=said, to_customer=heard))
    assert stereo.archive(one)
    wav = stereo.wav()
    assert wav[WAV_HEADER_BYTES::4] == said[0::2]
    assert wav[WAV_HEADER_BYTES + 3 :: 4] == heard[1::2]
    assert stereo.manifest()["sha256"] == hashlib.sha256(wav).hexdigest()
    assert stereo.uploads() == []


# ------------------------------------------------------------------ from the flow


def test_flow_before_streaming(mono: Journey, flow_function: Function) -> None:
    answer = flow_function.invoke(event("flow-not-started"))
    assert answer["mediaStreaming"] == "NOT_STARTED"
    assert answer["archiveStatus"] == "NONE"
    assert {type(value) for value in answer.values()} == {str}
    assert mono.queued_jobs() == []


def test_flow_while_streaming(mono: Journey, flow_function: Function) -> None:
    answer = flow_function.invoke(event("flow-started"))
    audio = event("flow-started")["Details"]["ContactData"]["MediaStreams"]["Customer"]["Audio"]
    assert answer == {
        "mediaStreaming": "STARTED",
        "streamArn": audio["StreamARN"],
        "startFragmentNumber": audio["StartFragmentNumber"],
        "startTimestamp": audio["StartTimestamp"],
        "stopFragmentNumber": "",
        "stopTimestamp": "",
        "archiveStatus": "PENDING",
        "archiveUri": answer["archiveUri"],
        "reason": "",
    }
    assert mono.queued_jobs() == []


def test_flow_after_streaming_archives_the_call(mono: Journey, flow_function: Function) -> None:
    _place_fixed_calls(mono)
    answer = flow_function.invoke(event("flow-stopped"))
    assert answer["mediaStreaming"] == "STOPPED"
    assert answer["archiveStatus"] == "QUEUED"
    queue = mono.sqs.get_queue_url(QueueName=RESOURCES.queue)["QueueUrl"]
    assert EventSource(mono.sqs, queue, mono.function).poll() == 1
    assert mono.queued_jobs() == []
    assert mono.pcm() == read_wav(VOICES / "caller.wav")
    assert answer["archiveUri"] == mono.manifest()["recordingUri"]


def test_flow_that_sees_no_stop_keys_yet_archives_when_told_to(
    mono: Journey, flow_function: Function
) -> None:
    _place_fixed_calls(mono)
    answer = flow_function.invoke(event("flow-stopped-without-stop-keys"))
    assert answer["archiveStatus"] == "QUEUED"
    assert answer["stopFragmentNumber"] == ""
    (queued,) = mono.queued_jobs()
    assert mono.run(queued["body"])
    assert mono.pcm() == read_wav(VOICES / "caller.wav")
    assert mono.manifest()["complete"] is True


def test_flow_is_refused_in_words_and_never_with_an_exception(flow_function: Function) -> None:
    started = event("flow-started")
    contact = started["Details"]["ContactData"]
    contact["MediaStreams"]["Customer"]["Audio"]["StreamARN"] = "arn:aws:kinesisvideo::eu-west-2:x"
    bad_events: list[object] = [{}, [], None, "x", {"Details": {"ContactData": []}}, started]
    for bad in bad_events:
        answer = flow_function.invoke(bad)
        assert answer["archiveStatus"] == "REJECTED"
        assert answer["reason"]
        assert {type(value) for value in answer.values()} == {str}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("StartFragmentNumber", "9" * 200),
        ("StartFragmentNumber", "-5"),
        ("StartFragmentNumber", 5),
        ("StartTimestamp", "99999999999999999999"),
        ("StartTimestamp", "0"),
        ("StopTimestamp", "1"),
        ("StopFragmentNumber", "1"),
        ("StreamARN", "arn:aws:kinesisvideo:eu-west-2:123456789012:stream/../x/1"),
        ("StreamARN", ["arn"]),
    ],
)
def test_flow_event_with_absurd_values_is_refused(
    flow_function: Function, key: str, value: object
) -> None:
    stopped = event("flow-stopped")
    stopped["Details"]["ContactData"]["MediaStreams"]["Customer"]["Audio"][key] = value
    answer = flow_function.invoke(stopped)
    assert answer["archiveStatus"] == "REJECTED"
    assert answer["reason"]


@pytest.mark.parametrize("contact_id", ["../../etc/passwd", "a/b", "", None, "x" * 300, "a\nb"])
def test_contact_id_that_is_no_key_is_refused(
    flow_function: Function, contact_id: str | None
) -> None:
    stopped = event("flow-stopped")
    stopped["Details"]["ContactData"]["ContactId"] = contact_id
    assert flow_function.invoke(stopped)["archiveStatus"] == "REJECTED"


def test_flow_of_another_instance_is_refused(flow_function: Function) -> None:
    foreign = event("flow-stopped")
    foreign["Details"]["ContactData"]["InstanceARN"] = (
        "arn:aws:connect:eu-west-2:123456789012:instance/00000000-0000-0000-0000-000000000000"
    )
    answer = flow_function.invoke(foreign)
    assert answer["archiveStatus"] == "REJECTED"
    assert answer["reason"].startswith("FOREIGN_INSTANCE")


# ------------------------------------------------------------------ by the other triggers


@pytest.mark.parametrize(
    ("name", "trigger"),
    [
        ("archive-job", "flow"),
        ("contact-disconnected", "contactEvent"),
        ("contact-record", "contactRecord"),
    ],
)
def test_each_trigger_alone_archives_the_call(mono: Journey, name: str, trigger: str) -> None:
    _place_fixed_calls(mono)
    assert mono.function.invoke(event(name)) == {"batchItemFailures": []}
    assert mono.pcm() == read_wav(VOICES / "caller.wav")
    assert mono.manifest()["trigger"] == trigger


def test_all_triggers_together_leave_one_recording(mono: Journey) -> None:
    _place_fixed_calls(mono)
    for name in ("contact-record", "archive-job", "contact-disconnected", "contact-record"):
        assert mono.function.invoke(event(name)) == {"batchItemFailures": []}
    assert len(mono.keys()) == 2
    assert mono.manifest()["trigger"] == "contactRecord"


def test_contact_that_was_never_streamed_is_let_go(mono: Journey) -> None:
    one = call()
    mono.aws.connect.register(one, recordings_from_ms=one.stop_timestamp_ms + 10**12)
    assert mono.run(one.contact_event("DISCONNECTED"))
    assert mono.keys() == []
    assert mono.failed_jobs() == []


# ------------------------------------------------------------------ once and many times


def test_same_job_ten_times_is_one_recording(mono: Journey) -> None:
    one = mono.place(call())
    contents = set()
    for receives in range(1, 11):
        assert mono.archive(one, receives)
        contents.add((mono.wav(), json.dumps(mono.manifest())))
    assert len(contents) == 1
    assert len(mono.keys()) == 2


def test_eight_processes_at_once_are_one_recording(mono: Journey, tmp_path: Path) -> None:
    one = mono.place(call())
    mono.behave(media_sessions=None)
    message = build_sqs_event(one.archive_job(), START_MS)
    message["Records"][0]["attributes"]["ApproximateReceiveCount"] = str(SETTLES)
    variables = environment(mono.aws, "customer")

    def run(index: int) -> int:
        """The invocations until the message is done with, as SQS would deliver it."""
        with Function(ARCHIVE_HANDLER, variables, tmp_path / f"{index}.log") as function:
            for invocations in range(1, 6):
                if not function.invoke(message)["batchItemFailures"]:
                    return invocations
            return 0

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(run, range(8)))
    assert len(mono.keys()) == 2
    assert mono.pcm() == caller()
    assert mono.manifest()["sha256"] == hashlib.sha256(mono.wav()).hexdigest()
    assert mono.uploads() == []


def test_message_that_comes_back_is_hidden_for_seconds_only(mono: Journey) -> None:
    one = mono.place(call())
    mono.aws.clock.set_ms(one.fragments[-1].server_end_ms + 200)
    queue = mono.sqs.get_queue_url(QueueName=RESOURCES.queue)["QueueUrl"]
    mono.aws.client("sqs").send_message(QueueUrl=queue, MessageBody=json.dumps(one.archive_job()))
    source = EventSource(mono.sqs, queue, mono.function)
    assert source.poll() == 0
    (message,) = messages_in(RESOURCES.queue)
    assert message.visible_at - time.time_ns() // 1_000_000 <= 5000
    mono.aws.clock.advance_ms(5000)
    pass_time(RESOURCES.queue)
    assert source.poll(wait_s=0) == 1
    assert mono.pcm() == caller()


def test_contact_without_a_sign_of_streaming_is_hidden_until_its_next_look(mono: Journey) -> None:
    """150 s after its end, a contact that may never have been streamed: 450 s until ten minutes."""
    silent = call(start_ms=time.time_ns() // 1_000_000 - 156_000)
    mono.place(silent)
    mono.behave(recordings_delay_ms=3_600_000)
    queue = mono.sqs.get_queue_url(QueueName=RESOURCES.queue)["QueueUrl"]
    mono.sqs.send_message(QueueUrl=queue, MessageBody=json.dumps(silent.contact_event()))
    assert EventSource(mono.sqs, queue, mono.function).poll() == 0
    (message,) = messages_in(RESOURCES.queue)
    assert 400_000 < message.visible_at - time.time_ns() // 1_000_000 <= 451_000


def test_start_that_connects_clock_puts_ten_minutes_late_is_found(mono: Journey) -> None:
    one = mono.place(call())
    job = one.archive_job()
    job["startTimestamp"] += 600_000
    job["stopTimestamp"] += 600_000
    assert mono.run(job)
    assert mono.pcm() == caller()
    assert mono.manifest()["complete"] is True


def test_demo_archives_what_was_said(tmp_path: Path) -> None:
    output = subprocess.check_output(
        [sys.executable, "-m", "local.demo", "--output", str(tmp_path / "demo")],
        cwd=EVENTS.parent,
        text=True,
    )
    assert "byte for byte what was said" in output
    written = sorted(path.name for path in (tmp_path / "demo").iterdir())
    assert written == [
        "functions.log",
        "proof.txt",
        "recording.json",
        "recording.wav",
        "waveform.png",
    ]
    schema("manifest").validate(json.loads((tmp_path / "demo/recording.json").read_text()))


# ------------------------------------------------------------------ nothing private in what is said


def _mark(value: object, path: str = "") -> object:
    """The same event, with a secret in every string that no code has to understand."""
    if isinstance(value, dict):
        return {key: _mark(child, f"{path}.{key}") for key, child in value.items()}
    if isinstance(value, list):
        return [_mark(child, path) for child in value]
    understood = ("Id", "ARN", "Arn", "Number", "Timestamp", "Type", "type", "channel", "kind")
    if not isinstance(value, str) or path.endswith(understood) or path.endswith("Location"):
        return value
    return f"SECRET {value}"


def test_nothing_private_is_logged_even_at_debug(mono: Journey, tmp_path: Path) -> None:
    fixed = replace(call(), attributes={"card": "SECRET 4929", "phone": "SECRET +441632960001"})
    mono.place(fixed)
    log = tmp_path / "log"
    debug = {"POWERTOOLS_LOG_LEVEL": "DEBUG", "AWS_LAMBDA_LOG_LEVEL": "DEBUG"}
    with Function(FLOW_HANDLER, flow_environment(mono.aws) | debug, log, timeout_s=8) as flow:
        for name in ("flow-started", "flow-stopped", "flow-not-started"):
            answer = flow.invoke(_mark(event(name)))
            assert "SECRET" not in json.dumps(answer)
    with Function(ARCHIVE_HANDLER, environment(mono.aws) | debug, log) as archive:
        for message in (fixed.contact_event("DISCONNECTED"), fixed.contact_record()):
            archive.invoke(build_sqs_event(_mark(message), START_MS))  # type: ignore[arg-type] # JSON by name
        archive.invoke(build_sqs_event({"SECRET": "SECRET"}, START_MS))
    assert "SECRET" not in log.read_text()
    for failed in mono.failed_jobs():
        failed.pop("body")
        assert "SECRET" not in json.dumps(failed)
