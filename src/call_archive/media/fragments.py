"""Bytes as they arrive → one Fragment per EBML document, framed by declared sizes; no I/O.

KVS sends every fragment as its own EBML document: EBML header, Segment (mostly of unknown
size), and in it Tags, Tracks and Clusters. The reader never searches for patterns: each element
begins at the end of the one before it, so audio that looks like an element header is never read as
one. A fragment is complete at the next EBML header or at the end of the body, not before.

Any split of the same bytes into reads gives the same fragments. Bytes that are not EBML raise
MediaError, and nothing else.

Sources: RFC 8794 (EBML) sections 4-6, RFC 9559 (Matroska); the layout is KVS's own.
"""

from collections.abc import Iterable, Iterator
from enum import IntEnum, StrEnum
from operator import itemgetter
from typing import NamedTuple

from call_archive.errors import MediaError
from call_archive.limits import MAX_FRAGMENT_BYTES, MAX_FRAGMENT_ELEMENTS
from call_archive.reasons import Code


class ElementId(IntEnum):
    """The element IDs that framing and decoding know, with their marker bits (RFC 9559)."""

    EBML = 0x1A45DFA3
    SEGMENT = 0x18538067
    INFO = 0x1549A966
    TRACKS = 0x1654AE6B
    TAGS = 0x1254C367
    CLUSTER = 0x1F43B675
    TIMESTAMP = 0xE7
    SIMPLE_BLOCK = 0xA3
    BLOCK_GROUP = 0xA0


_ID_LENGTH = bytes([0] + [9 - first.bit_length() for first in range(1, 256)])
"""Length of an element ID or data size by its first byte; 0 if that byte starts neither."""

_EBML_MAGIC = b"\x1a\x45\xdf\xa3"
_MAX_ID_BYTES = 4
_HEAD_BYTES = 12
"""The longest element head: an ID of 4 bytes and a data size of 8."""

_REMEMBERED_SHAPES = 8
"""A call's fragments differ in their number of blocks, and occasionally by a tag."""

_ROW_STEP_BLOCKS = 64
"""Blocks compared at a time: more than a second of two tracks, but never a whole body."""


class Element(NamedTuple):
    """One element of a fragment, or a row of SimpleBlocks of equal size.

    `start` and `end` bound the element's body within the document; for a row, the body of its
    first block, and the others follow `stride` bytes apart.
    """

    id: int
    start: int
    end: int
    blocks: int = 1
    stride: int = 0


class Ending(StrEnum):
    """How certain it is that a fragment's bytes are complete."""

    WHOLE = "whole"
    """Another EBML header followed, or every declared size was filled."""

    OPEN = "open"
    """The body ended between two elements, where an unknown size allows it to."""

    TRUNCATED = "truncated"
    """The body ended inside an element."""


class Shape:
    """The positions of a document's elements. Documents that are alike share one Shape object.

    Attributes:
        elements: the children of its Segments and Clusters in document order, complete ones
            only; a Cluster is followed by its children.
        end: the document's length in bytes.
    """

    __slots__ = ("_hash", "_heads", "_read_heads", "elements", "end")

    def __init__(self, document: bytes, elements: tuple[Element, ...]) -> None:
        self.elements = elements
        self.end = len(document)
        self._read_heads = itemgetter(*_head_slices(elements), slice(0, 0))
        self._heads = self._read_heads(document)
        self._hash = hash((self.end, len(elements)))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Shape) and self.elements == other.elements and (self.end == other.end)
        )

    def __hash__(self) -> int:
        return self._hash

    def fits(self, document: bytes) -> bool:
        """Whether every element head of the document, of the same length, is the same."""
        return bool(self._read_heads(document) == self._heads)


class Fragment(NamedTuple):
    """One EBML document and its elements.

    Attributes:
        document: its bytes.
        shape: the positions of its elements.
        offset: where in the body the document begins, in bytes.
    """

    document: bytes
    shape: Shape
    ending: Ending
    offset: int

    @property
    def elements(self) -> tuple[Element, ...]:
        """The elements, in document order."""
        return self.shape.elements


def _head_slices(elements: tuple[Element, ...]) -> Iterator[slice]:
    """The bytes between the bodies of elements: their heads, those of a row as columns."""
    position = 0
    for element in elements:
        yield slice(position, element.start)
        position = element.end
        if element.blocks > 1:
            rest = (element.blocks - 1) * element.stride
            for place in range(element.end, element.start + element.stride):
                yield slice(place, place + rest, element.stride)
            position += rest


def read_fragments(reads: Iterable[bytes]) -> Iterator[Fragment]:
    """Frames a whole body.

    Yields:
        Fragments in the body's order, including the last one, whatever its ending.

    Raises:
        MediaError: at an element that is not EBML, or that is larger than its parent or the
            limits; every fragment before it has been yielded.
    """
    reader = FragmentReader()
    for read in reads:
        reader.receive(read)
        while (fragment := reader.read_fragment()) is not None:
            yield fragment
    reader.end_body()
    while (fragment := reader.read_fragment()) is not None:
        yield fragment


class _RecentShapes:
    """The shapes of recent documents, by their length.

    Attributes:
        longest_bytes: how many bytes must have arrived before all of them can be compared.
    """

    __slots__ = ("longest_bytes", "shapes")

    def __init__(self) -> None:
        self.shapes: dict[int, Shape] = {}
        self.longest_bytes = 0

    def keep(self, document: bytes, elements: tuple[Element, ...]) -> Shape:
        """Returns the document's shape, or an equal one of a recent document."""
        known = self.shapes.get(len(document))
        if known is not None and known.elements == elements:
            return known
        if len(self.shapes) == _REMEMBERED_SHAPES:
            del self.shapes[next(iter(self.shapes))]
        shape = self.shapes[len(document)] = Shape(document, elements)
        self.longest_bytes = max(self.shapes) + len(_EBML_MAGIC)
        return shape


class _OpenParents:
    """Where the open Segment and Cluster end; None if their size is unknown."""

    __slots__ = ("cluster_end", "segment_end")

    def __init__(self) -> None:
        self.cluster_end: int | None = None
        self.segment_end: int | None = None


class FragmentReader:
    """Takes bytes in any split; gives fragments as soon as they are complete.

    Segments and Clusters are entered; every other element is skipped. That also closes them at
    the right place: if a size is unknown, the parent ends with the last element that arrives.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._offset = 0  # of the buffer's first byte in the body
        self._has_ended = False
        self._recent = _RecentShapes()
        self._start_document()

    def receive(self, read: bytes) -> None:
        """Takes the next bytes of the body."""
        self._buffer += read

    def end_body(self) -> None:
        """Marks the end of the body: the remaining bytes are a fragment, complete or not."""
        self._has_ended = True

    def read_fragment(self) -> Fragment | None:
        """The next fragment, or None for "more bytes please".

        Raises:
            MediaError: the bytes are not EBML, or exceed the limits.
        """
        if not self._position:
            if (alike := self._read_alike()) is not None:
                return alike
            if len(self._buffer) < self._recent.longest_bytes and not self._has_ended:
                return None
        if self._walk():
            return self._take(Ending.WHOLE)
        if not self._has_ended or not self._buffer:
            return None
        if self._position < max(len(self._buffer), self._parent_end()):
            return self._take(Ending.TRUNCATED)
        return self._take(Ending.OPEN if self._open.segment_end is None else Ending.WHOLE)

    def _start_document(self) -> None:
        self._position = 0
        self._elements: list[Element] = []
        self._element_count = 0  # every block of a row by itself
        self._open = _OpenParents()

    def _read_alike(self) -> Fragment | None:
        """The next fragment, if all of it has arrived and it has the shape of a recent one.

        Almost every fragment of a call does. One comparison of all element heads takes 2 µs;
        walking from one head to the next takes 40.
        """
        buffer = self._buffer
        for end, shape in self._recent.shapes.items():
            if buffer[end : end + 4] == _EBML_MAGIC:
                document = bytes(memoryview(buffer)[:end])
                if shape.fits(document):
                    fragment = Fragment(document, shape, Ending.WHOLE, self._offset)
                    del buffer[:end]
                    self._offset += end
                    return fragment
        return None

    def _take(self, ending: Ending) -> Fragment:
        end = len(self._buffer) if ending is Ending.TRUNCATED else self._position
        document = bytes(memoryview(self._buffer)[:end])
        fragment = Fragment(
            document, self._recent.keep(document, tuple(self._elements)), ending, self._offset
        )
        del self._buffer[:end]
        self._offset += end
        self._start_document()
        return fragment

    def _walk(self) -> bool:
        """Continues from element to element; True at the EBML header of the next document."""
        buffer = self._buffer
        while True:
            position = self._position
            head = self._read_head(position)
            if head is None:
                return self._has_ended_at_magic(position)
            element_id, body, size = head
            if element_id == ElementId.EBML and position:
                self._check_closed(position)
                return True
            if not position and element_id != ElementId.EBML:
                raise self._bad(position, "expected an EBML header")
            if element_id == ElementId.SEGMENT:
                self._enter_segment(position, body, size)
            elif element_id == ElementId.CLUSTER:
                self._enter_cluster(position, body, size)
            else:
                if size is None:
                    raise self._bad(position, "an element of unknown size")
                end = body + size
                self._check_child(position, end)
                if end > len(buffer):
                    return False
                if element_id == ElementId.SIMPLE_BLOCK:
                    end = self._add_blocks(position, body, end)
                else:
                    self._add(Element(element_id, body, end))
                self._position = end

    def _has_ended_at_magic(self, position: int) -> bool:
        """Whether the ID of the next document's EBML header is all that arrived behind this one."""
        if not position or self._buffer[position : position + 4] != _EBML_MAGIC:
            return False
        self._check_closed(position)
        return True

    def _read_head(self, position: int) -> tuple[int, int, int | None] | None:
        """An element's ID, where its body starts and its data size (None: unknown)."""
        head = self._buffer[position : position + _HEAD_BYTES]
        if not head:
            return None
        id_length = _ID_LENGTH[head[0]]
        if not 0 < id_length <= _MAX_ID_BYTES:
            raise self._bad(position, "not an element ID")
        if len(head) <= id_length:
            return None
        size_length = _ID_LENGTH[head[id_length]]
        if not size_length:
            raise self._bad(position, "not a data size")
        body = id_length + size_length
        if len(head) < body:
            return None
        mask = (1 << (7 * size_length)) - 1
        size = int.from_bytes(head[id_length:body]) & mask
        return (
            int.from_bytes(head[:id_length]),
            position + body,
            None if size == mask else size,
        )

    def _enter_segment(self, position: int, body: int, size: int | None) -> None:
        self._check_closed(position)
        if any(element.id == ElementId.SEGMENT for element in self._elements):
            # RFC 9559 section 5.1: one per document; the EBML header before this is damaged.
            raise self._bad(position, "a second Segment")
        self._open.cluster_end = None
        self._open.segment_end = None if size is None else body + size
        self._check_size(position, self._open.segment_end or body)
        self._add(Element(ElementId.SEGMENT, body, body))
        self._position = body

    def _enter_cluster(self, position: int, body: int, size: int | None) -> None:
        end = None if size is None else body + size
        self._check_child(position, end or body)
        self._open.cluster_end = end
        self._add(Element(ElementId.CLUSTER, body, body))
        self._position = body

    def _parent_end(self) -> int:
        """Where the last parent of known size ends; 0 if there is none."""
        return max(self._open.segment_end or 0, self._open.cluster_end or 0)

    def _check_child(self, position: int, end: int) -> None:
        """Refuses an element that extends beyond the parent in which it begins."""
        for parent_end in (self._open.cluster_end, self._open.segment_end):
            if parent_end is not None and position < parent_end < end:
                raise self._bad(position, "an element larger than its parent")
        self._check_size(position, end)

    def _check_closed(self, position: int) -> None:
        """Refuses a new Segment or document inside a parent of known size."""
        if position < self._parent_end():
            raise self._bad(position, "a new document inside an element")

    def _check_size(self, position: int, end: int) -> None:
        if end > MAX_FRAGMENT_BYTES:
            raise self._too_large(position, f"{MAX_FRAGMENT_BYTES} bytes")

    def _add(self, element: Element) -> None:
        self._check_count()
        self._element_count += 1
        self._elements.append(element)

    def _check_count(self) -> None:
        """Refuses an element if the fragment already has the maximum."""
        if self._element_count >= MAX_FRAGMENT_ELEMENTS:
            raise self._too_large(self._position, f"{MAX_FRAGMENT_ELEMENTS} elements")

    def _add_blocks(self, position: int, body: int, end: int) -> int:
        """Adds a SimpleBlock and those of the same size right behind it; returns their end.

        Equal heads at equal distances are compared by slices with a step, in C: each head that
        matches is an element because the one before it ends exactly there.
        """
        self._check_count()
        stride = end - position
        head_bytes = body - position
        most = min(
            (self._row_limit(position) - position) // stride,
            MAX_FRAGMENT_ELEMENTS - self._element_count,
        )
        count = 1
        while count < most:
            step = min(_ROW_STEP_BLOCKS, most - count)
            like = self._count_alike(position + (count - 1) * stride, head_bytes, stride, step + 1)
            count += like - 1
            if like <= step:
                break
        row = Element(ElementId.SIMPLE_BLOCK, body, end, count, stride)
        before = self._elements[-1]
        if before.stride == stride and before.start + before.blocks * stride == body:
            self._elements[-1] = before._replace(blocks=before.blocks + count)
        else:
            self._elements.append(row)
        self._element_count += count
        return position + count * stride

    def _count_alike(self, position: int, head_bytes: int, stride: int, most: int) -> int:
        """How many of `most` heads, `stride` apart, are equal to the first, without a break."""
        for place in range(position, position + head_bytes):
            column = self._buffer[place : place + (most - 1) * stride + 1 : stride]
            most = len(column) - len(column.lstrip(column[:1]))
        return most

    def _row_limit(self, position: int) -> int:
        """Where the received bytes, the innermost known parent, or a fragment's limit end."""
        ends = (self._open.cluster_end, self._open.segment_end, MAX_FRAGMENT_BYTES)
        return min(len(self._buffer), *(end for end in ends if end is not None and end > position))

    def _too_large(self, position: int, most: str) -> MediaError:
        return MediaError(
            Code.FRAGMENT_TOO_LARGE,
            f"a fragment of more than {most} at byte {self._offset + position} of the body: "
            "Connect sends no such fragment, so look for another producer of the stream",
        )

    def _bad(self, position: int, what: str) -> MediaError:
        return MediaError(Code.NOT_EBML, f"{what} at byte {self._offset + position} of the body")
