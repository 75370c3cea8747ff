"""What was read before changes nothing: fragments are framed and decoded each by itself.

Fragments of a call are nearly alike, so the stages may remember; these sequences are made of
fragments that are alike in everything but one thing.
"""

from itertools import pairwise
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from call_archive.errors import ArchiveError
from call_archive.media.fragments import Ending, Fragment, read_fragments
from call_archive.media.likeness import MediaFragment, decode_audio, decode_fragment
from call_archive.media.pcm import Direction, Span
from local.encoder import (
    FROM_CUSTOMER,
    SDK_PRODUCER,
    TO_CUSTOMER,
    Block,
    Cluster,
    Layout,
    Track,
    encode_error,
    encode_fragment,
)
from tests.properties.samples import BOTH

START_MS = 1_767_258_000_000
NUMBER = 91343852333181452199722691208580038832309429352
HEADER = bytes.fromhex("1A45DFA38B428288") + b"matroska"
SEGMENT = bytes.fromhex("1853806701FFFFFFFFFFFFFF")
CLUSTER = bytes.fromhex("1F43B675FF")
NAMES: dict[str, tuple[str, str]] = {
    "customer_first": (FROM_CUSTOMER, TO_CUSTOMER),
    # As long as the first, so that nothing but the text differs.
    "agent_first": (TO_CUSTOMER, FROM_CUSTOMER),
}
LAYOUTS = {
    "connect": Layout(),
    "padded": Layout(nul_padding_bytes=2, tags_size_bytes=4),
    "one_tags_element": Layout(one_tags_element_each=False, contact_tags_before_cluster=True),
    "server_side": Layout(tag_names="SERVER_SIDE"),
    "sdk_producer": SDK_PRODUCER,
    "scaled": Layout(timecode_scale=2_000_000),
}

# Small steps, so that much is equal from one fragment to the next.
CALLS = st.lists(
    st.fixed_dictionaries(
        {
            "layout": st.sampled_from([*LAYOUTS]),
            "number": st.none() | st.integers(NUMBER, NUMBER + 3) | st.just(NUMBER // 10),
            "server_ms": st.integers(START_MS, START_MS + 3000),
            "contact": st.sampled_from(["c-1", "c-2", ""]),
            "names": st.sampled_from([*NAMES]),
            "timecode": st.integers(START_MS, START_MS + 3),
            "offset": st.sampled_from([0, 4, -4, 1000]),
            "step": st.sampled_from([4, 5]),
            "count": st.sampled_from([1, 2, 3]),
            "track": st.sampled_from([1, 2]),
            "sample": st.integers(0, 3),
        }
    ),
    min_size=2,
    max_size=8,
)


def encode(call: dict[str, Any]) -> bytes:
    """Blocks of 32 samples, 4 ms, on one track."""
    blocks = tuple(
        Block(call["track"], call["offset"] + at * call["step"], pcm_of(call))
        for at in range(call["count"])
    )
    first, second = NAMES[call["names"]]
    return encode_fragment(
        number=call["number"],
        server_timestamp_ms=call["server_ms"],
        producer_timestamp_ms=call["timecode"],
        tracks=(Track(1, first), Track(2, second)),
        clusters=(Cluster(call["timecode"], blocks),),
        contact_tags={"ContactId": call["contact"], "Events": "[]"},
        layout=LAYOUTS[call["layout"]],
    )


def pcm_of(call: dict[str, Any]) -> bytes:
    return bytes([call["sample"], 1]) * 32


def check_tags(media: MediaFragment, call: dict[str, Any]) -> None:
    is_numbered = call["number"] is not None
    assert media.number == call["number"]
    assert media.server_timestamp_ms == (call["server_ms"] if is_numbered else None)
    assert media.contact_ids == {call["contact"]} - {""}
    assert media.fault_code == ""


def check_audio(fragment: Fragment, call: dict[str, Any], wanted: tuple[Direction, ...]) -> None:
    audio = decode_audio(fragment, wanted)
    assert audio is not None
    scale = LAYOUTS[call["layout"]].timecode_scale
    direction = Direction(NAMES[call["names"]][call["track"] - 1])
    # Every frame by itself: whether frames are joined to spans is another test's.
    heard = [
        (span.start_ns + at * 125_000, span.pcm[2 * at : 2 * at + 64])
        for span in audio.spans.get(direction, [Span(0, b"")])
        for at in range(0, len(span.pcm) // 2, 32)
    ]
    frames = [
        ((call["timecode"] + call["offset"] + at * call["step"]) * scale, pcm_of(call))
        for at in range(call["count"])
    ]
    assert heard == (frames if direction in wanted else [])
    assert set(audio.spans) <= {direction} & set(wanted)
    assert (audio.start_ns, audio.end_ns) == (frames[0][0], frames[-1][0] + 4_000_000)


@given(CALLS, st.lists(st.integers(0, 6000), max_size=8), st.sampled_from([BOTH, BOTH[:1]]))
def test_a_fragment_says_what_it_says_whatever_came_before(
    calls: list[dict[str, Any]], cuts: list[int], wanted: tuple[Direction, ...]
) -> None:
    documents = [encode(call) for call in calls]
    body = b"".join(documents)
    places = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    fragments = list(read_fragments(body[start:end] for start, end in pairwise(places)))
    assert [fragment.document for fragment in fragments] == documents
    for fragment, call in zip(fragments, calls, strict=True):
        check_tags(decode_fragment(fragment), call)
        check_audio(fragment, call, wanted)


@given(st.data())
def test_two_fragments_that_differ_in_one_byte(data: st.DataObject) -> None:
    """The second is read without the first in memory, and then with it."""
    unique = data.draw(st.integers(0, 10**8))
    layout: Literal["connect", "padded"] = data.draw(st.sampled_from(["connect", "padded"]))
    call = {
        "layout": layout,
        "number": NUMBER,
        "server_ms": START_MS,
        "contact": f"c-{unique:08}",
        "names": "customer_first",
        "timecode": START_MS,
        "offset": 0,
        "step": 4,
        "count": 3,
        "track": 1,
        "sample": 1,
    }
    first = encode(call)
    # Behind the EBML header, which ends the fragment before.
    place = data.draw(st.integers(12, len(first) - 1))
    second = first[:place] + data.draw(st.binary(min_size=1, max_size=1)) + first[place + 1 :]
    alone = _describe([second])
    assert _describe([first, second])[1:] == alone
    assert _describe([first, first, second])[2:] == alone


def _describe(documents: list[bytes]) -> list[object]:
    """What the fragments say, in words that hold no trace of how it was found."""
    said: list[object] = []
    try:
        for fragment in read_fragments(documents):
            try:
                media = decode_fragment(fragment)
                audio = decode_audio(fragment, BOTH)
                said.append(
                    (
                        fragment.document,
                        str(fragment.ending),
                        list(fragment.elements),
                        media.number,
                        media.server_timestamp_ms,
                        media.contact_ids,
                        media.fault_code,
                        audio and (audio.start_ns, audio.end_ns, audio.spans),
                    )
                )
            except ArchiveError as error:
                said.append(error.code)
    except ArchiveError as error:
        said.append(error.code)
    return said


ROWS = [b"\xa3\x80", b"\xa3\x81\x00", b"\xa3\x82\x1a\x45", b"\xec\x80", b"\xe7\x80", HEADER]


@given(
    st.lists(st.lists(st.sampled_from(ROWS[:5]), max_size=4), min_size=1, max_size=12),
    st.integers(1, 200),
)
def test_shapes_of_equal_length_are_told_apart(rows: list[list[bytes]], size: int) -> None:
    documents = [HEADER + SEGMENT + CLUSTER + b"".join(row) for row in rows]
    body = b"".join(documents)
    fragments = list(read_fragments(body[at : at + size] for at in range(0, len(body), size)))
    assert [fragment.document for fragment in fragments] == documents
    for fragment, row in zip(fragments, rows, strict=True):
        assert _blocks_in(fragment) == row


def test_a_row_of_blocks_is_told_from_other_blocks_in_its_place() -> None:
    """All as long as three blocks of four bytes, and all begin with such a block."""
    empty, one, two = ROWS[0], ROWS[1], ROWS[2]
    rows = [[two] * 3, [two] * 3, [two, one, one, empty], [two, *[empty] * 4], [two] * 3]
    documents = [HEADER + SEGMENT + CLUSTER + b"".join(row) for row in rows]
    fragments = list(read_fragments([b"".join(documents)]))
    assert [_blocks_in(fragment) for fragment in fragments] == rows


def _blocks_in(fragment: Fragment) -> list[bytes]:
    """The elements behind the Cluster's head, each with its head of two bytes."""
    return [
        fragment.document[element.start + shift - 2 : element.end + shift]
        for element in fragment.elements[3:]
        for shift in range(0, element.blocks * element.stride or 1, element.stride or 1)
    ]


@given(st.lists(st.booleans(), min_size=1, max_size=6), st.integers(0, 19))
def test_audio_full_of_headers_never_ends_a_fragment(long: list[bool], shift: int) -> None:
    """A longer fragment has an EBML header in its audio where a shorter one ended."""
    call = {
        "layout": "connect",
        "number": None,
        "server_ms": START_MS,
        "contact": "c-1",
        "names": "customer_first",
        "timecode": START_MS,
        "offset": 0,
        "step": 4,
        "count": 2,
        "track": 1,
        "sample": 1,
    }
    short = encode(call)
    disguised = HEADER + SEGMENT + b"\xec\x44\x00" + bytes(shift) + (HEADER * 64)[: 1024 - shift]
    documents = [disguised if is_long else short for is_long in long]
    assert [fragment.document for fragment in read_fragments(documents)] == documents
    body = b"".join(documents)
    assert [fragment.document for fragment in read_fragments([body])] == documents


@pytest.mark.parametrize("tail", range(1, 5))
@pytest.mark.parametrize("size", [1, 5, 1 << 20])
def test_a_tail_that_may_become_a_header_is_never_lost(tail: int, size: int) -> None:
    document = encode_error("3002", "write error")
    body = document * 3 + HEADER[:tail]
    fragments = list(read_fragments(body[at : at + size] for at in range(0, len(body), size)))
    assert b"".join(fragment.document for fragment in fragments) == body
    assert fragments[-1].ending is Ending.TRUNCATED
    assert fragments == list(read_fragments([body]))
