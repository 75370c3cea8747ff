"""A manifest → marks: one loss, one mark, one sentence."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from call_archive.recording.manifest import Manifest, read_manifest
from call_archive_cli.report.marks import Mark, build_marks, summary
from tests.report.conftest import STARTED_MS, fragment_number, manifest

CUSTOMER, AGENT = "AUDIO_FROM_CUSTOMER", "AUDIO_TO_CUSTOMER"
DURATION_MS = 10_000


def described(
    *,
    missing: list[str] | None = None,
    tracks: tuple[str, ...] = (CUSTOMER, AGENT),
    **changes: Any,
) -> Manifest:
    document = manifest(tracks, DURATION_MS, **changes)
    document["fragments"]["missing"] = missing or []
    return read_manifest(document)


def hole(at_ms: int, length_ms: int, track: str) -> dict[str, Any]:
    return {"atMs": at_ms, "lengthMs": length_ms, "track": track}


def number(at_ms: int) -> str:
    """The number of a fragment that begins there; the call's last one begins at 9 s."""
    return fragment_number(STARTED_MS + at_ms)


def one(marks: list[Mark]) -> Mark:
    (mark,) = marks
    return mark


def test_one_lost_fragment_is_one_mark_with_one_sentence() -> None:
    lost = number(4800)
    mark = one(
        build_marks(
            described(missing=[lost], gaps=[hole(4800, 960, CUSTOMER), hole(4800, 960, AGENT)])
        )
    )
    assert mark == Mark(
        "lost",
        4800,
        960,
        [0, 1],
        f"fragment …{lost[-4:]} was not delivered: 0.96 s of silence at 0:04.800, both sides",
    )


@pytest.mark.parametrize("off_ms", [-900, -300, 300, 900])
def test_the_servers_clock_is_not_exact(off_ms: int) -> None:
    gaps = [hole(4800, 960, CUSTOMER), hole(4816, 944, AGENT)]
    mark = one(build_marks(described(missing=[number(4800 + off_ms)], gaps=gaps)))
    assert (mark.kind, mark.start_ms, mark.length_ms) == ("lost", 4800, 960)


def test_fragments_in_a_row_are_one_mark() -> None:
    lost = [number(4000), number(5000)]
    gaps = [hole(4000, 1920, CUSTOMER), hole(4000, 1920, AGENT)]
    mark = one(build_marks(described(missing=lost, gaps=gaps)))
    assert mark.text == (
        f"fragments …{lost[0][-4:]} and …{lost[1][-4:]} were not delivered: 1.92 s of silence at "
        "0:04.000, both sides"
    )


def test_two_losses_are_two_marks() -> None:
    lost = [number(2000), number(7000)]
    gaps = [hole(at, 960, track) for at in (2000, 7000) for track in (CUSTOMER, AGENT)]
    marks = build_marks(described(missing=lost, gaps=gaps))
    assert [(mark.kind, mark.start_ms) for mark in marks] == [("lost", 2000), ("lost", 7000)]
    assert summary(marks) == "2 places with lost audio"


def test_a_gap_of_one_side_says_whose() -> None:
    mark = one(build_marks(described(gaps=[hole(3000, 500, AGENT)])))
    assert (mark.kind, mark.channels) == ("gap", [1])
    assert mark.text == (
        "no audio was sent: 0.5 s of silence at 0:03.000, what the customer hears only"
    )


def test_a_recording_of_one_side_names_no_side() -> None:
    mark = one(build_marks(described(tracks=(CUSTOMER,), gaps=[hole(3000, 500, CUSTOMER)])))
    assert mark.text == "no audio was sent: 0.5 s of silence at 0:03.000"


def test_an_overlap() -> None:
    mark = one(build_marks(described(overlaps=[hole(1000, 64, CUSTOMER)])))
    assert (mark.kind, mark.start_ms, mark.channels) == ("overlap", 1000, [0])
    assert mark.text == "0.064 s of audio came twice at 0:01.000, the customer only"


def test_a_lost_fragment_without_a_gap_has_a_place() -> None:
    mark = one(build_marks(described(missing=[number(9900)])))
    assert (mark.kind, mark.length_ms, mark.channels) == ("lost", 0, [0, 1])
    assert mark.start_ms == pytest.approx(9900, abs=100)


def test_a_number_that_tells_no_time_is_not_hidden() -> None:
    mark = one(build_marks(described(missing=["12"])))
    assert mark.text == "fragment …12 was not delivered: place unknown"


holes = st.lists(
    st.builds(
        hole,
        st.integers(0, DURATION_MS),
        st.integers(0, 5000),
        st.sampled_from([CUSTOMER, AGENT, "AUDIO_OF_NOBODY"]),
    ),
    max_size=6,
)


@given(
    gaps=holes,
    overlaps=holes,
    missing=st.lists(st.integers(-90_000, 90_000).map(number), max_size=6, unique=True),
)
def test_everything_is_marked_inside_the_recording(
    gaps: list[dict[str, Any]], overlaps: list[dict[str, Any]], missing: list[str]
) -> None:
    marks = build_marks(described(gaps=gaps, overlaps=overlaps, missing=missing))
    assert len(marks) <= len(gaps) + len(overlaps) + len(missing)
    assert all(0 <= mark.start_ms <= DURATION_MS for mark in marks)
    silent = {ms for gap in gaps for ms in (gap["atMs"], gap["atMs"] + gap["lengthMs"])}
    shown = [(mark.start_ms, mark.start_ms + mark.length_ms) for mark in marks]
    assert all(any(start <= ms <= end for start, end in shown) for ms in silent)
    assert bool(missing) <= any(mark.kind == "lost" for mark in marks)
