"""Which fragments belong to this contact: the ContactId tag proves it; all others are refused.

A KVS stream carries one call at a time and is reused for the next contact, and nothing in it marks
the end of a call. A fragment without a ContactId proves nothing by itself: it waits for the next
fragment with a tag. This contact's tag accepts the waiting fragments behind an own fragment;
another contact's tag refuses them. The job's stop fragment works like a tag, because Connect named
it: waiting fragments are accepted, if nothing is missing between them and an own fragment.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from call_archive.errors import StreamFaultError
from call_archive.job import ArchiveJob
from call_archive.limits import (
    MAX_FRAGMENT_BYTES,
    MAX_FRAGMENTS_PER_CALL,
    MAX_HELD_FRAGMENTS,
)
from call_archive.media.likeness import MediaFragment
from call_archive.reasons import Code
from call_archive.recording.ending import StretchEnd
from call_archive.recording.listing import FragmentListing, ListedFragment, MissingFragment


def fragments_in_range(
    job: ArchiveJob, listed: Iterable[ListedFragment], furthest: int = 0
) -> FragmentListing:
    """The listed fragments between start and stop, both inclusive, once each, by number.

    Args:
        job: the range.
        listed: what KVS lists, in any order.
        furthest: a fragment known to be in the range, whatever its time.

    Raises:
        StreamFaultError: there are more than a call can have.
    """
    stop = job.stop_fragment_number
    inside = FragmentListing(
        _limit(
            fragment
            for fragment in listed
            if fragment.number >= job.start_fragment_number
            and (stop is None or fragment.number <= stop)
        )
    )
    if stop is not None:
        return inside
    ending = StretchEnd(job.start_timestamp_ms, job.end_bound_ms, furthest)
    fitting = FragmentListing(ending.fit(inside))
    fitting.uncertain_from = ending.uncertain_from
    return fitting


def _limit(listed: Iterable[ListedFragment]) -> Iterator[ListedFragment]:
    """Counts the listed fragments as they arrive: all are needed before the first is fetched."""
    for count, fragment in enumerate(listed, start=1):
        if count > MAX_FRAGMENTS_PER_CALL:
            raise StreamFaultError(
                Code.TOO_MANY_FRAGMENTS,
                f"KVS lists more than {MAX_FRAGMENTS_PER_CALL} fragments in the job's range: "
                "check its start and stop",
            )
        yield fragment


class Wanted(Protocol):
    """Whose fragments are wanted, for example an ArchiveJob."""

    @property
    def contact_ids(self) -> frozenset[str]:
        """The ContactId tags that prove a fragment."""

    @property
    def stop_fragment_number(self) -> int | None:
        """The last fragment; None if only a time is known, or nothing yet."""


@dataclass(slots=True)
class SelectionCounts:
    """Counts of the fragments by their outcome.

    Attributes:
        accepted: passed on.
        foreign: refused because they carry another contact's id.
        contradictory: of the foreign ones, those that also carry this contact's id.
        untagged: refused because no ContactId proves them.
        unproved: of the untagged ones, those that may be this contact's. One that follows
            another contact behind an unknown end is not.
        last: the highest number that was accepted; 0 before there is one.
    """

    accepted: int = 0
    foreign: int = 0
    contradictory: int = 0
    untagged: int = 0
    unproved: int = 0
    last: int = 0


class ContactSelection:
    """Passes this contact's fragments on, in order, and counts the others.

    Attributes:
        counts: the outcome of the fragments so far.
    """

    def __init__(self, wanted: Wanted, *, known_stop: int | None = None) -> None:
        """Takes the proofs of a fragment.

        Args:
            wanted: whose fragments; its stop fragment proves the fragments that wait there.
            known_stop: a stop fragment that other messages have named. It proves nothing.
        """
        self.counts = SelectionCounts()
        self._wanted = wanted
        self._ends_exactly = wanted.stop_fragment_number is not None or known_stop is not None
        self._waiting = _Waiting()
        self._after_own = False
        self._after_stranger = 0

    def select(
        self, fragments: Iterable[MediaFragment | MissingFragment]
    ) -> Iterator[MediaFragment]:
        """Passes the contact's fragments on.

        Args:
            fragments: inside the searched range, ascending by number; those that are
                missing are named in their place.
        """
        stop = self._wanted.stop_fragment_number
        for fragment in fragments:
            if isinstance(fragment, MissingFragment):
                self._waiting.is_broken = True
            else:
                yield from self._judge(fragment)
            if stop is not None and fragment.number == stop:
                yield from map(self._accept, self._waiting.release_unbroken())
        self._refuse_waiting()
        if self._ends_exactly:
            self.counts.unproved += self._after_stranger

    def _judge(self, fragment: MediaFragment) -> Iterator[MediaFragment]:
        counts, own_ids = self.counts, self._wanted.contact_ids
        if not fragment.contact_ids:
            self._judge_untagged(fragment)
        elif fragment.contact_ids <= own_ids:
            counts.unproved += self._after_stranger
            self._after_stranger = 0
            self._after_own = True
            yield from map(self._accept, self._end_wait())
            yield self._accept(fragment)
        else:
            self._refuse_waiting()
            self._after_stranger = 0
            self._after_own = False
            counts.foreign += 1
            counts.contradictory += bool(fragment.contact_ids & own_ids)

    def _judge_untagged(self, fragment: MediaFragment) -> None:
        counts = self.counts
        if self._after_own and self._waiting.has_room(fragment):
            self._waiting.add(fragment)
            return
        counts.untagged += 1
        if counts.foreign and not self._after_own:
            self._after_stranger += 1
        else:
            counts.unproved += 1

    def _refuse_waiting(self) -> None:
        refused = len(self._end_wait())
        self.counts.untagged += refused
        self.counts.unproved += refused

    def _end_wait(self) -> list[MediaFragment]:
        """Returns the waiting fragments; from now on nothing is missing before those that wait."""
        waiting = self._waiting
        if waiting.fragments or waiting.is_broken:
            self._waiting = _Waiting()
        return waiting.fragments

    def _accept(self, fragment: MediaFragment) -> MediaFragment:
        self.counts.accepted += 1
        self.counts.last = fragment.number or self.counts.last
        return fragment


class _Waiting:
    """Untagged fragments behind an own one, until a tag or the stop fragment decides.

    Attributes:
        fragments: all of them, in order.
        is_broken: whether something is missing since the own fragment.
    """

    def __init__(self) -> None:
        self.fragments: list[MediaFragment] = []
        self.is_broken = False
        self._unbroken = 0
        self._bytes = 0

    def has_room(self, fragment: MediaFragment) -> bool:
        """Whether this much more may wait: waiting fragments are in memory."""
        return (
            len(self.fragments) < MAX_HELD_FRAGMENTS
            and self._bytes + len(fragment.fragment.document) <= MAX_FRAGMENT_BYTES
        )

    def add(self, fragment: MediaFragment) -> None:
        """Adds a fragment to the waiting ones."""
        self.fragments.append(fragment)
        self._bytes += len(fragment.fragment.document)
        if not self.is_broken:
            self._unbroken = len(self.fragments)

    def release_unbroken(self) -> list[MediaFragment]:
        """Returns the fragments directly behind the own one; the stop proves no others."""
        released = self.fragments[: self._unbroken]
        del self.fragments[: self._unbroken]
        self._unbroken = 0
        self.is_broken = True
        return released
