"""The manifest: the contract's keys, what a later run reads, older and newer versions."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pytest

from call_archive import __version__
from call_archive.errors import StorageFaultError
from call_archive.job import ArchiveJob, Trigger
from call_archive.limits import MAX_MANIFEST_BYTES
from call_archive.media.pcm import Direction, FragmentAudio, Span
from call_archive.reasons import Code, Reason
from call_archive.recording.knowledge import Held, Knowledge, Run
from call_archive.recording.manifest import (
    FragmentCounts,
    Manifest,
    RecordedCall,
    StoredRecording,
    build_manifest,
    decode_manifest,
    encode_manifest,
    read_manifest,
)
from call_archive.recording.timeline import Timeline
from tests.support.arns import INSTANCE_ARN, STREAM_ARN
from tests.support.manifests import START, older_manifest

START_MS = 1_641_312_355_374  # 2022-01-04T16:05:55.374Z
NUMBER = 91343852333181452199722691208580038832309429352
JOB = ArchiveJob(
    contact_id="c-1",
    initial_contact_id="c-0",
    instance_arn=INSTANCE_ARN,
    stream_arn=STREAM_ARN,
    start_fragment_number=NUMBER,
    start_timestamp_ms=START_MS,
    stop_fragment_number=None,
    stop_timestamp_ms=None,
    requested_at_ms=START_MS + 20_000,
)
RECORDING = StoredRecording("s3://my-calls/recordings/x.wav", "etag", 230_444, "ab" * 32)
KNOWN = Knowledge(frozenset((NUMBER + 17, NUMBER + 9)), START_MS + 20_000)


def recorded(*, reasons: Sequence[Reason] = ()) -> RecordedCall:
    timeline = Timeline((Direction.FROM_CUSTOMER,))
    for after_ms, pcm in ((0, b"\0"), (64 + 52, b"\0"), (148, b"\0"), (162, b"\1")):
        start_ms = START_MS + after_ms
        spans = {Direction.FROM_CUSTOMER: [Span(start_ms * 1_000_000, pcm * 1024)]}
        audio = FragmentAudio(start_ms * 1_000_000, (start_ms + 64) * 1_000_000, spans)
        timeline.place(audio, None)
    return RecordedCall(
        tracks=(Direction.FROM_CUSTOMER, Direction.TO_CUSTOMER),
        started_at_ms=START_MS,
        samples=115_207,
        fragments=FragmentCounts(
            listed=18,
            received=17,
            accepted=15,
            foreign=1,
            untagged=1,
            missing=(NUMBER,),
            last=NUMBER + 17,
            contradictory=1,
        ),
        gaps=timeline.gaps,
        overlaps=timeline.overlaps,
        clock_jumps=2,
        clock_deviations=timeline.clock_deviations,
        reasons=reasons,
        may_improve=False,
        held=Held((Run(NUMBER + 1, NUMBER + 9), Run(NUMBER + 12, NUMBER + 17)), 15),
    )


def manifest_of(
    call: RecordedCall, *, known: Knowledge = KNOWN, archived_at_ms: int = START_MS + 30_000
) -> Manifest:
    return build_manifest(
        JOB,
        call,
        RECORDING,
        known=known,
        range_end_ms=START_MS + 20_000,
        trigger=Trigger.CONTACT_RECORD,
        archived_at_ms=archived_at_ms,
    )


def test_every_key_of_the_contract() -> None:
    manifest = manifest_of(recorded(reasons=[Reason(Code.GONE, "y")]))
    document = json.loads(json.dumps(encode_manifest(manifest)))
    assert document == {
        "version": 1,
        "contactId": "c-1",
        "initialContactId": "c-0",
        "instanceArn": INSTANCE_ARN,
        "streamArn": STREAM_ARN,
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
        "reasons": ["GONE: y"],
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
        "clockDeviations": {
            "count": 1,
            "totalMs": 50,
            "largestMs": 50,
            "first": [{"atMs": 212, "lengthMs": 50}],
        },
        "software": f"call-archive {__version__}",
        "rangeEnd": "2022-01-04T16:06:15.374Z",
        "archivedAt": "2022-01-04T16:06:25.374Z",
        "trigger": "contactRecord",
        "stretch": {
            "startFragmentNumber": str(NUMBER),
            "stopFragmentNumbers": [str(NUMBER + 9), str(NUMBER + 17)],
            "endsBy": "2022-01-04T16:06:15.374Z",
            "furthestFragmentNumber": "0",
        },
        "held": [
            {"first": str(NUMBER + 1), "last": str(NUMBER + 9)},
            {"first": str(NUMBER + 12), "last": str(NUMBER + 17)},
        ],
        "heldFragments": 15,
    }


def test_without_reasons_it_is_complete() -> None:
    assert manifest_of(recorded()).is_complete


@pytest.mark.parametrize("timestamp_ms", [0, 1, 999, 1_000, 4_102_444_799_999])
def test_times_always_have_milliseconds_and_a_zone(timestamp_ms: int) -> None:
    document = encode_manifest(manifest_of(recorded(), archived_at_ms=timestamp_ms))
    archived_at = str(document["archivedAt"])
    assert archived_at.endswith("Z")
    assert len(archived_at) == len("2022-01-04T16:05:55.374Z")
    assert round(datetime.fromisoformat(archived_at).timestamp() * 1000) == timestamp_ms


@pytest.mark.parametrize("known", [KNOWN, Knowledge(), Knowledge(furthest=NUMBER + 3)])
@pytest.mark.parametrize("reasons", [(), (Reason(Code.GONE, "y"),)])
def test_what_is_written_is_read_back(known: Knowledge, reasons: Sequence[Reason]) -> None:
    manifest = manifest_of(recorded(reasons=reasons), known=known)
    assert decode_manifest(json.dumps(encode_manifest(manifest)).encode()) == manifest


def test_keys_that_nobody_knows_are_kept() -> None:
    document = older_manifest(mood={"of": ["the", "caller"]})
    manifest = read_manifest(document)
    assert manifest.others == {"mood": {"of": ["the", "caller"]}}
    counts = {**document["fragments"], "contradictory": 0}
    assert encode_manifest(manifest) == {**document, "fragments": counts}


# ------------------------------------------------------------------ what is not a manifest


def refusal(document: bytes) -> StorageFaultError:
    with pytest.raises(StorageFaultError) as caught:
        decode_manifest(document)
    assert not caught.value.retryable
    return caught.value


@pytest.mark.parametrize(
    "document",
    [b"", b"{", b"[]", b"null", b'"x"', b"{}", b'{"complete": true}', b"[" * 200_000, b"\xff\xfe"],
)
def test_what_is_no_manifest_is_refused(document: bytes) -> None:
    assert refusal(document).code == Code.FOREIGN_MANIFEST


WRONG: tuple[Any, ...] = (
    None,
    "x",
    1.5,
    -1,
    True,
    [],
    {},
    [1],
    {"a": 1},
    float("nan"),
    float("inf"),
    "9" * 129,
)


@pytest.mark.parametrize("key", [key for key in older_manifest() if key != "version"])
@pytest.mark.parametrize("value", WRONG, ids=repr)
def test_a_wrong_type_is_one_clear_error(key: str, value: object) -> None:
    right = older_manifest()[key]
    alike = value == [] if isinstance(right, list) else type(value) is type(right)
    if alike and value != -1 and not (key.endswith(("At", "End")) or key == "fragments"):
        return
    if key == "rangeEnd" and value is None:
        return
    error = refusal(json.dumps(older_manifest() | {key: value}).encode())
    assert error.code == Code.FOREIGN_MANIFEST
    assert key in str(error) or key == "fragments"


@pytest.mark.parametrize("key", [key for key in older_manifest() if key != "rangeEnd"])
def test_a_missing_key_is_named(key: str) -> None:
    document = older_manifest()
    del document[key]
    assert key in str(refusal(json.dumps(document).encode()))


@pytest.mark.parametrize("key", ["listed", "received", "accepted", "foreign", "untagged", "last"])
@pytest.mark.parametrize("value", [None, "x", 1.0, -1, True, "1e9", "٣"], ids=repr)
def test_counts_are_counts(key: str, value: object) -> None:
    counts = older_manifest()["fragments"] | {key: value}
    assert key in str(refusal(json.dumps(older_manifest(fragments=counts)).encode()))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("gaps", [1]),
        ("gaps", [{"atMs": "1", "lengthMs": 2, "track": "AUDIO_FROM_CUSTOMER"}]),
        ("overlaps", [{"atMs": 1, "lengthMs": -2, "track": "AUDIO_FROM_CUSTOMER"}]),
        ("overlaps", [{"atMs": 1, "lengthMs": 2}]),
        ("overlaps", [{"atMs": 1, "lengthMs": 10**400, "track": "AUDIO_FROM_CUSTOMER"}]),
        ("durationMs", 2**63),
        ("channels", 0),
        ("channels", 3),
        ("channels", 10**30),
        ("sha256", "ab" * 31),
        ("sha256", "AB" * 32),
        ("sha256", "ab" * 32 + "\n"),
        ("startedAt", "0001-01-01T00:00:00+05:00"),
        ("endedAt", "9999-12-31T23:59:59-12:00"),
        ("archivedAt", "9999-12-31T23:59:59.999999+00:00"),
    ],
)
def test_a_value_that_no_recording_has_is_refused(key: str, value: object) -> None:
    error = refusal(json.dumps(older_manifest() | {key: value}).encode())
    assert error.code == Code.FOREIGN_MANIFEST
    assert f"its {key} is" in str(error)


def test_a_time_has_a_zone_and_a_manifest_a_size() -> None:
    document = older_manifest(startedAt="2022-01-04T16:05:55.374")
    assert "startedAt" in str(refusal(json.dumps(document).encode()))
    assert "bytes" in str(refusal(b" " * (MAX_MANIFEST_BYTES + 1)))


@pytest.mark.parametrize("version", [0, 2, 10**30])
def test_another_version_is_never_to_be_removed(version: int) -> None:
    error = refusal(json.dumps(older_manifest(version=version)).encode())
    assert error.code == Code.UNKNOWN_MANIFEST
    assert "deploy the newer version" in str(error)
    assert "never remove" in str(error)


@pytest.mark.parametrize("version", ["1", 1.0, True, None, "2"])
def test_a_version_is_a_number(version: object) -> None:
    assert refusal(json.dumps(older_manifest(version=version)).encode()).code == (
        Code.FOREIGN_MANIFEST
    )


# ------------------------------------------------------------------ older manifests


def counts_of(**changes: Any) -> dict[str, Any]:
    return {**older_manifest()["fragments"], **changes}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Knowledge(end_ms=START_MS + 20_000, furthest=START + 14)),
        ({"rangeEnd": None}, Knowledge(frozenset((START + 14,)), START_MS + 14_400)),
        (
            {"rangeEnd": None, "fragments": counts_of(missing=[str(START + 20)])},
            Knowledge(frozenset((START + 20,)), START_MS + 14_400),
        ),
        (
            {"rangeEnd": None, "fragments": counts_of(untagged=2)},
            Knowledge(end_ms=START_MS + 14_400),
        ),
    ],
)
def test_an_older_manifest_tells_as_much_as_it_allows(
    changes: dict[str, Any], expected: Knowledge
) -> None:
    assert read_manifest(older_manifest(**changes)).knowledge == expected


def test_an_older_manifest_without_a_range_end_named_a_stop() -> None:
    document = older_manifest()
    del document["rangeEnd"]
    assert read_manifest(document).knowledge.stop == START + 14


def test_an_older_recording_is_known_by_its_first_its_last_and_its_count() -> None:
    held = read_manifest(older_manifest()).held
    assert held == Held((Run(START, START + 14),), 15, is_exact=False)
    missing = read_manifest(older_manifest(fragments=counts_of(missing=[str(START)]))).held
    assert missing.first == START + 1


def test_a_start_is_read_from_the_key_and_not_from_any_name() -> None:
    assert read_manifest(older_manifest()).stretch_start == START
    assert read_manifest(older_manifest(recordingUri="file:///x.wav")).stretch_start is None


# ------------------------------------------------------------------ older code over newer manifests


@dataclass(frozen=True, slots=True)
class OlderManifest:
    """What the version before this one read of a manifest, to the letter."""

    is_complete: bool
    accepted: int
    last: int
    duration_ms: int
    range_end_ms: int | None = None

    def covers(self, job: ArchiveJob) -> bool:
        if not self.is_complete:
            return False
        if job.stop_fragment_number is not None:
            return job.stop_fragment_number <= self.last
        reached_ms = self.range_end_ms
        return reached_ms is None or job.end_bound_ms <= reached_ms + 5_000


def older_decode_manifest(document: bytes) -> OlderManifest:
    manifest = json.loads(document)
    return OlderManifest(
        is_complete=manifest["complete"] is True,
        accepted=int(manifest["fragments"]["accepted"]),
        last=int(manifest["fragments"]["last"]),
        duration_ms=int(manifest["durationMs"]),
        range_end_ms=older_milliseconds(manifest.get("rangeEnd")),
    )


def older_milliseconds(moment: str | None) -> int | None:
    if moment is None:
        return None
    return round(datetime.fromisoformat(moment).timestamp() * 1000)


def written(manifest: Manifest) -> bytes:
    return json.dumps(encode_manifest(manifest)).encode()


def test_older_code_reads_a_newer_manifest() -> None:
    assert older_decode_manifest(written(manifest_of(recorded()))) == OlderManifest(
        is_complete=True,
        accepted=15,
        last=NUMBER + 17,
        duration_ms=14_400,
        range_end_ms=START_MS + 20_000,
    )


@pytest.mark.parametrize("stop", [None, NUMBER + 17])
def test_older_code_takes_a_taken_over_stop_for_the_end(stop: int | None) -> None:
    newer = replace(manifest_of(recorded()), range_end_ms=None)
    job = replace(JOB, stop_fragment_number=stop, requested_at_ms=START_MS + 900_000)
    assert older_decode_manifest(written(newer)).covers(job)


def test_keys_of_older_manifests_are_all_still_written() -> None:
    newer: Mapping[str, object] = encode_manifest(manifest_of(recorded()))
    assert older_manifest().keys() <= newer.keys()
