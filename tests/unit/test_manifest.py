"""The manifest: the contract's keys, and what a later run reads of it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import pytest

from call_archive import __version__
from call_archive.errors import StorageFaultError
from call_archive.job import ArchiveJob, Trigger
from call_archive.media.pcm import Direction, FragmentAudio, Span
from call_archive.reasons import Code, Reason
from call_archive.recording.manifest import (
    FragmentCounts,
    PublishedManifest,
    RecordedCall,
    StoredRecording,
    build_manifest,
    decode_manifest,
)
from call_archive.recording.timeline import Timeline

START_MS = 1_641_312_355_374  # 2022-01-04T16:05:55.374Z
NUMBER = 91343852333181452199722691208580038832309429352
JOB = ArchiveJob(
    contact_id="c-1",
    initial_contact_id="c-0",
    instance_arn="arn:aws:connect:eu-west-2:123456789012:instance/i-1",
    stream_arn="arn:aws:kinesisvideo:eu-west-2:123456789012:stream/s/1640168106910",
    start_fragment_number=NUMBER,
    start_timestamp_ms=START_MS,
    stop_fragment_number=None,
    stop_timestamp_ms=None,
    requested_at_ms=START_MS + 20_000,
)
RECORDING = StoredRecording("s3://my-calls/recordings/x.wav", "etag", 230_444, "ab" * 32)


def recorded(
    *, reasons: Sequence[Reason] = (), accepted: int = 15, samples: int = 115_207
) -> RecordedCall:
    timeline = Timeline((Direction.FROM_CUSTOMER,))
    for start_ms in (START_MS, START_MS + 64 + 52, START_MS + 148):
        spans = {Direction.FROM_CUSTOMER: [Span(start_ms * 1_000_000, bytes(1024))]}
        audio = FragmentAudio(start_ms * 1_000_000, (start_ms + 64) * 1_000_000, spans)
        timeline.place(audio, None)
    return RecordedCall(
        tracks=(Direction.FROM_CUSTOMER, Direction.TO_CUSTOMER),
        started_at_ms=START_MS,
        samples=samples,
        fragments=FragmentCounts(
            listed=18,
            received=17,
            accepted=accepted,
            foreign=1,
            untagged=1,
            missing=(NUMBER,),
            last=NUMBER + 17,
            contradictory=1,
        ),
        gaps=timeline.gaps,
        overlaps=timeline.overlaps,
        clock_jumps=2,
        reasons=reasons,
        may_improve=False,
    )


def manifest_of(call: RecordedCall) -> dict[str, object]:
    return build_manifest(
        JOB, call, RECORDING, trigger=Trigger.CONTACT_RECORD, archived_at_ms=START_MS + 30_000
    )


def test_every_key_of_the_contract() -> None:
    manifest = json.loads(
        json.dumps(manifest_of(recorded(reasons=[Reason(Code.NOT_DELIVERED, "y")])))
    )
    assert manifest == {
        "version": 1,
        "contactId": "c-1",
        "initialContactId": "c-0",
        "instanceArn": "arn:aws:connect:eu-west-2:123456789012:instance/i-1",
        "streamArn": "arn:aws:kinesisvideo:eu-west-2:123456789012:stream/s/1640168106910",
        "recordingUri": "s3://my-calls/recordings/x.wav",
        "tracks": ["AUDIO_FROM_CUSTOMER", "AUDIO_TO_CUSTOMER"],
        "channels": 2,
        "sampleRateHz": 8000,
        "durationMs": 14_400,
        "startedAt": "2022-01-04T16:05:55.374Z",
        "endedAt": "2022-01-04T16:06:09.774Z",
        "bytes": 230_444,
        "sha256": "ab" * 32,
        "complete": False,
        "reasons": ["NOT_DELIVERED: y"],
        "fragments": {
            "listed": 18,
            "received": 17,
            "accepted": 15,
            "foreign": 1,
            "contradictory": 1,
            "untagged": 1,
            "missing": [str(NUMBER)],
            "last": str(NUMBER + 17),
        },
        "gaps": [{"atMs": 64, "lengthMs": 52, "track": "AUDIO_FROM_CUSTOMER"}],
        "overlaps": [{"atMs": 180, "lengthMs": 32, "track": "AUDIO_FROM_CUSTOMER"}],
        "clockJumps": 2,
        "software": f"call-archive {__version__}",
        "rangeEnd": "2022-01-04T16:06:15.374Z",
        "archivedAt": "2022-01-04T16:06:25.374Z",
        "trigger": "contactRecord",
    }


def test_without_reasons_it_is_complete() -> None:
    assert manifest_of(recorded())["complete"] is True


@pytest.mark.parametrize("timestamp_ms", [0, 1, 999, 1_000, 4_102_444_799_999])
def test_times_always_have_milliseconds_and_a_zone(timestamp_ms: int) -> None:
    manifest = build_manifest(
        JOB, recorded(), RECORDING, trigger=Trigger.FLOW, archived_at_ms=timestamp_ms
    )
    archived_at = str(manifest["archivedAt"])
    assert archived_at.endswith("Z")
    assert len(archived_at) == len("2022-01-04T16:05:55.374Z")
    assert round(datetime.fromisoformat(archived_at).timestamp() * 1000) == timestamp_ms


@pytest.mark.parametrize("reasons", [(), (Reason(Code.NOT_DELIVERED, "y"),)])
def test_a_later_run_reads_what_it_needs(reasons: Sequence[Reason]) -> None:
    document = json.dumps(manifest_of(recorded(reasons=reasons))).encode()
    assert decode_manifest(document, etag="m", recording_etag="r") == PublishedManifest(
        is_complete=not reasons,
        accepted=15,
        last=NUMBER + 17,
        duration_ms=14_400,
        etag="m",
        recording_etag="r",
        range_end_ms=START_MS + 20_000,
    )


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"{}",
        b'{"complete": true}',
        b'{"complete": true, "fragments": null, "durationMs": 1}',
        b'{"complete": true, "fragments": {"accepted": "x"}, "durationMs": 1}',
        b'{"complete": true, "fragments": {"accepted": 1, "last": "1"}, "durationMs": Infinity}',
        b'{"complete": true, "fragments": {"accepted": NaN, "last": "1"}, "durationMs": 1}',
        b"[" * 200_000,
        b"\xff\xfe",
    ],
)
def test_what_is_no_manifest_is_refused(document: bytes) -> None:
    with pytest.raises(StorageFaultError) as caught:
        decode_manifest(document, etag="m", recording_etag="r")
    assert not caught.value.retryable


@pytest.mark.parametrize("value", ["yes", 1, "true", None])
def test_only_true_is_complete(value: object) -> None:
    manifest = manifest_of(recorded()) | {"complete": value}
    assert not published_of(manifest).is_complete


PARTIAL = (Reason(Code.NOT_DELIVERED, "x"),)


def published_of(manifest: dict[str, object]) -> PublishedManifest:
    return decode_manifest(json.dumps(manifest).encode(), etag="m", recording_etag="r")


@pytest.mark.parametrize(
    ("is_complete", "accepted", "duration_ms", "call", "replaced"),
    [
        (True, 15, 14_400, recorded(), False),
        (True, 16, 1, recorded(), False),
        (True, 14, 99_000, recorded(), True),
        (True, 1, 1, recorded(reasons=PARTIAL), False),
        (False, 99, 99_000, recorded(), True),
        (False, 14, 99_000, recorded(reasons=PARTIAL), True),
        (False, 15, 14_400, recorded(reasons=PARTIAL), False),
        (False, 15, 14_399, recorded(reasons=PARTIAL), True),
        (False, 16, 1, recorded(reasons=PARTIAL), False),
    ],
)
def test_complete_beats_partial_and_more_beats_less(
    is_complete: bool, accepted: int, duration_ms: int, call: RecordedCall, replaced: bool
) -> None:
    published = PublishedManifest(
        is_complete=is_complete,
        accepted=accepted,
        last=NUMBER,
        duration_ms=duration_ms,
        etag="m",
        recording_etag="r",
    )
    assert published.is_worse_than(call) is replaced


@pytest.mark.parametrize(
    ("missing", "accepted", "replaced"),
    [
        ((NUMBER + 99,), 15, True),
        ((NUMBER + 99,), 16, False),
        ((NUMBER - 1,), 15, False),
        ((), 15, False),
    ],
)
def test_a_claim_to_be_complete_falls_with_a_later_fragment_that_is_missing(
    missing: tuple[int, ...], accepted: int, replaced: bool
) -> None:
    call = recorded(reasons=PARTIAL)
    call = replace(call, fragments=replace(call.fragments, missing=missing))
    published = PublishedManifest(
        is_complete=True,
        accepted=accepted,
        last=NUMBER,
        duration_ms=14_400,
        etag="m",
        recording_etag="r",
    )
    assert published.is_worse_than(call) is replaced


@pytest.mark.parametrize(
    ("stop", "reasons", "covered"),
    [
        (None, (), True),
        (NUMBER + 17, (), True),
        (NUMBER + 16, (), True),
        (NUMBER + 18, (), False),
        (None, PARTIAL, False),
        (NUMBER + 17, PARTIAL, False),
    ],
)
def test_a_job_with_a_later_stop_is_not_covered(
    stop: int | None, reasons: Sequence[Reason], covered: bool
) -> None:
    """The first trigger may have come before the call was over."""
    published = published_of(manifest_of(recorded(reasons=reasons)))
    assert published.covers(replace(JOB, stop_fragment_number=stop)) is covered


@pytest.mark.parametrize(
    ("range_end_ms", "requested_at_ms", "stop", "covered"),
    [
        (START_MS + 5_000, START_MS + 5_000, None, True),
        (START_MS + 5_000, START_MS + 9_999, None, True),
        (START_MS + 5_000, START_MS + 60_000, None, False),
        (None, START_MS + 60_000, None, True),
        (START_MS + 5_000, START_MS + 60_000, NUMBER + 3, True),
        (START_MS + 5_000, START_MS + 60_000, NUMBER + 4, False),
    ],
)
def test_job_with_a_later_end_is_not_done_with(
    range_end_ms: int | None, requested_at_ms: int, stop: int | None, covered: bool
) -> None:
    published = PublishedManifest(
        is_complete=True,
        accepted=4,
        last=NUMBER + 3,
        duration_ms=4_000,
        etag="",
        recording_etag="",
        range_end_ms=range_end_ms,
    )
    job = replace(JOB, requested_at_ms=requested_at_ms, stop_fragment_number=stop)
    assert published.covers(job) is covered


def test_range_end_is_read_back() -> None:
    document = json.dumps(manifest_of(recorded())).encode()
    assert decode_manifest(document, etag="", recording_etag="").range_end_ms == START_MS + 20_000
