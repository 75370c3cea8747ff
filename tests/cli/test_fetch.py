"""`fetch`: a contact's recordings, or a range of a stream, as files on this machine."""

import json
import wave
from dataclasses import replace
from pathlib import Path

import pytest

from local.behaviour import CallFault, FragmentFault
from local.call import Call
from local.demo_call import INSTANCE_ARN, STREAM_ARN
from local.server import LocalAws
from tests.cli.conftest import Run
from tests.integration.journey import (
    CONTACT_ID,
    OTHER_CONTACT_ID,
    agent,
    call,
    caller,
    interleave,
    silenced,
)

INSTANCE = ("--instance-arn", INSTANCE_ARN)
FRAGMENT_MS = 960


def pcm(path: Path) -> bytes:
    with wave.open(str(path)) as recording:
        frames: bytes = recording.readframes(recording.getnframes())
        return frames


def recording_of(one: Call, directory: str = ".") -> Path:
    return Path(directory) / one.contact_id / f"{one.start_fragment_number}.wav"


def test_contact(run: Run, placed: Call) -> None:
    fetched = run("fetch", CONTACT_ID, *INSTANCE, "-o", "calls")
    assert fetched.exit_code == 0
    recording = recording_of(placed, "calls")
    assert pcm(recording) == caller()
    manifest = json.loads(recording.with_suffix(".json").read_text())
    assert manifest["complete"] is True
    assert manifest["trigger"] == "cli"
    assert manifest["recordingUri"] == recording.resolve().as_uri()
    assert "complete  yes" in fetched.stdout


@pytest.mark.parametrize(
    ("track", "expected"), [("agent", agent()), ("both", interleave(caller(), agent()))]
)
def test_track(run: Run, placed: Call, track: str, expected: bytes) -> None:
    assert run("fetch", CONTACT_ID, *INSTANCE, "--track", track).exit_code == 0
    assert pcm(recording_of(placed)) == expected


def test_range_says_itself_whose_it_is(run: Run, placed: Call) -> None:
    start, stop = placed.fragments[1].number, placed.fragments[3].number
    fetched = run(
        *("fetch", "--stream-arn", STREAM_ARN, "--start", str(start), "--stop", str(stop), "--json")
    )
    assert fetched.exit_code == 0
    (manifest,) = json.loads(fetched.stdout)
    assert manifest["contactId"] == CONTACT_ID
    assert manifest["instanceArn"] == INSTANCE_ARN
    assert (
        pcm(Path(CONTACT_ID) / f"{start}.wav") == caller()[FRAGMENT_MS * 16 : 4 * FRAGMENT_MS * 16]
    )


def test_range_without_an_end_ends_with_the_contact(run: Run, placed: Call) -> None:
    start = str(placed.start_fragment_number)
    assert run("fetch", "--stream-arn", STREAM_ARN, "--start", start).exit_code == 0
    assert pcm(recording_of(placed)) == caller()


def test_several_recordings_of_one_contact(run: Run, aws: LocalAws) -> None:
    first = call()
    second = call(start_ms=first.stop_timestamp_ms + 60_000, first_sequence=6001)
    aws.place(first, second)
    body = second.describe_contact()["Contact"]
    body["Recordings"] += first.describe_contact()["Contact"]["Recordings"]
    aws.connect._contacts[second.instance_id, CONTACT_ID].body["Contact"].update(body)
    fetched = run("fetch", CONTACT_ID, *INSTANCE, "--json")
    assert fetched.exit_code == 0
    assert len(json.loads(fetched.stdout)) == 2
    assert pcm(recording_of(first)) == pcm(recording_of(second)) == caller()


def test_one_recording_that_is_gone_does_not_keep_the_other_back(run: Run, aws: LocalAws) -> None:
    first = call()
    second = call(start_ms=first.stop_timestamp_ms + 60_000, first_sequence=6001)
    aws.place(first, second)
    body = second.describe_contact()["Contact"]
    gone = first.describe_contact()["Contact"]["Recordings"][1]
    gone["Location"] = gone["Location"].replace("call-archive-connect", "gone-connect")
    body["Recordings"].insert(0, gone)
    aws.connect._contacts[second.instance_id, CONTACT_ID].body["Contact"].update(body)
    fetched = run("fetch", CONTACT_ID, *INSTANCE, "--json")
    assert fetched.exit_code == 3
    assert len(json.loads(fetched.stdout)) == 1
    assert fetched.stderr.count("error:") == 1
    assert "ResourceNotFoundException" in fetched.stderr
    assert pcm(recording_of(second)) == caller()


def test_same_refusal_of_several_recordings_is_said_once(run: Run, aws: LocalAws) -> None:
    first = call()
    second = call(start_ms=first.stop_timestamp_ms + 60_000, first_sequence=6001)
    aws.place(first, second)
    body = second.describe_contact()["Contact"]
    body["Recordings"] += first.describe_contact()["Contact"]["Recordings"]
    aws.connect._contacts[second.instance_id, CONTACT_ID].body["Contact"].update(body)
    fault = CallFault("ListFragments", "AccessDeniedException", 403, "no", times=None)
    aws.behaviour = replace(aws.behaviour, call_faults=(fault,))
    fetched = run("fetch", CONTACT_ID, *INSTANCE)
    assert fetched.exit_code == 3
    assert fetched.stderr.count("error:") == 1
    assert "(2 recordings)" in fetched.stderr


def test_what_is_missing_is_told(run: Run, aws: LocalAws, placed: Call) -> None:
    lost = placed.fragments[2].number
    fault = FragmentFault(lost, kind="left_out", times=None)
    aws.behaviour = replace(aws.behaviour, fragment_faults=(fault,))
    fetched = run("fetch", CONTACT_ID, *INSTANCE)
    assert fetched.exit_code == 1
    assert "complete  NO" in fetched.stdout
    assert str(lost) in fetched.stdout
    assert pcm(recording_of(placed)) == silenced(caller(), 2 * FRAGMENT_MS, 3 * FRAGMENT_MS)
    aws.behaviour = replace(aws.behaviour, fragment_faults=())
    refused = run("fetch", CONTACT_ID, *INSTANCE)
    assert refused.exit_code == 2
    assert "does not match the request: give --overwrite" in refused.stderr
    assert run("fetch", CONTACT_ID, *INSTANCE, "--overwrite").exit_code == 0
    assert pcm(recording_of(placed)) == caller()


def test_what_is_there_whole_stays(run: Run, aws: LocalAws, placed: Call) -> None:
    assert run("fetch", CONTACT_ID, *INSTANCE).exit_code == 0
    before = aws.requests
    assert run("fetch", CONTACT_ID, *INSTANCE).exit_code == 0
    assert aws.requests.get("GetMediaForFragmentList") == before.get("GetMediaForFragmentList")


def test_leaves_only_its_two_files(run: Run, placed: Call) -> None:
    assert run("fetch", CONTACT_ID, *INSTANCE).exit_code == 0
    start = placed.start_fragment_number
    assert sorted(path.name for path in Path(CONTACT_ID).iterdir()) == [
        f"{start}.json",
        f"{start}.wav",
    ]


def test_region_of_the_instance_is_enough(
    run_alone: Run, placed: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert run_alone("fetch", CONTACT_ID, *INSTANCE).exit_code == 0


def test_contact_that_was_never_streamed(run: Run, aws: LocalAws) -> None:
    one = call()
    aws.place(one)
    aws.connect._contacts[one.instance_id, CONTACT_ID].body["Contact"]["Recordings"] = []
    fetched = run("fetch", CONTACT_ID, *INSTANCE)
    assert fetched.exit_code == 3
    assert fetched.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        ((), 2, "CONTACT_ID or --stream is missing"),
        ((CONTACT_ID,), 2, "--instance-arn or --stack is missing"),
        (("--stream-arn", STREAM_ARN), 2, "--start is missing"),
        (("../../etc/passwd", *INSTANCE), 2, "letters, digits"),
        ((OTHER_CONTACT_ID[:-1] + "0", *INSTANCE), 3, "ResourceNotFoundException"),
        (("--stream-arn", STREAM_ARN, "--start", "12"), 3, "fragment 12: KVS does not have it"),
        ((CONTACT_ID, *INSTANCE, "-o", "/proc/none"), 3, "/proc/none"),
    ],
)
def test_mistakes_are_one_clear_line(
    run: Run, placed: Call, arguments: tuple[str, ...], exit_code: int, words: str
) -> None:
    fetched = run("fetch", *arguments)
    assert fetched.exit_code == exit_code
    assert words in " ".join(fetched.stderr.replace("│", " ").split())
    assert fetched.stdout == ""


def test_stream_without_an_archive(run: Run, aws: LocalAws) -> None:
    aws.place(call(), retention_hours=0)
    fetched = run("fetch", CONTACT_ID, *INSTANCE)
    assert fetched.exit_code == 3
    assert "retention" in fetched.stderr


def test_refusal_speaks_to_the_person(run: Run, aws: LocalAws, placed: Call) -> None:
    fault = CallFault("ListFragments", "AccessDeniedException", 403, "no", times=None)
    aws.behaviour = replace(aws.behaviour, call_faults=(fault,))
    fetched = run("fetch", CONTACT_ID, *INSTANCE)
    assert fetched.exit_code == 3
    assert "your credentials do not allow it" in fetched.stderr
    assert "function's role" not in fetched.stderr


def test_file_that_is_there_is_not_taken_for_another_wish(run: Run, placed: Call) -> None:
    first = str(placed.start_fragment_number)
    stream = ("fetch", "--stream-arn", STREAM_ARN, "--start", first)
    recording = recording_of(placed)
    assert run(*stream, "--stop", first).exit_code == 0
    assert pcm(recording) == caller()[: FRAGMENT_MS * 16]
    assert run(*stream).exit_code == 2
    assert pcm(recording) == caller()[: FRAGMENT_MS * 16]
    assert run(*stream, "--overwrite").exit_code == 0
    assert pcm(recording) == caller()
    assert run(*stream, "--track", "both", "--overwrite").exit_code == 0
    assert pcm(recording) == interleave(caller(), agent())
