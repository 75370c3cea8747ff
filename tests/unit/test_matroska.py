"""Tags, tracks and audio; some documents are written out by hand, the others by our encoder."""

import pytest

from call_archive.errors import MediaError
from call_archive.media.fragments import Fragment, read_fragments
from call_archive.media.likeness import MediaFragment, decode_audio, decode_fragment
from call_archive.media.matroska import decode_directions, decode_tags
from call_archive.media.pcm import Direction, FragmentAudio, Span
from local.encoder import (
    CLUSTER_ID,
    FROM_CUSTOMER,
    SEGMENT_ID,
    SIMPLE_BLOCK_ID,
    SIMPLE_TAG_ID,
    TAG_ID,
    TAG_NAME_ID,
    TAG_STRING_ID,
    TAGS_ID,
    TIMECODE_ID,
    TO_CUSTOMER,
    TRACK_ENTRY_ID,
    TRACKS_ID,
    UNKNOWN_SIZE_8,
    UNREGISTERED_ID,
    Block,
    Cluster,
    Layout,
    Track,
    encode_element,
    encode_error,
    encode_fragment,
    encode_uint,
)

BOTH = tuple(Direction)
NUMBER = 91343852333181452199722691208580038832309429352
SERVER_MS = 1_767_258_000_242
CLUSTER_MS = 1_767_258_001_242
CLUSTER_NS = CLUSTER_MS * 1_000_000
MS = 1_000_000
TRACKS = (Track(1, FROM_CUSTOMER), Track(2, TO_CUSTOMER))
HEADER = bytes.fromhex("1A 45 DF A3 8B 42 82 88") + b"matroska"
BLOCK_GROUP_ID = b"\xa0"
BLOCK_ID = b"\xa1"
CUSTOMER = b"\x01\x00\x02\x00\x03\x00\x04\x00" * 128  # 512 samples, 64 ms
AGENT = b"\xff\x7f\x00\x80" * 256


def encode(
    *blocks: Block,
    layout: Layout | None = None,
    tracks: tuple[Track, ...] = TRACKS,
    timecode: int = CLUSTER_MS,
    contact_tags: dict[str, str] | None = None,
    number: int | None = NUMBER,
) -> Fragment:
    return read(
        encode_fragment(
            number=number,
            server_timestamp_ms=SERVER_MS,
            producer_timestamp_ms=CLUSTER_MS,
            tracks=tracks,
            clusters=(Cluster(timecode, blocks),) if blocks else (),
            contact_tags=contact_tags,
            layout=layout or Layout(),
        )
    )


def read(body: bytes) -> Fragment:
    (fragment,) = read_fragments([body])
    return fragment


def document(*elements: bytes) -> Fragment:
    """A fragment of elements that the encoder would never write."""
    return read(HEADER + SEGMENT_ID + UNKNOWN_SIZE_8 + b"".join(elements))


def simple_tag(name: bytes, text: bytes) -> bytes:
    named = encode_element(TAG_NAME_ID, name) + encode_element(TAG_STRING_ID, text)
    return encode_element(SIMPLE_TAG_ID, named)


def tags(*simple_tags: bytes) -> bytes:
    return encode_element(TAGS_ID, encode_element(TAG_ID, b"".join(simple_tags)))


def tracks_of(number: int, name: str) -> bytes:
    entry = encode_uint(b"\xd7", number) + encode_element(b"\x53\x6e", name.encode())
    return encode_element(TRACKS_ID, encode_element(TRACK_ENTRY_ID, entry))


def cluster(*elements: bytes) -> bytes:
    return CLUSTER_ID + UNKNOWN_SIZE_8 + b"".join(elements)


def block(head: str, pcm: bytes) -> bytes:
    return encode_element(SIMPLE_BLOCK_ID, bytes.fromhex(head) + pcm)


def spans_of(fragment: Fragment) -> dict[Direction, list[Span]]:
    audio = decode_audio(fragment, BOTH)
    assert audio is not None
    return dict(audio.spans)


def pcm_of(fragment: Fragment, direction: Direction) -> bytes:
    return b"".join(span.pcm for span in spans_of(fragment)[direction])


# ------------------------------------------------------------------------------------- by hand


def test_every_simple_tag_is_read_in_the_order_of_the_document() -> None:
    inner = simple_tag(b"Inner", b"2")
    nested = encode_element(SIMPLE_TAG_ID, encode_element(TAG_NAME_ID, b"Outer") + inner)
    fragment = document(
        tags(simple_tag(b"First", b"1"), nested), cluster(), tags(simple_tag(b"Last", b"3"))
    )
    found = [*decode_tags(fragment)]
    assert found == [("First", "1"), ("Outer", ""), ("Inner", "2"), ("Last", "3")]


def test_a_fragment_written_by_hand() -> None:
    body = bytes.fromhex(
        "1A45DFA3 8B 4282 88 6D6174726F736B61"  # EBML header, DocType matroska
        "18538067 01FFFFFFFFFFFFFF"  # Segment of unknown size
        "1654AE6B 9E"  # Tracks, 30 bytes
        "  AE 9C D7 81 05 83 81 02"  # TrackEntry: number 5, audio
        "    536E 93 415544494F5F46524F4D5F435553544F4D4552"  # Name AUDIO_FROM_CUSTOMER
        "1F43B675 01FFFFFFFFFFFFFF"  # Cluster of unknown size
        "  E7 82 03E8"  # Timestamp 1000
        "  A3 88 85 0000 80 11112222"  # SimpleBlock: track 5 at 0, two samples
        "  A3 88 85 0040 80 33334444"  # SimpleBlock: track 5 at 64
        "1254C367 9B 7373 98"  # Tags, Tag
        "  67C8 95 45A3 89 436F6E746163744964 4487 86 632D31000000"  # ContactId "c-1", padded
    )
    fragment = read(body)
    assert decode_fragment(fragment) == MediaFragment(
        fragment=fragment,
        number=None,
        server_timestamp_ms=None,
        contact_ids=frozenset({"c-1"}),
        fault_code="",
    )
    assert decode_audio(fragment, BOTH) == FragmentAudio(
        1000 * MS,
        1064 * MS + 250_000,
        {
            Direction.FROM_CUSTOMER: [
                Span(1000 * MS, bytes.fromhex("11112222")),
                Span(1064 * MS, bytes.fromhex("33334444")),
            ]
        },
    )


# ---------------------------------------------------------------------------------------- tags


@pytest.mark.parametrize("spelling", ["SERVER", "SERVER_SIDE"])
def test_number_and_server_timestamp_in_both_spellings(spelling: str) -> None:
    layout = Layout(tag_names="SERVER" if spelling == "SERVER" else "SERVER_SIDE")
    media = decode_fragment(encode(layout=layout))
    assert media.number == NUMBER
    assert media.server_timestamp_ms == SERVER_MS


@pytest.mark.parametrize("padding", [0, 1, 2, 7])
def test_strings_may_be_padded_with_nuls(padding: int) -> None:
    layout = Layout(nul_padding_bytes=padding)
    fragment = encode(Block(1, 0, CUSTOMER), layout=layout, contact_tags={"ContactId": "c-1"})
    media = decode_fragment(fragment)
    assert media.contact_ids == {"c-1"}
    assert media.number == NUMBER
    assert media.server_timestamp_ms == SERVER_MS
    assert pcm_of(fragment, Direction.FROM_CUSTOMER) == CUSTOMER


@pytest.mark.parametrize("tags_first", [False, True])
@pytest.mark.parametrize("one_each", [False, True])
def test_the_contact_id_counts_wherever_its_tags_stand(tags_first: bool, one_each: bool) -> None:
    layout = Layout(contact_tags_before_cluster=tags_first, one_tags_element_each=one_each)
    contact_tags = {"ContactId": "c-1", "InstanceId": "i-1", "Events": "[]"}
    fragment = encode(Block(1, 0, CUSTOMER), layout=layout, contact_tags=contact_tags)
    assert decode_fragment(fragment).contact_ids == {"c-1"}


def test_contact_ids_of_several_tags_elements_are_all_seen() -> None:
    fragment = document(
        tags(simple_tag(b"ContactId", b"c-1")), tags(simple_tag(b"ContactId", b"x"))
    )
    assert decode_fragment(fragment).contact_ids == {"c-1", "x"}


def test_contact_ids_of_one_tags_element_are_all_seen() -> None:
    fragment = document(tags(simple_tag(b"ContactId", b"x"), simple_tag(b"ContactId", b"c-1")))
    assert decode_fragment(fragment).contact_ids == {"c-1", "x"}


@pytest.mark.parametrize("text", [b"", b"\0", b"\0\0\0"])
def test_an_empty_contact_id_is_none(text: bytes) -> None:
    assert decode_fragment(document(tags(simple_tag(b"ContactId", text)))).contact_ids == set()


def test_tags_without_contact_id() -> None:
    fragment = encode(contact_tags={"InstanceId": "i-1", "Events": "[]"})
    assert decode_fragment(fragment).contact_ids == set()


def test_no_tags_at_all() -> None:
    media = decode_fragment(encode(Block(1, 0, CUSTOMER), number=None))
    assert (media.number, media.server_timestamp_ms, media.fault_code) == (None, None, "")
    assert media.contact_ids == set()


TARGETS_ID = b"\x63\xc0"
TAG_LANGUAGE_ID = b"\x44\x7a"


@pytest.mark.parametrize(
    "stranger",
    [
        encode_element(UNREGISTERED_ID, b"?"),
        encode_element(TARGETS_ID, encode_element(b"\x63\xc5", b"\x01")),
        encode_element(TAG_LANGUAGE_ID, b"und"),
    ],
    ids=["unregistered", "targets", "language"],
)
def test_other_elements_among_the_tags_hide_nothing(stranger: bytes) -> None:
    name, text = encode_element(TAG_NAME_ID, b"ContactId"), encode_element(TAG_STRING_ID, b"c-1")
    contact_id = encode_element(SIMPLE_TAG_ID, name + stranger + text)
    tag = encode_element(TAG_ID, stranger + contact_id)
    assert decode_fragment(document(encode_element(TAGS_ID, stranger + tag))).contact_ids == {"c-1"}


@pytest.mark.parametrize(
    ("timestamp", "expected_ms"),
    [
        (b"1726677687.758", 1_726_677_687_758),
        (b"1726677687.7", 1_726_677_687_700),
        (b"1726677687.7589", 1_726_677_687_758),
        (b"1726677687", 1_726_677_687_000),
        (b"0.5", 500),
        (b"", None),
        (b"soon", None),
        (b"-1.5", None),
        (b"1e9", None),
        (b"1.5.5", None),
        (b"9" * 400, None),
    ],
)
def test_server_timestamps(timestamp: bytes, expected_ms: int | None) -> None:
    fragment = document(tags(simple_tag(b"AWS_KINESISVIDEO_SERVER_TIMESTAMP", timestamp)))
    assert decode_fragment(fragment).server_timestamp_ms == expected_ms


@pytest.mark.parametrize("number", [b"", b"-5", b"0x10", b"12 ", "٣".encode(), b"9" * 129])
def test_a_malformed_fragment_number_is_none(number: bytes) -> None:
    fragment = document(tags(simple_tag(b"AWS_KINESISVIDEO_FRAGMENT_NUMBER", number)))
    with_number = decode_fragment(fragment)
    assert with_number.number is None


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (encode_error("3002", "write error", "exception"), "3002"),
        (encode_error("FRAGMENT_NOT_FOUND", "3000", "error"), "3000"),
        (encode_error("4500", "", "exception"), "4500"),
        (encode_error("FRAGMENT_NOT_FOUND", "", "error"), "FRAGMENT_NOT_FOUND"),
        (encode_error("", "no code", "exception"), "UNNAMED"),
    ],
)
def test_error_documents_of_both_families(body: bytes, code: str) -> None:
    assert decode_fragment(read(body)).fault_code == code


@pytest.mark.parametrize(
    "content",
    [
        TAG_ID + b"\x85" + bytes(4),
        encode_element(TAG_ID, SIMPLE_TAG_ID + b"\x90" + encode_element(TAG_NAME_ID, b"A")),
        encode_element(TAG_ID, simple_tag(b"ContactId", b"\xff\xfe")),
        encode_element(TAG_ID, b"\x00\x00"),
        encode_element(TAG_ID, b"".join(simple_tag(b"%d" % n, b"") for n in range(1100))),
        TAG_ID + UNKNOWN_SIZE_8 + simple_tag(b"ContactId", b"c-1"),
        encode_element(TAG_ID, SIMPLE_TAG_ID + b"\xff" + encode_element(TAG_NAME_ID, b"A")),
    ],
    ids=[
        "tag_too_large",
        "simple_tag_too_large",
        "not_utf_8",
        "zeros",
        "a_thousand_tags",
        "tag_of_unknown_size",
        "simple_tag_of_unknown_size",
    ],
)
def test_malformed_tags_are_refused(content: bytes) -> None:
    with pytest.raises(MediaError):
        decode_fragment(document(encode_element(TAGS_ID, content)))


def test_bottomless_tags_are_refused() -> None:
    nested = simple_tag(b"A", b"")
    for _ in range(5000):
        nested = encode_element(SIMPLE_TAG_ID, nested)
    with pytest.raises(MediaError):
        decode_fragment(document(tags(nested)))


# -------------------------------------------------------------------------------------- tracks


@pytest.mark.parametrize(("customer", "agent"), [(1, 2), (2, 1), (125, 126)])
def test_the_name_alone_tells_the_direction(customer: int, agent: int) -> None:
    fragment = encode(
        Block(customer, 0, CUSTOMER),
        Block(agent, 0, AGENT),
        tracks=(Track(agent, TO_CUSTOMER), Track(customer, FROM_CUSTOMER)),
        contact_tags={FROM_CUSTOMER: "1", TO_CUSTOMER: "2"},
    )
    assert pcm_of(fragment, Direction.FROM_CUSTOMER) == CUSTOMER
    assert pcm_of(fragment, Direction.TO_CUSTOMER) == AGENT


def test_track_numbers_may_swap_from_one_fragment_to_the_next() -> None:
    swapped = (Track(1, TO_CUSTOMER), Track(2, FROM_CUSTOMER))
    for tracks, expected in ((TRACKS, CUSTOMER), (swapped, AGENT), (TRACKS, CUSTOMER)):
        fragment = encode(Block(1, 0, CUSTOMER), Block(2, 0, AGENT), tracks=tracks)
        assert pcm_of(fragment, Direction.FROM_CUSTOMER) == expected


@pytest.mark.parametrize("name", ["Track_audio/L16", "", None])
def test_a_legacy_or_nameless_only_track_is_the_customers(name: str | None) -> None:
    fragment = encode(Block(1, 0, CUSTOMER), tracks=(Track(1, name),))
    assert spans_of(fragment) == {Direction.FROM_CUSTOMER: [Span(CLUSTER_NS, CUSTOMER)]}


def test_the_only_track_may_be_the_agents() -> None:
    fragment = encode(Block(1, 0, AGENT), tracks=(Track(1, TO_CUSTOMER),))
    assert decode_directions(fragment) == ((1, Direction.TO_CUSTOMER),)


def test_tracks_of_other_names_are_left_out() -> None:
    tracks = (*TRACKS, Track(3, "VIDEO"))
    fragment = encode(Block(3, 0, AGENT), Block(1, 64, CUSTOMER), tracks=tracks)
    assert spans_of(fragment) == {Direction.FROM_CUSTOMER: [Span(CLUSTER_NS + 64 * MS, CUSTOMER)]}


def test_blocks_of_unannounced_tracks_are_left_out() -> None:
    fragment = encode(Block(7, 0, AGENT), Block(1, 0, CUSTOMER))
    assert spans_of(fragment) == {Direction.FROM_CUSTOMER: [Span(CLUSTER_NS, CUSTOMER)]}


@pytest.mark.parametrize("name", ["VIDEO", "audio_from_customer", "AUDIO_FROM_CUSTOMER "])
def test_an_only_track_of_another_name_is_not_guessed(name: str) -> None:
    with pytest.raises(MediaError):
        decode_audio(encode(Block(1, 0, AGENT), tracks=(Track(1, name),)), BOTH)


@pytest.mark.parametrize("name", ["Track_audio/L16", None, "VIDEO"])
def test_a_track_beside_the_agents_is_not_guessed(name: str | None) -> None:
    tracks = (Track(1, name), Track(2, TO_CUSTOMER))
    with pytest.raises(MediaError):
        decode_audio(encode(Block(1, 0, CUSTOMER), Block(2, 0, AGENT), tracks=tracks), BOTH)


@pytest.mark.parametrize("name", [FROM_CUSTOMER, TO_CUSTOMER])
def test_two_tracks_of_one_direction_are_ambiguous(name: str) -> None:
    fragment = encode(Block(1, 0, CUSTOMER), tracks=(Track(1, name), Track(2, name)))
    with pytest.raises(MediaError) as caught:
        decode_audio(fragment, BOTH)
    assert caught.value.code == "AMBIGUOUS_TRACKS"


def test_two_nameless_tracks_are_ambiguous() -> None:
    fragment = encode(Block(1, 0, CUSTOMER), tracks=(Track(1, None), Track(2, None)))
    with pytest.raises(MediaError):
        decode_audio(fragment, BOTH)


def test_audio_without_tracks_is_refused() -> None:
    with pytest.raises(MediaError) as caught:
        decode_audio(encode(Block(1, 0, CUSTOMER), tracks=()), BOTH)
    assert caught.value.code == "NO_TRACKS"


def test_a_track_without_a_number_is_refused() -> None:
    nameless = encode_element(TRACKS_ID, encode_element(TRACK_ENTRY_ID, b""))
    timed = cluster(encode_uint(TIMECODE_ID, 1), block("81 0000 80", CUSTOMER))
    with pytest.raises(MediaError):
        decode_audio(document(nameless, timed), BOTH)


@pytest.mark.parametrize("codec", ["A_AAC", "A_PCM/INT/BIG", "V_MPEG4/ISO/AVC", "", "A_ÄC"])
def test_the_codec_id_is_not_believed(codec: str) -> None:
    fragment = encode(Block(1, 0, CUSTOMER), tracks=(Track(1, FROM_CUSTOMER, codec_id=codec),))
    assert pcm_of(fragment, Direction.FROM_CUSTOMER) == CUSTOMER


# --------------------------------------------------------------------------------------- audio


def test_frames_that_follow_each_other_are_one_span() -> None:
    blocks = [Block(n, at * 64, pcm) for at in range(15) for n, pcm in ((1, CUSTOMER), (2, AGENT))]
    audio = decode_audio(encode(*blocks), BOTH)
    assert audio == FragmentAudio(
        CLUSTER_NS,
        CLUSTER_NS + 960 * MS,
        {
            Direction.FROM_CUSTOMER: [Span(CLUSTER_NS, CUSTOMER * 15)],
            Direction.TO_CUSTOMER: [Span(CLUSTER_NS, AGENT * 15)],
        },
    )


@pytest.mark.parametrize("wanted", list(Direction))
def test_only_wanted_directions_are_decoded_but_all_count_for_the_bounds(wanted: Direction) -> None:
    audio = decode_audio(encode(Block(1, 0, CUSTOMER), Block(2, 64, AGENT)), (wanted,))
    assert audio is not None
    assert (audio.start_ns, audio.end_ns) == (CLUSTER_NS, CLUSTER_NS + 128 * MS)
    assert list(audio.spans) == [wanted]


@pytest.mark.parametrize(
    ("scale", "timecode", "offset"),
    [(1_000_000, CLUSTER_MS, 64), (100_000, CLUSTER_MS * 10, 640), (32_000_000, 55_226_812_538, 2)],
)
def test_timestamps_count_in_the_units_of_info(scale: int, timecode: int, offset: int) -> None:
    fragment = encode(
        Block(1, offset, CUSTOMER), timecode=timecode, layout=Layout(timecode_scale=scale)
    )
    expected_ns = (timecode + offset) * scale
    assert spans_of(fragment) == {Direction.FROM_CUSTOMER: [Span(expected_ns, CUSTOMER)]}


def test_timestamps_are_milliseconds_where_info_is_missing() -> None:
    timed = cluster(encode_uint(TIMECODE_ID, 1000), block("81 0001 80", CUSTOMER))
    fragment = document(tracks_of(1, FROM_CUSTOMER), timed)
    assert spans_of(fragment) == {Direction.FROM_CUSTOMER: [Span(1001 * MS, CUSTOMER)]}


def test_block_timestamps_may_be_negative() -> None:
    audio = decode_audio(encode(Block(1, -64, CUSTOMER), Block(1, 0, CUSTOMER)), BOTH)
    assert audio == FragmentAudio(
        CLUSTER_NS - 64 * MS,
        CLUSTER_NS + 64 * MS,
        {Direction.FROM_CUSTOMER: [Span(CLUSTER_NS - 64 * MS, CUSTOMER * 2)]},
    )


@pytest.mark.parametrize("offset", [-32768, 32767])
def test_block_timestamps_have_16_bits(offset: int) -> None:
    (span,) = spans_of(encode(Block(1, offset, CUSTOMER)))[Direction.FROM_CUSTOMER]
    assert span.start_ns == CLUSTER_NS + offset * MS


def test_a_short_block_in_mid_track_ends_its_span() -> None:
    # 192 bytes are 96 samples, 12 ms; the next block is still 64 ms later.
    fragment = encode(Block(1, 0, CUSTOMER), Block(1, 64, CUSTOMER[:192]), Block(1, 128, CUSTOMER))
    assert spans_of(fragment)[Direction.FROM_CUSTOMER] == [
        Span(CLUSTER_NS, CUSTOMER),
        Span(CLUSTER_NS + 64 * MS, CUSTOMER[:192]),
        Span(CLUSTER_NS + 128 * MS, CUSTOMER),
    ]


@pytest.mark.parametrize("size", [1, 3, 191, 1023])
def test_an_odd_sized_last_block_loses_half_a_sample(size: int) -> None:
    fragment = encode(Block(1, 0, CUSTOMER), Block(1, 64, CUSTOMER[:size]))
    assert pcm_of(fragment, Direction.FROM_CUSTOMER) == CUSTOMER + CUSTOMER[: size - 1]


def test_several_clusters_each_have_their_time() -> None:
    body = encode_fragment(
        number=NUMBER,
        server_timestamp_ms=SERVER_MS,
        producer_timestamp_ms=CLUSTER_MS,
        tracks=TRACKS,
        clusters=(
            Cluster(CLUSTER_MS, (Block(1, 0, CUSTOMER),)),
            Cluster(CLUSTER_MS + 64, (Block(1, 0, AGENT),)),
        ),
        contact_tags=None,
    )
    assert spans_of(read(body))[Direction.FROM_CUSTOMER] == [
        Span(CLUSTER_NS, CUSTOMER),
        Span(CLUSTER_NS + 64 * MS, AGENT),
    ]


@pytest.mark.parametrize("without", ["cluster", "blocks", "samples"])
def test_a_fragment_without_audio(without: str) -> None:
    clusters = {
        "cluster": (),
        "blocks": (Cluster(CLUSTER_MS, ()),),
        "samples": (Cluster(CLUSTER_MS, (Block(1, 0, b""), Block(2, 0, b"\x01"))),),
    }[without]
    body = encode_fragment(
        number=NUMBER,
        server_timestamp_ms=SERVER_MS,
        producer_timestamp_ms=CLUSTER_MS,
        tracks=TRACKS,
        clusters=clusters,
        contact_tags=None,
    )
    assert decode_audio(read(body), BOTH) is None


def test_a_cut_block_is_left_out() -> None:
    body = encode_fragment(
        number=NUMBER,
        server_timestamp_ms=SERVER_MS,
        producer_timestamp_ms=CLUSTER_MS,
        tracks=TRACKS,
        clusters=(Cluster(CLUSTER_MS, (Block(1, 0, CUSTOMER), Block(1, 64, AGENT))),),
        contact_tags=None,
    )
    assert pcm_of(read(body[:-5]), Direction.FROM_CUSTOMER) == CUSTOMER


def test_a_block_group_holds_a_block() -> None:
    group = encode_element(
        BLOCK_GROUP_ID,
        encode_element(BLOCK_ID, bytes.fromhex("81 0040 00") + CUSTOMER) + b"\x9b\x81\x40",
    )
    timed = cluster(encode_uint(TIMECODE_ID, 1000), block("81 0000 80", AGENT), group)
    fragment = document(tracks_of(1, FROM_CUSTOMER), timed)
    assert spans_of(fragment)[Direction.FROM_CUSTOMER] == [
        Span(1000 * MS, AGENT),
        Span(1064 * MS, CUSTOMER),
    ]


@pytest.mark.parametrize(
    "element",
    [
        block("81 0000 02", CUSTOMER),
        block("81 0000 84", CUSTOMER),
        block("81 0000 06", CUSTOMER),
        block("40 01 0000", CUSTOMER),
        block("00 0000 80", CUSTOMER),
        block("81 0000", b""),
        block("", b""),
        encode_element(BLOCK_GROUP_ID, b""),
        encode_element(BLOCK_GROUP_ID, encode_element(BLOCK_ID, b"\x81\x00")),
        encode_element(BLOCK_GROUP_ID, BLOCK_ID + b"\x90" + bytes(4)),
    ],
    ids=[
        "xiph_lacing",
        "fixed_size_lacing",
        "ebml_lacing",
        "track_of_two_bytes",
        "track_zero_byte",
        "three_bytes",
        "empty",
        "group_without_block",
        "group_with_short_block",
        "group_with_cut_block",
    ],
)
def test_malformed_blocks_are_refused(element: bytes) -> None:
    timed = cluster(encode_uint(TIMECODE_ID, 1000), element)
    with pytest.raises(MediaError):
        decode_audio(document(tracks_of(1, FROM_CUSTOMER), timed), BOTH)


def test_one_bad_block_of_a_row_is_not_hidden_by_the_others() -> None:
    good, laced = block("81 0000 80", CUSTOMER), block("81 0040 82", CUSTOMER)
    timed = cluster(encode_uint(TIMECODE_ID, 1000), good, good, laced, good)
    with pytest.raises(MediaError):
        decode_audio(document(tracks_of(1, FROM_CUSTOMER), timed), BOTH)


def test_audio_before_its_clusters_timestamp_is_refused() -> None:
    untimed = cluster(block("81 0000 80", CUSTOMER), encode_uint(TIMECODE_ID, 1000))
    with pytest.raises(MediaError) as caught:
        decode_audio(document(tracks_of(1, FROM_CUSTOMER), untimed), BOTH)
    assert caught.value.code == "NO_CLUSTER_TIMESTAMP"


def test_a_cluster_does_not_inherit_the_timestamp_of_the_one_before() -> None:
    timed = cluster(encode_uint(TIMECODE_ID, 1000), block("81 0000 80", CUSTOMER))
    untimed = cluster(block("81 0000 80", CUSTOMER))
    with pytest.raises(MediaError):
        decode_audio(document(tracks_of(1, FROM_CUSTOMER), timed, untimed), BOTH)
