"""A Matroska document as ebmlite reads it: an independent opinion on what the encoder wrote."""

from dataclasses import dataclass
from io import BytesIO
from typing import Any

import ebmlite

_SCHEMA = ebmlite.loadSchema("matroska.xml")


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """Level-1 element names in order, and what the tests ask about.

    Attributes:
        names: names of the Segment's children.
        timecode_scale: of Info, None without Info.
        tracks: TrackNumber → Name, in the order of the entries.
        tags: (name, value) of every SimpleTag, in order.
        clusters: (Timecode, [(track, offset, payload)]).
        cluster_names: names of the children of each Cluster.
    """

    names: list[str]
    timecode_scale: int | None
    tracks: dict[int, str | None]
    codecs: list[tuple[str, bytes]]
    tags: list[tuple[str, str]]
    clusters: list[tuple[int, list[tuple[int, int, bytes]]]]
    cluster_names: list[list[str]]

    def payload(self, track_name: str) -> bytes:
        """All payloads of the track of this name."""
        numbers = [number for number, name in self.tracks.items() if name == track_name]
        return b"".join(
            payload
            for _, blocks in self.clusters
            for track, _, payload in blocks
            if track in numbers
        )

    def tag(self, name: str) -> str | None:
        """The value of the first tag of this name."""
        return next((value for tag, value in self.tags if tag == name), None)


def parse(document: bytes) -> ParsedDocument:
    """Reads a document of one Segment; every element must be one that the schema knows."""
    segments = [root for root in _SCHEMA.load(BytesIO(document)) if root.name == "Segment"]
    assert len(segments) == 1
    children = list(segments[0])
    clusters = [list(child) for child in children if child.name == "Cluster"]
    return ParsedDocument(
        names=[child.name for child in children],
        timecode_scale=next((e.value for e in _find(children, "Info", "TimecodeScale")), None),
        tracks={
            _value(entry, "TrackNumber"): _value(entry, "Name")
            for entry in _find(children, "Tracks", "TrackEntry")
        },
        codecs=[
            (_value(entry, "CodecID"), bytes(_value(entry, "CodecPrivate") or b""))
            for entry in _find(children, "Tracks", "TrackEntry")
        ],
        tags=[
            (_value(simple, "TagName"), _value(simple, "TagString"))
            for tag in _find(children, "Tags", "Tag")
            for simple in _find([tag], "Tag", "SimpleTag")
        ],
        clusters=[
            (
                next(e.value for e in elements if e.name == "Timecode"),
                [_block(bytes(e.value)) for e in elements if e.name == "SimpleBlock"],
            )
            for elements in clusters
        ],
        cluster_names=[[element.name for element in elements] for elements in clusters],
    )


def _find(elements: list[Any], parent: str, name: str) -> list[Any]:
    return [e for master in elements if master.name == parent for e in master if e.name == name]


def _value(master: Any, name: str) -> Any:
    return next((element.value for element in master if element.name == name), None)


def _block(content: bytes) -> tuple[int, int, bytes]:
    # Track number of one byte, signed timecode of two, flags of one.
    assert content[0] & 0x80
    return content[0] & 0x7F, int.from_bytes(content[1:3], "big", signed=True), content[4:]
