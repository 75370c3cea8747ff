"""Whose audio: fragments with and without a ContactId, in every neighbourhood."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from call_archive.job import ArchiveJob
from call_archive.limits import MAX_HELD_FRAGMENTS
from call_archive.media.fragments import read_fragments
from call_archive.media.likeness import MediaFragment
from call_archive.recording.listing import ListedFragment
from call_archive.recording.selection import STOP_TOLERANCE_MS, ContactSelection, fragments_in_range

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


def select(
    job: ArchiveJob, *tags: frozenset[str], server_ms: Sequence[int | None] = ()
) -> tuple[list[int | None], ContactSelection]:
    """The places of the fragments that pass, from 0, and the counts."""
    times = [*server_ms, *([START_MS] * (len(tags) - len(server_ms)))]
    selection = ContactSelection(job)
    passed = selection.select(
        MediaFragment(
            fragment=EMPTY,
            number=place,
            server_timestamp_ms=time_ms,
            contact_ids=contact_ids,
            fault_code="",
        )
        for place, (contact_ids, time_ms) in enumerate(zip(tags, times, strict=True))
    )
    return [fragment.number for fragment in passed], selection


def media(place: int, contact_ids: frozenset[str]) -> MediaFragment:
    return MediaFragment(EMPTY, place, START_MS, contact_ids, "")


def counts(selection: ContactSelection) -> tuple[int, int, int]:
    return selection.accepted, selection.foreign, selection.untagged


# ------------------------------------------------------------------------------- tagged fragments


@pytest.mark.parametrize("job", [ENDS_AT_FRAGMENT, ENDS_AT_TIME])
def test_own_and_initial_contact_pass_and_foreign_ones_do_not(job: ArchiveJob) -> None:
    passed, selection = select(job, FOREIGN, OWN, FIRST, FOREIGN, OWN, FOREIGN)
    assert passed == [1, 2, 4]
    assert counts(selection) == (3, 3, 0)


@pytest.mark.parametrize(
    ("contact_ids", "passes"),
    [
        (OWN | FIRST, True),
        (OWN | FOREIGN, False),
        (FIRST | FOREIGN, False),
        (frozenset({"OWN"}), False),
        (frozenset({"own "}), False),
        (frozenset({"ow"}), False),
    ],
)
def test_every_contact_id_has_to_be_known(contact_ids: frozenset[str], passes: bool) -> None:
    passed, selection = select(ENDS_AT_FRAGMENT, contact_ids)
    assert passed == ([0] if passes else [])
    assert selection.foreign == (0 if passes else 1)


def test_a_fragment_of_two_contacts_ends_the_neighbourhood() -> None:
    passed, selection = select(ENDS_AT_FRAGMENT, OWN, OWN | FOREIGN, UNTAGGED)
    assert passed == [0]
    assert counts(selection) == (1, 1, 1)


def test_no_fragments() -> None:
    assert select(ENDS_AT_FRAGMENT)[0] == []


# ----------------------------------------------------------------------------- untagged fragments


BETWEEN = [
    (OWN, UNTAGGED, OWN),
    (OWN, UNTAGGED, UNTAGGED, OWN),
    (FIRST, UNTAGGED, OWN, UNTAGGED, FIRST),
]
TAILS = [(OWN, UNTAGGED), (OWN, UNTAGGED, UNTAGGED)]


@pytest.mark.parametrize(
    ("job", "tags"),
    [(ENDS_AT_FRAGMENT, tags) for tags in (*BETWEEN, *TAILS)]
    + [(ENDS_AT_TIME, tags) for tags in BETWEEN],
)
def test_untagged_fragments_beside_own_ones_pass(
    job: ArchiveJob, tags: Sequence[frozenset[str]]
) -> None:
    passed, selection = select(job, *tags)
    assert passed == list(range(len(tags)))
    assert counts(selection) == (len(tags), 0, 0)


@pytest.mark.parametrize("job", [ENDS_AT_FRAGMENT, ENDS_AT_TIME])
def test_leading_untagged_fragments_are_refused(job: ArchiveJob) -> None:
    passed, selection = select(job, UNTAGGED, UNTAGGED, OWN)
    assert passed == [2]
    assert counts(selection) == (1, 0, 2)


@pytest.mark.parametrize("job", [ENDS_AT_FRAGMENT, ENDS_AT_TIME])
def test_untagged_fragments_after_a_foreign_one_are_refused(job: ArchiveJob) -> None:
    passed, selection = select(job, OWN, FOREIGN, UNTAGGED, OWN)
    assert passed == [0, 3]
    assert counts(selection) == (2, 1, 1)


@pytest.mark.parametrize("job", [ENDS_AT_FRAGMENT, ENDS_AT_TIME])
def test_nothing_but_untagged_fragments_is_nothing(job: ArchiveJob) -> None:
    passed, selection = select(job, UNTAGGED, UNTAGGED)
    assert passed == []
    assert counts(selection) == (0, 0, 2)


def test_untagged_before_foreign_passes_where_the_stop_fragment_is_known() -> None:
    passed, selection = select(ENDS_AT_FRAGMENT, OWN, UNTAGGED, FOREIGN)
    assert passed == [0, 1]
    assert counts(selection) == (2, 1, 0)


def test_untagged_before_foreign_is_refused_where_only_a_time_is_known() -> None:
    passed, selection = select(ENDS_AT_TIME, OWN, UNTAGGED, UNTAGGED, FOREIGN, OWN)
    assert passed == [0, 4]
    assert counts(selection) == (2, 1, 2)


@pytest.mark.parametrize("tags", TAILS)
def test_an_untagged_tail_is_refused_where_only_a_time_is_known(
    tags: Sequence[frozenset[str]],
) -> None:
    passed, selection = select(ENDS_AT_TIME, *tags)
    assert passed == [0]
    assert selection.untagged == len(tags) - 1


@pytest.mark.parametrize(
    ("after", "passed"),
    [((UNTAGGED,), [0]), ((UNTAGGED, OWN), [0, 1, 2]), ((UNTAGGED, FOREIGN), [0])],
)
def test_behind_a_missing_fragment_an_own_one_has_to_follow(
    after: Sequence[frozenset[str]], passed: list[int]
) -> None:
    selection = ContactSelection(ENDS_AT_FRAGMENT)
    fragments = [media(number, tags) for number, tags in enumerate((OWN, *after))]

    def received() -> Iterator[MediaFragment]:
        yield fragments[0]
        selection.skip_missing()
        yield from fragments[1:]

    assert [fragments.index(fragment) for fragment in selection.select(received())] == passed


def test_a_late_fragment_with_the_contact_id_passes() -> None:
    passed, _ = select(ENDS_AT_TIME, OWN, OWN, server_ms=[START_MS, STOP_MS + 4000])
    assert passed == [0, 1]


def test_no_more_than_half_a_minute_waits_for_a_tag() -> None:
    held = MAX_HELD_FRAGMENTS
    passed, selection = select(ENDS_AT_TIME, OWN, *[UNTAGGED] * (held + 3), OWN)
    assert passed == [*range(held + 1), held + 4]
    assert counts(selection) == (held + 2, 0, 3)


def test_fragments_pass_as_soon_as_they_are_judged() -> None:
    """A call of hours is never gathered before the first fragment goes on."""
    selection = ContactSelection(ENDS_AT_FRAGMENT)
    own = MediaFragment(
        fragment=EMPTY,
        number=1,
        server_timestamp_ms=START_MS,
        contact_ids=OWN,
        fault_code="",
    )
    endless = iter(lambda: own, None)
    assert next(iter(selection.select(endless))) is own


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
