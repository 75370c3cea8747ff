"""A producer's Matroska, as PutMedia receives it → fragments, or the error that ends the session.

Sans-IO: any split of the body gives the same events. The EBML header, the Segment, Info and Tracks
come once; then each Cluster is a fragment, and the Tags behind it belong to it. A fragment ends at
the SDKs' tag AWS_KINESISVIDEO_END_OF_FRAGMENT, at the next Cluster, or at the end of the body.

Sources: PutMedia in the KVS API reference with its error ids; the producer SDKs' error tables.
Which id a name that begins with AWS gets is not documented.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from local.encoder import (
    CLUSTER_ID,
    CRC_32_ID,
    EBML_ID,
    INFO_ID,
    POSITION_ID,
    SEEK_HEAD_ID,
    SEGMENT_ID,
    SIMPLE_BLOCK_ID,
    SIMPLE_TAG_ID,
    TAG_ID,
    TAG_NAME_ID,
    TAG_STRING_ID,
    TAGS_ID,
    TIMECODE_ID,
    TIMECODE_SCALE_ID,
    TRACK_ENTRY_ID,
    TRACK_NUMBER_ID,
    TRACKS_ID,
    VOID_ID,
)

END_OF_FRAGMENT: Final = "AWS_KINESISVIDEO_END_OF_FRAGMENT"
ERRORS: Final = {
    4000: "STREAM_READ_ERROR",
    4001: "MAX_FRAGMENT_SIZE_REACHED",
    4002: "MAX_FRAGMENT_DURATION_REACHED",
    4003: "MAX_CONNECTION_DURATION_REACHED",
    4004: "FRAGMENT_TIMECODE_LESSER_THAN_PREVIOUS",
    4006: "INVALID_MKV_DATA",
    4007: "INVALID_PRODUCER_TIMESTAMP",
    4008: "STREAM_NOT_ACTIVE",
    4009: "FRAGMENT_METADATA_LIMIT_REACHED",
    4010: "TRACK_NUMBER_MISMATCH",
    4011: "FRAMES_MISSING_FOR_TRACK",
    4012: "MORE_THAN_ALLOWED_TRACKS_FOUND",
    4500: "KMS_KEY_ACCESS_DENIED",
    4501: "KMS_KEY_DISABLED",
    4502: "KMS_KEY_VALIDATION_ERROR",
    4503: "KMS_KEY_UNAVAILABLE",
    4504: "KMS_KEY_INVALID_USAGE",
    4505: "KMS_KEY_INVALID_STATE",
    4506: "KMS_KEY_NOT_FOUND",
    5000: "INTERNAL_ERROR",
    5001: "ARCHIVAL_ERROR",
}

_MAX_FRAGMENT_BYTES: Final = 50 * 2**20
_MAX_FRAGMENT_MS: Final = 20_000
_MAX_TRACKS: Final = 3
_MAX_TAGS: Final = 10
_MAX_NAME_BYTES: Final = 128
_MAX_VALUE_BYTES: Final = 256
_MAX_HEAD_BYTES: Final = 12

_BLOCK_GROUP_ID: Final = b"\xa0"
_PREV_SIZE_ID: Final = b"\xab"
_CUES_ID: Final = b"\x1c\x53\xbb\x6b"
_IN_CLUSTER: Final = frozenset(
    (TIMECODE_ID, POSITION_ID, _PREV_SIZE_ID, SIMPLE_BLOCK_ID, _BLOCK_GROUP_ID, VOID_ID, CRC_32_ID)
)
_IN_SEGMENT: Final = frozenset(
    (SEEK_HEAD_ID, INFO_ID, TRACKS_ID, TAGS_ID, _CUES_ID, VOID_ID, CRC_32_ID)
)


class IngestError(Exception):
    """The service ends the session with this id; `timecode_ms` is the open fragment's."""

    def __init__(self, error_id: int, timecode_ms: int | None = None) -> None:
        super().__init__(ERRORS[error_id])
        self.error_id = error_id
        self.timecode_ms = timecode_ms


@dataclass(frozen=True, slots=True)
class FragmentBegun:
    """A Cluster has said when it starts."""

    timecode_ms: int


@dataclass(frozen=True, slots=True)
class FragmentEnded:
    """A whole fragment.

    Attributes:
        timecode_ms: of its Cluster.
        duration_ms: from its first to its last block.
        head: Info and Tracks, encoded.
        cluster: content of its Cluster, encoded.
        tags: the producer's Tags elements, encoded, without END_OF_FRAGMENT.
    """

    timecode_ms: int
    duration_ms: int
    head: bytes
    cluster: bytes
    tags: bytes


@dataclass(slots=True)
class _Open:
    """The fragment that is arriving."""

    timecode: int | None = None
    content: bytearray = field(default_factory=bytearray)
    tags: bytearray = field(default_factory=bytearray)
    tag_count: int = 0
    tracks: set[int] = field(default_factory=set)
    times: list[int] = field(default_factory=list)


class Ingest:
    """The state of one PutMedia body."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._has_header = False
        self._in_segment = False
        self._in_cluster = False
        self._head = bytearray()
        self._scale = 1_000_000
        self._tracks = frozenset[int]()
        self._open: _Open | None = None
        self._latest_ms = -1

    def receive(self, received: bytes) -> Iterator[FragmentBegun | FragmentEnded]:
        """What the next bytes of the body complete.

        Raises:
            IngestError: the session ends; what came before it was given out.
        """
        self._buffer += received
        while (head := self._read_head()) is not None:
            element_id, size, start = head
            if not self._has_header and element_id != EBML_ID:
                raise self._error(4006)
            if self._has_header and not self._in_segment and element_id != SEGMENT_ID:
                raise self._error(4006)
            if element_id == CLUSTER_ID:
                yield from self._close()
                self._enter_cluster(start)
            elif element_id == SEGMENT_ID and not self._in_segment:
                self._in_segment = True
                del self._buffer[:start]
            else:
                if size is None:
                    raise self._error(4006)
                if start + size > _MAX_FRAGMENT_BYTES:
                    raise self._error(4001)
                if len(self._buffer) < start + size:
                    return
                raw, content = bytes(self._buffer[: start + size]), start
                del self._buffer[: start + size]
                yield from self._take(element_id, raw, raw[content:])

    def finish(self) -> Iterator[FragmentEnded]:
        """What the end of the body completes.

        Raises:
            IngestError: nothing came, or half an element is left.
        """
        if self._buffer or not self._in_segment:
            raise self._error(4006)
        yield from self._close()

    def _error(self, error_id: int) -> IngestError:
        opened = self._open
        at = None if opened is None or opened.timecode is None else self._ms(opened.timecode)
        return IngestError(error_id, at)

    def _ms(self, units: int) -> int:
        return units * self._scale // 1_000_000

    def _read_head(self) -> tuple[bytes, int | None, int] | None:
        """ID, data size and where the content starts; None for more bytes, please."""
        buffer = self._buffer
        if not buffer:
            return None
        id_bytes = 9 - buffer[0].bit_length()
        if id_bytes > 4:
            raise self._error(4006)
        if len(buffer) <= id_bytes:
            return None
        size_bytes = 9 - buffer[id_bytes].bit_length()
        if size_bytes > 8:
            raise self._error(4006)
        start = id_bytes + size_bytes
        if len(buffer) < start:
            return None
        marker = 1 << (7 * size_bytes)
        size = int.from_bytes(buffer[id_bytes:start], "big") - marker
        return bytes(buffer[:id_bytes]), None if size == marker - 1 else size, start

    def _enter_cluster(self, start: int) -> None:
        if not self._tracks:
            raise self._error(4006)
        del self._buffer[:start]
        self._in_cluster = True
        self._open = _Open()

    def _take(
        self, element_id: bytes, raw: bytes, content: bytes
    ) -> Iterator[FragmentBegun | FragmentEnded]:
        if not self._has_header:
            self._has_header = True
        elif self._in_cluster and element_id in _IN_CLUSTER:
            yield from self._take_media(element_id, raw, content)
        elif element_id in _IN_SEGMENT:
            self._in_cluster = False
            yield from self._take_of_segment(element_id, raw, content)
        else:
            # A second EBML header or Segment, for one.
            raise self._error(4006)

    def _take_media(self, element_id: bytes, raw: bytes, content: bytes) -> Iterator[FragmentBegun]:
        fragment = self._open
        if fragment is None:
            raise self._error(4006)
        fragment.content += raw
        if len(fragment.content) > _MAX_FRAGMENT_BYTES:
            raise self._error(4001)
        if element_id == TIMECODE_ID:
            fragment.timecode = int.from_bytes(content, "big")
            at_ms = self._ms(fragment.timecode)
            if at_ms <= self._latest_ms:
                raise self._error(4004)
            yield FragmentBegun(at_ms)
        elif element_id == SIMPLE_BLOCK_ID:
            self._take_block(fragment, content)

    def _take_block(self, fragment: _Open, content: bytes) -> None:
        if fragment.timecode is None or len(content) < 4:
            raise self._error(4006)
        width = 9 - content[0].bit_length()
        track = int.from_bytes(content[:width], "big") - (1 << (7 * width))
        if track not in self._tracks:
            raise self._error(4010)
        offset = int.from_bytes(content[width : width + 2], "big", signed=True)
        fragment.tracks.add(track)
        fragment.times.append(self._ms(fragment.timecode + offset))
        if max(fragment.times) - min(fragment.times) > _MAX_FRAGMENT_MS:
            raise self._error(4002)

    def _take_of_segment(
        self, element_id: bytes, raw: bytes, content: bytes
    ) -> Iterator[FragmentEnded]:
        if element_id == TAGS_ID:
            yield from self._take_tags(raw, content)
        elif element_id == INFO_ID:
            self._head += raw
            for child, value in _children(content):
                if child == TIMECODE_SCALE_ID:
                    self._scale = int.from_bytes(value, "big")
        elif element_id == TRACKS_ID:
            self._head += raw
            self._tracks = frozenset(
                int.from_bytes(value, "big")
                for entry, fields in _children(content)
                if entry == TRACK_ENTRY_ID
                for child, value in _children(fields)
                if child == TRACK_NUMBER_ID
            )
            if len(self._tracks) > _MAX_TRACKS:
                raise self._error(4012)

    def _take_tags(self, raw: bytes, content: bytes) -> Iterator[FragmentEnded]:
        fragment = self._open
        if fragment is None:
            # In front of every Cluster: of no fragment.
            return
        pairs = list(_tag_pairs(content))
        if [name for name, _ in pairs] == [END_OF_FRAGMENT]:
            yield from self._close()
            return
        fragment.tag_count += len(pairs)
        fragment.tags += raw
        if fragment.tag_count > _MAX_TAGS or not all(
            len(name.encode()) <= _MAX_NAME_BYTES
            and len(value.encode()) <= _MAX_VALUE_BYTES
            and not name.upper().startswith("AWS")
            for name, value in pairs
        ):
            raise self._error(4009)

    def _close(self) -> Iterator[FragmentEnded]:
        fragment = self._open
        if fragment is None:
            return
        if fragment.timecode is None:
            raise self._error(4006)
        if fragment.tracks != self._tracks:
            raise self._error(4011)
        self._latest_ms = max(fragment.times)
        yield FragmentEnded(
            self._ms(fragment.timecode),
            max(fragment.times) - min(fragment.times),
            bytes(self._head),
            bytes(fragment.content),
            bytes(fragment.tags),
        )
        self._open = None


def _children(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """ID and content of each element in a master element's content."""
    at = 0
    while at < len(content):
        id_bytes = 9 - content[at].bit_length()
        size_at = at + id_bytes
        if id_bytes > 4 or size_at >= len(content):
            raise IngestError(4006)
        size_bytes = 9 - content[size_at].bit_length()
        start = size_at + size_bytes
        size = int.from_bytes(content[size_at:start], "big") & ((1 << (7 * size_bytes)) - 1)
        if size_bytes > 8 or start + size > len(content):
            raise IngestError(4006)
        yield content[at:size_at], content[start : start + size]
        at = start + size


def _tag_pairs(content: bytes) -> Iterator[tuple[str, str]]:
    for tag, simple_tags in _children(content):
        if tag != TAG_ID:
            continue
        for simple_tag, fields in _children(simple_tags):
            if simple_tag != SIMPLE_TAG_ID:
                continue
            texts = {child: _text(value) for child, value in _children(fields)}
            yield texts.get(TAG_NAME_ID, ""), texts.get(TAG_STRING_ID, "")


def _text(value: bytes) -> str:
    try:
        return value.partition(b"\0")[0].decode()
    except UnicodeDecodeError as error:
        raise IngestError(4006) from error
