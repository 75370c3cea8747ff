"""The selection against a specification that looks at the whole stream at once."""

from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from call_archive.media.fragments import read_fragments
from call_archive.media.likeness import MediaFragment
from call_archive.reasons import Code, Reason
from call_archive.recording.listing import MissingFragment
from call_archive.recording.selection import ContactSelection

(EMPTY,) = read_fragments([bytes.fromhex("1A45DFA3 80")])
OWN_IDS = frozenset(("own", "first"))
REASON = Reason(Code.NOT_DELIVERED, "x")


@dataclass(frozen=True)
class Job:
    """Whose fragments are wanted."""

    stop_fragment_number: int | None
    contact_ids: frozenset[str] = OWN_IDS


TAGS = st.sampled_from(
    [
        None,
        frozenset[str](),
        frozenset[str](),
        frozenset(("own",)),
        frozenset(("first", "own")),
        frozenset(("x",)),
        frozenset(("x", "own")),
    ]
)
STREAMS = st.lists(TAGS, max_size=14)
"""The ContactIds of each fragment; None for a missing one. A place is a number."""
STOPS = st.none() | st.integers(0, 15)


def is_own(tags: frozenset[str]) -> bool:
    return bool(tags) and tags <= OWN_IDS


def specified(stream: Sequence[frozenset[str] | None], stop: int | None) -> list[int]:
    """Which fragments pass."""
    passed = []
    for place, tags in enumerate(stream):
        if tags is None:
            continue
        if tags:
            if is_own(tags):
                passed.append(place)
            continue
        before = [at for at in range(place) if stream[at]]
        after = [at for at in range(place, len(stream)) if stream[at]]
        if not before or not is_own(stream[before[-1]] or frozenset()):
            continue
        is_between = bool(after) and is_own(stream[after[0]] or frozenset())
        is_right_behind = None not in stream[before[-1] : place]
        stop_decides = (
            stop is not None
            and place <= stop < len(stream)
            and not (after and after[0] <= stop)
            and is_right_behind
        )
        if is_between or stop_decides:
            passed.append(place)
    return passed


@given(STREAMS, STOPS, STOPS)
def test_the_selection_is_as_specified(
    stream: list[frozenset[str] | None], stop: int | None, known_stop: int | None
) -> None:
    selection = ContactSelection(Job(stop), known_stop=known_stop)
    elements = [
        MissingFragment(number, REASON, may_improve=False)
        if tags is None
        else MediaFragment(EMPTY, number, None, tags, "")
        for number, tags in enumerate(stream)
    ]
    passed = list(selection.select(elements))
    assert [fragment.number for fragment in passed] == specified(stream, stop)
    counts = selection.counts
    delivered = [tags for tags in stream if tags is not None]
    assert counts.accepted == len(passed)
    assert counts.last == (passed[-1].number if passed else 0)
    assert counts.foreign == sum(not tags <= OWN_IDS for tags in delivered)
    assert counts.contradictory == sum(
        bool(tags & OWN_IDS) and not tags <= OWN_IDS for tags in delivered
    )
    assert counts.accepted + counts.foreign + counts.untagged == len(delivered)
    assert counts.unproved <= counts.untagged


@given(STREAMS, STOPS)
def test_what_is_not_missed_is_a_strangers(
    stream: list[frozenset[str] | None], stop: int | None
) -> None:
    """Untagged fragments that do not make a recording incomplete are behind a stranger's."""
    selection = ContactSelection(Job(stop))
    elements = (
        MediaFragment(EMPTY, number, None, tags, "")
        for number, tags in enumerate(stream)
        if tags is not None
    )
    list(selection.select(elements))
    counts = selection.counts
    tagged = [tags for tags in stream if tags]
    if all(map(is_own, tagged)):
        assert counts.unproved == counts.untagged
