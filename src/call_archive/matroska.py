"""Fragment → what it says: fragment number, timestamps, whose it is, error, and its audio.

The only door to ebmlite, which decodes the small elements (Tags, Tracks, Info, BlockGroup).
ebmlite never notices that an element is cut short, so every child is checked against its parent
here. SimpleBlocks are decoded here too, a row at a time.

The audio is signed 16-bit little-endian PCM at 8 kHz, one channel a track, whatever CodecID
("A_AAC") and MimeType ("audio/L16") claim; a track's direction comes from its Name alone.

Sources: RFC 9559 sections 5.1.3.5 (Cluster), 10 (block structure), 5.1.8 (Tags); tag names as KVS
and Connect send them.
"""

import struct
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple

import ebmlite

from call_archive.errors import MediaError
from call_archive.fragments import Element, ElementId, Fragment
from call_archive.limits import MAX_TAGS_PER_FRAGMENT

SAMPLE_RATE_HZ = 8000
SAMPLE_BYTES = 2
SAMPLE_NS = 1_000_000_000 // SAMPLE_RATE_HZ

_SCHEMA = ebmlite.loadSchema("matroska.xml")
_DEFAULT_TIMESTAMP_SCALE_NS = 1_000_000
_BLOCK_HEAD_BYTES = 4
"""Track number (one byte, with its marker), signed 16-bit timestamp, flags."""
_LACING = 0x06
_BLOCK_ID = 0xA1
_MAX_TIME_DIGITS = 16
_MAX_DEPTH = 8

_LEGACY_NAMES = frozenset(("", "Track_audio/L16"))


class Direction(StrEnum):
    """Whose voice a track holds."""

    FROM_CUSTOMER = "AUDIO_FROM_CUSTOMER"
    TO_CUSTOMER = "AUDIO_TO_CUSTOMER"


class Span(NamedTuple):
    """Audio without a hole: frames of one track whose timestamps follow each other exactly.

    `start_ns` is on the producer's clock; `pcm` holds whole samples.
    """

    start_ns: int
    pcm: bytes


@dataclass(frozen=True, slots=True)
class FragmentAudio:
    """What a fragment holds to listen to.

    Attributes:
        start_ns, end_ns: of all its tracks together, on the producer's clock.
        spans: of the wanted directions, in document order.
    """

    start_ns: int
    end_ns: int
    spans: Mapping[Direction, list[Span]]


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaFragment:
    """A fragment and what its tags say.

    Attributes:
        number: the fragment number; None where the tags leave it out.
        server_timestamp_ms: when KVS received it; None where the tags leave it out.
        contact_ids: the ContactId tags: mostly one, none for an untagged fragment.
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
    tags: dict[str, str] = {}
    contact_ids = set()
    for element in fragment.elements:
        if element.id == ElementId.TAGS:
            for name, text in _decode_tags(fragment.document[element.start : element.end]):
                tags[name] = text
                if name == "ContactId":
                    contact_ids.add(text)
    return MediaFragment(
        fragment=fragment,
        number=_number(tags.get("AWS_KINESISVIDEO_FRAGMENT_NUMBER", "")),
        server_timestamp_ms=_milliseconds(
            tags.get("AWS_KINESISVIDEO_SERVER_TIMESTAMP")
            or tags.get("AWS_KINESISVIDEO_SERVER_SIDE_TIMESTAMP", "")
        ),
        contact_ids=frozenset(contact_ids - {""}),
        fault_code=_fault_code(tags),
    )


def decode_audio(fragment: Fragment, wanted: Collection[Direction]) -> FragmentAudio | None:
    """The fragment's audio in the wanted directions; None where it holds no audio at all.

    Raises:
        MediaError: there is audio whose place in time or whose direction nothing tells, or a
            block is malformed.
    """
    spans: dict[Direction, list[Span]] = {}
    bounds: list[int] = []
    for direction, start_ns, end_ns, frames in _place_frames(fragment):
        bounds += (start_ns, end_ns)
        if direction in wanted:
            pcm = b"".join([fragment.document[first:end] for first, end in frames])
            spans.setdefault(direction, []).append(Span(start_ns, pcm))
    return FragmentAudio(min(bounds), max(bounds), spans) if bounds else None


type _PlacedFrames = tuple[Direction, int, int, list[tuple[int, int]]]
"""Direction, start and end on the producer's clock in ns, and the frames' bounds in bytes."""


def _place_frames(fragment: Fragment) -> Iterator[_PlacedFrames]:
    directions: Directions | None = None
    scale_ns = _timestamp_scale_ns(fragment)
    cluster_ns: int | None = None
    for element in fragment.elements:
        if element.id == ElementId.CLUSTER:
            cluster_ns = None
        elif element.id == ElementId.TIMESTAMP:
            cluster_ns = _uint(fragment.document, element) * scale_ns
        elif element.id in (ElementId.SIMPLE_BLOCK, ElementId.BLOCK_GROUP):
            if cluster_ns is None:
                raise MediaError("NO_CLUSTER_TIMESTAMP", "audio comes before its Cluster's time")
            if directions is None:
                directions = decode_directions(fragment)
            row = element if element.id == ElementId.SIMPLE_BLOCK else _block_of(fragment, element)
            heads = _row_heads(fragment.document, row)
            plan = _plan_row(heads, row.end - row.start, row.stride, directions, scale_ns)
            for direction, start_ns, end_ns, places in plan:
                frames = [(row.start + first, row.start + end) for first, end in places]
                yield direction, cluster_ns + start_ns, cluster_ns + end_ns, frames


type Directions = tuple[tuple[int, Direction], ...]
"""Track numbers and whose voice they hold."""


def decode_directions(fragment: Fragment) -> Directions:
    """Track numbers and whose voice they hold, from the Tracks element.

    A nameless or legacy track is the customer's where it is the only one; tracks of other names
    are left out where there is one named as the customer's.

    Raises:
        MediaError: there is no Tracks element, two tracks claim one direction, or none of the
            names tells which track is the customer's.
    """
    names: dict[int, str] = {}
    for element in fragment.elements:
        if element.id == ElementId.TRACKS:
            names.update(_decode_tracks(fragment.document[element.start : element.end]))
    if not names:
        raise MediaError("NO_TRACKS", "there is audio, and no Tracks element to say whose")
    if len(names) == 1 and set(names.values()) <= _LEGACY_NAMES:
        return ((next(iter(names)), Direction.FROM_CUSTOMER),)
    directions = {
        number: Direction(name) for number, name in names.items() if name in list(Direction)
    }
    if len(set(directions.values())) < len(directions):
        raise MediaError("AMBIGUOUS_TRACKS", "two tracks have the same Name")
    if len(directions) < len(names) and Direction.FROM_CUSTOMER not in directions.values():
        raise MediaError("UNKNOWN_TRACKS", "none of several tracks is named as the customer's")
    return tuple(directions.items())


def _row_heads(document: bytes, row: Element) -> bytes:
    """The four header bytes of every block of a row, as four columns one after the other."""
    if row.end - row.start < _BLOCK_HEAD_BYTES:
        raise MediaError("MALFORMED_BLOCK", "a SimpleBlock is shorter than its header")
    last = row.start + (row.blocks - 1) * row.stride
    return b"".join(
        [
            document[row.start + column : last + column + 1 : row.stride]
            for column in range(_BLOCK_HEAD_BYTES)
        ]
    )


type _PlannedSpan = tuple[Direction, int, int, tuple[tuple[int, int], ...]]


@lru_cache(maxsize=1024)
def _plan_row(
    heads: bytes, block_bytes: int, stride: int, directions: Directions, scale_ns: int
) -> tuple[_PlannedSpan, ...]:
    """Where the spans of a row lie; remembered, because almost every row of a call is alike.

    Returns:
        Of each span its direction, its start and end relative to the Cluster in ns, and its
        frames' bounds in bytes from the body of the row's first block on.
    """
    by_number = dict(directions)
    count = len(heads) // _BLOCK_HEAD_BYTES
    numbers, high, low, flags = (heads[i * count : (i + 1) * count] for i in range(4))
    frame_bytes = (block_bytes - _BLOCK_HEAD_BYTES) // SAMPLE_BYTES * SAMPLE_BYTES
    frame_ns = frame_bytes // SAMPLE_BYTES * SAMPLE_NS
    planned: dict[Direction, list[tuple[int, list[tuple[int, int]]]]] = {}
    for index in range(count):
        if not numbers[index] & 0x80 or flags[index] & _LACING:
            raise MediaError("MALFORMED_BLOCK", "a SimpleBlock is laced, or its track is over 127")
        direction = by_number.get(numbers[index] & 0x7F)
        if direction is None or not frame_bytes:
            continue
        relative = int.from_bytes((high[index], low[index]), signed=True) * scale_ns
        spans = planned.setdefault(direction, [])
        if not spans or spans[-1][0] + len(spans[-1][1]) * frame_ns != relative:
            spans.append((relative, []))
        first = index * stride + _BLOCK_HEAD_BYTES
        spans[-1][1].append((first, first + frame_bytes))
    return tuple(
        (direction, start_ns, start_ns + len(frames) * frame_ns, tuple(frames))
        for direction, spans in planned.items()
        for start_ns, frames in spans
    )


def _timestamp_scale_ns(fragment: Fragment) -> int:
    for element in fragment.elements:
        if element.id == ElementId.INFO:
            return _decode_timestamp_scale_ns(fragment.document[element.start : element.end])
    return _DEFAULT_TIMESTAMP_SCALE_NS


def _uint(document: bytes, element: Element) -> int:
    return int.from_bytes(document[element.start : element.end])


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 128 else None


def _milliseconds(text: str) -> int | None:
    """`1726677687.758`, seconds since the epoch → milliseconds."""
    whole, _, fraction = text.partition(".")
    digits = whole + f"{fraction:0<3.3}"
    is_number = whole != "" and digits.isascii() and digits.isdigit()
    return int(digits) if is_number and len(digits) <= _MAX_TIME_DIGITS else None


def _fault_code(tags: Mapping[str, str]) -> str:
    """The code of an error document, in either of the two families that KVS uses."""
    return (
        tags.get("AWS_KINESISVIDEO_ERROR_ID")
        or tags.get("AWS_KINESISVIDEO_EXCEPTION_ERROR_CODE")
        or tags.get("AWS_KINESISVIDEO_ERROR_CODE")
        or ("UNNAMED" if "AWS_KINESISVIDEO_EXCEPTION_MESSAGE" in tags else "")
    )


# ------------------------------------------------------------------ small elements, by ebmlite


@dataclass(frozen=True, slots=True)
class SmallElement:
    """An element as ebmlite decoded it: a value, or children.

    `start` and `end` bound its body within the bytes that were parsed.
    """

    id: int
    name: str
    start: int
    end: int
    value: object
    children: tuple["SmallElement", ...]

    @property
    def child_values(self) -> dict[str, object]:
        """The values of the children by name; the last one where a name repeats."""
        return {child.name: child.value for child in self.children}

    def text(self, name: str) -> str:
        """A string child's text, without the NULs that some producers pad it with."""
        value = self.child_values.get(name, "")
        return value.rstrip("\0") if isinstance(value, str) else ""


@lru_cache(maxsize=256)
def _decode_tags(body: bytes) -> tuple[tuple[str, str], ...]:
    """Name and string of every SimpleTag in the body of a Tags element, nested ones too."""
    tags: list[tuple[str, str]] = []
    for tag in _parse(body):
        _collect(tag, tags)
    if len(tags) > MAX_TAGS_PER_FRAGMENT:
        raise MediaError("MALFORMED_TAGS", f"more than {MAX_TAGS_PER_FRAGMENT} tags")
    return tuple(tags)


def _collect(element: SmallElement, tags: list[tuple[str, str]]) -> None:
    if element.name == "SimpleTag":
        tags.append((element.text("TagName"), element.text("TagString")))
    for child in element.children:
        _collect(child, tags)


@lru_cache(maxsize=64)
def _decode_tracks(body: bytes) -> Mapping[int, str]:
    """Track number → Name of every TrackEntry in the body of a Tracks element."""
    names: dict[int, str] = {}
    for entry in _parse(body):
        if entry.name == "TrackEntry":
            number = entry.child_values.get("TrackNumber")
            if not isinstance(number, int):
                raise MediaError("MALFORMED_TRACKS", "a TrackEntry has no TrackNumber")
            names[number] = entry.text("Name")
    return names


@lru_cache(maxsize=64)
def _decode_timestamp_scale_ns(body: bytes) -> int:
    """The TimestampScale in the body of an Info element, in ns (RFC 9559 5.1.2.9)."""
    for child in _parse(body):
        if child.name == "TimecodeScale" and isinstance(child.value, int) and child.value:
            return child.value
    return _DEFAULT_TIMESTAMP_SCALE_NS


def _block_of(fragment: Fragment, group: Element) -> Element:
    """The Block in a BlockGroup, as a row of its own: its header is a SimpleBlock's."""
    for child in _parse(fragment.document[group.start : group.end]):
        if child.id == _BLOCK_ID:
            return Element(
                ElementId.SIMPLE_BLOCK, group.start + child.start, group.start + child.end, 1, 1
            )
    raise MediaError("MALFORMED_BLOCK", "a BlockGroup has no Block")


def _parse(body: bytes) -> tuple[SmallElement, ...]:
    """The elements in the body of a small master element.

    Raises:
        MediaError: an element overruns its parent, or ebmlite cannot decode it.
    """
    try:
        return _read_children(_SCHEMA.loads(body), len(body), depth=0)
    except (OSError, TypeError, ValueError, struct.error) as error:
        raise MediaError("MALFORMED_ELEMENT", f"ebmlite cannot decode it: {error}") from error


def _read_children(parent: Any, end: int, depth: int) -> tuple[SmallElement, ...]:  # noqa: ANN401 - ebmlite has no types
    if depth > _MAX_DEPTH:
        raise MediaError("MALFORMED_ELEMENT", "elements are nested beyond use")
    elements = []
    for child in parent:
        element_id: int = child.id
        start, child_end = child.payloadOffset, child.payloadOffset + child.size
        if child_end > end:
            raise MediaError("MALFORMED_ELEMENT", "an element is larger than its parent")
        if isinstance(child, ebmlite.core.MasterElement):
            grandchildren = _read_children(child, child_end, depth + 1)
            elements.append(
                SmallElement(element_id, str(child.name), start, child_end, None, grandchildren)
            )
        else:
            elements.append(
                SmallElement(element_id, str(child.name), start, child_end, child.value, ())
            )
    return tuple(elements)
