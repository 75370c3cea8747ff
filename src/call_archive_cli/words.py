"""A manifest and its figures in words and lines, for a person."""

from collections.abc import Iterator, Sequence
from typing import Final

from rich.table import Table

from call_archive.moments import format_utc
from call_archive.recording.manifest import Manifest, Place

MS_PER_MINUTE: Final = 60_000
_TRACK_NAMES: Final = {
    "AUDIO_FROM_CUSTOMER": "the customer",
    "AUDIO_TO_CUSTOMER": "what the customer hears",
}


def clock(duration_ms: int) -> str:
    """A length of time as H:MM:SS.mmm, without hours if there are none."""
    minutes, rest_ms = divmod(duration_ms, MS_PER_MINUTE)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{rest_ms // 1000:02}.{rest_ms % 1000:03}"
    return f"{hours}:{minutes:02}:{seconds}" if hours else f"{minutes}:{seconds}"


def count(number: int, noun: str) -> str:
    """`1 gap`, `2 gaps`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def track_name(direction: str) -> str:
    """Whose voice a track holds."""
    return _TRACK_NAMES.get(direction, direction)


def manifest_lines(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """The content of a manifest, as pairs of a heading and a text."""
    counts = manifest.fragments
    yield "contact", manifest.contact_id
    yield "recording", manifest.recording_uri
    yield "started", format_utc(manifest.started_at_ms)
    yield "length", f"{clock(manifest.duration_ms)} ({manifest.size_bytes:,} bytes)"
    yield "channels", ", ".join(map(track_name, manifest.tracks))
    yield "complete", "yes" if manifest.is_complete else "NO"
    for reason in manifest.reasons:
        yield "because", reason
    refused = f"{counts.foreign:,} of other contacts, {counts.untagged:,} untagged"
    accepted = f"{counts.accepted:,} of {counts.listed:,} listed"
    yield "fragments", f"{accepted}; refused: {refused}"
    if counts.missing:
        yield "missing", ", ".join(map(str, counts.missing))
    yield "gaps", _places(manifest.gaps)
    yield "overlaps", _places(manifest.overlaps)
    yield "sha256", manifest.sha256
    archived_at = format_utc(manifest.archived_at_ms)
    yield "archived", f"{archived_at} by {manifest.software} ({manifest.trigger})"


def manifest_table(manifest: Manifest) -> Table:
    """The lines of a manifest as a table without rules."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", justify="right")
    table.add_column(overflow="fold")
    for heading, text in manifest_lines(manifest):
        table.add_row(heading, text)
    return table


def _places(places: Sequence[Place]) -> str:
    if not places:
        return "none"
    total_ms = sum(place.length_ms for place in places)
    first = ", ".join(f"{clock(place.at_ms)} ({place.length_ms} ms)" for place in places[:5])
    more = f" and {len(places) - 5:,} more" if len(places) > 5 else ""
    return f"{len(places):,}, {total_ms:,} ms in all: {first}{more}"
