"""Any split of a body into reads is the same body."""

import io
import wave
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from call_archive.errors import MediaError
from call_archive.media.fragments import Ending, Fragment, read_fragments
from call_archive.media.likeness import decode_audio, decode_fragment
from local.pcm import synthetic_pcm
from tests.properties.samples import BOTH, LAYOUTS, documents, record

CALL_SECONDS = 0.4


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_recording_is_both_sides_of_the_call(layout: str) -> None:
    with wave.open(io.BytesIO(record([b"".join(documents(layout))]))) as wav:
        frames = wav.readframes(wav.getnframes())
    left, right = (synthetic_pcm(CALL_SECONDS, side)[:] for side in (1, 2))
    assert b"".join(frames[at : at + 2] for at in range(0, len(frames), 4)) == left
    assert b"".join(frames[at : at + 2] for at in range(2, len(frames), 4)) == right


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_cut_into_two_reads(layout: str) -> None:
    body = b"".join(documents(layout)[:2])
    expected = list(read_fragments([body]))
    assert [fragment.document for fragment in expected] == list(documents(layout)[:2])
    for cut in range(len(body) + 1):
        assert list(read_fragments([body[:cut], body[cut:]])) == expected, f"cut at {cut}"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_reads_of_a_few_bytes(layout: str, size: int) -> None:
    body = b"".join(documents(layout)[:3])
    reads = [body[at : at + size] for at in range(0, len(body), size)]
    assert list(read_fragments(reads)) == list(read_fragments([body]))
    assert record(reads) == record([body])


@given(st.sampled_from([*LAYOUTS]), st.lists(st.integers(0, 200_000), max_size=30))
def test_any_split_of_a_longer_call(layout: str, cuts: list[int]) -> None:
    body = b"".join(documents(layout, 4, 960, 1024))
    places = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    reads = [body[start:end] for start, end in pairwise(places)]
    assert list(read_fragments(reads)) == list(read_fragments([body]))
    assert record(reads) == record([body])


@given(
    st.lists(
        st.sampled_from(
            [b"\xa3\x80", b"\xa3\x81\x00", b"\xa3\x82\xa3\x80", b"\xec\x80", b"\xe7\x80"]
        ),
        max_size=40,
    ),
    st.data(),
)
def test_any_split_of_rows_of_blocks(elements: list[bytes], data: st.DataObject) -> None:
    header = documents("connect")[0][:40].split(b"\x18\x53\x80\x67")[0]
    segment = b"\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff"
    cluster = b"\x1f\x43\xb6\x75\xff"
    body = header + segment + cluster + b"".join(elements)
    size = data.draw(st.integers(1, max(1, len(body))))
    (whole,) = read_fragments([body])
    (split,) = read_fragments(body[at : at + size] for at in range(0, len(body), size))
    assert split == whole
    assert _found(whole) == elements


def _found(fragment: Fragment) -> list[bytes]:
    """The elements in the Cluster, heads included; their heads are two bytes long here."""
    return [
        fragment.document[element.start + shift - 2 : element.end + shift]
        for element in fragment.elements[3:]
        for shift in range(0, element.blocks * element.stride or 1, element.stride or 1)
    ]


# ------------------------------------------------------------------------------------ truncation


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_truncation_shows_or_ends_between_elements(layout: str) -> None:
    first, second = documents(layout)[:2]
    body = first + second
    (_, whole) = read_fragments([body])
    for length in range(1, len(body)):
        *before, last = read_fragments([body[:length]])
        assert [fragment.document for fragment in before] == [first][: len(before)]
        assert last.offset + len(last.document) == length
        if length not in (len(first), len(body)):
            assert last.ending is not Ending.WHOLE, f"cut at {length}"
        if before:
            assert last.elements == whole.elements[: len(last.elements)] or _is_shorter_row(
                last, whole
            )


def _is_shorter_row(last: Fragment, whole: Fragment) -> bool:
    """The last row of blocks may have fewer of them."""
    *same, row = last.elements
    full = whole.elements[len(same)]
    return tuple(same) == whole.elements[: len(same)] and (
        row == full._replace(blocks=row.blocks) and row.blocks < full.blocks
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_truncation_of_audio_is_a_beginning_of_it(layout: str) -> None:
    document = documents(layout)[0]
    (whole,) = read_fragments([document])
    all_of_it = decode_audio(whole, BOTH)
    assert all_of_it is not None
    for length in range(1, len(document)):
        (fragment,) = read_fragments([document[:length]])
        try:
            decode_fragment(fragment)
            audio = decode_audio(fragment, BOTH)
        except MediaError:
            continue
        for direction, spans in (audio.spans if audio else {}).items():
            pcm = b"".join(span.pcm for span in spans)
            assert b"".join(span.pcm for span in all_of_it.spans[direction]).startswith(pcm)
