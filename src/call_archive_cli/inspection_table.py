"""An inspection as lines for a person: a row for each run of equal fragments, a line a contact.

Fragment numbers have 47 digits, of which neighbours share half: a row shows the end of its first
one, the line of a contact its first and its last one whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.markup import escape
from rich.table import Table

from call_archive.limits import MIN_TIMESTAMP_MS
from call_archive_cli.streams import moment
from call_archive_cli.words import clock, count

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from call_archive_cli.inspect import InspectedFragment, Inspection, Run

NUMBER_TAIL: Final = 7
CONTACT_HEAD: Final = 8
_TRACKS: Final = {"AUDIO_FROM_CUSTOMER": "from", "AUDIO_TO_CUSTOMER": "to"}
"""The customer's voice, and what the customer hears."""


def fragment_table(inspection: Inspection) -> Table:
    """A row for each run of fragments that differ in nothing but their time."""
    short = shorten(sorted(inspection.contacts))
    table = Table(box=None, pad_edge=False)
    for heading in ("fragments", "number", "contact", "starts", "length", "gap"):
        table.add_column(heading, no_wrap=True)
    table.add_column("tracks", overflow="fold")
    for run in inspection.runs:
        table.add_row(*_cells(run, short))
    return table


def contact_lines(inspection: Inspection) -> Iterator[str]:
    """Whose audio, from when, and the numbers by which it can be fetched."""
    if inspection.runs and inspection.runs[-1].last < inspection.figures.fragments:
        yield f"… up to fragment {inspection.figures.fragments:,}: --json has each of them"
    for contact_id, own in inspection.contacts.items():
        since = "" if own.start_ms is None else f" from {_moment(own.start_ms)}"
        yield (
            f"[bold]{escape(contact_id) or '(no ContactId)'}[/]: "
            f"{count(own.fragments, 'fragment')}, {clock(own.length_ms)}{since}"
        )
        if own.first:
            yield f"  first {own.first}"
            yield f"  last  {own.last}"


def shorten(contact_ids: Sequence[str]) -> dict[str, str]:
    """As much of each id's beginning as tells them apart, at least eight characters."""
    length = CONTACT_HEAD
    while len({contact_id[:length] for contact_id in contact_ids}) < len(contact_ids):
        length += 1
    return {contact_id: contact_id[:length] for contact_id in contact_ids}


def _cells(run: Run, short: dict[str, str]) -> tuple[str, ...]:
    fragment = run.fragment
    tail = fragment.number[-NUMBER_TAIL:]
    contacts = (short.get(name, name[:CONTACT_HEAD]) for name in fragment.contact_ids)
    return (
        str(run.first) if run.first == run.last else f"{run.first}-{run.last}",
        tail if tail == fragment.number else f"…{tail}",
        escape(" ".join(contacts)),
        "" if fragment.start_ms is None else _moment(fragment.start_ms).rpartition(" ")[2],
        clock(run.length_ms) if run.length_ms else "",
        f"{fragment.gap_ms:,} ms" if fragment.gap_ms else "",
        escape(_holds(fragment)),
    )


def _holds(fragment: InspectedFragment) -> str:
    if fragment.fault:
        return f"error document {fragment.fault}"
    if fragment.problem:
        return fragment.problem
    counts = set(fragment.samples.values())
    tracks = " ".join(
        f"{_TRACKS.get(name, name) or '(no name)'}={number}"
        + (f" ({fragment.samples.get(name, 0)} samples)" if len(counts) > 1 else "")
        for number, name in fragment.tracks.items()
    )
    cut = "cut off; " if fragment.ending == "truncated" else ""
    return cut + (tracks if fragment.samples else "no audio")


def _moment(at_ms: int) -> str:
    """A time of the day; a clock that does not count from 1970, as what it counts."""
    if at_ms < MIN_TIMESTAMP_MS:
        return clock(at_ms)
    return f"{moment(at_ms):%Y-%m-%d %H:%M:%S}.{at_ms % 1000:03}"
