"""What a KVS stream lists and delivers: the values that pass between adapter and pipeline."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

from call_archive.media.likeness import MediaFragment
from call_archive.reasons import Reason

LISTING_PAD_MS = 120_000
"""How far a listing extends beyond a range, which counts fragment starts on KVS's clock."""

HOLE_MS = 500
"""A time without a listed fragment: half the length of Connect's fragments."""


class ListedFragment(NamedTuple):
    """A fragment in the form in which ListFragments describes it.

    Attributes:
        server_timestamp_ms: when KVS received its beginning, ms since the epoch.
        duration_ms: the length that KVS states.
        producer_timestamp_ms: when it began by its producer's clock, which may count from
            anywhere; None if KVS does not say.
    """

    number: int
    server_timestamp_ms: int
    duration_ms: int
    size_bytes: int
    producer_timestamp_ms: int | None = None


def listing_start_ms(stream_arn: str, from_ms: int, to_ms: int) -> int:
    """Where a listing begins: never before the stream's creation, which its ARN gives.

    For a range that begins earlier, KVS may return nothing. A range that ends earlier stays
    unchanged: either its times or the ARN's are wrong, and KVS lists what it can.
    """
    created = stream_arn.rpartition("/")[2]
    created_ms = int(created) if created.isdecimal() else 0
    return created_ms if from_ms < created_ms < to_ms else from_ms


class FragmentListing:
    """Listed fragments once each, ascending by number, at 72 bytes a fragment.

    ListFragments gives them in no order, so all of them must be known before the first can be
    fetched: 43,000 for a call of 12 hours. Each is kept as one integer, the number in front.

    Attributes:
        uncertain_from: the first fragment that may be behind the range's end; None if none may.
    """

    def __init__(self, listed: Iterable[ListedFragment] = ()) -> None:
        self.uncertain_from: int | None = None
        self._packed = [_pack(fragment) for fragment in listed]
        self._packed.sort()
        # If overlapping pages describe a fragment differently, the last and largest is kept.
        repeats = [
            at
            for at, (packed, behind) in enumerate(pairwise(self._packed))
            if packed >> _FACTS_BITS == behind >> _FACTS_BITS
        ]
        for at in reversed(repeats):
            del self._packed[at]

    def __len__(self) -> int:
        return len(self._packed)

    def __iter__(self) -> Iterator[ListedFragment]:
        return map(_unpack, self._packed)

    def __contains__(self, number: int) -> bool:
        return self.place_of(number) is not None

    def place_of(self, number: int) -> int | None:
        """The fragment's index among those listed; None if it is not listed."""
        place = bisect_left(self._packed, number << _FACTS_BITS)
        is_there = place < len(self._packed) and self._packed[place] >> _FACTS_BITS == number
        return place if is_there else None

    def has_hole(self) -> bool:
        """Whether, by KVS's clock, a fragment may be missing between two that are listed."""
        return self.last_hole_ms() is not None

    def last_hole_ms(self) -> int | None:
        """Where, by KVS's clock, the last hole between two listed fragments ends; None without one.

        A fragment listed without a length is assumed to have the usual length.
        """
        hole_ms: int | None = None
        end_ms: int | None = None
        usual_ms: int | None = None
        for fragment in self:
            start_ms, length_ms = fragment.server_timestamp_ms, fragment.duration_ms
            if end_ms is not None and start_ms > end_ms + HOLE_MS:
                hole_ms = start_ms
            if not length_ms and usual_ms is None:
                usual_ms = self._usual_step_ms()
            end_ms = max(end_ms or 0, start_ms + (length_ms or usual_ms or 0))
        return hole_ms

    def _usual_step_ms(self) -> int:
        """How long after a fragment the next one begins: the median; 0 for fewer than two."""
        starts_ms = sorted({fragment.server_timestamp_ms for fragment in self})
        steps_ms = sorted(end - start for start, end in pairwise(starts_ms))
        return steps_ms[len(steps_ms) // 2] if steps_ms else 0


# With a number of 157 bits, as KVS's are, a packed fragment is an integer of 64 bytes.
_TIME_BITS, _DURATION_BITS, _SIZE_BITS = 44, 26, 28
_MOST_TIME, _MOST_DURATION, _MOST_SIZE = (
    (1 << bits) - 1 for bits in (_TIME_BITS, _DURATION_BITS, _SIZE_BITS)
)
_UNKNOWN = _MOST_TIME
_SIZE_AT = _TIME_BITS
_DURATION_AT = _SIZE_AT + _SIZE_BITS
_SERVER_TIME_AT = _DURATION_AT + _DURATION_BITS
_FACTS_BITS = _SERVER_TIME_AT + _TIME_BITS


def _pack(fragment: ListedFragment) -> int:
    """A fragment as one integer; a fact that is out of bounds becomes the bound."""
    number, server_ms, duration_ms, size_bytes, producer_ms = fragment
    return (
        number << _FACTS_BITS
        | min(max(server_ms, 0), _MOST_TIME) << _SERVER_TIME_AT
        | min(max(duration_ms, 0), _MOST_DURATION) << _DURATION_AT
        | min(max(size_bytes, 0), _MOST_SIZE) << _SIZE_AT
        | (_UNKNOWN if producer_ms is None else min(max(producer_ms, 0), _MOST_TIME))
    )


def _unpack(packed: int) -> ListedFragment:
    producer_ms = packed & _MOST_TIME
    return ListedFragment(
        packed >> _FACTS_BITS,
        packed >> _SERVER_TIME_AT & _MOST_TIME,
        packed >> _DURATION_AT & _MOST_DURATION,
        packed >> _SIZE_AT & _MOST_SIZE,
        None if producer_ms == _UNKNOWN else producer_ms,
    )


class ReceivedFragment(NamedTuple):
    """A fragment that KVS delivered.

    Attributes:
        is_cut_short: KVS delivered less of it than it lists, every time it was asked.
    """

    media: MediaFragment
    is_cut_short: bool = False


class MissingFragment(NamedTuple):
    """A listed fragment that KVS did not deliver, after every retry.

    Attributes:
        reason: why it is missing.
        may_improve: whether a retry in a minute can help.
    """

    number: int
    reason: Reason
    may_improve: bool


type FetchedFragment = ReceivedFragment | MissingFragment
