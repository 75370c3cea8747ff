"""The encoder, read back by ebmlite."""

import zlib
from dataclasses import replace
from io import BytesIO

import ebmlite
import pytest

from local.encoder import (
    CLUSTER_ID,
    CONNECT,
    CRC_32_ID,
    EBML_ID,
    FROM_CUSTOMER,
    SDK_PRODUCER,
    SEGMENT_ID,
    TO_CUSTOMER,
    UNKNOWN_SIZE_1,
    UNKNOWN_SIZE_8,
    UNREGISTERED_ID,
    Block,
    Cluster,
    Layout,
    Track,
    encode_behind_now_tags,
    encode_error,
    encode_fragment,
    encode_size,
    fragment_number,
)
from tests.unit.local_aws.matroska_reader import parse

TRACKS = (Track(1, FROM_CUSTOMER), Track(2, TO_CUSTOMER))
BLOCKS = tuple(
    Block(track, at * 64, bytes([track, at]) * 512) for at in range(15) for track in (1, 2)
)
CLUSTER = Cluster(1_767_258_001_242, BLOCKS)
CONTACT_TAGS = {"ContactId": "c-1", "MimeType": "audio/L16;rate=8000;channels=1;"}
NUMBER = 91343852333181452199722691208580038832309429352


def encode(
    layout: Layout = CONNECT,
    *,
    clusters: tuple[Cluster, ...] = (CLUSTER,),
    tracks: tuple[Track, ...] = TRACKS,
    number: int | None = NUMBER,
    contact_tags: dict[str, str] | None = CONTACT_TAGS,
    trailing_tags: bytes = b"",
) -> bytes:
    return encode_fragment(
        number=number,
        server_timestamp_ms=1_767_258_000_242,
        producer_timestamp_ms=1_767_258_001_042,
        tracks=tracks,
        clusters=clusters,
        contact_tags=contact_tags,
        layout=layout,
        trailing_tags=trailing_tags,
    )


def test_a_connect_fragment_has_the_elements_in_connects_order() -> None:
    parsed = parse(encode())

    assert parsed.names == ["Info", "Tracks", "Tags", "Cluster", "Tags", "Tags"]
    assert parsed.timecode_scale == 1_000_000
    assert parsed.tracks == {1: FROM_CUSTOMER, 2: TO_CUSTOMER}
    assert parsed.codecs == [("A_AAC", b"\x11\x90")] * 2
    assert parsed.cluster_names[0][:2] == ["Timecode", "Position"]


def test_a_connect_fragment_has_unknown_sizes() -> None:
    document = encode()

    assert document.startswith(EBML_ID)
    assert SEGMENT_ID + UNKNOWN_SIZE_8 in document
    assert CLUSTER_ID + UNKNOWN_SIZE_8 in document


def test_tags_tell_the_fragment_in_seconds() -> None:
    assert parse(encode()).tags == [
        ("AWS_KINESISVIDEO_FRAGMENT_NUMBER", str(NUMBER)),
        ("AWS_KINESISVIDEO_SERVER_TIMESTAMP", "1767258000.242"),
        ("AWS_KINESISVIDEO_PRODUCER_TIMESTAMP", "1767258001.042"),
        *CONTACT_TAGS.items(),
    ]


def test_the_other_spelling_of_the_timestamps() -> None:
    parsed = parse(encode(Layout(tag_names="SERVER_SIDE")))

    assert parsed.tag("AWS_KINESISVIDEO_SERVER_SIDE_TIMESTAMP") == "1767258000.242"
    assert parsed.tag("AWS_KINESISVIDEO_PRODUCER_SIDE_TIMESTAMP") == "1767258001.042"


LAYOUTS = {
    "connect": CONNECT,
    "other producers": SDK_PRODUCER,
    "segment of known size": Layout(segment_size_known=True),
    "cluster of unknown size in one byte": Layout(cluster_size="unknown1"),
    "cluster of known size": Layout(cluster_size="known"),
    "contact tags first": Layout(contact_tags_before_cluster=True),
    "contact tags together": Layout(one_tags_element_each=False),
    "void": Layout(void_in_segment=True, void_in_cluster=True),
    "crc": Layout(cluster_size="known", crc32=True),
    "seek head": Layout(seek_head=True),
    "padded strings": Layout(nul_padding_bytes=3),
    "wide tags": Layout(tags_size_bytes=4),
    "wide blocks": Layout(block_size_bytes=4),
    "without position": Layout(with_position=False),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_every_layout_carries_the_same(layout: Layout) -> None:
    parsed = parse(encode(layout))

    assert parsed.clusters == [
        (CLUSTER.timecode, [(block.track, block.offset, block.payload) for block in BLOCKS])
    ]
    assert parsed.tracks == {1: FROM_CUSTOMER, 2: TO_CUSTOMER}
    assert parsed.tag("ContactId") == "c-1"
    assert parsed.tag("AWS_KINESISVIDEO_FRAGMENT_NUMBER") == str(NUMBER)


def test_no_two_layouts_are_the_same_bytes() -> None:
    assert len({encode(layout) for layout in LAYOUTS.values()}) == len(LAYOUTS)


def test_padded_strings_end_in_nul() -> None:
    assert b"ContactId\0\0\0" in encode(Layout(nul_padding_bytes=3))


def test_tags_of_other_producers_have_sizes_of_four_bytes() -> None:
    assert b"\x12\x54\xc3\x67\x10\x00" in encode(SDK_PRODUCER)


def test_contact_tags_before_the_cluster() -> None:
    names = parse(encode(Layout(contact_tags_before_cluster=True))).names

    assert names == ["Info", "Tracks", "Tags", "Tags", "Tags", "Cluster"]


def test_contact_tags_in_one_element() -> None:
    names = parse(encode(Layout(one_tags_element_each=False))).names

    assert names == ["Info", "Tracks", "Tags", "Cluster", "Tags"]


def test_the_crc_is_of_all_that_follows_in_its_parent() -> None:
    document = encode(Layout(cluster_size="known", crc32=True), contact_tags=None)
    start = document.index(CLUSTER_ID) + 4
    width = 8 - document[start].bit_length() + 1
    content = document[start + width :]

    assert content.startswith(CRC_32_ID + b"\x84")
    assert int.from_bytes(content[2:6], "little") == zlib.crc32(content[6:])


def test_an_unregistered_element_stands_in_segment_and_cluster() -> None:
    plain = encode()
    strange = encode(Layout(unregistered_in_segment=True, unregistered_in_cluster=True))

    assert UNREGISTERED_ID not in plain
    assert strange.count(UNREGISTERED_ID) == 2
    assert strange.index(UNREGISTERED_ID) < strange.index(CLUSTER_ID)
    assert strange.rindex(UNREGISTERED_ID) > strange.index(CLUSTER_ID)


def test_a_cluster_in_one_byte_of_unknown_size() -> None:
    assert CLUSTER_ID + UNKNOWN_SIZE_1 in encode(Layout(cluster_size="unknown1"))


def test_a_segment_of_known_size_ends_with_the_document() -> None:
    document = encode(Layout(segment_size_known=True), trailing_tags=encode_behind_now_tags(1, "7"))
    at = document.index(SEGMENT_ID) + 4

    assert int.from_bytes(document[at : at + 8], "big") & ~(1 << 56) == len(document) - at - 8


def test_offsets_are_signed() -> None:
    cluster = Cluster(5000, (Block(1, -64, b"ab"), Block(1, 0, b"cd")))

    blocks = parse(encode(clusters=(cluster,))).clusters[0][1]

    assert blocks == [(1, -64, b"ab"), (1, 0, b"cd")]


def test_several_clusters() -> None:
    clusters = (Cluster(1000, BLOCKS[:4]), Cluster(1128, BLOCKS[4:]))

    assert [timecode for timecode, _ in parse(encode(clusters=clusters)).clusters] == [1000, 1128]


def test_no_cluster_and_no_tags_and_no_name() -> None:
    bare = parse(encode(clusters=(), number=None, contact_tags=None, tracks=(Track(1, None),)))

    assert bare.names == ["Info", "Tracks"]
    assert bare.tracks == {1: None}


def test_an_empty_name_is_not_a_missing_one() -> None:
    assert parse(encode(tracks=(Track(1, ""),))).tracks == {1: ""}


def test_payload_may_look_like_a_document() -> None:
    payload = EBML_ID + CLUSTER_ID + SEGMENT_ID

    parsed = parse(encode(clusters=(Cluster(0, (Block(1, 0, payload),)),)))

    assert parsed.payload(FROM_CUSTOMER) == payload


def test_behind_now_tags_come_last() -> None:
    parsed = parse(encode(trailing_tags=encode_behind_now_tags(1234, "99")))

    assert parsed.tags[-2:] == [
        ("AWS_KINESISVIDEO_MILLIS_BEHIND_NOW", "1234"),
        ("AWS_KINESISVIDEO_CONTINUATION_TOKEN", "99"),
    ]


@pytest.mark.parametrize("layout", [CONNECT, SDK_PRODUCER], ids=["connect", "other"])
def test_error_documents_hold_only_tags(layout: Layout) -> None:
    documented = parse(encode_error("3000", "no luck", layout=layout))
    seen = parse(encode_error("FRAGMENT_NOT_FOUND", "3000", family="error", layout=layout))

    assert documented.names == seen.names == ["Tags"]
    assert documented.tags == [
        ("AWS_KINESISVIDEO_EXCEPTION_ERROR_CODE", "3000"),
        ("AWS_KINESISVIDEO_EXCEPTION_MESSAGE", "no luck"),
    ]
    assert seen.tags == [
        ("AWS_KINESISVIDEO_ERROR_CODE", "FRAGMENT_NOT_FOUND"),
        ("AWS_KINESISVIDEO_ERROR_ID", "3000"),
    ]


@pytest.mark.parametrize(
    ("size", "width", "encoded"),
    [
        (0, 0, "80"),
        (126, 0, "fe"),
        (127, 0, "407f"),
        (1028, 0, "4404"),
        (16382, 0, "7ffe"),
        (16383, 0, "203fff"),
        (1, 4, "10000001"),
        (5, 8, "0100000000000005"),
    ],
)
def test_data_sizes(size: int, width: int, encoded: str) -> None:
    assert encode_size(size, width).hex() == encoded


def test_a_size_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="127 does not fit into 1 bytes"):
        encode_size(127, 1)


def test_fragment_numbers_are_the_services() -> None:
    assert fragment_number(4001, 1641312355616, 14443624) == NUMBER
    assert fragment_number(1, 1706238461465, 48189185) == (
        91343852333181432392682062659924109276236173057
    )


def test_the_timecode_scale_is_written() -> None:
    assert parse(encode(replace(CONNECT, timecode_scale=100_000))).timecode_scale == 100_000


def test_an_honest_track_says_what_its_audio_is() -> None:
    honest = Track(1, FROM_CUSTOMER, "A_PCM/INT/LIT", codec_private=None, with_audio=True)
    document = encode(tracks=(honest,), clusters=())
    (segment,) = ebmlite.loadSchema("matroska.xml").load(BytesIO(document))
    tracks = next(child for child in segment if child.name == "Tracks")
    entry = {child.name: child for child in tracks[0]}

    assert entry["CodecID"].value == "A_PCM/INT/LIT"
    assert "CodecPrivate" not in entry
    assert {child.name: child.value for child in entry["Audio"]} == {
        "SamplingFrequency": 8000.0,
        "Channels": 1,
        "BitDepth": 16,
    }


def test_connects_tracks_have_no_audio_element() -> None:
    assert b"\xe1" not in encode_fragment(
        number=None,
        server_timestamp_ms=0,
        producer_timestamp_ms=0,
        tracks=TRACKS,
        clusters=(),
        contact_tags=None,
    )
