"""A Segment as ebmlite gives it → the payloads of the customer's SimpleBlocks, one by one."""

from collections.abc import Iterator
from typing import Any

_BLOCK_HEAD_BYTES = 4
_TRACK_MARKER = 0x80


def customer_payloads(segment: Any) -> Iterator[bytes]:  # noqa: ANN401 - ebmlite has no types
    """Walks the Segment's children in document order; tags are read and dropped."""
    first_byte = None
    for child in segment:
        if child.name == "Tracks":
            first_byte = _TRACK_MARKER | _customer_track(child)
        elif child.name == "Cluster":
            for element in child:
                if element.name == "SimpleBlock":
                    block = element.value
                    if block[0] == first_byte:
                        yield block[_BLOCK_HEAD_BYTES:]
        elif child.name == "Tags":
            read_tags(child)


def read_tags(tags: Any) -> dict[str, str]:  # noqa: ANN401 - ebmlite has no types
    """Name and string of every SimpleTag."""
    pairs: dict[str, str] = {}
    for tag in tags:
        for simple in tag:
            if simple.name == "SimpleTag":
                values = {child.name: child.value for child in simple}
                pairs[values["TagName"]] = values["TagString"]
    return pairs


def _customer_track(tracks: Any) -> int:  # noqa: ANN401 - ebmlite has no types
    for entry in tracks:
        values = {child.name: child.value for child in entry}
        if values.get("Name") == "AUDIO_FROM_CUSTOMER":
            number: int = values["TrackNumber"]
            return number
    raise ValueError("no track from the customer")
