"""A manifest → what is marked on a recording's time axis: one loss, one mark, one sentence.

A lost fragment leaves a gap in each track, and a number in the manifest's list of what is missing.
For a listener that is one event.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from call_archive.recording.manifest import Manifest, Place
from call_archive_cli.words import clock, count, track_name

SERVER_MS_SHIFT: Final = 28
SERVER_MS_MASK: Final = (1 << 64) - 1

SAME_MS: Final = 100
"""Two tracks' holes whose ends differ by less are one: a frame has 64 ms."""

NEAR_MS: Final = 60_000
"""A missing fragment without a gap is shown if its place is in the recording or a minute beside."""

SHORTEST_FRAGMENT_MS: Final = 1000
NAMED: Final = 3
"""Of more missing fragments than these, a sentence names the first and the last."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One mark on the time axis.

    Attributes:
        kind: lost, gap or overlap; a lost one without length left no gap.
        channels: their indexes.
        text: what it is, for a person.
    """

    kind: str
    start_ms: int
    length_ms: int
    channels: list[int]
    text: str


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Holes of one kind at one place, in one or more tracks."""

    start_ms: int
    end_ms: int
    channels: frozenset[int]
    fragments: tuple[int, ...] = ()

    @property
    def length_ms(self) -> int:
        return self.end_ms - self.start_ms


def build_marks(manifest: Manifest) -> list[Mark]:
    """Every mark, in order of time."""
    gaps, places = _with_fragments(_stretches(manifest, manifest.gaps), manifest)
    overlaps = _stretches(manifest, manifest.overlaps)
    marks = [
        *(_gap_mark(gap, manifest.tracks) for gap in gaps),
        *(_overlap_mark(overlap, manifest.tracks) for overlap in overlaps),
        *_lost_marks(places, manifest),
    ]
    return sorted(marks, key=lambda mark: mark.start_ms)


def summary(marks: Iterable[Mark]) -> str:
    """`1 gap, 1 overlap`, or `no gaps`."""
    kinds = [mark.kind for mark in marks]
    names = {"lost": "place with lost audio", "gap": "gap", "overlap": "overlap"}
    parts = [count(kinds.count(kind), name) for kind, name in names.items() if kind in kinds]
    return ", ".join(parts).replace("place with lost audios", "places with lost audio") or "no gaps"


def _stretches(manifest: Manifest, holes: Sequence[Place]) -> list[_Stretch]:
    """Holes that all tracks share are one stretch."""
    found: list[_Stretch] = []
    for hole in sorted(holes, key=lambda hole: (hole.at_ms, hole.track)):
        end_ms = hole.at_ms + hole.length_ms
        channels = frozenset(
            index
            for index, track in enumerate(manifest.tracks)
            if track == hole.track or hole.track not in manifest.tracks
        )
        same = next(
            (
                place
                for place, other in enumerate(found)
                if abs(other.start_ms - hole.at_ms) < SAME_MS
                and abs(other.end_ms - end_ms) < SAME_MS
                and not other.channels & channels
            ),
            None,
        )
        if same is None:
            found.append(_Stretch(hole.at_ms, end_ms, channels))
        else:
            other = found[same]
            found[same] = _Stretch(
                min(other.start_ms, hole.at_ms),
                max(other.end_ms, end_ms),
                other.channels | channels,
            )
    return found


def _with_fragments(
    gaps: list[_Stretch], manifest: Manifest
) -> tuple[list[_Stretch], list[tuple[int, int]]]:
    """Gaps with the fragments that left them; the other fragments with their place, ms."""
    duration_ms = manifest.duration_ms
    fragment_ms = max(SHORTEST_FRAGMENT_MS, duration_ms // max(1, manifest.fragments.listed))
    rest = []
    for number in sorted(manifest.fragments.missing):
        at_ms = _place_ms(number, manifest)
        near = [
            (_distance_ms(gap, at_ms), place)
            for place, gap in enumerate(gaps)
            if len(gap.fragments) < max(1, round(gap.length_ms / fragment_ms))
            and _distance_ms(gap, at_ms) <= 2 * fragment_ms
        ]
        if near:
            place = min(near)[1]
            gaps[place] = replace(gaps[place], fragments=(*gaps[place].fragments, number))
        else:
            rest.append((at_ms, number))
    return gaps, rest


def _distance_ms(gap: _Stretch, at_ms: int) -> int:
    return max(gap.start_ms - at_ms, at_ms - gap.end_ms, 0)


def _place_ms(number: int, manifest: Manifest) -> int:
    """Where a fragment would be: as far before the last fragment as KVS received it.

    A fragment number holds the server's time in its middle bits. That is seen, not documented:
    enough to show a place, and nothing else depends on it.
    """
    duration_ms = manifest.duration_ms
    last_starts_ms = duration_ms - duration_ms // max(1, manifest.fragments.listed)
    return last_starts_ms - (_server_ms(manifest.fragments.last) - _server_ms(number))


def _server_ms(number: int) -> int:
    return number >> SERVER_MS_SHIFT & SERVER_MS_MASK


def _gap_mark(gap: _Stretch, tracks: Sequence[str]) -> Mark:
    silence = f"{_seconds(gap.length_ms)} of silence at {clock(gap.start_ms)}{_whose(gap, tracks)}"
    if not gap.fragments:
        return _mark("gap", gap, f"no audio was sent: {silence}")
    return _mark("lost", gap, f"{_fragments(gap.fragments)} not delivered: {silence}")


def _overlap_mark(overlap: _Stretch, tracks: Sequence[str]) -> Mark:
    what = f"{_seconds(overlap.length_ms)} of audio came twice at {clock(overlap.start_ms)}"
    return _mark("overlap", overlap, f"{what}{_whose(overlap, tracks)}")


def _mark(kind: str, stretch: _Stretch, text: str) -> Mark:
    return Mark(kind, stretch.start_ms, stretch.length_ms, sorted(stretch.channels), text)


def _lost_marks(places: list[tuple[int, int]], manifest: Manifest) -> Iterator[Mark]:
    """Fragments that left no gap: at the ends, or where the clock does not show them."""
    duration_ms = manifest.duration_ms
    channels = list(range(len(manifest.tracks)))
    for at_ms, number in places:
        shown_ms = min(max(at_ms, 0), duration_ms)
        where = f"about {clock(shown_ms)}" if -NEAR_MS <= at_ms <= duration_ms + NEAR_MS else ""
        text = f"{_fragments((number,))} not delivered"
        yield Mark(
            "lost", shown_ms, 0, channels, f"{text}: {where}" if where else f"{text}: place unknown"
        )


def _fragments(numbers: tuple[int, ...]) -> str:
    names = [f"…{str(number)[-4:]}" for number in numbers]
    if len(names) == 1:
        return f"fragment {names[0]} was"
    if len(names) <= NAMED:
        return f"fragments {', '.join(names[:-1])} and {names[-1]} were"
    return f"{len(names)} fragments, {names[0]} to {names[-1]}, were"


def _whose(stretch: _Stretch, tracks: Sequence[str]) -> str:
    if len(tracks) == 1 or not stretch.channels:
        return ""
    if len(stretch.channels) == len(tracks):
        return ", both sides"
    return "".join(f", {track_name(tracks[channel])} only" for channel in sorted(stretch.channels))


def _seconds(length_ms: int) -> str:
    return f"{length_ms / 1000:.3f}".rstrip("0").rstrip(".") + " s"
