"""Two triggers that name two days of one stretch, because it starts at midnight."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import pytest

from call_archive.job import ArchiveJob, decode_job
from call_archive.keys import across_midnight, manifest_key, recording_key
from call_archive.media.pcm import Direction
from call_archive.worker import Done, Duplicate, Message, Terms, work
from tests.support.bucket import MemoryArchive
from tests.support.stretch import ACCOUNT, Kind, Media, Stream, body_of, stretch

MIDNIGHT_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
JOB = decode_job(json.loads(body_of(Kind.STOP_NUMBER, Media.WHOLE)))


def starting_at(start_ms: int) -> ArchiveJob:
    return replace(JOB, start_timestamp_ms=start_ms)


@pytest.mark.parametrize(
    ("start_ms", "other"),
    [
        (MIDNIGHT_MS - 2_001, None),
        (MIDNIGHT_MS - 2_000, "year=2026/month=01/day=01"),
        (MIDNIGHT_MS - 1, "year=2026/month=01/day=01"),
        (MIDNIGHT_MS, "year=2025/month=12/day=31"),
        (MIDNIGHT_MS + 1_999, "year=2025/month=12/day=31"),
        (MIDNIGHT_MS + 2_000, None),
    ],
)
def test_the_other_day_is_within_two_seconds(start_ms: int, other: str | None) -> None:
    job = across_midnight(starting_at(start_ms))
    assert (job is None) is (other is None)
    if job is not None and other is not None:
        assert recording_key("p/", job).startswith(f"p/recordings/{other}/")
        assert manifest_key("p/", job).startswith(f"p/manifests/{other}/")


@dataclass
class Days:
    """Archives by key; the stretch of `tests.support.stretch`, told of as if at midnight."""

    archives: dict[str, MemoryArchive] = field(default_factory=dict)

    def describe_contact(self, instance_arn: str, contact_id: str) -> Mapping[str, object]:
        raise NotImplementedError

    def open_source(self, job: ArchiveJob, check_time: Callable[[], None]) -> Stream:
        return Stream(Media.WHOLE)

    def open_archive(self, job: ArchiveJob, *, is_held: bool = False) -> MemoryArchive:
        return self.archives.setdefault(recording_key("", job), MemoryArchive())

    def is_erased(self, job: ArchiveJob) -> bool:
        return False

    def is_held(self, job: ArchiveJob) -> bool:
        return False

    def days(self) -> list[str]:
        return [key for key, archive in sorted(self.archives.items()) if archive.bucket.wav]


def deliver(days: Days, body: str, start: str) -> object:
    """A message whose times are moved, so that the stretch starts as it says."""
    call = stretch(Media.WHOLE)
    message = json.loads(body)
    if message.get("kind") == "ArchiveJob":
        message["startTimestamp"] = int(start)
    else:
        kvs = [r for r in message["Recordings"] if r["StorageType"] == "KINESIS_VIDEO_STREAM"]
        kvs[0]["StartTimestamp"] = start
    return work(
        Message(body=json.dumps(message)),
        days,
        Terms(tracks=(Direction.FROM_CUSTOMER,), account_id=ACCOUNT),
        now_ms=lambda: call.stop_timestamp_ms + 3_600_000,
        check_time=lambda: None,
    )


BEFORE, AFTER = str(MIDNIGHT_MS - 300), "2026-01-01T00:00:00Z"


def test_a_record_goes_on_where_the_flow_began() -> None:
    days = Days()
    flow = body_of(Kind.STOP_NUMBER, Media.WHOLE)
    assert isinstance(deliver(days, flow, BEFORE), Done)
    (began,) = days.days()
    assert "day=31" in began
    outcome = deliver(days, body_of(Kind.RECORD, Media.WHOLE), AFTER)
    assert isinstance(outcome, Done)
    assert any(isinstance(fact, Duplicate) for fact in outcome.facts)
    assert days.days() == [began]


def test_what_the_flow_was_told_stays_right() -> None:
    days = Days()
    deliver(days, body_of(Kind.RECORD, Media.WHOLE), AFTER)
    assert ["day=01" in day for day in days.days()] == [True]
    deliver(days, body_of(Kind.STOP_NUMBER, Media.WHOLE), BEFORE)
    told = recording_key("", starting_at(int(BEFORE)))
    assert told in days.days()
