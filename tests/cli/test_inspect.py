"""`inspect`: what a person sees of a saved body and of a stream, and what is wrong in words."""

import json
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import boto3
import pytest

from call_archive_cli.inspection_table import shorten
from local.behaviour import FragmentFault
from local.call import Call, Delivery
from local.demo_call import STREAM_ARN
from local.encoder import FROM_CUSTOMER
from local.server import LocalAws
from tests.cli.archive import wav
from tests.cli.conftest import Run
from tests.integration.journey import (
    CONTACT_ID,
    OTHER_CONTACT_ID,
    START_MS,
    call,
    caller,
    neighbours,
)

TIME = ("--from", str(START_MS - 60_000), "--to", str(START_MS + 60_000))


def save(aws: LocalAws, fragments: Sequence[int], name: str = "body.mkv") -> str:
    """A body of GetMediaForFragmentList, as boto3 gives it."""
    control = aws.client("kinesisvideo")
    endpoint = control.get_data_endpoint(
        StreamARN=STREAM_ARN, APIName="GET_MEDIA_FOR_FRAGMENT_LIST"
    )["DataEndpoint"]
    media = boto3.client(
        "kinesis-video-archived-media", **{**aws.client_options, "endpoint_url": endpoint}
    )
    body = media.get_media_for_fragment_list(
        StreamARN=STREAM_ARN, Fragments=[str(number) for number in fragments]
    )["Payload"].read()
    Path(name).write_bytes(body)
    return name


def numbers(one: Call) -> list[int]:
    return [fragment.number for fragment in one.fragments]


def test_body_of_one_contact(run: Run, aws: LocalAws) -> None:
    one = call()
    aws.place(one)
    inspected = run("inspect", save(aws, numbers(one)))
    assert inspected.exit_code == 0
    assert f"{CONTACT_ID}: 7 fragments, 0:06.000" in inspected.stdout
    assert f"first {one.start_fragment_number}" in inspected.stdout
    assert f"last  {one.stop_fragment_number}" in inspected.stdout


@pytest.mark.parametrize("columns", [80, 120])
def test_stream_fits_into_the_terminal(
    run: Run, aws: LocalAws, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    one = call()
    aws.place(one, *neighbours(one))
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = run("inspect", STREAM_ARN, *TIME).stdout.splitlines()
    rows = lines[1 : lines.index(next(line for line in lines if line.startswith(OTHER_CONTACT_ID)))]
    # Each call is a run of whole fragments and a shorter one at its end.
    shown = [row.split()[:3] for row in rows[1:]]
    before, _ = neighbours(one)
    calls = ["aaaaaaaa", "0f0e0d0c", "aaaaaaaa"]
    assert [row[2] for row in shown] == [contact for contact in calls for _ in range(2)]
    first = len(before.fragments) + 1
    assert shown[2][0] == f"{first}-{first + 5}"
    assert shown[2][1] == f"…{str(one.start_fragment_number)[-7:]}"
    assert all(len(row) <= columns for row in rows)


def test_json_has_every_fragment_whole(run: Run, aws: LocalAws) -> None:
    one = call()
    aws.place(one)
    (document,) = json.loads(run("inspect", STREAM_ARN, *TIME, "--json").stdout)
    assert [fragment["number"] for fragment in document["fragments"]] == [
        str(number) for number in numbers(one)
    ]
    assert document["contacts"] == {CONTACT_ID: 7}
    assert document["findings"] == []
    assert document["fragments"][0]["samples"] == {
        "AUDIO_FROM_CUSTOMER": 7680,
        "AUDIO_TO_CUSTOMER": 7680,
    }


def test_contacts_are_as_long_as_tells_them_apart() -> None:
    ids = ["aaaaaaaa-bbbb-1", "aaaaaaaa-bbbb-2", "c"]
    assert list(shorten(ids).values()) == ["aaaaaaaa-bbbb-1", "aaaaaaaa-bbbb-2", "c"]
    assert shorten(["aaaaaaaa-x", "aaaaaaab-x"]) == {
        "aaaaaaaa-x": "aaaaaaaa",
        "aaaaaaab-x": "aaaaaaab",
    }


@pytest.mark.parametrize(
    ("delivery", "words"),
    [
        (Delivery(untagged=frozenset((2,))), "1 fragment(s) carry no ContactId"),
        (Delivery(holes_ms={2: 500}), "1 gap(s), 500 ms in all"),
        (Delivery(producer_clock="relative"), "clock is relative"),
        (Delivery(track_names=(FROM_CUSTOMER, "Mystery")), "tracks of unknown names: Mystery"),
        (Delivery(track_names=("Mystery", "Mystery")), "cannot be read"),
    ],
)
def test_oddities_are_said_in_words(
    run: Run, aws: LocalAws, delivery: Delivery, words: str
) -> None:
    one = call(delivery)
    aws.place(one)
    inspected = run("inspect", STREAM_ARN, *TIME)
    assert inspected.exit_code == 1
    assert words in inspected.stdout


def test_another_contacts_audio(run: Run, aws: LocalAws) -> None:
    one = call()
    aws.place(one, *neighbours(one))
    inspected = run("inspect", STREAM_ARN, *TIME)
    assert inspected.exit_code == 1
    assert "the audio of 2 contacts is in here" in inspected.stdout
    assert "gap(s)" not in inspected.stdout


def test_error_document(run: Run, aws: LocalAws) -> None:
    one = call()
    aws.place(one)
    fault = FragmentFault(numbers(one)[1], kind="error", code="4501", detail="4501", times=None)
    aws.behaviour = replace(aws.behaviour, fragment_faults=(fault,))
    inspected = run("inspect", save(aws, numbers(one)))
    assert inspected.exit_code == 1
    assert "error document 4501" in inspected.stdout
    assert "kms:Decrypt" in inspected.stdout


def test_body_that_was_cut(run: Run, aws: LocalAws) -> None:
    one = call()
    aws.place(one)
    name = save(aws, numbers(one))
    Path(name).write_bytes(Path(name).read_bytes()[:-20_000])
    inspected = run("inspect", name)
    assert inspected.exit_code == 1
    assert "the connection was cut" in inspected.stdout


def test_name_that_looks_like_markup(run: Run) -> None:
    name = "\\[/x]"
    inspected = run("inspect", name)
    assert inspected.exit_code == 3
    assert f"{name}: there is no such file" in inspected.stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (wav(caller()), "this is a WAV"),
        (b'{"Message": "no"}', "this is JSON"),
        (b"\xff\xfbID3", "not a media body"),
        (b"\x1a", "no fragment"),
    ],
)
def test_what_is_no_body_is_named(run: Run, content: bytes, words: str) -> None:
    Path("saved").write_bytes(content)
    inspected = run("inspect", "saved")
    assert inspected.exit_code == 1
    assert words in inspected.stdout
    assert json.loads(run("inspect", "saved", "--json").stdout)[0]["findings"]


def test_retention_of_0_is_the_finding(run: Run, aws: LocalAws) -> None:
    aws.place(call(), retention_hours=0)
    inspected = run("inspect", STREAM_ARN, *TIME)
    assert inspected.exit_code == 1
    assert "the stream's retention is 0" in inspected.stdout


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (("gone.mkv",), 3, "gone.mkv: there is no such file"),
        ((".",), 2, "there is no .mkv file in it"),
        (("arn:aws:nonsense",), 2, "StreamARN must look like"),
        ((STREAM_ARN,), 3, "ResourceNotFoundException"),
        ((STREAM_ARN, "--from", "noon"), 2, "2026-11-23T09:30:00Z"),
    ],
)
def test_mistakes_are_one_clear_line(
    run: Run, aws: LocalAws, arguments: tuple[str, ...], exit_code: int, words: str
) -> None:
    inspected = run("inspect", *arguments)
    assert inspected.exit_code == exit_code
    assert words in " ".join(inspected.stderr.replace("│", " ").split())
    assert inspected.stdout == ""


def test_stream_that_has_nothing_says_where_it_looked(run: Run, aws: LocalAws) -> None:
    aws.place(call())
    late = ("--from", str(START_MS + 3_600_000), "--to", str(START_MS + 7_200_000))
    inspected = run("inspect", STREAM_ARN, *late)
    assert inspected.exit_code == 1
    assert "no fragment came from 2026-01-01 10:00:0" in inspected.stdout
    assert "give --from and --to to search elsewhere" in inspected.stdout
    assert "retention" not in run("inspect", "nothing").stdout


def test_times_that_are_reversed(run: Run, aws: LocalAws) -> None:
    reversed_times = ("--from", str(START_MS + 1), "--to", str(START_MS))
    inspected = run("inspect", STREAM_ARN, *reversed_times)
    assert inspected.exit_code == 2
    assert "--from must be before --to" in inspected.stderr
    assert "retention" not in inspected.stderr


def test_many_tiny_documents_are_counted_and_not_kept(run: Run) -> None:
    # An EBML header and a Segment of nothing.
    Path("tiny").write_bytes(bytes.fromhex("1A45DFA3801853806780") * 20_000)
    tracemalloc.start()
    inspected = run("inspect", "tiny")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert inspected.exit_code == 1
    assert peak < 8_000_000
    (document,) = json.loads(run("inspect", "tiny", "--json").stdout)
    assert len(document["fragments"]) == 20_000
