"""Fragments of a call are alike: the description of one is decoded once and reused while it fits.

Without this reuse, decoding takes most of a conversion's CPU time; `python -m bench.likeness`
compares. The frame reader's own reuse (`fragments.Shape`) saves less: most of the framing time.
"""

from collections.abc import Collection, Iterator
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple

from call_archive.limits import MAX_REMEMBERED_BYTES
from call_archive.media.fragments import ElementId, Fragment, Shape
from call_archive.media.matroska import (
    NUMBER_TAG,
    SERVER_SIDE_TIMESTAMP_TAG,
    SERVER_TIMESTAMP_TAG,
    VARYING_TAGS,
    PlacedSpan,
    check_description,
    decode_fault_code,
    decode_milliseconds,
    decode_number,
    head_columns,
    leaves_tracks_out,
    place_spans,
    read_tags,
)
from call_archive.media.pcm import Direction, FragmentAudio, Span

_NEVER_NS = 1 << 100


class MediaFragment(NamedTuple):
    """A fragment and the values of its tags.

    Attributes:
        number: the fragment number; None if the tags omit it.
        server_timestamp_ms: when KVS received it; None if the tags omit it.
        contact_ids: the ContactId tags: usually one, none for an untagged fragment.
        fault_code: of an in-band error document ("4500", "FRAGMENT_NOT_FOUND"); "" otherwise.
    """

    fragment: Fragment
    number: int | None
    server_timestamp_ms: int | None
    contact_ids: frozenset[str]
    fault_code: str


def decode_fragment(fragment: Fragment) -> MediaFragment:
    """Reads a fragment's tags; its audio stays untouched.

    Raises:
        MediaError: a Tags element is malformed.
    """
    said, document = _read(fragment).said, fragment.document
    return MediaFragment(
        fragment,
        decode_number(document[said.number]),
        decode_milliseconds(document[said.server_timestamp]),
        said.contact_ids,
        said.fault_code,
    )


def decode_audio(fragment: Fragment, wanted: Collection[Direction]) -> FragmentAudio | None:
    """The fragment's audio in the wanted directions; None if it holds no audio at all.

    Raises:
        MediaError: there is audio whose time or whose direction is unknown, or a
            block is malformed.
    """
    reading, document = _read(fragment), fragment.document
    if reading.spans is None:
        placed = tuple(place_spans(fragment))
        reading.leaves_out = bool(placed) and leaves_tracks_out(fragment)
        reading.spans = placed
    if not reading.spans:
        return None
    start_ns, end_ns = _NEVER_NS, -_NEVER_NS
    spans: dict[Direction, list[Span]] = {}
    for direction, timestamp, scale_ns, from_ns, to_ns, read_frames in reading.spans:
        cluster_ns = int.from_bytes(document[timestamp]) * scale_ns
        start_ns = min(start_ns, cluster_ns + from_ns)
        end_ns = max(end_ns, cluster_ns + to_ns)
        if direction in wanted:
            span = Span(cluster_ns + from_ns, b"".join(read_frames(document)))
            spans.setdefault(direction, []).append(span)
    return FragmentAudio(start_ns, end_ns, spans, reading.leaves_out)


class _Said(NamedTuple):
    """The values of a fragment's tags; for its number and times, their places in the document."""

    number: slice
    server_timestamp: slice
    contact_ids: frozenset[str]
    fault_code: str


class _Reading:
    """A fragment's description, and the places of the values that differ between fragments.

    It holds for every document of the same shape that differs only in the fragment's number and
    times, and in the audio: `fits` compares everything else, all SimpleBlock headers included.
    """

    __slots__ = (
        "_fixed",
        "_read_fixed",
        "_read_varying",
        "leaves_out",
        "said",
        "spans",
    )

    def __init__(self, fragment: Fragment) -> None:
        check_description(fragment)
        tags = list(read_tags(fragment))
        values = {tag.name: tag.text for tag in tags}
        places = {tag.name: tag.place for tag in tags}
        nowhere = slice(0, 0)
        self.said = _Said(
            number=places.get(NUMBER_TAG, nowhere),
            server_timestamp=places.get(SERVER_TIMESTAMP_TAG)
            or places.get(SERVER_SIDE_TIMESTAMP_TAG, nowhere),
            contact_ids=frozenset(tag.text for tag in tags if tag.name == "ContactId" and tag.text),
            fault_code=decode_fault_code(values),
        )
        self.spans: tuple[PlacedSpan, ...] | None = None
        self.leaves_out = False
        varying = [tag.place for tag in tags if tag.name in VARYING_TAGS]
        self._read_varying = itemgetter(*varying, nowhere, nowhere)
        self._read_fixed = itemgetter(*_fixed_slices(fragment, varying), nowhere)
        self._fixed = self._read_fixed(fragment.document)

    def fits(self, document: bytes) -> bool:
        """Whether the description holds for a document of the same shape, with decodable tags."""
        return self._read_fixed(document) == self._fixed and (
            b"".join(self._read_varying(document)).isascii()
        )


def _fixed_slices(fragment: Fragment, varying: list[slice]) -> Iterator[slice]:
    """Everything but the varying tags, the Timestamps and the frames of a document."""
    holes = [(place.start, place.stop) for place in varying]
    for element in fragment.elements:
        if element.id == ElementId.TIMESTAMP:
            holes.append((element.start, element.end))
        elif element.id == ElementId.SIMPLE_BLOCK:
            holes.append((element.start, element.end + (element.blocks - 1) * element.stride))
            yield from head_columns(element)
    position = 0
    for start, end in sorted(holes):
        yield slice(position, start)
        position = end
    yield slice(position, None)


class _Remembered:
    """The last description of a document of one shape."""

    __slots__ = ("document", "reading")

    def __init__(self) -> None:
        self.document: bytes | None = None
        self.reading: _Reading | None = None


@lru_cache(maxsize=16)
def _remembered(shape: Shape) -> _Remembered:  # noqa: ARG001 - the key
    return _Remembered()


def _read(fragment: Fragment) -> _Reading:
    """The fragment's description; the remembered one if it fits, as it almost always does."""
    if len(fragment.document) > MAX_REMEMBERED_BYTES:
        return _Reading(fragment)
    memory = _remembered(fragment.shape)
    reading = memory.reading
    if reading is None or (
        memory.document is not fragment.document and not reading.fits(fragment.document)
    ):
        reading = memory.reading = _Reading(fragment)
    memory.document = fragment.document
    return reading
