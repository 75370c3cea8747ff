"""Every limit, at exactly what it allows and one above.

What is one above is refused by an error that says the limit, or left out where that is all it is.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from call_archive import limits
from call_archive.aws.queues import _attribute
from call_archive.config import read_flow_settings
from call_archive.errors import ArchiveError, RequestError
from call_archive.fields import (
    decode_contact_id,
    decode_fragment_number,
    decode_instance_arn,
    decode_stream_arn,
    decode_timestamp_ms,
)
from call_archive.intake.message import read_request
from call_archive.job import ArchiveJob, Trigger, build_job_message, check_job
from call_archive.keys import manifest_key, recording_key
from call_archive.media.fragments import Fragment, read_fragments
from call_archive.media.likeness import MediaFragment, decode_audio, decode_fragment
from call_archive.media.pcm import Direction, FragmentAudio, Piece, Span
from call_archive.reasons import Code, Reason
from call_archive.recording.clock import Deviation, Deviations
from call_archive.recording.knowledge import Held, Knowledge, Run
from call_archive.recording.listing import ListedFragment
from call_archive.recording.manifest import (
    FragmentCounts,
    RecordedCall,
    StoredRecording,
    build_manifest,
    decode_manifest,
    encode_manifest,
)
from call_archive.recording.pipeline import _Shortfall
from call_archive.recording.retrieval import BATCH_FRAGMENTS
from call_archive.recording.selection import ContactSelection, fragments_in_range
from call_archive.recording.timeline import Hole, Timeline
from call_archive.recording.wav import HEADER_BYTES, build_header
from local.encoder import (
    CLUSTER_ID,
    INFO_ID,
    SIMPLE_BLOCK_ID,
    SIMPLE_TAG_ID,
    TAG_ID,
    TAG_NAME_ID,
    TAG_STRING_ID,
    TAGS_ID,
    TIMECODE_ID,
    TRACK_ENTRY_ID,
    TRACKS_ID,
    VOID_ID,
    encode_element,
)
from tests.support.arns import INSTANCE_ARN, STREAM_ARN
from tests.support.manifests import older_manifest

DOCUMENT = Path(__file__).parents[2] / "docs" / "limits.md"
START_MS = 1_767_258_000_000
NUMBER = 91343852333181452199722691208580038832309429352
JOB = ArchiveJob(
    contact_id="c-1",
    initial_contact_id="c-1",
    instance_arn=INSTANCE_ARN,
    stream_arn=STREAM_ARN,
    start_fragment_number=NUMBER,
    start_timestamp_ms=START_MS,
    stop_fragment_number=None,
    stop_timestamp_ms=None,
    requested_at_ms=START_MS + 60_000,
)
HEADER = bytes.fromhex("1A45DFA38B428288") + b"matroska"
SEGMENT = bytes.fromhex("1853806701FFFFFFFFFFFFFF")
CLUSTER = CLUSTER_ID + b"\xff" + encode_element(TIMECODE_ID, b"\1")
TRACKS = encode_element(TRACKS_ID, encode_element(TRACK_ENTRY_ID, b"\xd7\x81\x01"))
BLOCK = encode_element(SIMPLE_BLOCK_ID, b"\x81\0\0\x80\1\1")
CUSTOMER = Direction.FROM_CUSTOMER


def read(*parts: bytes) -> Fragment:
    (fragment,) = read_fragments([b"".join((HEADER, SEGMENT, *parts))])
    return fragment


def take(message: object, contact: Mapping[str, object] | None = None) -> int:
    order = read_request(
        message if isinstance(message, str) else json.dumps(message),
        lambda _instance, _contact: contact or {},
        lambda _instance: None,
        now_ms=START_MS + 60_000,
        sent_ms=START_MS + 60_000,
        accept_partial=False,
    )
    return len(order.jobs)


# --------------------------------------------------------------------------------------- limits
# Each takes a size, and passes where that is within the limit.


def a_message(size: int) -> None:
    assert take(json.dumps(build_job_message(JOB)).ljust(size)) == 1


def a_message_of_wide_characters(size: int) -> None:
    """Bytes count, not characters."""
    text = json.dumps({**build_job_message(JOB), "note": "@"}, ensure_ascii=False)
    filler = "é" * ((size - len(text) + 1) // 2)
    text = text.replace("@", filler)
    assert take(text + " " * (size - len(text.encode()))) == 1


def a_contact_id(size: int) -> None:
    decode_contact_id("c" * size)


def an_instance_arn(size: int) -> None:
    tail = ":connect:eu-west-2:123456789012:instance/i-1"
    decode_instance_arn("arn:aws".ljust(size - len(tail), "x") + tail)


def an_instance_id(size: int) -> None:
    decode_instance_arn("arn:aws:connect:eu-west-2:123456789012:instance/" + "i" * size)


def a_stream_arn(size: int) -> None:
    tail = ":kinesisvideo:eu-west-2:123456789012:stream/s/1640168106910"
    decode_stream_arn("arn:aws".ljust(size - len(tail), "x") + tail)


def a_stream_name(size: int) -> None:
    name = "s" * size
    decode_stream_arn(f"arn:aws:kinesisvideo:eu-west-2:123456789012:stream/{name}/1640168106910")


def a_fragment_number(size: int) -> None:
    decode_fragment_number("9" * size)


def a_timestamp(size: int) -> None:
    decode_timestamp_ms(size)


def a_job(size: int) -> None:
    check_job(replace(JOB, stop_timestamp_ms=START_MS + size, requested_at_ms=START_MS + size))


def a_recording(size: int) -> None:
    """In ms: an hour at a time, and the rest; KVS's times confirm the holes between."""
    timeline = Timeline((CUSTOMER,))
    for at_ms in [*range(0, size - 1000, 3_600_000), size - 1000]:
        start_ns = (START_MS + at_ms) * 1_000_000
        second = Span(start_ns, b"\1" * 16_000)
        audio = FragmentAudio(start_ns, start_ns + 1_000_000_000, {CUSTOMER: [second]})
        timeline.place(audio, START_MS + at_ms)
    assert timeline.samples == size * 8


def recordings_of_a_contact(size: int) -> None:
    entry = {
        "StorageType": "KINESIS_VIDEO_STREAM",
        "Location": JOB.stream_arn,
        "FragmentStartNumber": "1",
        "StartTimestamp": "2026-01-01T09:00:00Z",
    }
    # Connect's own recordings do not count.
    record = {
        "ContactId": "c-1",
        "InstanceARN": JOB.instance_arn,
        "Recordings": [entry] * size + [{"StorageType": "S3"}],
    }
    assert take(record) == size


def fragments_of_a_call(size: int) -> None:
    listed = (ListedFragment(NUMBER + at, START_MS, 1000, 1000) for at in range(size))
    assert len(fragments_in_range(JOB, listed)) == size


def bytes_of_a_fragment(size: int) -> None:
    head = HEADER + SEGMENT
    void = VOID_ID + (size - len(head) - 9 | 1 << 56).to_bytes(8)
    body = head + void + bytes(size - len(head) - len(void))
    (fragment,) = read_fragments(body[at : at + 65_536] for at in range(0, len(body), 65_536))
    assert len(fragment.document) == size


def elements_of_a_fragment(size: int) -> None:
    """The header and the Segment are two of them."""
    assert len(read(b"\xec\x80" * (size - 2)).elements) == size


def blocks_of_a_fragment(size: int) -> None:
    fragment = read(BLOCK * (size - 2))
    assert fragment.elements[-1].blocks == size - 2


def blocks_of_two_sizes(size: int) -> None:
    fragment = read(BLOCK * 100, VOID_ID + b"\x80", BLOCK * (size - 103))
    assert sum(element.blocks for element in fragment.elements) == size


def elements_in_block_groups(size: int) -> None:
    group = encode_element(b"\xa0", b"\xec\x80" * 99 + b"\xa1\x86\x81\0\0\x80\1\1")
    rest = encode_element(b"\xa0", b"\xec\x80" * (size % 100))
    groups = group * (size // 100) + (rest if size % 100 else b"")
    audio = decode_audio(read(TRACKS, CLUSTER, groups), (CUSTOMER,))
    assert audio is not None
    assert len(audio.spans[CUSTOMER]) == size // 100


def bytes_of_a_description(size: int) -> None:
    fragment = read(
        encode_element(INFO_ID, encode_element(VOID_ID, bytes(90), 8)),
        encode_element(TAGS_ID, encode_element(VOID_ID, bytes(size - 99 - 9), 8)),
    )
    decode_fragment(fragment)


def masters_in_each_other(size: int) -> None:
    """A master's children are one deeper than it is."""
    tags = b""
    for _ in range(size):
        tags = encode_element(SIMPLE_TAG_ID, tags)
    decode_fragment(read(encode_element(TAGS_ID, tags)))


def tags_of_a_fragment(size: int) -> None:
    decode_fragment(read(encode_element(TAGS_ID, encode_element(TAG_ID, b"\x67\xc8\x80" * size))))


def bytes_of_a_timestamp(size: int) -> None:
    timestamp = encode_element(TIMECODE_ID, b"\1".rjust(size, b"\0"))
    audio = decode_audio(read(TRACKS, CLUSTER_ID + b"\xff", timestamp, BLOCK), (CUSTOMER,))
    assert audio is not None
    assert audio.start_ns == 1_000_000


def bytes_of_a_wav(size: int) -> None:
    build_header(size - HEADER_BYTES, 1)


def a_manifest(size: int) -> None:
    decode_manifest(json.dumps(older_manifest()).encode().ljust(size))


def a_prefix(size: int) -> None:
    environment = {
        "ARCHIVE_BUCKET": "my-calls",
        "ARCHIVE_PREFIX": "p" * size,
        "ARCHIVE_QUEUE_URL": "https://sqs.eu-west-2.amazonaws.com/123456789012/jobs",
    }
    assert len(read_flow_settings(environment).location.prefix) == size


REFUSED: list[tuple[str, Callable[[int], None], str]] = [
    ("MAX_MESSAGE_BYTES", a_message, "MESSAGE_TOO_LARGE"),
    ("MAX_MESSAGE_BYTES", a_message_of_wide_characters, "MESSAGE_TOO_LARGE"),
    ("MAX_CONTACT_ID_CHARACTERS", a_contact_id, "MALFORMED_CONTACT_ID"),
    ("MAX_INSTANCE_ARN_CHARACTERS", an_instance_arn, "MALFORMED_INSTANCE_ARN"),
    ("MAX_INSTANCE_ID_CHARACTERS", an_instance_id, "MALFORMED_INSTANCE_ARN"),
    ("MAX_STREAM_ARN_CHARACTERS", a_stream_arn, "MALFORMED_STREAM_ARN"),
    ("MAX_STREAM_NAME_CHARACTERS", a_stream_name, "MALFORMED_STREAM_ARN"),
    ("MAX_FRAGMENT_NUMBER_DIGITS", a_fragment_number, "MALFORMED_FRAGMENT_NUMBER"),
    ("MAX_TIMESTAMP_MS", a_timestamp, "MALFORMED_TIMESTAMP"),
    ("MAX_CALL_MS", a_job, "CALL_TOO_LONG"),
    ("MAX_CALL_MS", a_recording, "RECORDING_TOO_LONG"),
    ("MAX_RECORDINGS_PER_CONTACT", recordings_of_a_contact, "TOO_MANY_RECORDINGS"),
    ("MAX_FRAGMENTS_PER_CALL", fragments_of_a_call, "TOO_MANY_FRAGMENTS"),
    ("MAX_FRAGMENT_BYTES", bytes_of_a_fragment, "FRAGMENT_TOO_LARGE"),
    ("MAX_FRAGMENT_ELEMENTS", elements_of_a_fragment, "FRAGMENT_TOO_LARGE"),
    ("MAX_FRAGMENT_ELEMENTS", blocks_of_a_fragment, "FRAGMENT_TOO_LARGE"),
    ("MAX_FRAGMENT_ELEMENTS", blocks_of_two_sizes, "FRAGMENT_TOO_LARGE"),
    ("MAX_FRAGMENT_ELEMENTS", elements_in_block_groups, "FRAGMENT_TOO_LARGE"),
    ("MAX_DESCRIPTION_BYTES", bytes_of_a_description, "FRAGMENT_TOO_LARGE"),
    ("MAX_ELEMENT_DEPTH", masters_in_each_other, "MALFORMED_ELEMENT"),
    ("MAX_TAGS_PER_FRAGMENT", tags_of_a_fragment, "MALFORMED_TAGS"),
    ("MAX_UINT_BYTES", bytes_of_a_timestamp, "MALFORMED_ELEMENT"),
    ("MAX_RECORDING_BYTES", bytes_of_a_wav, "RECORDING_TOO_LONG"),
    ("MAX_MANIFEST_BYTES", a_manifest, "FOREIGN_MANIFEST"),
    ("MAX_PREFIX_CHARACTERS", a_prefix, "CONFIGURATION"),
]


@pytest.mark.parametrize(
    ("limit", "check", "code"), REFUSED, ids=[check.__name__ for _, check, _ in REFUSED]
)
def test_what_a_limit_allows_passes_and_one_more_is_refused(
    limit: str, check: Callable[[int], None], code: str
) -> None:
    most: int = getattr(limits, limit)
    check(most)
    with pytest.raises(ArchiveError) as caught:
        check(most + 1)
    assert caught.value.code == code


def test_a_timestamp_before_connect_existed_is_refused() -> None:
    decode_timestamp_ms(limits.MIN_TIMESTAMP_MS)
    with pytest.raises(RequestError):
        decode_timestamp_ms(limits.MIN_TIMESTAMP_MS - 1)


# ------------------------------------------------------------------ limits above which less is done


def test_a_batch_never_asks_for_more_than_kvs_takes() -> None:
    assert BATCH_FRAGMENTS <= limits.MAX_FRAGMENTS_PER_READ


@pytest.mark.parametrize("over", [0, 1])
def test_a_timestamp_tag_of_too_many_digits_says_nothing(over: int) -> None:
    seconds = "9" * (limits.MAX_TIME_DIGITS - 3 + over)
    tag = encode_element(TAG_NAME_ID, b"AWS_KINESISVIDEO_SERVER_TIMESTAMP") + encode_element(
        TAG_STRING_ID, seconds.encode()
    )
    tags = encode_element(TAGS_ID, encode_element(TAG_ID, encode_element(SIMPLE_TAG_ID, tag)))
    expected = None if over else int(seconds) * 1000
    assert decode_fragment(read(tags)).server_timestamp_ms == expected


@pytest.mark.parametrize("over", [0, 1])
def test_a_large_fragment_is_not_remembered(over: int) -> None:
    from call_archive.media.likeness import _read  # noqa: PLC0415 - what it keeps shows nowhere else

    head = len(HEADER + SEGMENT) + 9
    fragment = read(encode_element(VOID_ID, bytes(limits.MAX_REMEMBERED_BYTES - head + over), 8))
    assert (_read(fragment) is _read(fragment)) is not over


@pytest.mark.parametrize("over", [0, 1])
def test_a_block_too_far_behind_its_fragment_is_not_where_it_says(over: int) -> None:
    timeline = Timeline((CUSTOMER,))
    start_ns = START_MS * 1_000_000
    later_ns = start_ns + limits.MAX_FRAGMENT_SPAN_MS * 1_000_000 + over
    spans = [Span(start_ns, b"\1" * 1024), Span(later_ns, b"\1" * 1024)]
    timeline.place(FragmentAudio(start_ns, later_ns + 64_000_000, {CUSTOMER: spans}), START_MS)
    assert timeline.clock_jumps == over
    assert len(timeline.gaps) == 1 - over


@pytest.mark.parametrize("over", [0, 125_000])
def test_a_track_that_stays_behind_is_filled(over: int) -> None:
    timeline = Timeline(tuple(Direction))
    start_ns = START_MS * 1_000_000
    most_ns = limits.MAX_LAG_MS * 1_000_000 + over
    second_ns = start_ns + most_ns - 64_000_000
    pieces: dict[Direction, list[Piece]] = {}
    for at_ns in (start_ns, second_ns):
        span = Span(at_ns, b"\1" * 1024)
        audio = FragmentAudio(at_ns, at_ns + 64_000_000, {CUSTOMER: [span]})
        pieces = timeline.place(audio, at_ns // 1_000_000)
    assert bool(pieces[Direction.TO_CUSTOMER]) is bool(over)


@pytest.mark.parametrize("over", [0, 1])
def test_untagged_fragments_wait_and_no_more_of_them(over: int) -> None:
    selection = ContactSelection(JOB)
    own = MediaFragment(read(), NUMBER, START_MS, frozenset(("c-1",)), "")
    untagged = own._replace(contact_ids=frozenset[str]())
    waiting = [untagged] * (limits.MAX_HELD_FRAGMENTS + over)
    passed = list(selection.select([own, *waiting, own]))
    assert len(passed) == limits.MAX_HELD_FRAGMENTS + 2
    assert selection.counts.untagged == over


@pytest.mark.parametrize("over", [0, 1])
def test_holes_beyond_the_list_are_counted(over: int) -> None:
    timeline = Timeline((CUSTOMER,))
    start_ns = START_MS * 1_000_000
    for at in range(limits.MAX_HOLES + over + 1):
        at_ns = start_ns + at * 100_000_000
        audio = FragmentAudio(at_ns, at_ns + 1_000_000, {CUSTOMER: [Span(at_ns, b"\1" * 16)]})
        timeline.place(audio, at_ns // 1_000_000)
    assert (len(timeline.gaps), timeline.unlisted_holes) == (limits.MAX_HOLES, over)


@pytest.mark.parametrize("over", [0, 1])
def test_deviations_beyond_the_list_are_counted(over: int) -> None:
    deviations = Deviations()
    for at in range(limits.MAX_LISTED_DEVIATIONS + over):
        deviations.note(Deviation(at * 8000, 400))
    assert len(deviations.first) == limits.MAX_LISTED_DEVIATIONS
    assert deviations.count == limits.MAX_LISTED_DEVIATIONS + over


def test_reasons_beyond_the_list_are_left_out() -> None:
    shortfall = _Shortfall()
    for at in range(limits.MAX_REASONS + 1):
        shortfall.note(Reason(Code.NOT_DELIVERED, f"{at}"), may_improve=at == limits.MAX_REASONS)
    assert len(shortfall.reasons) == limits.MAX_REASONS
    assert shortfall.may_improve


def test_a_failed_jobs_reason_is_cut() -> None:
    for length in (limits.MAX_ATTRIBUTE_CHARACTERS, limits.MAX_ATTRIBUTE_CHARACTERS + 1):
        assert len(_attribute("x" * length)) == limits.MAX_ATTRIBUTE_CHARACTERS


# ------------------------------------------------------------------------------ limits fit together


def test_the_longest_key_is_one_that_s3_takes() -> None:
    job = replace(
        JOB,
        contact_id="c" * limits.MAX_CONTACT_ID_CHARACTERS,
        start_fragment_number=int("9" * limits.MAX_FRAGMENT_NUMBER_DIGITS),
    )
    prefix = "p" * limits.MAX_PREFIX_CHARACTERS
    assert len(recording_key(prefix, job).encode()) <= 1024
    assert len(manifest_key(prefix, job).encode()) <= 1024


def test_the_longest_recording_fits_into_a_wav() -> None:
    build_header(limits.MAX_CALL_MS * 8 * 2 * 2, 2)


def test_the_largest_manifest_can_be_read_back() -> None:
    largest = 10**limits.MAX_FRAGMENT_NUMBER_DIGITS - 1
    holes = [Hole(Direction.FROM_CUSTOMER, limits.MAX_CALL_MS * 8, limits.MAX_CALL_MS * 8)]
    call = RecordedCall(
        tracks=tuple(Direction),
        started_at_ms=START_MS,
        samples=limits.MAX_CALL_MS * 8,
        fragments=FragmentCounts(
            listed=limits.MAX_FRAGMENTS_PER_CALL,
            received=0,
            accepted=0,
            foreign=0,
            untagged=0,
            missing=tuple(range(largest - limits.MAX_FRAGMENTS_PER_CALL, largest)),
            last=largest,
        ),
        gaps=holes * limits.MAX_HOLES,
        overlaps=holes * limits.MAX_HOLES,
        clock_jumps=limits.MAX_FRAGMENTS_PER_CALL,
        reasons=[Reason(Code.NOT_EBML, "x" * 1_000)] * limits.MAX_REASONS,
        may_improve=True,
        held=Held((Run(largest, largest),) * limits.MAX_HELD_RUNS, limits.MAX_FRAGMENTS_PER_CALL),
    )
    recording = StoredRecording("s3://my-calls/x.wav", "etag", limits.MAX_RECORDING_BYTES, "a" * 64)
    manifest = build_manifest(
        JOB,
        call,
        recording,
        known=Knowledge(frozenset(range(largest - limits.MAX_STOPS, largest)), START_MS),
        range_end_ms=None,
        trigger=Trigger.CLI,
        archived_at_ms=START_MS,
    )
    document = json.dumps(encode_manifest(manifest), indent=2).encode()
    assert decode_manifest(document) == manifest


# ----------------------------------------------------------------------------- nothing is forgotten


def named_limits() -> dict[str, Any]:
    return {
        name: value for name, value in vars(limits).items() if name.startswith(("MAX_", "MIN_"))
    }


def test_every_limit_is_tested_here() -> None:
    source = Path(__file__).read_text()
    tested = {limit for limit, _, _ in REFUSED} | {
        *re.findall(r"\blimits\.(M[AI][XN]_\w+)", source)
    }
    # SQS's own, kept by `RetryQueue.hold`: tests/unit/test_queues.py.
    assert {*named_limits()} - tested == {"MAX_VISIBILITY_S"}


def test_every_limit_is_documented_as_it_is() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \|[^|]*\| ([\d,]+)", DOCUMENT.read_text(), re.MULTILINE))
    assert rows == {name: f"{value:,}" for name, value in named_limits().items()}
