"""Messages and circumstances that no archive comes of, and what is left of them."""

from tests.integration.journey import (
    RESOURCES,
    START_MS,
    Journey,
    call,
    caller,
)


def test_malformed_messages_go_to_the_failed_jobs_queue(mono: Journey) -> None:
    assert mono.run({"kind": "ArchiveJob", "version": 2})
    assert mono.run({"something": "else"})
    good = call().archive_job()
    assert mono.run({**good, "contactId": "../../etc/passwd"})
    assert mono.run({**good, "streamArn": "arn:aws:kinesisvideo::eu-west-2:x"})
    assert mono.run({**good, "instanceArn": good["instanceArn"].replace("5f3b", "0000")})
    assert sorted(failed["code"] for failed in mono.failed_jobs()) == [
        "FOREIGN_INSTANCE",
        "MALFORMED_CONTACT_ID",
        "MALFORMED_STREAM_ARN",
        "UNKNOWN_JOB",
        "UNKNOWN_MESSAGE",
    ]


def test_missing_bucket_is_said_and_leaves_no_upload(mono: Journey) -> None:
    one = mono.place(call())
    mono.s3.delete_bucket(Bucket=RESOURCES.bucket)
    assert mono.archive(one)
    assert [failed["code"] for failed in mono.failed_jobs()] == ["S3_NoSuchBucket"]


def test_near_timeout_keeps_nothing_half_published(mono: Journey) -> None:
    one = mono.place(call())
    mono.function.timeout_s, before = 50, mono.function.timeout_s
    try:
        assert not mono.archive(one)
    finally:
        mono.function.timeout_s = before
    assert mono.keys() == []
    assert mono.uploads() == []
    assert mono.archive(one, receives=2)
    assert mono.pcm() == caller()


def test_job_of_another_start_is_another_recording(mono: Journey) -> None:
    first = mono.place(call())
    again = call(start_ms=START_MS + 60_000, first_sequence=9001)
    mono.aws.place(first, again)
    assert mono.archive(first)
    assert mono.archive(again)
    assert len(mono.keys()) == 4
