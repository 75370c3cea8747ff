"""A listing holds what was listed, once each and in order, whatever comes in."""

import tracemalloc

import pytest

from call_archive.recording.listing import FragmentListing, ListedFragment

NUMBER = 91343852333181452199722691208580038832309429352


def fragment(sequence: int) -> ListedFragment:
    return ListedFragment(NUMBER + (sequence << 92), 1_641_312_355_374 + sequence, 960, 33_000)


def test_listing_is_ascending_by_number_and_without_repeats() -> None:
    expected = [fragment(sequence) for sequence in range(100)]
    listed = [*expected, *expected[::3]]
    listed.sort(key=lambda listed: hash(listed.number) % 997)
    listing = FragmentListing(listed)
    assert list(listing) == expected
    assert len(listing) == 100


def test_numbers_are_compared_as_integers() -> None:
    short, long = ListedFragment(99, 1, 1, 1), ListedFragment(100, 1, 1, 1)
    assert list(FragmentListing([long, short])) == [short, long]


def test_what_is_listed_is_found() -> None:
    listing = FragmentListing([fragment(1), fragment(3)])
    assert NUMBER + (1 << 92) in listing
    assert NUMBER + (2 << 92) not in listing
    assert NUMBER + (3 << 92) + 1 not in listing
    assert 0 not in listing
    assert NUMBER not in FragmentListing()


@pytest.mark.parametrize("server_ms", [0, 1, 2**44 - 1])
@pytest.mark.parametrize("duration_ms", [0, 1, 2**26 - 1])
@pytest.mark.parametrize("size_bytes", [0, 1, 2**28 - 1])
@pytest.mark.parametrize("producer_ms", [None, 0, 1_641_312_355_374])
def test_facts_of_any_size_stay_apart(
    server_ms: int, duration_ms: int, size_bytes: int, producer_ms: int | None
) -> None:
    listed = ListedFragment(10**127, server_ms, duration_ms, size_bytes, producer_ms)
    assert list(FragmentListing([listed])) == [listed]


def test_facts_that_cannot_be_do_not_spoil_the_number() -> None:
    (kept,) = FragmentListing([ListedFragment(NUMBER, -1, 2**60, -5)])
    assert kept == ListedFragment(NUMBER, 0, 2**26 - 1, 0)


def test_listing_of_twelve_hours_is_small() -> None:
    tracemalloc.start()
    try:
        listing = FragmentListing(map(fragment, range(43_000)))
        assert tracemalloc.get_traced_memory()[0] < 43_000 * 80
    finally:
        tracemalloc.stop()
    assert len(listing) == 43_000


def test_hole_in_a_listing_is_seen_from_half_a_second_on() -> None:
    whole = [ListedFragment(n, 1_000 * n, 1_000, 1) for n in range(1, 6)]
    assert not FragmentListing(whole).has_hole()
    assert FragmentListing([*whole[:2], *whole[3:]]).has_hole()
    late = [
        listed._replace(server_timestamp_ms=listed.server_timestamp_ms + 501) for listed in whole
    ]
    assert FragmentListing([whole[0], late[1]]).has_hole()
    nearly = late[1]._replace(server_timestamp_ms=late[1].server_timestamp_ms - 1)
    assert not FragmentListing([whole[0], nearly]).has_hole()


def test_listing_of_empty_and_of_long_fragments_has_no_hole() -> None:
    long = ListedFragment(1, 0, 10_000, 1)
    empty = ListedFragment(2, 3_000, 0, 1)
    after = ListedFragment(3, 10_200, 1_000, 1)
    assert not FragmentListing([long, empty, after]).has_hole()
    assert not FragmentListing().has_hole()


def test_what_two_pages_say_of_a_fragment_is_joined_to_the_most() -> None:
    """Pages overlap, and one of them may not know the facts."""
    known = ListedFragment(NUMBER, 1_641_312_355_374, 960, 33_000)
    unknown = ListedFragment(NUMBER, 0, 0, 0)
    assert list(FragmentListing([known, unknown])) == [known]
    assert list(FragmentListing([unknown, known, known])) == [known]


def test_hole_is_seen_without_lengths() -> None:
    listed = [ListedFragment(n, 960 * n, 0, 1) for n in range(1, 9)]
    assert not FragmentListing(listed).has_hole()
    assert FragmentListing([*listed[:3], *listed[4:]]).has_hole()


def test_times_that_repeat_or_go_back_are_no_hole() -> None:
    times = [1000, 1000, 960, 2000, 1500, 2960]
    listed = [ListedFragment(n, time_ms, 960, 1) for n, time_ms in enumerate(times)]
    assert not FragmentListing(listed).has_hole()
