"""`explain` at a terminal, and what it advises."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from call_archive_cli.explanation import Known, KnownStretch, advise
from call_archive_cli.failed_jobs import FailedJob
from local.behaviour import UNLIMITED, CallFault
from local.demo_call import INSTANCE_ARN
from local.server import LocalAws
from tests.cli.archive import Archive
from tests.cli.conftest import Run
from tests.cli.stack import BUCKET, NAME, PREFIX, Stack, deploy
from tests.integration.journey import CONTACT_ID, RESOURCES, call

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
STRETCH = KnownStretch("77", "arn:stream", NOW, NOW + timedelta(hours=3))
FAILED = FailedJob("1", "", "KVS_4501", "the key is disabled", True, "")


@pytest.fixture
def stack(aws: LocalAws) -> Stack:
    return deploy(aws, ConnectInstanceArn=INSTANCE_ARN)


def test_all_sources_and_what_to_do(run: Run, stack: Stack, s3: Any) -> None:
    one = call()
    stack.aws.place(one)
    archive = Archive(s3, BUCKET)
    archive.put(prefix=PREFIX, start=str(one.start_fragment_number), instanceArn=INSTANCE_ARN)
    logs = stack.client("logs")
    group = stack.resources["ArchiveLogGroup"]
    logs.create_log_stream(logGroupName=group, logStreamName="one")
    line = json.dumps({"level": "INFO", "message": "archived", "contact_id": CONTACT_ID})
    logs.put_log_events(
        logGroupName=group,
        logStreamName="one",
        logEvents=[{"timestamp": int(datetime.now(UTC).timestamp() * 1000), "message": line}],
    )
    url = stack.client("cloudformation").describe_stacks(StackName=NAME)["Stacks"][0]["Outputs"]
    failed = next(o["OutputValue"] for o in url if o["OutputKey"] == "FailedJobsQueueUrl")
    told = run("--stack", NAME, "explain", CONTACT_ID)
    for words in (
        "VOICE, 20",
        f"fragment {one.start_fragment_number}",
        "retention 24 h",
        "0:06.000 from 2026-01-01 09:00:01 UTC, complete",
        "neither erased nor held",
        "0 of 0 failed jobs that can be seen",
        "INFO  archived",
    ):
        assert words in told.stdout
    assert told.stdout.index("Amazon Connect:") < told.stdout.index("archive:")
    stack.client("sqs").send_message(
        QueueUrl=failed,
        MessageBody=json.dumps(one.archive_job()),
        MessageAttributes={
            "code": {"DataType": "String", "StringValue": "KVS_4501"},
            "reason": {"DataType": "String", "StringValue": "KVS_4501: the key is disabled"},
        },
    )
    later = run("--stack", NAME, "explain", CONTACT_ID, "--json")
    assert later.exit_code == 1
    document = json.loads(later.stdout)
    assert document["queues"][0] == "KVS_4501: the key is disabled"
    assert f"call-archive --stack {NAME} redrive --code KVS_4501" in document["what to do"][0]


def test_a_source_that_refuses_is_told(run: Run, archive: Archive, aws: LocalAws) -> None:
    archive.put(instanceArn=INSTANCE_ARN)
    aws.behaviour = replace(
        UNLIMITED,
        call_faults=(CallFault("DescribeContact", "AccessDeniedException", 403, "no", times=None),),
    )
    told = run("explain", CONTACT_ID, "--bucket", RESOURCES.bucket)
    assert told.exit_code == 1
    assert "NOT KNOWN: DescribeContact answered AccessDeniedException" in told.stdout
    assert "Not looked at: Amazon Connect, failed jobs, the log." in told.stdout


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (Known("c", "known", [STRETCH]), "KVS keeps the audio for 3.0 h more"),
        (Known("c", "known", [STRETCH]), "A run may still be on its way"),
        (
            Known("c", "known", [STRETCH], ended_at=NOW - timedelta(minutes=14)),
            "A run may still be on its way",
        ),
        (
            Known("c", "known", [STRETCH], ended_at=NOW - timedelta(minutes=16)),
            "`call-archive backfill --from 2026-01-01` queues it again",
        ),
        (
            Known("c", "known", [STRETCH], ended_at=NOW - timedelta(days=1)),
            "`call-archive backfill --from 2025-12-31 --to 2026-01-01` queues it again",
        ),
        (Known("c", "known", [STRETCH], failed=[FAILED]), "Its job failed: see below."),
        (Known("c", "known", [replace(STRETCH, is_gone=True)]), "KVS no longer has the audio"),
        (Known("c", "known"), "Nothing was streamed"),
        (Known("c", "unknown"), "Check the contact id"),
        (Known("c", failed=[FAILED]), "redrive --code KVS_4501"),
        (Known("c", is_erased=True), "Nothing: the contact is erased"),
        (Known("c", is_erased=True, versions=1), "erase c` again"),
        (Known("c", is_held=True), "It is held"),
        (Known("c"), "Nothing: everything"),
    ],
)
def test_advice(known: Known, words: str) -> None:
    assert words in " ".join(advise(known, NOW))
