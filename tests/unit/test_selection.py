"""Whose audio: fragments with and without a ContactId, in every neighbourhood."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import pytest

from call_archive.job import ArchiveJob
from call_archive.limits import MAX_HELD_FRAGMENTS
from call_archive.media.fragments import read_fragments
from call_archive.media.likeness import MediaFragment
from call_archive.reasons import Code, Reason
from call_archive.recording.listing import ListedFragment, MissingFragment
from call_archive.recording.selection import (
    STOP_TOLERANCE_MS,
    ContactSelection,
    SelectionCounts,
    fragments_in_range,
)

START_MS = 1_767_258_000_000
STOP_MS = START_MS + 60_000
ENDS_AT_FRAGMENT = ArchiveJob(
    contact_id="own",
    initial_contact_id="first",
    instance_arn="arn:aws:connect:eu-west-2:123456789012:instance/i-1",
    stream_arn="arn:aws:kinesisvideo:eu-west-2:123456789012:stream/s/1640168106910",
    start_fragment_number=100,
    start_timestamp_ms=START_MS,
    stop_fragment_number=1000,
    stop_timestamp_ms=STOP_MS,
    requested_at_ms=STOP_MS + 10_000,
)
ENDS_AT_TIME = replace(ENDS_AT_FRAGMENT, stop_fragment_number=None)

(EMPTY,) = read_fragments([bytes.fromhex("1A45DFA3 80")])
OWN = frozenset({"own"})
FIRST = frozenset({"first"})
FOREIGN = frozenset({"someone-else"})
UNTAGGED: frozenset[str] = frozenset()
MISSING = None
"""A fragment that KVS lists and does not deliver."""

type Tags = frozenset[str] | None


def element(number: int, contact_ids: Tags) -> MediaFragment | MissingFragment:
    if contact_ids is None:
        return MissingFragment(number, Reason(Code.NOT_DELIVERED, "x"), may_improve=True)
    return MediaFragment(EMPTY, number, START_MS, contact_ids, "")


def select(
    job: ArchiveJob, *tags: Tags, stop: int | None = None, known_stop: int | None = None
) -> tuple[list[int | None], SelectionCounts]:
    """The places of the fragments that pass, from 0, and the counts; `stop` is a place, too."""
    if stop is not None:
        job = replace(job, start_fragment_number=0, stop_fragment_number=stop)
    selection = ContactSelection(job, known_stop=known_stop)
    passed = list(selection.select(element(number, ids) for number, ids in enumerate(tags)))
    return [fragment.number for fragment in passed], selection.counts


def refused(counts: SelectionCounts) -> tuple[int, int, int]:
    return counts.foreign, counts.untagged, counts.unproved


# ------------------------------------------------------------------------------- tagged fragments


@pytest.mark.parametrize("job", [ENDS_AT_FRAGMENT, ENDS_AT_TIME])
def test_own_and_initial_contact_pass_and_foreign_ones_do_not(job: ArchiveJob) -> None:
    passed, counts = select(job, FOREIGN, OWN, FIRST, FOREIGN, OWN, FOREIGN)
    assert passed == [1, 2, 4]
    assert (counts.accepted, counts.last, *refused(counts)) == (3, 4, 3, 0, 0)


@pytest.mark.parametrize(
    ("contact_ids", "passes", "contradicts"),
    [
        (OWN | FIRST, True, False),
        (OWN | FOREIGN, False, True),
        (FIRST | FOREIGN, False, True),
        (FOREIGN, False, False),
        (frozenset({"OWN"}), False, False),
        (frozenset({"own "}), False, False),
        (frozenset({"ow"}), False, False),
    ],
)
def test_every_contact_id_has_to_be_known(
    contact_ids: frozenset[str], passes: bool, contradicts: bool
) -> None:
    passed, counts = select(ENDS_AT_FRAGMENT, contact_ids)
    assert passed == ([0] if passes else [])
    assert counts.foreign == (not passes)
    assert counts.contradictory == contradicts


def test_a_fragment_of_two_contacts_ends_the_neighbourhood() -> None:
    passed, counts = select(ENDS_AT_FRAGMENT, OWN, OWN | FOREIGN, UNTAGGED, stop=2)
    assert passed == [0]
    assert (counts.contradictory, *refused(counts)) == (1, 1, 1, 1)


def test_no_fragments() -> None:
    assert select(ENDS_AT_FRAGMENT)[0] == []


# ----------------------------------------------------------------------------- untagged fragments


@pytest.mark.parametrize("job", [ENDS_AT_FRAGMENT, ENDS_AT_TIME])
@pytest.mark.parametrize(
    "tags",
    [
        (OWN, UNTAGGED, OWN),
        (OWN, UNTAGGED, UNTAGGED, OWN),
        (FIRST, UNTAGGED, OWN, UNTAGGED, FIRST),
    ],
)
def test_untagged_fragments_between_own_ones_pass(job: ArchiveJob, tags: Sequence[Tags]) -> None:
    passed, counts = select(job, *tags)
    assert passed == list(range(len(tags)))
    assert refused(counts) == (0, 0, 0)


@pytest.mark.parametrize("tail", [1, 2, 5])
def test_the_named_stop_fragment_accepts_what_waits(tail: int) -> None:
    passed, counts = select(ENDS_AT_FRAGMENT, OWN, OWN, *[UNTAGGED] * tail, stop=tail + 1)
    assert passed == list(range(tail + 2))
    assert refused(counts) == (0, 0, 0)


@pytest.mark.parametrize("stop", [3, 4, 999])
def test_an_untagged_fragment_before_a_strangers_is_refused_with_any_stop(stop: int) -> None:
    passed, counts = select(ENDS_AT_FRAGMENT, OWN, OWN, UNTAGGED, FOREIGN, UNTAGGED, stop=stop)
    assert passed == [0, 1]
    assert counts.foreign == 1
    assert counts.untagged == 2


def test_a_stop_that_is_not_in_the_stream_accepts_nothing() -> None:
    passed, counts = select(ENDS_AT_FRAGMENT, OWN, UNTAGGED, stop=5)
    assert passed == [0]
    assert refused(counts) == (0, 1, 1)


def test_a_missing_stop_fragment_accepts_what_waits_before_it() -> None:
    passed, counts = select(ENDS_AT_FRAGMENT, OWN, UNTAGGED, MISSING, stop=2)
    assert passed == [0, 1]
    assert refused(counts) == (0, 0, 0)


@pytest.mark.parametrize(
    ("behind", "expected"), [((), [0, 1]), ((UNTAGGED,), [0, 1]), ((UNTAGGED, OWN), [0, 1, 2, 3])]
)
def test_behind_the_named_stop_only_a_tag_accepts(
    behind: Sequence[Tags], expected: list[int]
) -> None:
    passed, _ = select(ENDS_AT_FRAGMENT, OWN, UNTAGGED, *behind, stop=1, known_stop=9)
    assert passed == expected


def test_a_stop_that_others_named_proves_no_ones_voice() -> None:
    passed, counts = select(ENDS_AT_TIME, OWN, UNTAGGED, known_stop=1)
    assert passed == [0]
    assert refused(counts) == (0, 1, 1)


@pytest.mark.parametrize("job", [ENDS_AT_FRAGMENT, ENDS_AT_TIME])
def test_leading_untagged_fragments_are_refused(job: ArchiveJob) -> None:
    passed, counts = select(job, UNTAGGED, UNTAGGED, OWN)
    assert passed == [2]
    assert refused(counts) == (0, 2, 2)


@pytest.mark.parametrize("job", [ENDS_AT_FRAGMENT, ENDS_AT_TIME])
def test_untagged_fragments_between_a_stranger_and_own_are_refused(job: ArchiveJob) -> None:
    passed, counts = select(job, OWN, FOREIGN, UNTAGGED, OWN)
    assert passed == [0, 3]
    assert refused(counts) == (1, 1, 1)


def test_an_untagged_fragment_behind_a_stranger_at_an_open_end_is_the_strangers() -> None:
    passed, counts = select(ENDS_AT_TIME, OWN, FOREIGN, UNTAGGED)
    assert passed == [0]
    assert refused(counts) == (1, 1, 0)


@pytest.mark.parametrize(("stop", "known_stop"), [(2, None), (None, 2)])
def test_an_untagged_fragment_behind_a_stranger_may_be_own_if_a_stop_says_so(
    stop: int | None, known_stop: int | None
) -> None:
    passed, counts = select(ENDS_AT_TIME, OWN, FOREIGN, UNTAGGED, stop=stop, known_stop=known_stop)
    assert passed == [0]
    assert refused(counts) == (1, 1, 1)


def test_an_untagged_fragment_between_two_strangers_is_not_missed() -> None:
    assert refused(select(ENDS_AT_FRAGMENT, OWN, FOREIGN, UNTAGGED, FOREIGN)[1]) == (2, 1, 0)


@pytest.mark.parametrize("job", [ENDS_AT_FRAGMENT, ENDS_AT_TIME])
def test_nothing_but_untagged_fragments_is_nothing(job: ArchiveJob) -> None:
    passed, counts = select(job, UNTAGGED, UNTAGGED)
    assert passed == []
    assert refused(counts) == (0, 2, 2)


def test_untagged_before_foreign_may_have_been_own() -> None:
    passed, counts = select(ENDS_AT_TIME, OWN, UNTAGGED, UNTAGGED, FOREIGN, OWN)
    assert passed == [0, 4]
    assert refused(counts) == (1, 2, 2)


@pytest.mark.parametrize("tail", [1, 2])
def test_an_untagged_tail_is_refused_if_only_a_time_is_known(tail: int) -> None:
    passed, counts = select(ENDS_AT_TIME, OWN, *[UNTAGGED] * tail)
    assert passed == [0]
    assert refused(counts) == (0, tail, tail)


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ((UNTAGGED,), [0]),
        ((UNTAGGED, OWN), [0, 2, 3]),
        ((UNTAGGED, FOREIGN), [0]),
        ((OWN, UNTAGGED), [0, 2, 3]),
    ],
)
def test_behind_a_missing_fragment_an_own_one_has_to_follow(
    after: Sequence[Tags], expected: list[int]
) -> None:
    passed, _ = select(ENDS_AT_FRAGMENT, OWN, MISSING, *after, stop=1 + len(after))
    assert passed == expected


def test_no_more_than_four_minutes_wait_for_a_tag() -> None:
    held = MAX_HELD_FRAGMENTS
    passed, counts = select(ENDS_AT_TIME, OWN, *[UNTAGGED] * (held + 3), OWN)
    assert passed == [*range(held + 1), held + 4]
    assert (counts.accepted, *refused(counts)) == (held + 2, 0, 3, 3)


def test_no_more_bytes_wait_for_a_tag_than_a_fragment_may_have() -> None:
    (large,) = read_fragments([EMPTY.document + bytes.fromhex("EC 10800000") + bytes(1 << 23)])
    untagged = MediaFragment(large, None, START_MS, UNTAGGED, "")
    own = untagged._replace(contact_ids=OWN)
    selection = ContactSelection(ENDS_AT_TIME)
    assert len(list(selection.select([own, untagged, untagged, own]))) == 3
    assert selection.counts.unproved == 1


def test_a_fragment_without_a_number_does_not_change_the_last() -> None:
    selection = ContactSelection(ENDS_AT_TIME)
    fragments = [element(7, OWN), MediaFragment(EMPTY, None, START_MS, OWN, "")]
    assert len(list(selection.select(fragments))) == 2
    assert selection.counts.last == 7


def test_fragments_pass_as_soon_as_they_are_judged() -> None:
    """A call of hours is never gathered before the first fragment goes on."""
    own = element(1, OWN)
    endless = itertools.repeat(own)
    assert next(iter(ContactSelection(ENDS_AT_FRAGMENT).select(endless))) is own


def test_reading_ahead_changes_no_verdict() -> None:
    """A missing fragment is an element of the stream: a buffer in front does not move it."""
    tags = (OWN, MISSING, UNTAGGED, FOREIGN, OWN, UNTAGGED, MISSING, UNTAGGED, OWN)
    ahead = [element(number, contact_ids) for number, contact_ids in enumerate(tags)]
    passed = list(ContactSelection(ENDS_AT_TIME).select(ahead))
    assert (
        [fragment.number for fragment in passed]
        == select(ENDS_AT_TIME, *tags)[0]
        == [
            0,
            4,
            5,
            7,
            8,
        ]
    )


# ------------------------------------------------------------------------------------------ range


def listed(number: int, server_ms: int = START_MS) -> ListedFragment:
    return ListedFragment(number, server_ms, 960, 32_000)


def numbers_in_range(job: ArchiveJob, *fragments: ListedFragment) -> list[int]:
    return [fragment.number for fragment in fragments_in_range(job, fragments)]


def test_the_range_includes_start_and_stop() -> None:
    numbers = [99, 100, 101, 999, 1000, 1001]
    assert numbers_in_range(ENDS_AT_FRAGMENT, *map(listed, numbers)) == [100, 101, 999, 1000]


def test_numbers_are_ordered_as_integers() -> None:
    # As strings, "1000" comes before "101", and "99" after both.
    assert numbers_in_range(ENDS_AT_FRAGMENT, *map(listed, [1000, 101, 999, 100])) == [
        100,
        101,
        999,
        1000,
    ]


def test_numbers_of_47_digits_keep_every_digit() -> None:
    start = 91343852333181452199722691208580038832309429352
    job = replace(ENDS_AT_FRAGMENT, start_fragment_number=start, stop_fragment_number=start + 1)
    assert numbers_in_range(job, *map(listed, [start + 2, start + 1, start, start - 1])) == [
        start,
        start + 1,
    ]


def test_a_fragment_that_is_listed_twice_counts_once() -> None:
    assert numbers_in_range(ENDS_AT_FRAGMENT, *map(listed, [200, 100, 200, 100])) == [100, 200]


def test_one_fragment_may_be_start_and_stop() -> None:
    job = replace(ENDS_AT_FRAGMENT, stop_fragment_number=100)
    assert numbers_in_range(job, *map(listed, [99, 100, 101])) == [100]


def test_the_stop_fragment_decides_where_it_is_known_not_the_time() -> None:
    late = STOP_MS + STOP_TOLERANCE_MS + 1
    assert numbers_in_range(ENDS_AT_FRAGMENT, listed(1000, late), listed(1001)) == [1000]


def test_without_a_stop_fragment_the_time_ends_the_range() -> None:
    fragments = [
        listed(99),
        listed(100),
        listed(5000, STOP_MS),
        listed(5001, STOP_MS + 5000),
        listed(5002, STOP_MS + 5001),
    ]
    assert numbers_in_range(ENDS_AT_TIME, *fragments) == [100, 5000, 5001]


def test_without_any_stop_the_request_ends_the_range() -> None:
    job = replace(ENDS_AT_TIME, stop_timestamp_ms=None)
    fragments = [listed(200, STOP_MS + 15_000), listed(300, STOP_MS + 15_001)]
    assert numbers_in_range(job, *fragments) == [200]


def test_an_own_fragment_beyond_the_stop_is_not_asked_for() -> None:
    assert numbers_in_range(ENDS_AT_FRAGMENT, listed(1001)) == []
