"""Whose audio: fragments with and without a ContactId, in every neighbourhood."""

import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import pytest

from call_archive.errors import StreamFaultError
from call_archive.job import ArchiveJob
from call_archive.limits import MAX_FRAGMENT_BYTES, MAX_FRAGMENTS_PER_CALL, MAX_HELD_FRAGMENTS
from call_archive.media.fragments import read_fragments
from call_archive.media.likeness import MediaFragment
from call_archive.reasons import Code, Reason
from call_archive.recording.ending import CLOCKS_DIFFER_MS, STOP_TOLERANCE_MS
from call_archive.recording.listing import (
    HOLE_MS,
    FragmentListing,
    ListedFragment,
    MissingFragment,
)
from call_archive.recording.selection import (
    ContactSelection,
    SelectionCounts,
    _limit,
    fragments_in_range,
)
from tests.support.arns import INSTANCE_ARN, STREAM_ARN

START_MS = 1_767_258_000_000
STOP_MS = START_MS + 60_000
ENDS_AT_FRAGMENT = ArchiveJob(
    contact_id="own",
    initial_contact_id="first",
    instance_arn=INSTANCE_ARN,
    stream_arn=STREAM_ARN,
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


def test_every_fragment_of_two_contacts_is_counted() -> None:
    both = OWN | FOREIGN
    counts = select(ENDS_AT_FRAGMENT, both, FOREIGN, both, OWN, both, FOREIGN)[1]
    assert (counts.foreign, counts.contradictory) == (5, 3)


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


def test_the_stop_proves_what_is_before_it_once() -> None:
    """A second fragment of its number is none that Connect named."""
    selection = ContactSelection(replace(ENDS_AT_FRAGMENT, stop_fragment_number=1))
    numbers = ((0, OWN), (1, UNTAGGED), (1, UNTAGGED), (1, UNTAGGED))
    passed = list(selection.select(element(number, tags) for number, tags in numbers))
    assert [fragment.number for fragment in passed] == [0, 1]
    assert refused(selection.counts) == (0, 2, 2)


def test_a_stop_behind_a_missing_fragment_proves_what_is_before_that() -> None:
    passed, counts = select(ENDS_AT_FRAGMENT, OWN, UNTAGGED, MISSING, UNTAGGED, UNTAGGED, stop=4)
    assert passed == [0, 1]
    assert refused(counts) == (0, 2, 2)


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


@pytest.mark.parametrize("count", [1, 2, 5])
def test_all_that_is_untagged_behind_a_stranger_may_be_own_if_a_stop_says_so(count: int) -> None:
    counts = select(ENDS_AT_FRAGMENT, OWN, FOREIGN, *[UNTAGGED] * count)[1]
    assert refused(counts) == (1, count, count)


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


@pytest.mark.parametrize(
    ("size_bytes", "fits"), [(MAX_FRAGMENT_BYTES // 2, 2), (MAX_FRAGMENT_BYTES // 3, 3)]
)
def test_no_more_bytes_wait_for_a_tag_than_a_fragment_may_have(size_bytes: int, fits: int) -> None:
    head = bytes.fromhex("1A45DFA3 80 EC")
    body_bytes = size_bytes - len(head) - 4
    document = head + (body_bytes | 0x1000_0000).to_bytes(4) + bytes(body_bytes)
    (large,) = read_fragments([document])
    assert len(large.document) == size_bytes
    untagged = MediaFragment(large, None, START_MS, UNTAGGED, "")
    own = untagged._replace(contact_ids=OWN)
    selection = ContactSelection(ENDS_AT_TIME)
    assert len(list(selection.select([own, *[untagged] * (fits + 1), own]))) == fits + 2
    assert selection.counts.unproved == 1


def test_a_fragment_without_a_number_does_not_change_the_last() -> None:
    selection = ContactSelection(ENDS_AT_TIME)
    fragments = [element(7, OWN), MediaFragment(EMPTY, None, START_MS, OWN, "")]
    assert len(list(selection.select(fragments))) == 2
    assert selection.counts.last == 7


def test_fragments_pass_as_soon_as_they_are_judged() -> None:
    """A call of hours is never gathered before the first fragment is passed on."""
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


def test_more_fragments_than_a_call_can_have_are_not_gathered() -> None:
    """KVS may list without end; as many as the longest call has are fine."""
    most = deque(_limit(itertools.repeat(listed(100), MAX_FRAGMENTS_PER_CALL)), maxlen=1)
    assert most == deque([listed(100)])
    with pytest.raises(StreamFaultError, match=r"range: check its start and stop$") as caught:
        deque(_limit(itertools.repeat(listed(100), MAX_FRAGMENTS_PER_CALL + 1)), maxlen=0)
    assert caught.value.code == Code.TOO_MANY_FRAGMENTS
    assert f"more than {MAX_FRAGMENTS_PER_CALL} fragments" in str(caught.value)
    assert not caught.value.retryable


def test_one_fragment_may_be_start_and_stop() -> None:
    job = replace(ENDS_AT_FRAGMENT, stop_fragment_number=100)
    assert numbers_in_range(job, *map(listed, [99, 100, 101])) == [100]


def test_the_stop_fragment_decides_where_it_is_known_not_the_time() -> None:
    late = STOP_MS + STOP_TOLERANCE_MS + 1
    assert numbers_in_range(ENDS_AT_FRAGMENT, listed(1000, late), listed(1001)) == [1000]


# -------------------------------------------------------------------------- an end that is a time


PRODUCER_AHEAD_MS = 1_000


def call(
    *,
    until_ms: int = 0,
    first_ms: int = -20_000,
    step_ms: int = 960,
    number: int = 100,
    lag_ms: int = 0,
    producer_ahead_ms: int | None = PRODUCER_AHEAD_MS,
    duration_ms: int = 0,
) -> list[ListedFragment]:
    """Fragments that start from `first_ms` until before `until_ms`, seen from the stop's time."""
    return [
        ListedFragment(
            number + place,
            STOP_MS + at_ms + lag_ms,
            duration_ms,
            32_000,
            None if producer_ahead_ms is None else STOP_MS + at_ms + producer_ahead_ms,
        )
        for place, at_ms in enumerate(range(first_ms, until_ms, step_ms))
    ]


def fit(*parts: list[ListedFragment], job: ArchiveJob = ENDS_AT_TIME) -> FragmentListing:
    return fragments_in_range(job, [fragment for part in parts for fragment in reversed(part)])


def test_a_tail_that_is_received_late_is_the_calls() -> None:
    """9 s on its way; its producer's time is before the stop."""
    whole = call()
    late = [
        fragment._replace(server_timestamp_ms=fragment.server_timestamp_ms + 9_000)
        for fragment in whole[-4:]
    ]
    listing = fit(whole[:-4], late)
    assert len(listing) == len(whole)
    assert listing.uncertain_from is None


def late_call(count: int, ahead_ms: int | None) -> tuple[ArchiveJob, list[ListedFragment]]:
    """A job and its call of `count` fragments, received 9 s after they were recorded."""
    first_ms = -count * 960
    # The event's time in the sample that AWS's users published: 242 ms before the first fragment.
    job = replace(ENDS_AT_TIME, start_timestamp_ms=STOP_MS + first_ms - 242)
    return job, call(first_ms=first_ms, lag_ms=9_000, producer_ahead_ms=ahead_ms)


@pytest.mark.parametrize("count", [1, 2, 3, 6, 12])
@pytest.mark.parametrize("ahead_ms", [-1_000, 0, 1_000])
def test_a_call_that_is_received_late_from_its_start_on_is_whole(count: int, ahead_ms: int) -> None:
    job, whole = late_call(count, ahead_ms)
    listing = fit(whole, job=job)
    assert list(listing) == whole
    assert listing.uncertain_from is None


@pytest.mark.parametrize("count", [1, 2, 3, 6, 12])
@pytest.mark.parametrize("ahead_ms", [-1_000, 0, 1_000])
def test_a_call_that_is_received_at_once_after_its_end_is_whole(count: int, ahead_ms: int) -> None:
    job, whole = late_call(count, ahead_ms)
    backlog = [
        fragment._replace(server_timestamp_ms=STOP_MS + 7_000 + place)
        for place, fragment in enumerate(whole)
    ]
    assert list(fit(backlog, job=job)) == backlog


@pytest.mark.parametrize("pause_ms", [2_000, 3_000, 4_900, 60_000])
@pytest.mark.parametrize("ahead_ms", [-1_000, 0, 1_000])
def test_of_late_calls_only_the_first_is_taken(pause_ms: int, ahead_ms: int) -> None:
    job, first = late_call(6, ahead_ms)
    second = call(
        first_ms=pause_ms,
        until_ms=pause_ms + 9_000,
        number=1000,
        lag_ms=9_000,
        producer_ahead_ms=ahead_ms,
    )
    assert list(fit(first, second, job=job)) == first


@pytest.mark.parametrize("ahead_ms", [None, -3_600_000, 3_600_000])
def test_a_clock_that_disagrees_with_the_start_proves_no_delay(ahead_ms: int | None) -> None:
    job, whole = late_call(12, ahead_ms)
    assert list(fit(whole, job=job)) == [
        fragment for fragment in whole if fragment.server_timestamp_ms <= STOP_MS + 5_000
    ]


@pytest.mark.parametrize("pause_ms", [1_700, 3_000, 4_900, 60_000])
@pytest.mark.parametrize("ahead_ms", [-1_000, 0, 1_000])
def test_a_stretch_that_begins_after_a_pause_is_not_taken(pause_ms: int, ahead_ms: int) -> None:
    first = call(producer_ahead_ms=ahead_ms)
    second = call(
        first_ms=pause_ms, until_ms=pause_ms + 9_000, number=1000, producer_ahead_ms=ahead_ms
    )
    listing = fit(first, second)
    assert list(listing) == first
    assert listing.uncertain_from is None


@pytest.mark.parametrize("pause_ms", [700, CLOCKS_DIFFER_MS])
def test_what_begins_right_after_the_stop_may_be_either(pause_ms: int) -> None:
    """One fragment is missing, or streaming has started again: nothing tells."""
    first = call(until_ms=-1_000)
    second = call(first_ms=pause_ms, until_ms=pause_ms + 9_000, number=1000)
    listing = fit(first, second)
    assert listing.uncertain_from == 1000
    assert [fragment.number for fragment in listing if fragment.number >= 1000] == [
        fragment.number
        for fragment in second
        if fragment.server_timestamp_ms <= STOP_MS + CLOCKS_DIFFER_MS
    ]


@pytest.mark.parametrize("producer_ahead_ms", [None, -STOP_MS])
def test_a_stretch_whose_clock_tells_nothing_is_in_doubt(producer_ahead_ms: int | None) -> None:
    """The producer's time is not listed, or counts from each stretch's beginning."""
    first = call(producer_ahead_ms=producer_ahead_ms)
    second = call(first_ms=3_000, until_ms=12_000, number=1000, producer_ahead_ms=producer_ahead_ms)
    if producer_ahead_ms is not None:
        second = [part._replace(producer_timestamp_ms=0) for part in second]
    listing = fit(first, second)
    assert listing.uncertain_from == 1000
    assert 1000 in listing
    assert 1006 not in listing


def moment(
    number: int,
    after_stop_ms: int,
    producer_ms: int | None = None,
    *,
    duration_ms: int = 0,
) -> ListedFragment:
    """Received so long after the stop; the producer's time is seen from the stop, too."""
    known_ms = None if producer_ms is None else STOP_MS + producer_ms
    return ListedFragment(number, STOP_MS + after_stop_ms, duration_ms, 32_000, known_ms)


def ends(*fragments: ListedFragment) -> tuple[list[int], int | None]:
    """The numbers behind a call until 1 s before the stop; and from where on they are in doubt."""
    listing = fit(call(until_ms=-1_500), list(fragments))
    return [one.number for one in listing if one.number >= 200], listing.uncertain_from


BEFORE_MS = max(one.server_timestamp_ms for one in call(until_ms=-1_500)) - STOP_MS
"""When the last fragment of that call was received."""


@pytest.mark.parametrize(("late_ms", "uncertain"), [(-1, None), (0, None), (1, 200)])
def test_what_begins_until_the_stop_is_in_no_doubt(late_ms: int, uncertain: int | None) -> None:
    """Even if a fragment is missing before it."""
    assert ends(moment(200, late_ms)) == ([200], uncertain)


def test_a_late_receipt_alone_does_not_end_the_range() -> None:
    """Without the producer's times a late one may be followed by one that is not late."""
    assert ends(moment(200, 9_000), moment(201, -500)) == ([201], None)
    assert ends(moment(200, 9_000), moment(201, 9_000), moment(202, -500)) == ([202], None)


def test_a_first_fragment_behind_the_stop_follows_nothing() -> None:
    """It begins the listing, so no hole is before it."""
    only = [moment(100, STOP_TOLERANCE_MS)]
    assert (list(fit(only)), fit(only).uncertain_from) == (only, None)


def test_a_first_fragment_that_is_received_late_does_not_end_the_range() -> None:
    first, *others = call(first_ms=-3_000)
    late = first._replace(server_timestamp_ms=STOP_MS + 9_000, producer_timestamp_ms=None)
    assert list(fit([late], others))[-len(others) :] == others


@pytest.mark.parametrize(("step_ms", "numbers"), [(-3_600_000, []), (0, []), (1, [200])])
def test_only_a_producers_clock_that_goes_on_tells_when_a_late_fragment_began(
    step_ms: int, numbers: list[int]
) -> None:
    last_ms = BEFORE_MS + PRODUCER_AHEAD_MS
    assert ends(moment(200, 9_000, last_ms + step_ms))[0] == numbers


@pytest.mark.parametrize(("ahead_ms", "numbers"), [(1_999, []), (2_000, []), (2_001, [200])])
def test_a_producers_clock_ahead_of_the_receipt_by_two_seconds_is_believed(
    ahead_ms: int, numbers: list[int]
) -> None:
    """Then the fragment begins another stretch, 3 s after the stop; if not, nothing decides."""
    received_ms = 3_000
    step_ms = received_ms + ahead_ms - BEFORE_MS
    fragment = moment(200, received_ms, BEFORE_MS + PRODUCER_AHEAD_MS + step_ms)
    assert ends(fragment) == (numbers, 200 if numbers else None)


@pytest.mark.parametrize("which", [5, 6])
def test_a_fragment_without_the_producers_time_ends_nothing(which: int) -> None:
    whole = call(until_ms=4_000)
    whole[which] = whole[which]._replace(producer_timestamp_ms=None)
    whole[-which] = whole[-which]._replace(producer_timestamp_ms=None)
    assert (list(fit(whole)), fit(whole).uncertain_from) == (whole, None)


@pytest.mark.parametrize("producer_ahead_ms", [None, PRODUCER_AHEAD_MS])
@pytest.mark.parametrize(("more_ms", "uncertain"), [(0, None), (1, 200)])
@pytest.mark.parametrize(
    ("step_ms", "duration_ms", "length_ms"),
    [(960, 0, 960), (960, 2_300, 2_300), (1_700, 960, 1_700)],
)
def test_a_hole_is_half_a_second_more_than_a_fragment_and_a_usual_step(
    producer_ahead_ms: int | None,
    more_ms: int,
    uncertain: int | None,
    step_ms: int,
    duration_ms: int,
    length_ms: int,
) -> None:
    """A usual step is one as long as the last two."""
    whole = call(
        until_ms=1,
        first_ms=-10 * step_ms,
        step_ms=step_ms,
        duration_ms=duration_ms,
        producer_ahead_ms=producer_ahead_ms,
    )
    at_ms = whole[-1].server_timestamp_ms - STOP_MS + length_ms + HOLE_MS + more_ms
    known_ms = None if producer_ahead_ms is None else at_ms + producer_ahead_ms
    assert at_ms > 0
    listing = fit(whole, [moment(200, at_ms, known_ms)])
    near = at_ms <= (CLOCKS_DIFFER_MS if uncertain and producer_ahead_ms else STOP_TOLERANCE_MS)
    assert (200 in listing) is near
    assert listing.uncertain_from == (uncertain if near else None)


def test_a_call_that_goes_on_is_taken_five_seconds_further() -> None:
    """The clocks differ, or the time is only that of a request in the middle of a call."""
    listing = fit(call(until_ms=30_000))
    starts_ms = [fragment.server_timestamp_ms - STOP_MS for fragment in listing]
    assert STOP_TOLERANCE_MS - 960 < starts_ms[-1] <= STOP_TOLERANCE_MS
    assert listing.uncertain_from is None


def test_a_hole_in_the_middle_of_a_call_ends_nothing() -> None:
    whole = call()
    assert list(fit(whole[:5], whole[15:])) == whole[:5] + whole[15:]


@pytest.mark.parametrize("jump_ms", [3_600_000, -3_600_000, -5_000])
def test_a_producers_clock_that_jumps_loses_no_tail(jump_ms: int) -> None:
    whole = call(until_ms=900)
    jumped = [
        part._replace(producer_timestamp_ms=(part.producer_timestamp_ms or 0) + jump_ms)
        for part in whole[10:]
    ]
    listing = fit(whole[:10], jumped)
    assert len(listing) == len(whole)
    assert listing.uncertain_from is None


def test_a_time_that_is_zero_ends_nothing() -> None:
    whole = call()
    whole[7] = whole[7]._replace(server_timestamp_ms=0)
    whole[12] = whole[12]._replace(producer_timestamp_ms=0)
    second = call(first_ms=4_000, until_ms=9_000, number=1000)
    assert list(fit(whole, second)) == whole


def test_fragments_of_ten_seconds_are_no_holes() -> None:
    whole = call(first_ms=-100_000, until_ms=1_000, step_ms=10_000)
    listing = fit(whole)
    assert list(listing) == whole
    assert listing.uncertain_from is None


def test_a_fragment_that_is_known_to_be_in_the_range_is_in_it() -> None:
    first, second = call(), call(first_ms=8_000, until_ms=12_000, number=1000)
    listing = fragments_in_range(ENDS_AT_TIME, [*first, *second], 1001)
    assert [fragment.number for fragment in listing][-2:] == [1000, 1001]


def test_without_any_stop_the_request_ends_the_range() -> None:
    job = replace(ENDS_AT_TIME, stop_timestamp_ms=None)
    listing = fit(call(until_ms=60_000), job=job)
    starts_ms = [fragment.server_timestamp_ms - STOP_MS for fragment in listing]
    assert 10_000 + STOP_TOLERANCE_MS - 960 < starts_ms[-1] <= 10_000 + STOP_TOLERANCE_MS


def test_an_own_fragment_beyond_the_stop_is_not_asked_for() -> None:
    assert numbers_in_range(ENDS_AT_FRAGMENT, listed(1001)) == []
