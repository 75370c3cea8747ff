"""A manifest → what is marked on a recording's time axis: gaps, overlaps, missing fragments."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from call_archive_cli.words import clock, count, track_name

SERVER_MS_SHIFT: Final = 28
SERVER_MS_MASK: Final = (1 << 64) - 1
NEAR_MS: Final = 60_000
"""A missing fragment's time is shown where it lies in the recording, or a minute beside it."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One mark on the time axis.

    Attributes:
        kind: gap, overlap or missing.
        channel: its index; None for all.
        text: what it is, for a person.
    """

    kind: str
    start_ms: int
    length_ms: int
    channel: int | None
    text: str


def build_marks(manifest: Mapping[str, Any]) -> list[Mark]:
    """Every mark, in order of time."""
    tracks = list(manifest["tracks"])
    marks = [
        *_holes("gap", manifest["gaps"], tracks),
        *_holes("overlap", manifest["overlaps"], tracks),
        *_missing(manifest),
    ]
    return sorted(marks, key=lambda mark: mark.start_ms)


def _holes(kind: str, holes: list[Mapping[str, Any]], tracks: list[str]) -> Iterator[Mark]:
    for hole in holes:
        channel = tracks.index(hole["track"]) if hole["track"] in tracks else None
        what = "silence put in" if kind == "gap" else "repeated audio cut"
        text = (
            f"{clock(hole['atMs'])}: {hole['lengthMs']} ms of {what}, {track_name(hole['track'])}"
        )
        yield Mark(kind, hole["atMs"], hole["lengthMs"], channel, text)


def _missing(manifest: Mapping[str, Any]) -> Iterator[Mark]:
    """Missing fragments, as far before the recording's last fragment as KVS received them.

    A fragment number holds the server's time in its middle bits. That is seen, not documented:
    enough to show a place, and nothing else depends on it.
    """
    fragments, duration_ms = manifest["fragments"], manifest["durationMs"]
    last_ms = _server_ms(fragments["last"])
    last_starts_ms = duration_ms - duration_ms // max(1, fragments["listed"])
    for number in fragments["missing"]:
        at_ms = last_starts_ms - (last_ms - _server_ms(number))
        if -NEAR_MS <= at_ms <= duration_ms + NEAR_MS:
            shown_ms = min(max(at_ms, 0), duration_ms)
            text = f"about {clock(shown_ms)}: fragment {number} is missing"
            yield Mark("missing", shown_ms, 0, None, text)


def _server_ms(number: str) -> int:
    return int(number) >> SERVER_MS_SHIFT & SERVER_MS_MASK


def summary(marks: list[Mark]) -> str:
    """`2 gaps, 1 missing fragment`, or `nothing is missing`."""
    names = {"gap": "gap", "overlap": "overlap", "missing": "missing fragment"}
    parts = [
        count(found, name)
        for kind, name in names.items()
        if (found := sum(mark.kind == kind for mark in marks))
    ]
    return ", ".join(parts) or "no gaps"
