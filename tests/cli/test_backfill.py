"""`backfill`: past calls into the queue; once, at a rate, and only those without a recording."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from call_archive_cli.backfill import Pace, split_days
from local.behaviour import UNLIMITED, CallFault
from local.call import Call
from local.demo_call import INSTANCE_ARN
from local.runtime import ARCHIVE_HANDLER, Function
from local.sample_events import build_sqs_event
from local.server import LocalAws
from tests.cli.archive import Archive, Queues
from tests.cli.conftest import Run
from tests.cli.stack import INSTANCE_ID
from tests.integration.journey import (
    CONTACT_ID,
    OTHER_CONTACT_ID,
    RESOURCES,
    START_MS,
    call,
    environment,
)

DAY_MS = 86_400_000
FROM = ("--from", "2026-01-01", "--to", "2026-01-04")


@pytest.fixture
def instance(aws: LocalAws) -> LocalAws:
    """An instance that streams, without quotas."""
    aws.behaviour = UNLIMITED
    aws.connect.instances.stream_media(INSTANCE_ID, RetentionPeriodHours=87_600)
    return aws


@pytest.fixture
def backfill(run: Run, queues: Queues) -> Run:
    options = (*BUCKET, "--queue-url", queues.url(RESOURCES.queue), "--search-rate", "1000")
    return lambda *arguments: run(
        "backfill", "--instance-arn", INSTANCE_ARN, *FROM, *options, *arguments
    )


BUCKET = ("--bucket", RESOURCES.bucket)


def contact_id(number: int) -> str:
    return f"{number:08}-1111-4222-8333-444455556666"


def past_calls(aws: LocalAws, count: int, *, every_ms: int = 60_000) -> list[Call]:
    """Calls of a second each."""
    calls = [
        call(
            customer=bytes(range(256)) * 63,
            to_customer=bytes(16_128),
            contact_id=contact_id(number),
            start_ms=START_MS + number * every_ms,
            first_sequence=number * 1000 + 1,
        )
        for number in range(count)
    ]
    aws.place(*calls, ended_s_ago=3600)
    return calls


def queued_ids(queues: Queues) -> list[str]:
    return sorted(event["detail"]["contactId"] for event in queues.queued())


def test_every_call_of_every_day_and_page_is_queued_once(
    backfill: Run, instance: LocalAws, queues: Queues
) -> None:
    # More than a page on the first day, some on the next one.
    calls = past_calls(instance, 130, every_ms=7 * 60_000)
    done = backfill("--rate", "100", "--json")
    assert done.exit_code == 0
    figures = json.loads(done.stdout)
    assert figures == {
        "found": 130,
        "archived": 0,
        "queuedBefore": 0,
        "queued": 130,
        "dryRun": False,
        "complete": True,
    }
    assert queued_ids(queues) == [one.contact_id for one in calls]


def test_call_that_ends_where_two_searches_meet_is_queued_once(
    backfill: Run, instance: LocalAws, queues: Queues
) -> None:
    midnight_ms = START_MS + 15 * 3_600_000
    one = call(contact_id=contact_id(1))
    at_midnight = call(
        contact_id=contact_id(1),
        start_ms=START_MS + midnight_ms - one.stop_timestamp_ms,
    )
    assert at_midnight.stop_timestamp_ms // 1000 * 1000 == midnight_ms
    instance.place(at_midnight, ended_s_ago=3600)
    assert "1 voice contact" in backfill().stdout
    assert queued_ids(queues) == [contact_id(1)]


def test_dry_run_queues_nothing(backfill: Run, instance: LocalAws, queues: Queues) -> None:
    past_calls(instance, 3)
    done = backfill("--dry-run")
    assert "3 voice contacts: 0 archived already, 0 queued by an earlier run, 3 would be" in (
        done.stdout
    )
    assert queues.queued() == []
    assert not Path("call-archive-backfill.jsonl").exists()


def test_archived_calls_are_left_out(
    backfill: Run, instance: LocalAws, queues: Queues, archive: Archive
) -> None:
    past_calls(instance, 3)
    archive.put(contact_id(1))
    assert "1 archived already" in backfill().stdout
    assert queued_ids(queues) == [contact_id(0), contact_id(2)]


def test_call_over_midnight_is_found_under_the_day_it_began(
    backfill: Run, instance: LocalAws, queues: Queues, archive: Archive
) -> None:
    midnight_ms = START_MS + 15 * 3_600_000
    over = call(contact_id=contact_id(1), start_ms=midnight_ms - 3000)
    instance.place(over, ended_s_ago=3600)
    archive.put(contact_id(1), "2026-01-01T23:59:58.000Z")
    assert "1 archived already" in backfill().stdout


def test_run_that_broke_off_goes_on(backfill: Run, instance: LocalAws, queues: Queues) -> None:
    past_calls(instance, 25)
    instance.behaviour = replace(
        instance.behaviour,
        call_faults=(CallFault("SearchContacts", "InvalidRequestException", times=None),),
    )
    assert backfill("--rate", "100").exit_code == 3
    instance.behaviour = UNLIMITED
    lines = "".join(json.dumps({"contactId": contact_id(n)}) + "\n" for n in range(10))
    lines += '{"contactId": "000'  # a run that was killed while it wrote
    Path("state.jsonl").write_text(lines)
    again = backfill("--rate", "100", "--state", "state.jsonl")
    assert "10 queued by an earlier run, 15 queued" in again.stdout
    assert queued_ids(queues) == [contact_id(n) for n in range(10, 25)]
    assert len(Path("state.jsonl").read_text().splitlines()) == 25
    third = backfill("--state", "state.jsonl")
    assert "25 queued by an earlier run, 0 queued" in third.stdout
    assert queues.queued() == []


def test_state_file_of_something_else(backfill: Run, instance: LocalAws) -> None:
    Path("notes").write_text("buy milk\n")
    done = backfill("--state", "notes")
    assert done.exit_code == 3
    assert "notes:1 is not a line of backfill" in done.stderr
    assert Path("notes").read_text() == "buy milk\n"


def test_what_retention_has_removed_is_told(
    backfill: Run, instance: LocalAws, queues: Queues
) -> None:
    past_calls(instance, 1)
    instance.connect.instances.stream_media(INSTANCE_ID, RetentionPeriodHours=24)
    done = backfill()
    assert "the streams keep audio for 24 h" in done.stderr
    assert done.exit_code == 0
    assert len(queues.queued()) == 1


def test_instance_that_streams_nothing_is_told(backfill: Run, instance: LocalAws) -> None:
    instance.connect.instances.storage.clear()
    assert "live media streaming is off" in backfill("--dry-run").stderr


def test_no_word_where_nothing_is_lost(backfill: Run, instance: LocalAws) -> None:
    assert backfill("--dry-run").stderr == ""


def test_other_channels_are_not_calls(backfill: Run, instance: LocalAws, queues: Queues) -> None:
    past_calls(instance, 2)
    chat = instance.connect._contacts[INSTANCE_ID, contact_id(1)].body["Contact"]
    chat["Channel"] = "CHAT"
    assert backfill("--dry-run", "--json").stdout.count('"found": 1') == 1


@pytest.mark.parametrize(
    "times",
    [
        ("--from", "2026-01-02", "--to", "2026-01-01"),
        ("--from", "2026-01-01", "--to", "2026-01-01"),
        ("--from", "2099-01-01"),
        ("--from", "2026-01-01", "--to", "2099-01-01"),
    ],
)
def test_range_that_holds_no_past_call_is_refused(
    run: Run, aws: LocalAws, times: tuple[str, ...]
) -> None:
    done = run("backfill", "--instance-arn", INSTANCE_ARN, *times, *BUCKET, "--dry-run")
    assert done.exit_code == 2
    assert "--from must be before --to" in done.stderr
    assert "SearchContacts" not in aws.requests


def test_what_is_needed(run: Run, aws: LocalAws) -> None:
    nothing = run("backfill")
    assert (nothing.exit_code, "give --from" in nothing.stderr) == (2, True)
    no_instance = run("backfill", "--from", "2026-01-01", *BUCKET)
    assert (no_instance.exit_code, "give --instance-arn" in no_instance.stderr) == (2, True)


def test_archived_by_the_function_it_says_cli(
    backfill: Run, instance: LocalAws, queues: Queues, archive: Archive, tmp_path: Path
) -> None:
    one = call()
    instance.place(one, ended_s_ago=3600)
    assert backfill().exit_code == 0
    (event,) = queues.queued()
    assert event["detail"]["contactId"] == CONTACT_ID != OTHER_CONTACT_ID
    with Function(ARCHIVE_HANDLER, environment(instance), tmp_path / "log") as function:
        answer = function.invoke(build_sqs_event(event, one.end_ms + 3_600_000))
    assert answer["batchItemFailures"] == []
    (key,) = [
        entry["Key"]
        for entry in archive.s3.list_objects_v2(Bucket=RESOURCES.bucket)["Contents"]
        if entry["Key"].startswith("manifests/")
    ]
    body = archive.s3.get_object(Bucket=RESOURCES.bucket, Key=key)["Body"].read()
    assert json.loads(body)["trigger"] == "cli"


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.mark.parametrize(("per_s", "things"), [(0.5, 1), (5, 1), (5, 10), (100, 10)])
def test_pace_is_kept(per_s: float, things: int) -> None:
    clock = Clock()
    pace = Pace(per_s, clock, clock.sleep)

    def moments() -> Iterator[float]:
        for _ in range(20):
            pace.wait(things)
            yield clock.now_s

    apart = [after - before for before, after in pairwise(moments())]
    assert apart == pytest.approx([things / per_s] * 19)


def test_pace_does_not_make_up_for_a_pause() -> None:
    clock = Clock()
    pace = Pace(1, clock, clock.sleep)
    pace.wait()
    clock.sleep(60)
    pace.wait()
    at_s = clock.now_s
    pace.wait()
    assert clock.now_s == at_s + 1


def test_interval_is_counted_from_the_attempt_that_was_accepted() -> None:
    """A refused search is retried inside the call: the next one waits for a whole interval."""
    clock = Clock()
    pace = Pace(0.5, clock, clock.sleep)
    pace.wait()
    clock.sleep(1.7)  # AWS accepted the second attempt.
    pace.rest()
    accepted_s = clock.now_s
    pace.wait()
    assert clock.now_s == pytest.approx(accepted_s + 2)


def test_days_cover_the_stretch() -> None:
    at = datetime(2026, 1, 1, 9, tzinfo=UTC)
    from_ms = round(at.timestamp() * 1000)
    to_ms = round((at + timedelta(days=60, hours=5)).timestamp() * 1000)
    days = list(split_days(from_ms, to_ms))
    assert (days[0][0], days[-1][1]) == (from_ms, to_ms)
    assert all(before[1] == after[0] for before, after in pairwise(days))
    assert all(0 < end - start <= DAY_MS for start, end in days)
