"""A producer's Matroska, as PutMedia takes it: one head for a request, one Cluster for a fragment.

Written as Amazon Connect's streams look: two audio tracks that differ by their names,
`A_AAC` over raw PCM, each contact tag in its own Tags element behind the Cluster. The tag
AWS_KINESISVIDEO_END_OF_FRAGMENT closes a fragment at once, as AWS's producer SDKs do it.

Sources: EBML in RFC 8794, Matroska in RFC 9559; PutMedia in the KVS API reference.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

FROM_CUSTOMER: Final = "AUDIO_FROM_CUSTOMER"
TO_CUSTOMER: Final = "AUDIO_TO_CUSTOMER"
TRACK_NUMBERS: Final = {FROM_CUSTOMER: 1, TO_CUSTOMER: 2}

_UNKNOWN_SIZE: Final = b"\x01\xff\xff\xff\xff\xff\xff\xff"
_AUDIO: Final = 2
_AAC: Final = b"\x11\x90"
_KEYFRAME: Final = b"\x80"
_APPLICATION: Final = "call-archive rehearsal"


class Block(NamedTuple):
    """A SimpleBlock: its track, milliseconds from the start of its Cluster, samples."""

    track: int
    offset_ms: int
    pcm: bytes


def build_head(segment_uid: bytes) -> bytes:
    """EBML header, Segment, Info and Tracks: once a request."""
    header = b"".join(
        (
            _uint(b"\x42\x86", 1),
            _uint(b"\x42\xf7", 1),
            _uint(b"\x42\xf2", 4),
            _uint(b"\x42\xf3", 8),
            _text(b"\x42\x82", "matroska"),
            _uint(b"\x42\x87", 2),
            _uint(b"\x42\x85", 2),
        )
    )
    information = b"".join(
        (
            _element(b"\x73\xa4", segment_uid),
            _uint(b"\x2a\xd7\xb1", 1_000_000),
            _text(b"\x4d\x80", _APPLICATION),
            _text(b"\x57\x41", _APPLICATION),
        )
    )
    entries = b"".join(_track_entry(number, name) for name, number in TRACK_NUMBERS.items())
    return b"".join(
        (
            _element(b"\x1a\x45\xdf\xa3", header),
            b"\x18\x53\x80\x67" + _UNKNOWN_SIZE,
            _element(b"\x15\x49\xa9\x66", information),
            _element(b"\x16\x54\xae\x6b", entries),
        )
    )


def build_fragment(timecode_ms: int, blocks: Iterable[Block], tags: Mapping[str, str]) -> bytes:
    """A Cluster and the Tags that belong to it; `timecode_ms` is since the epoch."""
    return b"".join(
        (
            b"\x1f\x43\xb6\x75" + _UNKNOWN_SIZE,
            _element(b"\xe7", timecode_ms.to_bytes(8, "big")),
            *(_simple_block(block) for block in blocks),
            *(_tags(name, value) for name, value in tags.items()),
            _tags("AWS_KINESISVIDEO_END_OF_FRAGMENT", ""),
        )
    )


def _track_entry(number: int, name: str) -> bytes:
    return _element(
        b"\xae",
        b"".join(
            (
                _uint(b"\xd7", number),
                _uint(b"\x73\xc5", number),
                _uint(b"\x83", _AUDIO),
                _text(b"\x53\x6e", name),
                _text(b"\x86", "A_AAC"),
                _element(b"\x63\xa2", _AAC),
            )
        ),
    )


def _simple_block(block: Block) -> bytes:
    head = _size(block.track) + block.offset_ms.to_bytes(2, "big", signed=True) + _KEYFRAME
    return _element(b"\xa3", head + block.pcm)


def _tags(name: str, value: str) -> bytes:
    simple_tag = _text(b"\x45\xa3", name) + _text(b"\x44\x87", value)
    return _element(b"\x12\x54\xc3\x67", _element(b"\x73\x73", _element(b"\x67\xc8", simple_tag)))


def _element(element_id: bytes, content: bytes) -> bytes:
    return element_id + _size(len(content)) + content


def _uint(element_id: bytes, value: int) -> bytes:
    return _element(element_id, value.to_bytes(max(1, -(-value.bit_length() // 8)), "big"))


def _text(element_id: bytes, text: str) -> bytes:
    return _element(element_id, text.encode())


def _size(size: int) -> bytes:
    # All ones mean "unknown" (RFC 8794 section 6.2), so the largest value of a width is not a size.
    width = max(1, -(-(size + 1).bit_length() // 7))
    return (size | 1 << (7 * width)).to_bytes(width, "big")
