"""Fragment → its content: fragment number, timestamps, contact ids, error code, and audio.

Only this module uses ebmlite, which decodes the small elements (Tags, Tracks, Info, BlockGroup).
ebmlite does not detect that an element is cut short, so every child is checked against its parent
here. SimpleBlocks are decoded here too, a row at a time.

The audio is signed 16-bit little-endian PCM at 8 kHz, one channel per track, whatever CodecID
("A_AAC") and MimeType ("audio/L16") claim. Only a track's Name gives its direction.

Sources: RFC 9559 sections 5.1.3.5 (Cluster), 10 (block structure), 5.1.8 (Tags); tag names as KVS
and Connect send them.
"""

import re
import struct
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from itertools import repeat
from typing import Any, NamedTuple

import ebmlite

from call_archive.errors import MediaError
from call_archive.limits import (
    MAX_DESCRIPTION_BYTES,
    MAX_ELEMENT_DEPTH,
    MAX_FRAGMENT_ELEMENTS,
    MAX_FRAGMENT_NUMBER_DIGITS,
    MAX_TAGS_PER_FRAGMENT,
    MAX_TIME_DIGITS,
    MAX_UINT_BYTES,
)
from call_archive.media.fragments import Element, ElementId, Fragment
from call_archive.media.pcm import SAMPLE_BYTES, SAMPLE_NS, Direction
from call_archive.reasons import Code

_SCHEMA = ebmlite.parseSchema(
    """<Schema>
    <MasterElement name="Info" id="0x1549A966">
      <UIntegerElement name="TimecodeScale" id="0x2AD7B1"/>
    </MasterElement>
    <MasterElement name="Tracks" id="0x1654AE6B">
      <MasterElement name="TrackEntry" id="0xAE">
        <UIntegerElement name="TrackNumber" id="0xD7"/>
        <UnicodeElement name="Name" id="0x536E"/>
      </MasterElement>
    </MasterElement>
    <MasterElement name="Tags" id="0x1254C367">
      <MasterElement name="Tag" id="0x7373">
        <MasterElement name="SimpleTag" id="0x67C8">
          <UnicodeElement name="TagName" id="0x45A3"/>
          <UnicodeElement name="TagString" id="0x4487"/>
        </MasterElement>
      </MasterElement>
    </MasterElement>
    </Schema>""",
    name="call-archive",
)
"""The elements that are read, from ebmlite's matroska.xml: loading all of that takes longer than
any other import here. ebmlite passes over what the schema does not name.
"""
_DEFAULT_TIMESTAMP_SCALE_NS = 1_000_000
_BLOCK_HEAD_BYTES = 4
"""Track number (one byte, with its marker), signed 16-bit timestamp, flags."""
_LACING = 0x06
_FAULT_CODE = re.compile(r"[A-Za-z0-9_]{1,64}")
_READ_VALUES = frozenset(("TagName", "TagString", "TrackNumber", "Name", "TimecodeScale"))
NUMBER_TAG = "AWS_KINESISVIDEO_FRAGMENT_NUMBER"
SERVER_TIMESTAMP_TAG = "AWS_KINESISVIDEO_SERVER_TIMESTAMP"
SERVER_SIDE_TIMESTAMP_TAG = "AWS_KINESISVIDEO_SERVER_SIDE_TIMESTAMP"
VARYING_TAGS = frozenset(
    (
        NUMBER_TAG,
        SERVER_TIMESTAMP_TAG,
        SERVER_SIDE_TIMESTAMP_TAG,
        "AWS_KINESISVIDEO_PRODUCER_TIMESTAMP",
        "AWS_KINESISVIDEO_PRODUCER_SIDE_TIMESTAMP",
        "AWS_KINESISVIDEO_MILLIS_BEHIND_NOW",
        "AWS_KINESISVIDEO_CONTINUATION_TOKEN",
    )
)
"""Tags that differ from fragment to fragment; KVS's own spelling, and that of its documentation."""

_BLOCK_ID = 0xA1
_DESCRIPTION_IDS = frozenset((ElementId.INFO, ElementId.TRACKS, ElementId.TAGS))

_LEGACY_NAMES = frozenset(("", "Track_audio/L16"))


def decode_tags(fragment: Fragment) -> Iterator[tuple[str, str]]:
    """Name and text of every SimpleTag, nested ones too, in document order.

    Raises:
        MediaError: a Tags element is malformed.
    """
    return ((tag.name, tag.text) for tag in read_tags(fragment))


def decode_track_names(fragment: Fragment) -> Mapping[int, str]:
    """Track number → Name of every TrackEntry; empty if there is no Tracks element.

    Raises:
        MediaError: a Tracks element is malformed.
    """
    names: dict[int, str] = {}
    for element in fragment.elements:
        if element.id == ElementId.TRACKS:
            names.update(_decode_tracks(fragment.document[element.start : element.end]))
    return names


def check_description(fragment: Fragment) -> None:
    """Refuses a fragment with more small elements than any producer sends."""
    description_bytes = sum(
        element.end - element.start
        for element in fragment.elements
        if element.id in _DESCRIPTION_IDS
    )
    if description_bytes > MAX_DESCRIPTION_BYTES:
        raise MediaError(
            Code.FRAGMENT_TOO_LARGE,
            f"its Tags, Tracks and Info have more than {MAX_DESCRIPTION_BYTES} bytes: "
            "Connect sends far fewer, so look for another producer of the stream",
        )


class PlacedSpan(NamedTuple):
    """The places of a span's time and frames in a document.

    Attributes:
        timestamp: the Cluster's Timestamp.
        from_ns: where the span starts, after the Cluster's Timestamp.
        to_ns: where it ends.
        read_frames: takes its frames out of a document.
    """

    direction: Direction
    timestamp: slice
    scale_ns: int
    from_ns: int
    to_ns: int
    read_frames: Callable[[bytes], tuple[bytes, ...]]


def place_spans(fragment: Fragment) -> Iterator[PlacedSpan]:
    """Where the audio of every known track is, span by span, in document order.

    Raises:
        MediaError: there is audio whose time or whose direction is unknown, or a
            block is malformed.
    """
    directions: Directions | None = None
    scale_ns = _timestamp_scale_ns(fragment)
    timestamp: slice | None = None
    grouped = iter(range(MAX_FRAGMENT_ELEMENTS))
    for element in fragment.elements:
        if element.id == ElementId.CLUSTER:
            timestamp = None
        elif element.id == ElementId.TIMESTAMP:
            timestamp = _timestamp_place(element)
        elif element.id in (ElementId.SIMPLE_BLOCK, ElementId.BLOCK_GROUP):
            if timestamp is None:
                raise MediaError(Code.NO_CLUSTER_TIMESTAMP, "audio comes before its Cluster's time")
            if directions is None:
                directions = decode_directions(fragment)
            row = (
                element
                if element.id == ElementId.SIMPLE_BLOCK
                else _block_of(fragment, element, grouped)
            )
            for direction, from_ns, to_ns, frames in _plan_row(fragment, row, directions, scale_ns):
                yield PlacedSpan(
                    direction, timestamp, scale_ns, from_ns, to_ns, _build_frames_reader(frames)
                )


def _build_frames_reader(frames: list[slice]) -> Callable[[bytes], tuple[bytes, ...]]:
    """Takes all frames out of a document at once, in less time than one slice after the other."""
    position = 0
    layout = ["<"]
    for frame in frames:
        layout.append(f"{frame.start - position}x{frame.stop - frame.start}s")
        position = frame.stop
    return struct.Struct("".join(layout)).unpack_from


def _timestamp_place(element: Element) -> slice:
    if element.end - element.start > MAX_UINT_BYTES:
        raise MediaError(
            Code.MALFORMED_ELEMENT, f"a Cluster's Timestamp has more than {MAX_UINT_BYTES} bytes"
        )
    return slice(element.start, element.end)


type Directions = tuple[tuple[int, Direction], ...]
"""Track numbers and whose voice they hold."""


def decode_directions(fragment: Fragment) -> Directions:
    """Track numbers and whose voice they hold, from the Tracks element.

    A track without a name or with the legacy name is the customer's if it is the only one. Tracks
    with other names are left out if another track is named as the customer's.

    Raises:
        MediaError: there is no Tracks element, two tracks claim one direction, or no name of
            several identifies the customer's track.
    """
    names = decode_track_names(fragment)
    if not names:
        raise MediaError(Code.NO_TRACKS, "there is audio, but no Tracks element that says whose")
    if len(names) == 1 and set(names.values()) <= _LEGACY_NAMES:
        return ((next(iter(names)), Direction.FROM_CUSTOMER),)
    directions = {
        number: Direction(name) for number, name in names.items() if name in list(Direction)
    }
    if len(set(directions.values())) < len(directions):
        raise MediaError(Code.AMBIGUOUS_TRACKS, "two tracks have the same Name")
    if len(directions) < len(names) and Direction.FROM_CUSTOMER not in directions.values():
        raise MediaError(Code.UNKNOWN_TRACKS, "none of several tracks is named as the customer's")
    return tuple(directions.items())


def leaves_tracks_out(fragment: Fragment) -> bool:
    """Whether a track's name does not say whose voice it holds."""
    return len(decode_directions(fragment)) < len(decode_track_names(fragment))


def head_columns(row: Element) -> Iterator[slice]:
    """The four header bytes of every block of a row, as columns."""
    rest = (row.blocks - 1) * row.stride + 1
    for place in range(row.start, min(row.start + _BLOCK_HEAD_BYTES, row.end)):
        yield slice(place, place + rest, row.stride or 1)


def _plan_row(
    fragment: Fragment, row: Element, directions: Directions, scale_ns: int
) -> Iterator[tuple[Direction, int, int, list[slice]]]:
    """The spans of a row: direction, start and end after the Cluster in ns, frames' places."""
    block_bytes = row.end - row.start
    if block_bytes < _BLOCK_HEAD_BYTES:
        raise MediaError(Code.MALFORMED_BLOCK, "a SimpleBlock is shorter than its header")
    numbers, high, low, flags = (fragment.document[column] for column in head_columns(row))
    by_number = dict(directions)
    frame_bytes = (block_bytes - _BLOCK_HEAD_BYTES) // SAMPLE_BYTES * SAMPLE_BYTES
    frame_ns = frame_bytes // SAMPLE_BYTES * SAMPLE_NS
    planned: dict[Direction, list[tuple[int, list[slice]]]] = {}
    for index in range(row.blocks):
        if not numbers[index] & 0x80 or flags[index] & _LACING:
            raise MediaError(
                Code.MALFORMED_BLOCK, "a SimpleBlock is laced, or its track is over 127"
            )
        direction = by_number.get(numbers[index] & 0x7F)
        if direction is None or not frame_bytes:
            continue
        relative = int.from_bytes((high[index], low[index]), signed=True) * scale_ns
        spans = planned.setdefault(direction, [])
        if not spans or spans[-1][0] + len(spans[-1][1]) * frame_ns != relative:
            spans.append((relative, []))
        first = row.start + index * row.stride + _BLOCK_HEAD_BYTES
        spans[-1][1].append(slice(first, first + frame_bytes))
    for direction, spans in planned.items():
        for start_ns, frames in spans:
            yield direction, start_ns, start_ns + len(frames) * frame_ns, frames


def _timestamp_scale_ns(fragment: Fragment) -> int:
    for element in fragment.elements:
        if element.id == ElementId.INFO:
            return _decode_timestamp_scale_ns(fragment.document[element.start : element.end])
    return _DEFAULT_TIMESTAMP_SCALE_NS


def decode_number(text: bytes) -> int | None:
    """A tag's fragment number; None if it is not one."""
    digits = text.rstrip(b"\0")
    if not digits.isdigit() or len(digits) > MAX_FRAGMENT_NUMBER_DIGITS:
        return None
    return int(digits)


def decode_milliseconds(text: bytes) -> int | None:
    """`1726677687.758`, seconds since the epoch → milliseconds."""
    seconds, _, fraction = text.rstrip(b"\0").partition(b".")
    digits = seconds + fraction[:3].ljust(3, b"0")
    if not seconds or not digits.isdigit() or len(digits) > MAX_TIME_DIGITS:
        return None
    return int(digits)


def decode_fault_code(tags: Mapping[str, str]) -> str:
    """The code of an error document, in either of the two families that KVS uses."""
    code = (
        tags.get("AWS_KINESISVIDEO_ERROR_ID")
        or tags.get("AWS_KINESISVIDEO_EXCEPTION_ERROR_CODE")
        or tags.get("AWS_KINESISVIDEO_ERROR_CODE")
        or ("UNNAMED" if "AWS_KINESISVIDEO_EXCEPTION_MESSAGE" in tags else "")
    )
    return code if not code or _FAULT_CODE.fullmatch(code) else "UNKNOWN"


class SmallElement(NamedTuple):
    """An element as ebmlite decoded it: its children, or its value if that is needed.

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
        """The values of the children by name; the last one if a name repeats."""
        return {child.name: child.value for child in self.children}

    def text(self, name: str) -> str:
        """A string child's text; ebmlite ends it at the first NUL (RFC 8794 section 13)."""
        value = self.child_values.get(name, "")
        return value if isinstance(value, str) else ""


class Tag(NamedTuple):
    """A SimpleTag; `place` is its string's, in the document."""

    name: str
    text: str
    place: slice


def read_tags(fragment: Fragment) -> Iterator[Tag]:
    """Every SimpleTag of a fragment, nested ones too, in document order."""
    count = 0
    for element in fragment.elements:
        if element.id == ElementId.TAGS:
            for tag in _parse(fragment.document[element.start : element.end]):
                for found in _simple_tags(tag, element.start):
                    yield found
                    count += 1
                    if count > MAX_TAGS_PER_FRAGMENT:
                        raise MediaError(Code.MALFORMED_TAGS, f"over {MAX_TAGS_PER_FRAGMENT} tags")


def _simple_tags(element: SmallElement, offset: int) -> Iterator[Tag]:
    if element.name == "SimpleTag":
        strings = [child for child in element.children if child.name == "TagString"]
        places = [slice(offset + string.start, offset + string.end) for string in strings]
        place = places[-1] if places else slice(0, 0)
        yield Tag(element.text("TagName"), element.text("TagString"), place)
    for child in element.children:
        yield from _simple_tags(child, offset)


@lru_cache(maxsize=64)
def _decode_tracks(body: bytes) -> Mapping[int, str]:
    """Track number → Name of every TrackEntry in the body of a Tracks element."""
    names: dict[int, str] = {}
    for entry in _parse(body):
        if entry.name == "TrackEntry":
            number = entry.child_values.get("TrackNumber")
            if not isinstance(number, int):
                raise MediaError(Code.MALFORMED_TRACKS, "a TrackEntry has no TrackNumber")
            names[number] = entry.text("Name")
    return names


@lru_cache(maxsize=64)
def _decode_timestamp_scale_ns(body: bytes) -> int:
    """The TimestampScale in the body of an Info element, in ns (RFC 9559 5.1.2.9)."""
    for child in _parse(body):
        if child.name == "TimecodeScale" and isinstance(child.value, int) and child.value:
            return child.value
    return _DEFAULT_TIMESTAMP_SCALE_NS


def _block_of(fragment: Fragment, group: Element, allowance: Iterator[int]) -> Element:
    """The Block in a BlockGroup, as its own row: its header is a SimpleBlock's."""
    for child in _parse(fragment.document[group.start : group.end], allowance):
        if child.id == _BLOCK_ID:
            return Element(
                ElementId.SIMPLE_BLOCK, group.start + child.start, group.start + child.end, 1, 1
            )
    raise MediaError(Code.MALFORMED_BLOCK, "a BlockGroup has no Block")


def _parse(body: bytes, allowance: Iterator[int] | None = None) -> tuple[SmallElement, ...]:
    """The elements in the body of a small master element.

    Args:
        body: bounded by the caller, unless an allowance is given.
        allowance: yields once for each element that may be decoded.

    Raises:
        MediaError: an element overruns its parent, there are too many, or ebmlite cannot decode
            one.
    """
    try:
        return _read_children(_SCHEMA.loads(body), len(body), 0, allowance or repeat(0))
    except (OSError, TypeError, ValueError, struct.error) as error:
        raise MediaError(Code.MALFORMED_ELEMENT, f"ebmlite cannot decode it: {error}") from error


def _read_children(
    parent: Any,  # noqa: ANN401 - ebmlite has no types
    end: int,
    depth: int,
    allowance: Iterator[int],
) -> tuple[SmallElement, ...]:
    if depth > MAX_ELEMENT_DEPTH:
        raise MediaError(
            Code.MALFORMED_ELEMENT, f"elements are nested over {MAX_ELEMENT_DEPTH} deep"
        )
    elements = []
    for child in parent:
        if next(allowance, None) is None:
            raise MediaError(
                Code.FRAGMENT_TOO_LARGE,
                f"its BlockGroups have over {MAX_FRAGMENT_ELEMENTS} elements",
            )
        element_id: int = child.id
        is_master = isinstance(child, ebmlite.core.MasterElement)
        if is_master and _has_unknown_size(child):
            # RFC 9559 allows it for Segment and Cluster only.
            raise MediaError(Code.MALFORMED_ELEMENT, f"a {child.name} of unknown size")
        start, child_end = child.payloadOffset, child.payloadOffset + child.size
        if child_end > end:
            raise MediaError(Code.MALFORMED_ELEMENT, "an element is larger than its parent")
        children = _read_children(child, child_end, depth + 1, allowance) if is_master else ()
        value = child.value if child.name in _READ_VALUES else None
        elements.append(
            SmallElement(element_id, str(child.name), start, child_end, value, children)
        )
    return tuple(elements)


def _has_unknown_size(master: Any) -> bool:  # noqa: ANN401 - ebmlite has no types
    """Whether every bit of its data size is 1; ebmlite would look for its end by the schema."""
    head_bytes = master.payloadOffset - master.offset
    master.stream.seek(master.offset)
    head: bytes = master.stream.read(head_bytes)
    size_bytes: int = head_bytes - (master.id.bit_length() + 7) // 8
    size = int.from_bytes(head[-size_bytes:])
    return size == (1 << (7 * size_bytes + 1)) - 1
