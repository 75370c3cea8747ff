"""Input that looks valid and is meant to hurt: refused, or read, in bounded memory and work.

Work is counted, not timed: in lines of our modules and of ebmlite that ran. That is the same on any
machine, and a loop over each byte shows.
"""

import json
import sys
import tracemalloc
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any

import pytest

from call_archive.errors import (
    ArchiveError,
    MediaError,
    NotYetError,
    RequestError,
    StorageFaultError,
)
from call_archive.fields import decode_fragment_number, decode_timestamp_ms
from call_archive.intake.flow_event import decode_flow_event
from call_archive.intake.message import read_request
from call_archive.job import Trigger, decode_job
from call_archive.limits import MAX_CALL_MS, MAX_FRAGMENT_BYTES, MAX_HOLES, MAX_REASONS
from call_archive.media.fragments import read_fragments
from call_archive.media.likeness import decode_audio, decode_fragment
from call_archive.reasons import Code, Reason
from call_archive.recording.listing import (
    FetchedFragment,
    ListedFragment,
    MissingFragment,
    ReceivedFragment,
)
from call_archive.recording.manifest import decode_manifest
from call_archive.recording.pipeline import Conditions, FragmentSource, archive_call
from call_archive.recording.timeline import Timeline
from fuzz.journey import MemoryArchive
from local.encoder import (
    CLUSTER_ID,
    FROM_CUSTOMER,
    INFO_ID,
    SIMPLE_BLOCK_ID,
    SIMPLE_TAG_ID,
    TAG_ID,
    TAGS_ID,
    TIMECODE_ID,
    TRACK_ENTRY_ID,
    TRACKS_ID,
    VOID_ID,
    Block,
    Cluster,
    Track,
    encode_element,
    encode_fragment,
)
from tests.properties.samples import BOTH, START_MS, at_most_seconds
from tests.support.arns import INSTANCE_ARN, STREAM_ARN
from tests.support.manifests import older_manifest

HEADER = bytes.fromhex("1A45DFA38B428288") + b"matroska"
SEGMENT = bytes.fromhex("1853806701FFFFFFFFFFFFFF")
CLUSTER = CLUSTER_ID + b"\xff"
NOW = encode_element(TIMECODE_ID, START_MS.to_bytes(6))
TRACK = encode_element(TRACK_ENTRY_ID, b"\xd7\x81\x01")
TRACKS = encode_element(TRACKS_ID, TRACK)
BLOCK = encode_element(SIMPLE_BLOCK_ID, b"\x81\0\0\x80\1\1")
HUGE = b"\x01" + b"\xff" * 6 + b"\xfe"  # 2^56 - 2, the largest size that is one

MOST_STEPS = 2_000_000
"""A few seconds; a fragment as Connect sends it takes a few thousand."""

MOST_MIB = 96
"""Beside the input: a fragment of 16 MiB, its copy as it is taken out, and what it says."""


@dataclass
class Cost:
    """What a piece of work took."""

    steps: int = 0
    mib: float = 0.0


@contextmanager
def bounded() -> Iterator[Cost]:
    """Stops work that no longer has a use, and reads its memory."""
    cost = Cost()

    def count(_frame: FrameType, event: str, _arg: Any) -> Any:
        cost.steps += event == "line"
        if cost.steps > MOST_STEPS:
            raise TimeoutError("this takes too long")
        return count

    def enter(frame: FrameType, event: str, arg: Any) -> Any:
        path = frame.f_code.co_filename
        return count(frame, event, arg) if "call_archive" in path or "ebmlite" in path else None

    before = sys.gettrace()
    tracemalloc.start()
    sys.settrace(enter)
    try:
        yield cost
    finally:
        sys.settrace(before)
        cost.mib = tracemalloc.get_traced_memory()[1] / 1_048_576
        tracemalloc.stop()
    assert cost.mib < MOST_MIB


def in_reads(body: bytes, size: int = 65_536) -> Iterator[bytes]:
    return (body[at : at + size] for at in range(0, len(body), size))


def decode_all(reads: Iterator[bytes]) -> None:
    """Every stage that sees the bytes, on every fragment that comes out."""
    timeline = Timeline(BOTH)
    for fragment in read_fragments(reads):
        with suppress(ArchiveError):
            decode_fragment(fragment)
        audio = decode_audio(fragment, BOTH)
        if audio is not None:
            timeline.place(audio, None)
    assert timeline.samples <= MAX_CALL_MS * 8


def _nested(element_id: bytes, times: int) -> bytes:
    heads: list[bytes] = []
    length = 0
    for _ in range(times):
        heads.append(element_id + (length | 1 << 28).to_bytes(4))
        length += len(heads[-1])
    return b"".join(reversed(heads))


def _audio(*blocks: bytes, tracks: bytes = TRACKS, info: bytes = b"", time: bytes = NOW) -> bytes:
    return b"".join((HEADER, SEGMENT, info, tracks, CLUSTER, time, *blocks))


def _scale(scale: int) -> bytes:
    return encode_element(INFO_ID, encode_element(b"\x2a\xd7\xb1", scale.to_bytes(8)))


def _at(timecode: int) -> bytes:
    return encode_element(TIMECODE_ID, timecode.to_bytes(8))


def _block(track: int, offset: int, pcm: bytes = b"\1" * 64) -> bytes:
    head = bytes((0x80 | track,)) + offset.to_bytes(2, signed=True) + b"\x80"
    return encode_element(SIMPLE_BLOCK_ID, head + pcm)


LATE = _block(1, 32_767) + _block(2, -32_768) + _block(1, 0)
TWO_TRACKS = encode_element(
    TRACKS_ID,
    b"".join(
        encode_element(
            TRACK_ENTRY_ID,
            encode_element(b"\xd7", bytes((number,))) + encode_element(b"\x53\x6e", name),
        )
        for number, name in ((1, b"AUDIO_FROM_CUSTOMER"), (2, b"AUDIO_TO_CUSTOMER"))
    ),
)

BODIES: dict[str, Callable[[], bytes]] = {
    "an_element_of_2_to_the_56": lambda: HEADER + SEGMENT + VOID_ID + HUGE,
    "a_block_of_2_to_the_56": lambda: _audio(SIMPLE_BLOCK_ID + HUGE),
    "a_segment_of_2_to_the_56": lambda: HEADER + SEGMENT[:4] + HUGE,
    "a_segment_in_itself_10000_times": lambda: HEADER + SEGMENT * 10_000,
    "a_cluster_in_itself_10000_times": lambda: HEADER + SEGMENT + CLUSTER * 9_990,
    "a_tag_in_itself_10000_times": lambda: (
        HEADER + SEGMENT + encode_element(TAGS_ID, _nested(SIMPLE_TAG_ID, 10_000))
    ),
    "a_million_voids": lambda: HEADER + SEGMENT + b"\xec\x80" * 1_000_000,
    "a_million_empty_blocks": lambda: _audio(b"\xa3\x80" * 1_000_000),
    "a_million_blocks_without_a_sample": lambda: _audio(_block(1, 0, b"") * 1_000_000),
    "a_million_blocks_of_a_sample": lambda: _audio(BLOCK * 1_000_000),
    "a_million_blocks_of_two_sizes": lambda: _audio((BLOCK + _block(1, 0, b"")) * 500_000),
    "a_million_empty_tags": lambda: (
        HEADER
        + SEGMENT
        + encode_element(TAGS_ID, encode_element(TAG_ID, b"\x67\xc8\x80" * 1_000_000))
    ),
    "a_million_tags_elements": lambda: HEADER + SEGMENT + encode_element(TAGS_ID, b"") * 1_000_000,
    "a_million_voids_in_tags": lambda: (
        HEADER + SEGMENT + encode_element(TAGS_ID, b"\xec\x80" * 1_000_000)
    ),
    "as_many_voids_in_tags_as_may_be": lambda: (
        HEADER + SEGMENT + encode_element(TAGS_ID, b"\xec\x80" * 32_000)
    ),
    "a_million_voids_in_a_block_group": lambda: _audio(
        encode_element(b"\xa0", b"\xec\x80" * 1_000_000 + b"\xa1" + BLOCK[1:])
    ),
    "a_hundred_thousand_tracks": lambda: _audio(
        BLOCK, tracks=encode_element(TRACKS_ID, TRACK * 100_000)
    ),
    "as_many_tracks_as_may_be": lambda: _audio(
        BLOCK, tracks=encode_element(TRACKS_ID, TRACK * 9_000)
    ),
    "a_time_at_the_end_of_int64": lambda: _audio(LATE, tracks=TWO_TRACKS, time=_at(2**63 - 1)),
    "a_time_at_the_end_of_uint64": lambda: _audio(LATE, tracks=TWO_TRACKS, time=_at(2**64 - 1)),
    "a_time_of_16_mb": lambda: _audio(
        BLOCK, time=encode_element(TIMECODE_ID, b"\xff" * 16_000_000)
    ),
    "a_scale_of_0": lambda: _audio(LATE, tracks=TWO_TRACKS, info=_scale(0)),
    "a_scale_of_a_nanosecond": lambda: _audio(LATE, tracks=TWO_TRACKS, info=_scale(1)),
    "a_scale_of_584_years": lambda: _audio(LATE, tracks=TWO_TRACKS, info=_scale(2**64 - 1)),
    "a_scale_of_an_hour": lambda: _audio(LATE, tracks=TWO_TRACKS, info=_scale(36 * 10**11)) * 3,
}


@pytest.mark.parametrize("name", BODIES)
def test_a_hostile_body_takes_bounded_work_and_memory(name: str) -> None:
    body = BODIES[name]()
    with bounded(), suppress(ArchiveError):
        decode_all(in_reads(body))


def test_100_mb_of_one_fragment_are_refused_as_they_come() -> None:
    """The reader never holds more than a fragment may be, and a read."""
    block = encode_element(SIMPLE_BLOCK_ID, bytes(65_000))
    taken: list[int] = []

    def arrive() -> Iterator[bytes]:
        for read in (HEADER + SEGMENT + CLUSTER, *[block] * 1_600):
            taken.append(len(read))
            yield read

    with bounded(), pytest.raises(MediaError, match="16777216 bytes"):
        list(read_fragments(arrive()))
    assert sum(taken) <= MAX_FRAGMENT_BYTES + len(block)


def test_a_block_far_behind_its_fragment_makes_no_silence_in_either_track() -> None:
    """One second of audio, whose last block claims to be 13 days later."""
    body = _audio(
        _block(1, 0) + _block(2, 0) + _block(1, 32_767), tracks=TWO_TRACKS, info=_scale(36 * 10**9)
    )
    (fragment,) = read_fragments([body])
    audio = decode_audio(fragment, BOTH)
    assert audio is not None
    timeline = Timeline(BOTH)
    timeline.place(audio, None)
    timeline.finish()
    assert timeline.samples == 64


# ------------------------------------------------------------------------------------------- calls


class AllMissing:
    """A stream of 100,000 listed fragments, none delivered, each for its own reason."""

    def list_fragments(self, from_ms: int, to_ms: int) -> Iterator[ListedFragment]:
        del from_ms, to_ms
        return (ListedFragment(100 + at, START_MS, 1000, 1000) for at in range(100_000))

    def fetch(self, listed: Iterable[ListedFragment]) -> Generator[FetchedFragment]:
        for fragment in listed:
            reason = Reason(Code.NOT_EBML, f"garbage at byte {fragment.number} of the body")
            yield MissingFragment(fragment.number, reason, may_improve=False)


class EveryOther:
    """A stream of fragments of 1 ms, each 100 ms after the one before: as many gaps."""

    count = MAX_HOLES + 3

    def list_fragments(self, from_ms: int, to_ms: int) -> Iterator[ListedFragment]:
        del from_ms, to_ms
        return (ListedFragment(100 + at, START_MS + at * 100, 1, 100) for at in range(self.count))

    def fetch(self, listed: Iterable[ListedFragment]) -> Generator[FetchedFragment]:
        for fragment in listed:
            document = encode_fragment(
                number=fragment.number,
                server_timestamp_ms=fragment.server_timestamp_ms,
                producer_timestamp_ms=fragment.server_timestamp_ms,
                tracks=(Track(1, FROM_CUSTOMER),),
                clusters=(Cluster(fragment.server_timestamp_ms, (Block(1, 0, b"\1" * 16),)),),
                contact_tags={"ContactId": "c-1"},
            )
            for read in read_fragments([document]):
                yield ReceivedFragment(decode_fragment(read))


def archive(source: FragmentSource) -> MemoryArchive:
    archive = MemoryArchive()
    conditions = Conditions(
        tracks=BOTH[:1],
        trigger=Trigger.FLOW,
        accept_partial=True,
        now_ms=lambda: START_MS + 7_200_000,
        check_time=lambda: None,
    )
    job = decode_job({**JOB, "requestedAt": START_MS + 3_600_000})
    archive_call(job, source, archive, conditions)
    return archive


def test_each_of_many_missing_fragments_costs_the_same() -> None:
    """A minute is a hundred times what it takes; comparing each with each takes several."""
    with at_most_seconds(60), pytest.raises(MediaError) as caught:
        archive(AllMissing())
    assert str(caught.value.reason).count("NOT_EBML") == MAX_REASONS


def test_a_manifest_says_that_it_does_not_list_every_gap() -> None:
    manifest = archive(EveryOther()).manifest
    assert manifest is not None
    assert manifest["complete"] is False
    assert manifest["reasons"] == [
        "TOO_MANY_HOLES: the manifest lists 10000 gaps and overlaps at most, and not 2 more"
    ]
    gaps = manifest["gaps"]
    assert isinstance(gaps, list)
    assert len(gaps) == MAX_HOLES


# ------------------------------------------------------------------------------------------- JSON

JOB: dict[str, Any] = {
    "kind": "ArchiveJob",
    "version": 1,
    "contactId": "c-1",
    "instanceArn": INSTANCE_ARN,
    "streamArn": STREAM_ARN,
    "startFragmentNumber": "100",
    "startTimestamp": START_MS,
    "requestedAt": START_MS + 1000,
}
RECORD: dict[str, Any] = {
    "ContactId": "c-1",
    "InstanceARN": JOB["instanceArn"],
    "DisconnectTimestamp": "2026-01-01T09:01:00Z",
    "Recordings": [
        {
            "StorageType": "KINESIS_VIDEO_STREAM",
            "Location": JOB["streamArn"],
            "FragmentStartNumber": "100",
            "StartTimestamp": "2026-01-01T09:00:00Z",
        }
    ],
}
EVENT: dict[str, Any] = {
    "detail-type": "Amazon Connect Contact Event",
    "detail": {
        "eventType": "DISCONNECTED",
        "channel": "VOICE",
        "contactId": "c-1",
        "instanceArn": JOB["instanceArn"],
        "disconnectTimestamp": "2026-01-01T09:01:00Z",
    },
}
FLOW: dict[str, Any] = {
    "Details": {
        "ContactData": {
            "ContactId": "c-1",
            "InstanceARN": JOB["instanceArn"],
            "MediaStreams": {
                "Customer": {
                    "Audio": {
                        "StreamARN": JOB["streamArn"],
                        "StartFragmentNumber": "100",
                        "StartTimestamp": str(START_MS),
                    }
                }
            },
        },
        "Parameters": {"archive": "now"},
    }
}

ODD_TEXTS = {
    "nested_100000_deep": "[" * 100_000 + "]" * 100_000,
    "objects_100000_deep": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "as_deep_as_json_reads": "[" * 900 + "]" * 900,
    "an_integer_of_a_million_digits": "9" * 1_000_000,
    "an_integer_of_4300_digits": "9" * 4300,
    "digits_in_a_string": json.dumps("9" * 1_000_000),
    "nan": "NaN",
    "infinity": "-Infinity",
    "beyond_a_float": "1e999",
    "a_lone_surrogate": r'"\ud800"',
    "a_nul": r'"c\u0000"',
    "digits_of_another_script": '"١٢٣"',
    "superscript_digits": '"²³"',
    "a_slash": '"../../x"',
    "a_newline": r'"c-1\n"',
    "the_first_moment_there_is": '"0001-01-01T00:00:00+14:00"',
    "the_last_moment_there_is": '"9999-12-31T23:59:59.999999-14:00"',
    "a_week_date": '"2026-W01-1"',
    "nothing": "null",
    "no": "false",
}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every value in the message, each of which may be replaced."""
    children = value.items() if isinstance(value, dict) else enumerate(value)
    for key, child in children:
        yield (*path, key)
        if isinstance(child, dict | list):
            yield from places(child, (*path, key))


def with_odd(message: dict[str, Any], path: tuple[Any, ...], odd: str) -> str:
    """The message as JSON, with the text in that place."""
    copy = json.loads(json.dumps(message))
    parent = copy
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = "@here@"
    return json.dumps(copy).replace('"@here@"', odd)


def take(body: str, contact: dict[str, Any]) -> None:
    read_request(
        body,
        lambda _instance, _contact: contact,
        lambda _instance: None,
        now_ms=START_MS + 3_600_000,
        sent_ms=START_MS + 3_600_000,
        accept_partial=True,
    )


@pytest.mark.parametrize("odd", ODD_TEXTS)
@pytest.mark.parametrize("message", [JOB, RECORD, EVENT], ids=["job", "record", "event"])
def test_a_message_with_something_odd_anywhere(message: dict[str, Any], odd: str) -> None:
    for path in places(message):
        body = with_odd(message, path, ODD_TEXTS[odd])
        for contact in ({}, RECORD):
            with bounded(), suppress(RequestError, NotYetError):
                take(body, contact)


@pytest.mark.parametrize("odd", ODD_TEXTS)
def test_a_flow_event_with_something_odd_anywhere(odd: str) -> None:
    for path in places(FLOW):
        try:
            event = json.loads(with_odd(FLOW, path, ODD_TEXTS[odd]))
        except (ValueError, RecursionError):
            continue  # Lambda does not deliver it
        with bounded(), suppress(RequestError):
            decode_flow_event(event)


@pytest.mark.parametrize("odd", ODD_TEXTS)
def test_a_manifest_with_something_odd_anywhere(odd: str) -> None:
    manifest = older_manifest()
    for path in places(manifest):
        document = with_odd(manifest, path, ODD_TEXTS[odd]).encode()
        with bounded(), suppress(StorageFaultError):
            decode_manifest(document)


def test_the_last_of_two_equal_keys_counts_and_is_checked() -> None:
    body = json.dumps(JOB)[:-1] + ', "contactId": "../c-2"}'
    with pytest.raises(RequestError, match="ContactId"):
        take(body, {})


@pytest.mark.parametrize("digits", ["9" * 1_000_000, "0" * 1_000_000 + "1", "१" * 47, "-1", "1_0"])
def test_a_fragment_number_that_is_none(digits: str) -> None:
    with bounded(), pytest.raises(RequestError):
        decode_fragment_number(digits)


@pytest.mark.parametrize("time", [10**400, -(10**400), True, float("nan"), "1e12", "²" * 13])
def test_a_time_that_is_none(time: object) -> None:
    with bounded(), pytest.raises(RequestError):
        decode_timestamp_ms(time)
