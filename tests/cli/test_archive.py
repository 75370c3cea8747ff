"""`list`, `get`, `verify` and `redrive`: an archive and its failed jobs at a terminal."""

import json
import re
import subprocess
import sys
import time
import urllib.request
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from moto.s3.models import s3_backends

from call_archive_cli.archive import CallArchive
from call_archive_cli.clients import Clients
from call_archive_cli.failed_jobs import FailedJobs
from local.moto_faults import MotoFault
from local.resources import ACCOUNT_ID
from local.server import LocalAws
from tests.cli.archive import START, Archive, Queues, wav
from tests.cli.conftest import Run
from tests.integration.journey import CONTACT_ID, OTHER_CONTACT_ID, RESOURCES, call, caller

BUCKET = ("--bucket", RESOURCES.bucket)
GAP = {"atMs": 0, "lengthMs": 1, "track": "AUDIO_FROM_CUSTOMER"}
DAY = ("--day", "2026-01-01")


def shown(text: str) -> str:
    return " ".join(text.split())


def test_list_shows_a_day(run: Run, archive: Archive) -> None:
    archive.put()
    archive.put(OTHER_CONTACT_ID, "2026-01-01T10:00:00.000Z", complete=False, reasons=["X: y"])
    archive.put(started="2026-01-02T00:00:00.000Z")
    listed = run("list", *BUCKET, *DAY)
    assert listed.exit_code == 0
    assert f"2026-01-01 09:00:01 {CONTACT_ID} 0:06 yes" in shown(listed.stdout)
    assert f"2026-01-01 10:00:00 {OTHER_CONTACT_ID} 0:06 NO" in shown(listed.stdout)
    assert listed.stdout.splitlines()[-1] == "2 recordings on 2026-01-01 (UTC)"


@pytest.mark.parametrize("columns", [80, 120])
def test_list_fits_into_the_terminal(
    run: Run, archive: Archive, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    archive.put(durationMs=45_296_789, gaps=[GAP] * 1234)
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = run("list", *BUCKET, *DAY).stdout.splitlines()
    assert len(lines) == 3
    assert max(map(len, lines)) <= columns
    assert ("flow" in lines[1]) is (columns == 120)
    assert "12:34:56" in lines[1]


def test_list_of_several_days_and_of_one_contact(run: Run, archive: Archive) -> None:
    for day in (1, 2, 3):
        archive.put(started=f"2026-01-0{day}T09:00:00.000Z")
    archive.put(OTHER_CONTACT_ID, "2026-01-02T09:00:00.000Z")
    days = ("--from", "2026-01-01", "--to", "2026-01-02")
    assert "3 recordings" in run("list", *BUCKET, *days).stdout
    assert "2 recordings" in run("list", *BUCKET, *days, "--contact", CONTACT_ID).stdout


def test_list_leaves_rehearsals_out_unless_somebody_asks(run: Run, archive: Archive) -> None:
    archive.put()
    archive.put("rehearsal-1-2")
    told = run("list", *BUCKET, *DAY).stdout
    assert "rehearsal-1-2" not in told
    assert "1 recording, 1 rehearsal left out (--rehearsals) on 2026-01-01" in told
    assert "2 recordings on 2026-01-01" in run("list", *BUCKET, *DAY, "--rehearsals").stdout
    named = run("list", *BUCKET, *DAY, "--contact", "rehearsal-1-2").stdout
    assert "1 recording on 2026-01-01" in named


def test_list_json_is_the_manifests(run: Run, archive: Archive) -> None:
    archive.put()
    archive.put(OTHER_CONTACT_ID, complete=False)
    listed = json.loads(run("list", *BUCKET, *DAY, "--json").stdout)
    assert [manifest["contactId"] for manifest in listed] == [CONTACT_ID, OTHER_CONTACT_ID]
    only = json.loads(run("list", *BUCKET, *DAY, "--json", "--incomplete").stdout)
    assert [manifest["contactId"] for manifest in only] == [OTHER_CONTACT_ID]
    assert json.loads(run("list", *BUCKET, "--day", "2020-01-01", "--json").stdout) == []


def test_list_names_what_is_not_a_manifest(run: Run, archive: Archive) -> None:
    key = f"manifests/year=2026/month=01/day=01/{CONTACT_ID}/{START}.json"
    archive.put_manifest(key, '{"sha256": "but nothing else"}')
    listed = run("list", *BUCKET, *DAY)
    assert listed.exit_code == 0
    assert f"not a manifest: {key} (it has no version)" in listed.stdout
    assert "0 recordings, 1 foreign object among the manifests" in listed.stdout


@pytest.mark.parametrize("command", ["list", "verify"])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"durationMs": "long"}, "its durationMs is not what a manifest has there"),
        ({"channels": 0}, "its channels is not what a manifest has there"),
        ({"channels": 10**30}, "its channels is not what a manifest has there"),
        ({"startedAt": "9999-12-31T23:59:59-12:00"}, "its startedAt is not what"),
        ({"contactId": ["[/x]"]}, "its contactId is not what a manifest has there"),
        ({"sha256": "f"}, "its sha256 is not what a manifest has there"),
        ({"fragments": {}}, "it has no listed"),
        ({"version": 2}, "it is of version 2, and this software reads 1: install"),
        ({"version": True}, "it has no version"),
    ],
)
def test_foreign_manifest_is_named_and_the_rest_goes_on(
    run: Run, archive: Archive, command: str, changes: dict[str, Any], words: str
) -> None:
    archive.put(OTHER_CONTACT_ID)
    archive.put(**changes)
    told = run(command, *BUCKET, *DAY)
    assert told.exit_code == (1 if command == "verify" else 0)
    assert told.stdout.count(words) == 1
    assert ("2 recordings checked: 1 damaged, 0 inc" in told.stdout) is (command == "verify")
    assert run(command, *BUCKET, *DAY, "--json").exit_code == told.exit_code


def test_list_is_sorted_by_time(run: Run, archive: Archive) -> None:
    ids = [f"{number:08}-0000-4000-8000-000000000000" for number in (3, 1, 2)]
    for hour, contact_id in enumerate(ids):
        archive.put(contact_id, f"2026-01-01T{hour:02}:00:00.000Z")
    listed = json.loads(run("list", *BUCKET, *DAY, "--json").stdout)
    assert [manifest["contactId"] for manifest in listed] == ids


def test_contact_is_looked_for_on_every_day(run: Run, archive: Archive) -> None:
    archive.put(started="2019-03-04T05:06:07.000Z")
    archive.put(OTHER_CONTACT_ID)
    told = run("list", *BUCKET, "--contact", CONTACT_ID).stdout
    assert "1 recording on every day of the archive, 2019-03-04 to 2026-01-01 (UTC)" in told
    assert "2 recordings on every day" in run("list", *BUCKET, "--all").stdout
    assert "1 recording checked" in run("verify", *BUCKET, "--contact", CONTACT_ID).stdout


@pytest.mark.parametrize("command", ["list", "verify"])
def test_answer_says_which_days_it_looked_at(run: Run, archive: Archive, command: str) -> None:
    told = run(command, *BUCKET).stdout
    assert re.search(r"from \d{4}-\d\d-\d\d to \d{4}-\d\d-\d\d \(UTC\); earlier days: --from", told)
    told = run(command, *BUCKET, "--from", "2026-01-01", "--to", "2026-01-03").stdout
    assert "from 2026-01-01 to 2026-01-03 (UTC)" in told
    assert "earlier days" not in told


def test_output_that_is_no_terminal_is_not_cut(
    run: Run, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.put()
    monkeypatch.delenv("COLUMNS")
    assert run("list", *BUCKET, *DAY).stdout.splitlines()[1].endswith("flow")


def test_prefix(run: Run, archive: Archive) -> None:
    archive.put(prefix="calls/")
    assert "1 recording" in run("list", *BUCKET, *DAY, "--prefix", "calls/").stdout
    assert "0 recordings" in run("list", *BUCKET, *DAY).stdout


def test_more_than_a_page_of_keys_is_seen(clients: Clients) -> None:
    # S3 lists 1000 keys a page. Put into moto itself: a thousand requests take ten seconds.
    contacts = {f"{number:08}-0000-4000-8000-000000000000" for number in range(1005)}
    backend = s3_backends[ACCOUNT_ID]["aws"]
    for contact_id in contacts:
        key = f"manifests/year=2026/month=01/day=01/{contact_id}/{START}.json"
        backend.put_object(RESOURCES.bucket, key, b"{}")
    assert CallArchive(clients, RESOURCES.bucket, "").contact_ids(date(2026, 1, 1)) == contacts


def test_get_downloads_both_files(run: Run, archive: Archive) -> None:
    archive.put()
    got = run("get", CONTACT_ID, *BUCKET, *DAY, "-o", "calls")
    assert got.exit_code == 0
    recording = Path("calls") / CONTACT_ID / f"{START}.wav"
    assert recording.read_bytes() == wav(caller())
    assert json.loads(recording.with_suffix(".json").read_text())["contactId"] == CONTACT_ID
    assert got.stdout.split() == [str(recording), str(recording.with_suffix(".json"))]
    assert sorted(path.name for path in recording.parent.iterdir()) == [
        f"{START}.json",
        f"{START}.wav",
    ]


def test_presigned_urls_suit_objects_that_kms_encrypts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where botocore itself would still use Signature Version 2."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    url = CallArchive(Clients(), "some-bucket", "").presign("recordings/one.wav", 60)
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in url


def test_get_presigns(run: Run, archive: Archive) -> None:
    archive.put()
    url, _ = run("get", CONTACT_ID, *BUCKET, *DAY, "--presign", "60").stdout.split()
    with urllib.request.urlopen(url) as answer:  # noqa: S310 - http, of the local AWS
        assert answer.read() == wav(caller())


def test_get_of_an_unknown_contact(run: Run, archive: Archive) -> None:
    got = run("get", CONTACT_ID, *BUCKET, *DAY)
    assert got.exit_code == 1
    assert f"no recording of contact {CONTACT_ID} on 2026-01-01 (UTC)" in got.stderr
    assert "check --bucket" not in got.stderr


def test_get_looks_at_every_day_and_keeps_what_is_the_same(run: Run, archive: Archive) -> None:
    archive.put(started="2019-03-04T05:06:07.000Z")
    first = run("get", CONTACT_ID, *BUCKET, "--json")
    assert first.exit_code == 0
    (files,) = json.loads(first.stdout)
    recording = Path(files["recording"])
    before = recording.stat().st_mtime_ns
    assert run("get", CONTACT_ID, *BUCKET).exit_code == 0
    assert recording.stat().st_mtime_ns == before


def test_get_replaces_another_file_only_if_asked(run: Run, archive: Archive) -> None:
    archive.put()
    recording = Path("calls") / CONTACT_ID / f"{START}.wav"
    recording.parent.mkdir(parents=True)
    recording.write_bytes(b"mine")
    refused = run("get", CONTACT_ID, *BUCKET, "-o", "calls")
    assert refused.exit_code == 2
    assert "--overwrite" in refused.stderr
    assert recording.read_bytes() == b"mine"
    assert run("get", CONTACT_ID, *BUCKET, "-o", "calls", "--overwrite").exit_code == 0
    assert recording.read_bytes() == wav(caller())


def test_get_keeps_no_damaged_recording_and_gets_the_others(run: Run, archive: Archive) -> None:
    archive.put()
    damaged = archive.put(started="2026-01-02T09:00:00.000Z", start="7", sha256="0" * 64)
    got = run("get", CONTACT_ID, *BUCKET)
    assert got.exit_code == 1
    assert f"{damaged}: its bytes are not those that were archived (sha256)" in got.stderr
    assert got.stdout.count(".wav") == 1
    names = sorted(path.name for path in Path(CONTACT_ID).iterdir())
    assert names == [f"{START}.json", f"{START}.wav"]


def test_get_to_a_pipe(aws: LocalAws, archive: Archive) -> None:
    archive.put()
    command = [sys.executable, "-m", "call_archive_cli", "get", CONTACT_ID, *BUCKET, "-o", "-"]
    piped = subprocess.run(command, capture_output=True, check=True)
    assert piped.stdout == wav(caller())


def test_get_to_a_pipe_takes_one_recording(run: Run, archive: Archive) -> None:
    archive.put()
    archive.put(started="2026-01-02T09:00:00.000Z")
    got = run("get", CONTACT_ID, *BUCKET, "-o", "-")
    assert got.exit_code == 2
    assert "takes one recording" in got.stderr
    assert got.stdout == ""


def test_get_leaves_nothing_where_the_recording_is_missing(run: Run, archive: Archive) -> None:
    key = archive.put()
    archive.s3.delete_object(Bucket=RESOURCES.bucket, Key=key)
    got = run("get", CONTACT_ID, *BUCKET, *DAY)
    assert got.exit_code == 1
    assert f"{key}: the recording is missing" in got.stderr
    assert list((Path() / CONTACT_ID).iterdir()) == []


def test_verify_finds_nothing_wrong(run: Run, archive: Archive) -> None:
    archive.put()
    archive.put(OTHER_CONTACT_ID, complete=False)
    verified = run("verify", *BUCKET, *DAY)
    assert verified.exit_code == 0
    assert verified.stdout.strip() == (
        "2 recordings checked: 0 damaged, 1 incomplete on 2026-01-01 (UTC)"
    )


def test_verify_reports_two_recordings_of_one_stretch(run: Run, archive: Archive) -> None:
    archive.put(started="2025-12-31T23:59:59.900Z")
    key = archive.put(started="2026-01-01T00:00:00.000Z")
    archive.put(OTHER_CONTACT_ID, started="2026-01-01T00:00:01.000Z")
    days = ("--from", "2025-12-31", "--to", "2026-01-01")
    verified = run("verify", *BUCKET, *days)
    assert verified.exit_code == 0
    assert f"{key}: the day before has a recording of the same stretch" in verified.stdout
    assert "1 recorded twice" in verified.stdout
    document = json.loads(run("verify", *BUCKET, *days, "--json").stdout)
    assert document["recordedTwice"] == [key]


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (None, "the recording is missing"),
        (wav(caller())[:-2], "its manifest says"),
        (wav(caller()[:-2] + b"\x00\x01"), "sha256"),
        (b"JUNK" + wav(caller())[4:], "header"),
    ],
)
def test_verify_finds_damage(run: Run, archive: Archive, body: bytes | None, what: str) -> None:
    archive.put(OTHER_CONTACT_ID)
    key = archive.put()
    archive.s3.delete_object(Bucket=RESOURCES.bucket, Key=key)
    if body is not None:
        archive.s3.put_object(Bucket=RESOURCES.bucket, Key=key, Body=body)
    verified = run("verify", *BUCKET, *DAY)
    assert verified.exit_code == 1
    assert f"{key}: " in verified.stdout
    assert what in verified.stdout
    assert "2 recordings checked: 1 damaged" in verified.stdout
    document = json.loads(run("verify", *BUCKET, *DAY, "--json").stdout)
    assert document["recordings"] == 2
    assert list(document["damaged"]) == [key]


def test_verify_finds_a_recording_without_a_manifest(run: Run, archive: Archive) -> None:
    archive.put(OTHER_CONTACT_ID)
    key = archive.put()
    manifest = key.replace("recordings/", "manifests/").replace(".wav", ".json")
    archive.s3.delete_object(Bucket=RESOURCES.bucket, Key=manifest)
    verified = run("verify", *BUCKET, *DAY)
    assert verified.exit_code == 1
    assert f"{key}: no manifest describes it" in verified.stdout


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"contactId": OTHER_CONTACT_ID}, f"its manifest is of contact {OTHER_CONTACT_ID}"),
        ({"recordingUri": "s3://b/recordings/x/1.wav"}, "its manifest describes s3://b/"),
    ],
)
def test_verify_finds_the_manifest_of_another(
    run: Run, archive: Archive, changes: dict[str, Any], words: str
) -> None:
    archive.put(**changes)
    verified = run("verify", *BUCKET, *DAY)
    assert verified.exit_code == 1
    assert words in verified.stdout


def test_verify_goes_on_where_an_earlier_run_ended(run: Run, archive: Archive) -> None:
    archive.put()
    archive.put(OTHER_CONTACT_ID, complete=False)
    resumed = (*BUCKET, *DAY, "--state", "state.jsonl")
    assert run("verify", *resumed).exit_code == 0
    with Path("state.jsonl").open("a") as state:
        state.write('{"key": "recor')
    key = archive.put(started="2026-01-01T10:00:00.000Z", start="7")
    again = run("verify", *resumed)
    assert "3 recordings checked (2 by an earlier run): 0 damaged, 1 incomplete" in again.stdout
    archive.s3.put_object(Bucket=RESOURCES.bucket, Key=key, Body=b"other bytes")
    replaced = run("verify", *resumed)
    assert replaced.exit_code == 1
    assert "3 recordings checked (2 by an earlier run): 1 damaged" in replaced.stdout


def queue_options(queues: Queues) -> tuple[str, ...]:
    failed, jobs = queues.url(RESOURCES.failed_queue), queues.url(RESOURCES.queue)
    return "--failed-queue-url", failed, "--queue-url", jobs


EVENT_RULE = "arn:aws:events:eu-west-2:123456789012:rule/call-archive-DisconnectRule"
PIPE_LETTER = {
    "context": {
        "partnerResourceArn": "arn:aws:pipes:eu-west-2:123456789012:pipe/call-archive",
        "condition": "RecordAgeExceeded",
    },
    "version": "1.0",
    "timestamp": "2026-01-01T09:10:00.000Z",
    "KinesisBatchInfo": {
        "shardId": "shardId-000000000000",
        "startSequenceNumber": "1",
        "endSequenceNumber": "1",
        "batchSize": 1,
        "streamArn": "arn:aws:kinesis:eu-west-2:123456789012:stream/contact-records",
    },
}


def test_redrive_moves_every_producers_jobs(run: Run, queues: Queues) -> None:
    one = call()
    queues.fail(one.archive_job(), code="KVS_4502", reason="KVS_4502: the key", messageId="1")
    queues.fail(one.contact_record())
    queues.fail(one.contact_event(), ERROR_CODE="NO_PERMISSIONS", RULE_ARN=EVENT_RULE)
    dry = run("redrive", *queue_options(queues), "--dry-run")
    assert dry.exit_code == 0
    assert "1 KVS_4502: the key" in shown(dry.stdout)
    assert "1 NO_CODE" in shown(dry.stdout)
    assert "1 NO_PERMISSIONS" in shown(dry.stdout)
    assert "3 jobs would go back" in dry.stdout
    moved = run("redrive", *queue_options(queues))
    assert moved.exit_code == 0
    assert "3 jobs moved back" in moved.stdout
    expected = [one.archive_job(), one.contact_record(), one.contact_event()]
    assert sorted(queues.queued(), key=str) == sorted(expected, key=str)
    assert queues.failed() == []


def test_redrive_leaves_what_holds_no_job(run: Run, queues: Queues) -> None:
    queues.fail(PIPE_LETTER)
    queues.fail(call().archive_job(), code="INCOMPLETE")
    result = run("redrive", *queue_options(queues))
    assert result.exit_code == 1
    assert "1 RecordAgeExceeded" in shown(result.stdout)
    assert "1 job moved back" in result.stdout
    assert "backfill archives the calls" in result.stderr
    assert queues.queued() == [call().archive_job()]
    assert queues.failed() == [PIPE_LETTER]


def test_redrive_of_one_code_leaves_the_others_visible(run: Run, queues: Queues) -> None:
    first, second = call().archive_job(), call(contact_id=OTHER_CONTACT_ID).archive_job()
    queues.fail(first, code="KVS_4502")
    queues.fail(second, code="NO_AUDIO")
    result = run("redrive", *queue_options(queues), "--code", "KVS_4502", "--json")
    assert json.loads(result.stdout) == [{"code": "KVS_4502", "reason": "", "moved": True}]
    assert queues.queued() == [first]
    assert queues.failed() == [second]


def test_redrive_of_more_than_a_batch(run: Run, queues: Queues) -> None:
    for number in range(25):
        queues.fail({"kind": "ArchiveJob", "number": number}, code="X")
    assert "25 jobs moved back" in run("redrive", *queue_options(queues)).stdout
    assert sorted(job["number"] for job in queues.queued()) == list(range(25))


def test_refused_send_loses_nothing(run: Run, queues: Queues) -> None:
    queues.fail(call().archive_job(), code="X")
    failed = queues.url(RESOURCES.failed_queue)
    result = run("redrive", "--failed-queue-url", failed, "--queue-url", f"{failed}-none")
    assert result.exit_code == 3
    assert "check the queue's URL" in result.stderr
    attributes = queues.sqs.get_queue_attributes(QueueUrl=failed, AttributeNames=["All"])
    assert (
        sum(
            int(attributes["Attributes"][f"ApproximateNumberOfMessages{state}"])
            for state in ("", "NotVisible")
        )
        == 1
    )


def test_aws_is_not_asked_twice_for_a_listing(run: Run, archive: Archive, aws: LocalAws) -> None:
    archive.put()
    before = sum(aws.requests.values())
    run("list", *BUCKET, *DAY)
    # One listing, one manifest.
    assert sum(aws.requests.values()) - before == 2


def test_redrive_ends_while_jobs_go_on_failing(clients: Clients, queues: Queues) -> None:
    url = queue_options(queues)[1]
    failed = FailedJobs(clients.sqs(), url)
    clients.sqs().send_message(QueueUrl=url, MessageBody="fails again")
    time.sleep(0.01)
    moved = 0
    with failed.batches() as batches:
        for jobs in batches:
            moved += len(batches.move(jobs, url))  # as ArchiveFunction does with final failures
    assert moved == 1


def test_redrive_says_what_is_in_flight(run: Run, queues: Queues) -> None:
    queues.fail(call().archive_job(), code="X")
    queues.sqs.receive_message(QueueUrl=queues.url(RESOURCES.failed_queue))
    dry = run("redrive", *queue_options(queues), "--dry-run")
    assert "0 jobs would go back" in dry.stdout
    assert "not looked at: 1 message in flight" in dry.stderr


def test_redrive_of_a_code_that_no_job_has(run: Run, queues: Queues) -> None:
    queues.fail(call().archive_job(), code="KVS_4502")
    result = run("redrive", *queue_options(queues), "--code", "KVS_4520")
    assert result.exit_code == 1
    assert "has the code KVS_4520; there are: KVS_4502 (1)" in result.stderr
    assert queues.failed() == [call().archive_job()]


def test_redrive_leaves_nothing_hidden_and_says_how_many_it_moved(
    run: Run, queues: Queues, aws: LocalAws
) -> None:
    for number in range(25):
        queues.fail({"kind": "ArchiveJob", "number": number}, code="X")
    refused = MotoFault("SendMessageBatch", "AccessDenied", times=None, first_call=2)
    aws.moto_faults = (refused,)
    result = run("redrive", *queue_options(queues))
    assert result.exit_code == 3
    assert "10 jobs moved back, then it ended" in result.stdout
    assert len(queues.failed()) == 15


def test_batches_hold_what_sqs_takes(clients: Clients, queues: Queues) -> None:
    failed = FailedJobs(clients.sqs(), queues.url(RESOURCES.failed_queue))
    for number in range(3):
        queues.fail(json.dumps({"number": number, "much": "x" * 100_000}))
    with failed.batches() as batches:
        moved = [job for jobs in batches for job in batches.move(jobs, queue_options(queues)[3])]
    assert len(moved) == 3
    assert len(queues.queued()) == 3
