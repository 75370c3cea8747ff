"""A manifest and its figures in words and lines, for a person."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from rich.table import Table

MS_PER_MINUTE: Final = 60_000
_TRACK_NAMES: Final = {
    "AUDIO_FROM_CUSTOMER": "the customer",
    "AUDIO_TO_CUSTOMER": "what the customer hears",
}


def clock(duration_ms: int) -> str:
    """A length of time as H:MM:SS.mmm, without hours that are none."""
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


def manifest_lines(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a manifest says, as pairs of a heading and a text."""
    fragments = manifest["fragments"]
    yield "contact", manifest["contactId"]
    yield "recording", manifest["recordingUri"]
    yield "started", manifest["startedAt"]
    yield "length", f"{clock(manifest['durationMs'])} ({manifest['bytes']:,} bytes)"
    yield "channels", ", ".join(map(track_name, manifest["tracks"]))
    yield "complete", "yes" if manifest["complete"] else "NO"
    for reason in manifest["reasons"]:
        yield "because", reason
    refused = f"{fragments['foreign']:,} of other contacts, {fragments['untagged']:,} untagged"
    accepted = f"{fragments['accepted']:,} of {fragments['listed']:,} listed"
    yield "fragments", f"{accepted}; refused: {refused}"
    if fragments["missing"]:
        yield "missing", ", ".join(fragments["missing"])
    yield "gaps", _holes(manifest["gaps"])
    yield "overlaps", _holes(manifest["overlaps"])
    yield "sha256", manifest["sha256"]
    yield "archived", f"{manifest['archivedAt']} by {manifest['software']} ({manifest['trigger']})"


def manifest_table(manifest: Mapping[str, Any]) -> Table:
    """The lines of a manifest as a table without rules."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", justify="right")
    table.add_column(overflow="fold")
    for heading, text in manifest_lines(manifest):
        table.add_row(heading, text)
    return table


def _holes(holes: list[Mapping[str, Any]]) -> str:
    if not holes:
        return "none"
    total_ms = sum(hole["lengthMs"] for hole in holes)
    places = ", ".join(f"{clock(hole['atMs'])} ({hole['lengthMs']} ms)" for hole in holes[:5])
    more = f" and {len(holes) - 5:,} more" if len(holes) > 5 else ""
    return f"{len(holes):,}, {total_ms:,} ms in all: {places}{more}"
