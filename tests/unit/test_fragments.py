"""Framing, against bytes that were put together by hand; ebmlite is asked for a second opinion."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import ebmlite
import pytest

from call_archive.errors import MediaError
from call_archive.media.fragments import Ending, Fragment, read_fragments
from local.encoder import (
    CLUSTER_ID,
    CRC_32_ID,
    EBML_ID,
    FROM_CUSTOMER,
    INFO_ID,
    POSITION_ID,
    SDK_PRODUCER,
    SEGMENT_ID,
    SIMPLE_BLOCK_ID,
    TAGS_ID,
    TIMECODE_ID,
    TO_CUSTOMER,
    TRACKS_ID,
    UNKNOWN_SIZE_1,
    UNKNOWN_SIZE_8,
    UNREGISTERED_ID,
    VOID_ID,
    Block,
    Cluster,
    Layout,
    Track,
    encode_behind_now_tags,
    encode_element,
    encode_fragment,
    encode_size,
)

type Found = tuple[bytes, bytes]
"""An element's ID and its body; Segments and Clusters have their bodies as siblings behind them."""

# RFC 8794 section 11.2: EBML header, 11 bytes, DocType, 8 bytes, "matroska".
EBML_BODY = bytes.fromhex("42 82 88") + b"matroska"
HEADER = bytes.fromhex("1A 45 DF A3 8B") + EBML_BODY
EBML: Found = (EBML_ID, EBML_BODY)
SEGMENT: Found = (SEGMENT_ID, b"")
CLUSTER: Found = (CLUSTER_ID, b"")
INFO: Found = (INFO_ID, b"\x2a\xd7\xb1\x83\x0f\x42\x40")
TRACKS: Found = (TRACKS_ID, b"\xae\x83\xd7\x81\x01")
TIMESTAMP: Found = (TIMECODE_ID, b"\x01\x9b\x78\x4c\x4d\x00")
POSITION: Found = (POSITION_ID, b"\x00")
BLOCK: Found = (SIMPLE_BLOCK_ID, b"\x81\x00\x00\x80" + b"\x01\x02" * 8)
TAGS: Found = (TAGS_ID, b"\x73\x73\x80")
VOID: Found = (VOID_ID, bytes(5))
CRC_32: Found = (CRC_32_ID, b"\x01\x02\x03\x04")
STRANGER: Found = (UNREGISTERED_ID, b"of a later Matroska")


def encode(*elements: Found) -> bytes:
    return b"".join(encode_element(element_id, body) for element_id, body in elements)


def segment(content: bytes, size: bytes = UNKNOWN_SIZE_8) -> bytes:
    return SEGMENT_ID + size + content


def cluster(*elements: Found, size: bytes = UNKNOWN_SIZE_8) -> bytes:
    return CLUSTER_ID + size + encode(*elements)


def known_cluster(*elements: Found) -> bytes:
    return encode_element(CLUSTER_ID, encode(*elements))


def elements_of(fragment: Fragment) -> list[Found]:
    """IDs and bodies, as the bytes have them; rows of SimpleBlocks one by one."""
    return [
        (
            element.id.to_bytes((element.id.bit_length() + 7) // 8),
            fragment.document[element.start + shift : element.end + shift],
        )
        for element in fragment.elements
        for shift in range(0, element.blocks * element.stride or 1, element.stride or 1)
    ]


def read_one(body: bytes) -> Fragment:
    (fragment,) = read_fragments([body])
    return fragment


@contextmanager
def at_most_seconds(seconds: float) -> Iterator[None]:
    """Ends a loop that does not end."""

    def stop(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


CONTENT = encode(INFO, TRACKS) + cluster(TIMESTAMP, BLOCK, BLOCK) + encode(TAGS)
CONTENT_FOUND = [INFO, TRACKS, CLUSTER, TIMESTAMP, BLOCK, BLOCK, TAGS]

SHAPES: dict[str, tuple[bytes, list[Found]]] = {
    "unknown_sizes_of_8_bytes": (segment(CONTENT), CONTENT_FOUND),
    "unknown_sizes_of_1_byte": (
        segment(
            encode(INFO) + cluster(TIMESTAMP, BLOCK, size=UNKNOWN_SIZE_1) + encode(TAGS),
            UNKNOWN_SIZE_1,
        ),
        [INFO, CLUSTER, TIMESTAMP, BLOCK, TAGS],
    ),
    "known_segment": (segment(CONTENT, encode_size(len(CONTENT), 8)), CONTENT_FOUND),
    "known_cluster": (
        segment(known_cluster(TIMESTAMP, BLOCK) + encode(TAGS)),
        [CLUSTER, TIMESTAMP, BLOCK, TAGS],
    ),
    "both_known": (
        encode_element(SEGMENT_ID, known_cluster(TIMESTAMP, BLOCK) + encode(TAGS)),
        [CLUSTER, TIMESTAMP, BLOCK, TAGS],
    ),
    "tags_before_cluster": (
        segment(encode(TAGS, TAGS) + cluster(TIMESTAMP, BLOCK)),
        [TAGS, TAGS, CLUSTER, TIMESTAMP, BLOCK],
    ),
    "tags_on_both_sides": (
        segment(encode(TAGS) + cluster(TIMESTAMP, BLOCK) + encode(TAGS, TAGS, TAGS)),
        [TAGS, CLUSTER, TIMESTAMP, BLOCK, TAGS, TAGS, TAGS],
    ),
    "strangers_in_segment": (
        segment(encode(VOID, STRANGER, CRC_32, INFO) + cluster(BLOCK) + encode(TAGS, VOID)),
        [VOID, STRANGER, CRC_32, INFO, CLUSTER, BLOCK, TAGS, VOID],
    ),
    "strangers_in_unknown_cluster": (
        segment(cluster(CRC_32, VOID, TIMESTAMP, STRANGER, BLOCK, VOID) + encode(TAGS)),
        [CLUSTER, CRC_32, VOID, TIMESTAMP, STRANGER, BLOCK, VOID, TAGS],
    ),
    "strangers_in_known_cluster": (
        segment(known_cluster(CRC_32, VOID, STRANGER, POSITION, BLOCK) + encode(TAGS)),
        [CLUSTER, CRC_32, VOID, STRANGER, POSITION, BLOCK, TAGS],
    ),
    "several_clusters": (
        segment(cluster(TIMESTAMP, BLOCK) + known_cluster(TIMESTAMP) + cluster(BLOCK, BLOCK)),
        [CLUSTER, TIMESTAMP, BLOCK, CLUSTER, TIMESTAMP, CLUSTER, BLOCK, BLOCK],
    ),
    "no_cluster": (segment(encode(INFO, TRACKS, TAGS)), [INFO, TRACKS, TAGS]),
    "no_tags": (segment(cluster(TIMESTAMP, BLOCK)), [CLUSTER, TIMESTAMP, BLOCK]),
    "empty_segment": (segment(b""), []),
    "empty_elements": (
        segment(encode((VOID_ID, b""), (SIMPLE_BLOCK_ID, b""), (SIMPLE_BLOCK_ID, b""))),
        [(VOID_ID, b""), (SIMPLE_BLOCK_ID, b""), (SIMPLE_BLOCK_ID, b"")],
    ),
    "size_wider_than_needed": (
        segment(SIMPLE_BLOCK_ID + encode_size(4, 8) + b"\x81\x00\x00\x80"),
        [(SIMPLE_BLOCK_ID, b"\x81\x00\x00\x80")],
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_element_is_found_with_its_exact_bytes(shape: str) -> None:
    body, expected = SHAPES[shape]
    assert elements_of(read_one(HEADER + body)) == [EBML, SEGMENT, *expected]


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_follow_each_other_in_one_body(shape: str) -> None:
    body = HEADER + SHAPES[shape][0]
    first, second, third = read_fragments([body * 3])
    assert first.document == second.document == third.document == body
    assert first.elements == second.elements == third.elements
    assert [first.offset, second.offset, third.offset] == [0, len(body), 2 * len(body)]
    assert first.ending is second.ending is Ending.WHOLE


@pytest.mark.parametrize(
    "pcm",
    [
        EBML_ID * 8,
        HEADER + segment(CONTENT),
        TAGS_ID + b"\x80" + CLUSTER_ID + UNKNOWN_SIZE_8,
        SIMPLE_BLOCK_ID + b"\x94",
    ],
    ids=["ebml_magic", "whole_fragment", "tags_and_cluster", "simple_block_head"],
)
def test_audio_that_looks_like_elements_is_audio(pcm: bytes) -> None:
    block = (SIMPLE_BLOCK_ID, b"\x81\x00\x00\x80" + pcm)
    body = HEADER + segment(cluster(TIMESTAMP, block, block, BLOCK) + encode(TAGS))
    first, second = read_fragments([body * 2])
    expected = [EBML, SEGMENT, CLUSTER, TIMESTAMP, block, block, BLOCK, TAGS]
    assert elements_of(first) == elements_of(second) == expected


def test_a_row_holds_blocks_of_equal_size_only() -> None:
    short = (SIMPLE_BLOCK_ID, b"\x81\x00\x00\x80" + b"\x03\x04")
    blocks = [BLOCK, BLOCK, BLOCK, short, short, BLOCK, short, BLOCK, BLOCK]
    assert elements_of(read_one(HEADER + segment(cluster(*blocks))))[3:] == blocks


def test_a_row_ends_with_its_cluster() -> None:
    fragment = read_one(HEADER + segment(known_cluster(BLOCK, BLOCK) + encode(BLOCK, BLOCK)))
    assert elements_of(fragment) == [EBML, SEGMENT, CLUSTER, BLOCK, BLOCK, BLOCK, BLOCK]


def test_blocks_with_equal_lengths_and_different_heads_are_told_apart() -> None:
    wide = SIMPLE_BLOCK_ID + encode_size(19, 2) + bytes(19)
    narrow = SIMPLE_BLOCK_ID + encode_size(20, 1) + bytes(20)
    assert len(wide) == len(narrow)
    fragment = read_one(HEADER + segment(wide + narrow + wide))
    assert [len(body) for _, body in elements_of(fragment)[2:]] == [19, 20, 19]


# ------------------------------------------------------------------------------ the body's end


def test_a_body_of_known_sizes_is_whole() -> None:
    assert read_one(HEADER + encode_element(SEGMENT_ID, CONTENT)).ending is Ending.WHOLE


@pytest.mark.parametrize(
    "content",
    [b"", encode(INFO), CONTENT, cluster(), cluster(TIMESTAMP, BLOCK), known_cluster(BLOCK)],
)
def test_a_body_may_end_between_elements_of_an_unknown_size(content: bytes) -> None:
    fragment = read_one(HEADER + segment(content))
    assert fragment.ending is Ending.OPEN
    assert fragment.document == HEADER + segment(content)


@pytest.mark.parametrize("missing", range(1, len(encode(BLOCK))))
def test_a_body_that_ends_inside_a_block_is_truncated(missing: int) -> None:
    body = (HEADER + segment(cluster(TIMESTAMP, BLOCK, BLOCK)))[:-missing]
    fragment = read_one(body)
    assert fragment.ending is Ending.TRUNCATED
    assert elements_of(fragment) == [EBML, SEGMENT, CLUSTER, TIMESTAMP, BLOCK]
    assert fragment.document == body


def test_a_body_that_ends_between_the_elements_of_a_known_cluster_is_truncated() -> None:
    body = HEADER + segment(known_cluster(TIMESTAMP, BLOCK, BLOCK))
    fragment = read_one(body[: -len(encode(BLOCK))])
    assert fragment.ending is Ending.TRUNCATED
    assert elements_of(fragment) == [EBML, SEGMENT, CLUSTER, TIMESTAMP, BLOCK]


def test_a_body_that_ends_between_the_elements_of_a_known_segment_is_truncated() -> None:
    body = HEADER + encode_element(SEGMENT_ID, CONTENT)
    fragment = read_one(body[: -len(encode(TAGS))])
    assert fragment.ending is Ending.TRUNCATED
    assert elements_of(fragment) == [EBML, SEGMENT, *CONTENT_FOUND[:-1]]


@pytest.mark.parametrize("come", range(1, len(EBML_ID)))
def test_part_of_an_id_may_be_an_element_of_the_same_document(come: int) -> None:
    fragment = read_one(HEADER + segment(CONTENT) + EBML_ID[:come])
    assert fragment.ending is Ending.TRUNCATED
    assert elements_of(fragment) == [EBML, SEGMENT, *CONTENT_FOUND]


@pytest.mark.parametrize("come", range(len(EBML_ID), len(HEADER)))
@pytest.mark.parametrize("before", [0, 1])
def test_the_id_of_the_next_document_ends_the_one_before(come: int, before: int) -> None:
    whole = HEADER + segment(CONTENT)
    *found, rest = read_fragments([whole * before, whole + HEADER[:come]])
    assert [(each.document, each.ending) for each in found] == [(whole, Ending.WHOLE)] * (
        1 + before
    )
    assert (rest.document, rest.ending) == (HEADER[:come], Ending.TRUNCATED)


def test_an_empty_body_has_no_fragments() -> None:
    assert list(read_fragments([])) == []
    assert list(read_fragments([b"", b""])) == []


# ------------------------------------------------------------------------------- what is not EBML

BAD_BODIES = {
    "garbage_first_byte": b"\x00garbage",
    "no_header": segment(CONTENT),
    "json": b'{"message": "forbidden"}',
    "element_of_unknown_size": HEADER + segment(TAGS_ID + UNKNOWN_SIZE_8 + encode(VOID)),
    "header_of_unknown_size": EBML_ID + UNKNOWN_SIZE_1 + EBML_BODY,
    "size_zero_byte": HEADER + segment(VOID_ID + b"\x00"),
    "id_of_5_bytes": HEADER + segment(b"\x08\x01\x02\x03\x04\x80"),
    "id_zero_byte": HEADER + segment(b"\x00"),
    "larger_than_cluster": HEADER
    + segment(encode_element(CLUSTER_ID, VOID_ID + b"\x85" + bytes(4)) + bytes(9)),
    "larger_than_segment": HEADER + SEGMENT_ID + b"\x84" + VOID_ID + b"\x83" + bytes(3),
    "cluster_larger_than_segment": HEADER + SEGMENT_ID + b"\x85" + CLUSTER_ID + b"\x81\x00",
    "document_inside_known_segment": HEADER + encode_element(SEGMENT_ID, HEADER),
    "document_inside_known_cluster": HEADER + segment(encode_element(CLUSTER_ID, HEADER)),
    "segment_inside_known_segment": HEADER + encode_element(SEGMENT_ID, segment(b"")),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_bytes_that_are_not_a_fragment_are_refused(name: str) -> None:
    with pytest.raises(MediaError) as caught:
        list(read_fragments([BAD_BODIES[name]]))
    assert caught.value.code == "NOT_EBML"
    assert caught.value.retryable


LARGE_BODIES = {
    "size_of_2_to_the_56": HEADER + segment(VOID_ID + b"\x01" + b"\xff" * 6 + b"\xfe"),
    "segment_larger_than_anything": HEADER + SEGMENT_ID + b"\x01" + b"\xff" * 6 + b"\xfe",
    "cluster_larger_than_anything": HEADER + segment(CLUSTER_ID + b"\x01" + b"\xff" * 6 + b"\xfe"),
    "a_million_tiny_elements": HEADER + segment(b"\xec\x80" * 1_000_000),
    "a_million_tiny_blocks": HEADER + segment(b"\xa3\x80" * 1_000_000),
}


@pytest.mark.parametrize("name", LARGE_BODIES)
def test_fragments_larger_than_any_are_refused_by_their_own_name(name: str) -> None:
    with pytest.raises(MediaError) as caught:
        list(read_fragments([LARGE_BODIES[name]]))
    assert caught.value.code == "FRAGMENT_TOO_LARGE"
    assert caught.value.retryable


@pytest.mark.parametrize("count", [1, 3])
def test_fragments_before_the_garbage_are_yielded(count: int) -> None:
    good = HEADER + segment(CONTENT)
    reading = read_fragments([good * count + HEADER + segment(encode(INFO) + b"\x00garbage")])
    for _ in range(count):
        assert next(reading).document == good
    with pytest.raises(MediaError):
        next(reading)


def test_the_error_names_the_byte_of_the_body() -> None:
    good = HEADER + segment(CONTENT)
    bad = HEADER + segment(encode(INFO))
    with pytest.raises(MediaError, match=rf"\b{len(good + bad)}\b"):
        list(read_fragments([good, bad, b"\x00"]))


def test_a_second_segment_is_refused() -> None:
    # RFC 9559 section 5.1: one Segment a document. The header between two fragments is damaged.
    damaged = bytes([HEADER[0] ^ 1]) + HEADER[1:]
    body = HEADER + segment(encode(INFO)) + damaged + segment(encode(TAGS))
    with pytest.raises(MediaError, match="second Segment"):
        list(read_fragments([body]))


def test_tags_behind_a_segment_of_known_size_are_read_on() -> None:
    body = HEADER + encode_element(SEGMENT_ID, encode(INFO)) + encode(TAGS)
    fragment = read_one(body)
    assert elements_of(fragment) == [EBML, SEGMENT, INFO, TAGS]
    assert fragment.ending is Ending.WHOLE


@pytest.mark.parametrize("content", [b"", encode(BLOCK)])
def test_a_block_behind_a_segment_of_known_size_does_not_hang(content: bytes) -> None:
    body = HEADER + encode_element(SEGMENT_ID, content) + encode(BLOCK, BLOCK) + HEADER
    with at_most_seconds(2):
        fragment = next(read_fragments([body]))
    assert elements_of(fragment)[-2:] == [BLOCK, BLOCK]


# ---------------------------------------------------------------------------------------- limits


def test_thousands_of_equal_blocks_are_one_row() -> None:
    fragment = read_one(HEADER + segment(b"\xa3\x80" * 9_000))
    assert len(fragment.elements) == 3
    assert fragment.elements[-1].blocks == 9_000


def test_framing_takes_time_in_proportion_to_the_bytes() -> None:
    # 9,000 blocks of alternating sizes, then 6 MB; 0.1 s where each byte is looked at once.
    tiny = b"\xa3\x80\xa3\x81\x00" * 4_500
    body = HEADER + segment(tiny + encode_element(VOID_ID, b"\xa3" * 6_000_000))
    before_s = time.process_time()
    fragment = read_one(body)
    assert time.process_time() - before_s < 1
    assert len(fragment.elements) == 9_003


@pytest.mark.parametrize("read_bytes", [1 << 30, 1 << 18], ids=["one_read", "many_reads"])
def test_a_fragment_of_more_than_16_mib_is_refused(read_bytes: int) -> None:
    blocks = encode_element(SIMPLE_BLOCK_ID, bytes(1028)) * 17_000
    body = HEADER + segment(cluster() + blocks) + HEADER
    with pytest.raises(MediaError):
        list(read_fragments(body[at : at + read_bytes] for at in range(0, len(body), read_bytes)))


# -------------------------------------------------------------------------------- second opinion

LAYOUTS = {
    "connect": Layout(),
    "cluster_of_1_byte_unknown": Layout(cluster_size="unknown1"),
    "tags_first": Layout(contact_tags_before_cluster=True),
    "known": Layout(segment_size_known=True, cluster_size="known"),
    "one_tags_element": Layout(one_tags_element_each=False),
    "void": Layout(void_in_segment=True, void_in_cluster=True),
    "wide_block_sizes": Layout(block_size_bytes=8),
    "sdk_producer": SDK_PRODUCER,
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_ebmlite_finds_the_same_ids_offsets_and_sizes(name: str) -> None:
    document = encode_fragment(
        number=91343852333181452199722691208580038832309429352,
        server_timestamp_ms=1_767_258_000_242,
        producer_timestamp_ms=1_767_258_001_042,
        tracks=(Track(1, FROM_CUSTOMER), Track(2, TO_CUSTOMER)),
        clusters=(
            Cluster(1_767_258_001_242, tuple(Block(n, 0, bytes([n]) * 1024) for n in (1, 2, 1))),
            Cluster(1_767_258_001_306, (Block(2, 64, EBML_ID * 48),)),
        ),
        contact_tags={"ContactId": "c-1", "Events": "[]"},
        layout=LAYOUTS[name],
        trailing_tags=encode_behind_now_tags(0, "token"),
    )
    fragment = read_one(document)
    ours = [
        (element.id, element.start + shift, element.end - element.start)
        for element in fragment.elements
        for shift in range(0, element.blocks * element.stride or 1, element.stride or 1)
    ]
    assert ours == list(_as_ebmlite_sees(document))


def _as_ebmlite_sees(document: bytes) -> Iterator[tuple[int, int, int]]:
    roots: Any = ebmlite.loadSchema("matroska.xml").load(BytesIO(document), headers=True)
    for root in roots:
        if root.name != "Segment":
            yield root.id, root.payloadOffset, root.size
            continue
        yield root.id, root.payloadOffset, 0
        for child in root:
            yield child.id, child.payloadOffset, 0 if child.name == "Cluster" else child.size
            if child.name == "Cluster":
                yield from ((e.id, e.payloadOffset, e.size) for e in child)
