"""`list`, `get`, `verify` and `redrive`: an archive and its failed jobs at a terminal."""

import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pytest
from moto.s3.models import s3_backends

from call_archive_cli.archive import CallArchive, ahead
from call_archive_cli.clients import Clients
from call_archive_cli.queues import FailedJobs
from local.resources import ACCOUNT_ID
from local.server import LocalAws
from tests.cli.archive import START, Archive, Queues, wav
from tests.cli.conftest import Run
from tests.integration.journey import CONTACT_ID, OTHER_CONTACT_ID, RESOURCES, call, caller

BUCKET = ("--bucket", RESOURCES.bucket)
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
    assert listed.stdout.splitlines()[-1] == "2 recordings"


@pytest.mark.parametrize("columns", [80, 120])
def test_list_fits_into_the_terminal(
    run: Run, archive: Archive, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    archive.put(durationMs=45_296_789, gaps=[{}] * 1234)
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
    assert f"not a manifest: {key}" in listed.stdout


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


def test_only_so_much_is_read_ahead() -> None:
    lock, on_the_way, most = threading.Lock(), 0, 0

    def things() -> Iterator[int]:
        nonlocal on_the_way, most
        for thing in range(200):
            with lock:
                on_the_way += 1
                most = max(most, on_the_way)
            yield thing

    with ThreadPoolExecutor(4) as pool:
        for expected, result in enumerate(ahead(pool, lambda thing: thing * 2, things(), 10)):
            assert result == expected * 2
            with lock:
                on_the_way -= 1
    assert most <= 10


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
    assert "no recording of contact" in got.stderr


def test_get_leaves_nothing_where_the_recording_is_missing(run: Run, archive: Archive) -> None:
    key = archive.put()
    archive.s3.delete_object(Bucket=RESOURCES.bucket, Key=key)
    got = run("get", CONTACT_ID, *BUCKET, *DAY)
    assert got.exit_code == 3
    assert list((Path() / CONTACT_ID).iterdir()) == []


def test_verify_finds_nothing_wrong(run: Run, archive: Archive) -> None:
    archive.put()
    archive.put(OTHER_CONTACT_ID, complete=False)
    verified = run("verify", *BUCKET, *DAY)
    assert verified.exit_code == 0
    assert verified.stdout.strip() == "2 recordings checked: 0 damaged, 1 incomplete"


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
    for job in failed.receive():
        failed.redrive(job, url)  # as ArchiveFunction does with what nothing mends
        moved += 1
    assert moved == 1
