"""Which fragments are this contact's: the ContactId tag proves it, everything else is refused.

A KVS stream carries one call at a time and is used again for the next contact, and nothing in it
marks where a call ends. A fragment without a ContactId says nothing of its own: it is taken only
inside the job's range and between or right after fragments of this contact.

The range is inclusive. Where Connect named no stop fragment, the range's end is only a time, and
the next contact may already be inside it; behind a missing fragment, nobody knows what came
before. An untagged fragment is then held back, and taken only if one of this contact follows.
"""

from collections.abc import Iterable, Iterator
from typing import Protocol

from call_archive.errors import StreamFaultError
from call_archive.job import ArchiveJob
from call_archive.limits import MAX_FRAGMENTS_PER_CALL, MAX_HELD_FRAGMENTS
from call_archive.media.likeness import MediaFragment
from call_archive.reasons import Code
from call_archive.recording.listing import FragmentListing, ListedFragment

STOP_TOLERANCE_MS = 5_000
"""How long after the stop's time a fragment may start by KVS's clock, where only a time is known.

Its ContactId still has to prove it; Connect's clock and KVS's differ by about a second.
"""


def fragments_in_range(job: ArchiveJob, listed: Iterable[ListedFragment]) -> FragmentListing:
    """The listed fragments between start and stop, both inclusive, once each, by number.

    Raises:
        StreamFaultError: there are more than a call can have.
    """
    return FragmentListing(_limit(fragment for fragment in listed if _is_in_range(job, fragment)))


def _limit(listed: Iterable[ListedFragment]) -> Iterator[ListedFragment]:
    """Counts while they come: all of them have to be there before the first is fetched."""
    for count, fragment in enumerate(listed, start=1):
        if count > MAX_FRAGMENTS_PER_CALL:
            raise StreamFaultError(
                Code.TOO_MANY_FRAGMENTS,
                f"KVS lists more than {MAX_FRAGMENTS_PER_CALL} fragments in the job's range: "
                "check its start and stop",
            )
        yield fragment


def _is_in_range(job: ArchiveJob, fragment: ListedFragment) -> bool:
    if fragment.number < job.start_fragment_number:
        return False
    if job.stop_fragment_number is not None:
        return fragment.number <= job.stop_fragment_number
    return fragment.server_timestamp_ms <= job.end_bound_ms + STOP_TOLERANCE_MS


class Wanted(Protocol):
    """Whose fragments: an ArchiveJob, for one."""

    @property
    def contact_ids(self) -> frozenset[str]:
        """The ContactId tags that prove a fragment."""

    @property
    def stop_fragment_number(self) -> int | None:
        """The last fragment; None where only a time is known, or nothing yet."""


class ContactSelection:
    """Lets this contact's fragments pass, in order, and counts the others.

    Attributes:
        accepted: fragments that passed.
        foreign: fragments refused because another contact's id is on them.
        untagged: fragments refused because no ContactId proves them.
        last: the number of the last fragment that passed; 0 before there is one.
    """

    def __init__(self, wanted: Wanted) -> None:
        self._contact_ids = wanted.contact_ids
        self._ends_exactly = wanted.stop_fragment_number is not None
        self._is_unbroken = self._ends_exactly
        self._after_own = False
        self._held: list[MediaFragment] = []
        self.accepted = 0
        self.foreign = 0
        self.untagged = 0
        self.last = 0

    def select(self, fragments: Iterable[MediaFragment]) -> Iterator[MediaFragment]:
        """Passes the contact's fragments on.

        Args:
            fragments: inside the job's range, ascending by number.
        """
        for fragment in fragments:
            if not fragment.contact_ids:
                yield from self._judge_untagged(fragment)
            elif fragment.contact_ids <= self._contact_ids:
                yield from self._release()
                self._after_own = True
                self._is_unbroken = self._ends_exactly
                yield self._accept(fragment)
            else:
                self._refuse_held()
                self._after_own = False
                self.foreign += 1
        self._refuse_held()

    def skip_missing(self) -> None:
        """Says that a fragment is missing here: what follows is not right after anything."""
        self._is_unbroken = False

    def _judge_untagged(self, fragment: MediaFragment) -> Iterator[MediaFragment]:
        if not self._after_own:
            self.untagged += 1
        elif self._is_unbroken:
            yield self._accept(fragment)
        elif len(self._held) == MAX_HELD_FRAGMENTS:
            self.untagged += 1
        else:
            self._held.append(fragment)

    def _release(self) -> Iterator[MediaFragment]:
        """Passes on what was held back, now that this contact's fragments are on both sides."""
        for fragment in self._held:
            yield self._accept(fragment)
        self._held.clear()

    def _refuse_held(self) -> None:
        self.untagged += len(self._held)
        self._held.clear()

    def _accept(self, fragment: MediaFragment) -> MediaFragment:
        self.accepted += 1
        self.last = fragment.number or self.last
        return fragment
