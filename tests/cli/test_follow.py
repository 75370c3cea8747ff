"""`follow`: a live stream to a file, as a user of AWS's Java sample would run it."""

import json
import signal
import subprocess
import sys
import time
import wave
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from local.behaviour import BodyFault, CallFault, FragmentFault
from local.call import Call, Delivery
from local.demo_call import STREAM_ARN
from local.server import LocalAws
from tests.cli.conftest import Run
from tests.integration.journey import (
    CONTACT_ID,
    OTHER_CONTACT_ID,
    agent,
    call,
    caller,
    interleave,
    neighbours,
    silenced,
)

FRAGMENT_MS = 960


def pcm(path: str) -> bytes:
    with wave.open(path) as recording:
        assert (recording.getframerate(), recording.getsampwidth()) == (8000, 2)
        frames: bytes = recording.readframes(recording.getnframes())
        return frames


def follow(run: Run, *arguments: str) -> tuple[int, str]:
    result = run("follow", "--stream-arn", STREAM_ARN, "--idle", "1", *arguments)
    return result.exit_code, result.stderr


def test_begins_with_the_given_fragment_and_ends_with_the_contact(run: Run, placed: Call) -> None:
    exit_code, told = follow(run, "--fragment", str(placed.start_fragment_number), "-o", "c.wav")
    assert exit_code == 0
    assert pcm("c.wav") == caller()
    assert "another contact's audio begins" in told
    assert CONTACT_ID in told


def test_begins_in_the_middle_with_the_given_fragment(run: Run, placed: Call) -> None:
    third = placed.fragments[2]
    assert follow(run, "--fragment", str(third.number), "-o", "c.wav")[0] == 0
    assert pcm("c.wav") == caller()[2 * FRAGMENT_MS * 16 :]


@pytest.mark.parametrize(
    ("track", "expected"),
    [("customer", caller()), ("agent", agent()), ("both", interleave(caller(), agent()))],
)
def test_track(run: Run, placed: Call, track: str, expected: bytes) -> None:
    number = str(placed.start_fragment_number)
    assert follow(run, "--fragment", number, "--track", track, "-o", "c.wav")[0] == 0
    assert pcm("c.wav") == expected


def test_raw(run: Run, placed: Call) -> None:
    number = str(placed.start_fragment_number)
    assert follow(run, "--fragment", number, "--format", "raw", "-o", "c.raw")[0] == 0
    assert Path("c.raw").read_bytes() == caller()


def test_file_is_called_like_the_contact(run: Run, placed: Call) -> None:
    assert follow(run, "--fragment", str(placed.start_fragment_number))[0] == 0
    assert pcm(f"{CONTACT_ID}.wav") == caller()


def test_earliest_takes_the_first_contact_that_comes(run: Run, placed: Call) -> None:
    _, told = follow(run, "--earliest", "-o", "c.wav")
    assert OTHER_CONTACT_ID in told


def test_contact_is_waited_for(run: Run, placed: Call) -> None:
    exit_code, told = follow(run, "--earliest", "--contact", CONTACT_ID, "-o", "c.wav")
    assert exit_code == 0
    assert pcm("c.wav") == caller()
    assert "before it left out" in told


def test_the_summary_is_json(run: Run, placed: Call) -> None:
    arguments = ("--earliest", "--contact", CONTACT_ID, "-o", "c.wav", "--json")
    result = run("follow", "--stream-arn", STREAM_ARN, "--idle", "1", *arguments)
    assert result.exit_code == 0
    assert not result.stderr
    summary = json.loads(result.stdout)
    assert summary.pop("leftOut")["before"] > 0
    assert summary == {
        "contactId": CONTACT_ID,
        "streamArn": STREAM_ARN,
        "tracks": ["AUDIO_FROM_CUSTOMER"],
        "durationMs": len(caller()) // 16,
        "fragments": len(placed.fragments),
        "gaps": 0,
        "getMediaCalls": 1,
        "ended": "another contact's audio begins",
        "failure": None,
    }


def test_the_summary_is_not_in_the_audio(run: Run, placed: Call) -> None:
    number = str(placed.start_fragment_number)
    arguments = ("--fragment", number, "--format", "raw", "-o", "-", "--json")
    result = run("follow", "--stream-arn", STREAM_ARN, "--idle", "1", *arguments)
    assert result.stdout_bytes == caller()
    assert json.loads(result.stderr)["durationMs"] == len(caller()) // 16


def test_start_time(run: Run, placed: Call) -> None:
    at_ms = placed.fragments[1].server_timestamp_ms + FRAGMENT_MS // 2
    assert follow(run, "--start-time", str(at_ms), "-o", "c.wav")[0] == 0
    assert pcm("c.wav") == caller()[FRAGMENT_MS * 16 :]


def test_quiet_stream_ends_it(run: Run, aws: LocalAws) -> None:
    one = call()
    aws.place(one)
    exit_code, told = follow(run, "--fragment", str(one.start_fragment_number), "-o", "c.wav")
    assert exit_code == 0
    assert "no more audio arrived" in told
    assert pcm("c.wav") == caller()


@pytest.mark.parametrize("kind", ["end", "reset"])
@pytest.mark.parametrize("after_bytes", [1, 33_000, 50_000])
def test_no_seam_where_a_body_ends(
    run: Run, aws: LocalAws, placed: Call, kind: Literal["end", "reset"], after_bytes: int
) -> None:
    fault = BodyFault(after_bytes, kind=kind, times=3, api="GetMedia")
    aws.behaviour = replace(aws.behaviour, body_faults=(fault,))
    number = str(placed.start_fragment_number)
    exit_code, told = follow(run, "--fragment", number, "--track", "both", "-o", "c.wav")
    assert exit_code == 0
    assert pcm("c.wav") == interleave(caller(), agent())
    assert "4 GetMedia calls" in told


def test_end_of_a_session_is_no_seam(run: Run, aws: LocalAws, placed: Call) -> None:
    # As the 45 minutes of the service: each session ends in order, in the middle of the call.
    aws.behaviour = replace(aws.behaviour, get_media_limit_s=0.5, body_bytes_per_s=150_000)
    number = str(placed.start_fragment_number)
    exit_code, told = follow(run, "--fragment", number, "--track", "both", "-o", "c.wav")
    assert exit_code == 0
    assert pcm("c.wav") == interleave(caller(), agent())
    assert "1 GetMedia call;" not in told


def test_error_document_is_asked_for_again(run: Run, aws: LocalAws, placed: Call) -> None:
    fault = FragmentFault(
        placed.fragments[3].number, kind="error", code="5000", detail="5000", api="GetMedia"
    )
    aws.behaviour = replace(aws.behaviour, fragment_faults=(fault,))
    number = str(placed.start_fragment_number)
    assert follow(run, "--fragment", number, "-o", "c.wav")[0] == 0
    assert pcm("c.wav") == caller()


def test_throttling_is_waited_out(run: Run, aws: LocalAws, placed: Call) -> None:
    aws.behaviour = replace(aws.behaviour, call_faults=(CallFault("GetMedia", times=2),))
    number = str(placed.start_fragment_number)
    assert follow(run, "--fragment", number, "-o", "c.wav")[0] == 0
    assert pcm("c.wav") == caller()


def test_hole_becomes_silence(run: Run, aws: LocalAws) -> None:
    one = call()
    aws.place(one, *neighbours(one))
    fault = FragmentFault(one.fragments[2].number, kind="left_out", times=None, api="GetMedia")
    aws.behaviour = replace(aws.behaviour, fragment_faults=(fault,))
    exit_code, told = follow(run, "--fragment", str(one.start_fragment_number), "-o", "c.wav")
    assert exit_code == 0
    assert "1 gap" in told
    assert pcm("c.wav") == silenced(caller(), 2 * FRAGMENT_MS, 3 * FRAGMENT_MS)


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        ((), 2, "give one of"),
        (("--now", "--earliest"), 2, "give one of"),
        (("--fragment", "12"), 3, "fragment 12"),
        (("--fragment", "twelve"), 2, "1-128 digits"),
        (("--start-time", "yesterday"), 2, "2026-11-23T09:30:00Z"),
    ],
)
def test_mistakes_are_one_clear_line(
    run: Run, placed: Call, arguments: tuple[str, ...], exit_code: int, words: str
) -> None:
    code, told = follow(run, *arguments)
    assert code == exit_code
    assert words in " ".join(told.replace("│", " ").split())
    assert "Traceback" not in told


def test_file_that_is_there_is_kept(run: Run, placed: Call) -> None:
    Path("c.wav").write_bytes(b"mine")
    number = str(placed.start_fragment_number)
    code, told = follow(run, "--fragment", number, "-o", "c.wav")
    assert code == 2
    assert "--overwrite" in told
    assert Path("c.wav").read_bytes() == b"mine"
    assert follow(run, "--fragment", number, "-o", "c.wav", "--overwrite")[0] == 0
    assert pcm("c.wav") == caller()


def test_stream_is_found_by_its_name(run: Run, placed: Call) -> None:
    name = STREAM_ARN.split("/")[1]
    fragment = ("--fragment", str(placed.start_fragment_number))
    result = run("follow", "--stream", name, *fragment, "-o", "c.wav")
    assert result.exit_code == 0
    assert pcm("c.wav") == caller()
    result = run("follow", "--stream", "none-such", "--now")
    assert result.exit_code == 3
    assert "DescribeStream answered ResourceNotFoundException" in result.stderr


def test_time_limit_ends_it_while_nothing_comes(run: Run, aws: LocalAws) -> None:
    one = call()
    aws.place(one)
    fragment = ("--fragment", str(one.start_fragment_number))
    limit = ("--limit", "1", "--idle", "60", "-o", "c.wav")
    result = run("follow", "--stream", STREAM_ARN, *fragment, *limit)
    assert result.exit_code == 0
    assert "ended because the time limit was reached" in result.stderr
    assert pcm("c.wav") == caller()


def test_unknown_stream(run: Run, aws: LocalAws) -> None:
    code, told = follow(run, "--now")
    assert code == 3
    assert "ResourceNotFound" in told


def test_pipe_gets_a_header_and_everything(aws: LocalAws, placed: Call) -> None:
    command = [sys.executable, "-m", "call_archive_cli", "follow", "--stream-arn", STREAM_ARN]
    command += ["--fragment", str(placed.start_fragment_number), "-o", "-"]
    piped = subprocess.run(command, capture_output=True, check=True)
    assert piped.stdout[:4] == b"RIFF"
    assert piped.stdout[44:] == caller()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_leaves_everything_that_came(
    aws: LocalAws, tmp_path: Path, number: signal.Signals
) -> None:
    one = call()
    aws.place(one)
    command = [sys.executable, "-m", "call_archive_cli", "follow", "--stream-arn", STREAM_ARN]
    command += ["--fragment", str(one.start_fragment_number), "--track", "both", "-o", "c.wav"]
    # The last fragment waits: only the next one, or the end, shows that it is whole.
    written = 44 + len(caller()[: (len(one.fragments) - 1) * FRAGMENT_MS * 16]) * 2
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        recording = tmp_path / "c.wav"
        while not recording.exists() or recording.stat().st_size < written:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(number)
        assert process.stderr is not None
        told = process.stderr.read()
    assert process.returncode == 0
    assert "interrupted" in told
    assert pcm("c.wav") == interleave(caller(), agent())


def test_player_that_is_closed_ends_it_quietly(aws: LocalAws, placed: Call) -> None:
    command = [sys.executable, "-m", "call_archive_cli", "follow", "--stream-arn", STREAM_ARN]
    command += ["--fragment", str(placed.start_fragment_number), "-o", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        told = process.stderr.read().decode()
    assert process.returncode == 0
    assert told.count("\n") == 1
    assert "the output was closed" in told


def test_full_disk_is_told_and_leaves_no_lie(run: Run, placed: Call) -> None:
    number = str(placed.start_fragment_number)
    code, told = follow(run, "--fragment", number, "-o", "/dev/full", "--overwrite")
    assert code == 3
    assert "No space left on device" in told


def test_stream_without_an_archive(run: Run, aws: LocalAws) -> None:
    one = call()
    aws.place(one, *neighbours(one), retention_hours=0)
    number = str(one.start_fragment_number)
    code, told = follow(run, "--fragment", number, "-o", "c.wav")
    assert code == 3
    assert "--skip-start continues without it" in told
    assert not Path("c.wav").exists()


def test_start_that_cannot_be_had_is_skipped_if_asked(run: Run, aws: LocalAws) -> None:
    one = call()
    aws.place(one, *neighbours(one), retention_hours=0)
    number = str(one.start_fragment_number)
    code, told = follow(run, "--fragment", number, "--skip-start", "-o", "c.wav")
    assert code == 0
    assert "warning:" in told
    assert pcm("c.wav") == caller()[FRAGMENT_MS * 16 :]


def test_start_fragment_that_names_no_contact_is_left_out(run: Run, aws: LocalAws) -> None:
    one = call(Delivery(without_contact_id=frozenset((0,))))
    aws.place(one, *neighbours(one))
    code, told = follow(run, "--fragment", str(one.start_fragment_number), "-o", "c.wav")
    assert code == 0
    assert "1 fragment before it left out (1 without a ContactId)" in told
    assert pcm("c.wav") == caller()[FRAGMENT_MS * 16 :]


def test_refusal_in_the_middle_keeps_what_came(run: Run, aws: LocalAws, placed: Call) -> None:
    key_fault = FragmentFault(
        placed.fragments[3].number,
        kind="error",
        code="4501",
        detail="4501",
        api="GetMedia",
        times=None,
    )
    aws.behaviour = replace(aws.behaviour, fragment_faults=(key_fault,))
    number = str(placed.start_fragment_number)
    code, told = follow(run, "--fragment", number, "--track", "both", "-o", "c.wav")
    assert code == 3
    assert "KVS refused to continue" in told
    assert "KVS_4501" in told
    expected = interleave(caller(), agent())[: 3 * FRAGMENT_MS * 32]
    assert pcm("c.wav") == expected


def test_refused_data_endpoint_is_asked_for_again(run: Run, aws: LocalAws, placed: Call) -> None:
    ends = BodyFault(33_000, kind="end", times=1, api="GetMedia")
    aws.behaviour = replace(aws.behaviour, body_faults=(ends,), data_endpoint_calls_per_s=1)
    number = str(placed.start_fragment_number)
    assert follow(run, "--fragment", number, "-o", "c.wav")[0] == 0
    assert pcm("c.wav") == caller()
