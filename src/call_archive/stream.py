"""What a KVS stream lists and delivers; the values that pass between adapter and pipeline."""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from call_archive.matroska import MediaFragment


class ListedFragment(NamedTuple):
    """A fragment as ListFragments describes it.

    Attributes:
        server_timestamp_ms: when KVS received its beginning, ms since the epoch.
        duration_ms: the length that KVS states.
    """

    number: int
    server_timestamp_ms: int
    duration_ms: int
    size_bytes: int


class FragmentListing:
    """Listed fragments once each, ascending by number, at a hundred bytes a fragment.

    ListFragments gives them in no order, and all of them have to be there before the first can
    be fetched: 43,000 for a call of 12 hours.
    """

    def __init__(self, listed: Iterable[ListedFragment] = ()) -> None:
        numbers: list[int] = []
        facts = tuple(array("q") for _ in ListedFragment._fields[1:])
        for fragment in listed:
            numbers.append(fragment.number)
            for column, fact in zip(facts, fragment[1:], strict=True):
                column.append(fact)
        order = sorted(range(len(numbers)), key=numbers.__getitem__)
        order = [
            place
            for before, place in zip([None, *order], order, strict=False)
            if before is None or numbers[before] != numbers[place]
        ]
        self._numbers = [numbers[place] for place in order]
        self._facts = tuple(array("q", (column[place] for place in order)) for column in facts)

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[ListedFragment]:
        return map(ListedFragment, self._numbers, *self._facts)

    def __contains__(self, number: int) -> bool:
        place = bisect_left(self._numbers, number)
        return place < len(self._numbers) and self._numbers[place] == number


class ReceivedFragment(NamedTuple):
    """A fragment as KVS delivered it.

    Attributes:
        is_cut_short: KVS delivered less of it than it lists, every time it was asked.
    """

    media: MediaFragment
    is_cut_short: bool = False


class MissingFragment(NamedTuple):
    """A listed fragment that KVS did not deliver, after every retry.

    Attributes:
        reason: `CODE: text`.
        may_improve: whether asking again in a minute can help.
    """

    number: int
    reason: str
    may_improve: bool


type Delivery = ReceivedFragment | MissingFragment
