"""A range of time → pages of fragment numbers, as ListFragments gives them.

Invariant: a token holds all that its page needs, so pages are valid on their own, and those of one
listing hold each fragment once, whatever arrives in the meantime.
"""

import base64
import binascii
import json
import random
import uuid
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from local.behaviour import Behaviour
from local.call import StoredFragment
from local.faults import invalid_argument
from local.stream import Stream

type Json = dict[str, Any]
type SelectorType = Literal["PRODUCER_TIMESTAMP", "SERVER_TIMESTAMP"]


@dataclass(frozen=True, slots=True)
class Selector:
    """A range of one of the two timestamps, both ends included, epoch milliseconds."""

    kind: SelectorType
    start_ms: int
    end_ms: int

    def selects(self, fragment: StoredFragment) -> bool:
        """Whether the fragment starts in the range."""
        # The range is on the starts of fragments: the one that covers the range's start is not in
        # it.
        at_ms = (
            fragment.server_timestamp_ms
            if self.kind == "SERVER_TIMESTAMP"
            else fragment.producer_timestamp_ms
        )
        return self.start_ms <= at_ms <= self.end_ms


@dataclass(frozen=True, slots=True)
class Page:
    """Where a listing continues; a token holds all of it, so a page needs no earlier page."""

    selector: Selector
    as_of_ms: int
    offset: int


def select_numbers(stream: Stream, page: Page, behaviour: Behaviour) -> list[int]:
    """All numbers of the listing that `page` is of, in the order in which its pages give them."""
    oldest_ms = stream.oldest_ms(page.as_of_ms)
    created_ms = int(stream.arn.rpartition("/")[2])
    if behaviour.empty_before_creation and page.selector.start_ms < created_ms:
        return []
    numbers = [
        number
        for number in stream.numbers
        if _listed_at_ms(fragment := stream.fragments[number], behaviour) <= page.as_of_ms
        and fragment.server_timestamp_ms >= oldest_ms
        and page.selector.selects(fragment)
        and number not in behaviour.unlisted_fragments
    ]
    if behaviour.list_order == "random":
        random.Random(behaviour.seed).shuffle(numbers)  # noqa: S311 - an order, not a secret
    return numbers


def _listed_at_ms(fragment: StoredFragment, behaviour: Behaviour) -> int:
    delay_ms = fragment.listing_delay_ms
    return fragment.server_end_ms + (behaviour.listing_delay_ms if delay_ms is None else delay_ms)


def build_entry(fragment: StoredFragment, behaviour: Behaviour) -> Json:
    """What ListFragments says of a fragment.

    Its length is from the start of its first block to the start of its last, as in published
    listings; for audio it was seen to be 0 throughout.
    """
    to_last_block_ms = fragment.duration_ms - fragment.last_block_ms
    return {
        "FragmentNumber": str(fragment.number),
        "FragmentSizeInBytes": fragment.size_bytes,
        "ProducerTimestamp": fragment.producer_timestamp_ms / 1000,
        "ServerTimestamp": fragment.server_timestamp_ms / 1000,
        "FragmentLengthInMilliseconds": (
            to_last_block_ms if behaviour.listed_lengths == "blocks" else 0
        ),
    }


def encode_token(stream: Stream, page: Page) -> str:
    """The NextToken for `page` of a listing of `stream`."""
    selector = page.selector
    content = [
        zlib.crc32(stream.arn.encode()),
        selector.kind,
        selector.start_ms,
        selector.end_ms,
        page.as_of_ms,
        page.offset,
        # botocore's paginator refuses a token that it has just had.
        uuid.uuid4().hex,
    ]
    return base64.b64encode(json.dumps(content).encode()).decode()


def decode_token(stream: Stream, token: str) -> Page:
    """The page of a NextToken, or a ServiceError."""
    try:
        content = json.loads(base64.b64decode(token, validate=True))
        checksum, kind, start_ms, end_ms, as_of_ms, offset, _ = content
    except (binascii.Error, ValueError, TypeError) as error:
        raise invalid_argument("NextToken is not valid.") from error
    if checksum != zlib.crc32(stream.arn.encode()):
        raise invalid_argument("NextToken belongs to another stream.")
    return Page(Selector(kind, start_ms, end_ms), as_of_ms, offset)


def decode_selector(selector: Mapping[str, Any]) -> Selector:
    """The API's FragmentSelector, or a ServiceError."""
    kind = selector.get("FragmentSelectorType")
    bounds = selector.get("TimestampRange") or {}
    if kind not in ("PRODUCER_TIMESTAMP", "SERVER_TIMESTAMP"):
        raise invalid_argument(f"FragmentSelectorType is not valid: {kind}")
    if "StartTimestamp" not in bounds or "EndTimestamp" not in bounds:
        raise invalid_argument("TimestampRange needs StartTimestamp and EndTimestamp.")
    start_ms, end_ms = epoch_ms(bounds["StartTimestamp"]), epoch_ms(bounds["EndTimestamp"])
    if end_ms < start_ms:
        raise invalid_argument("StartTimestamp must not be later than EndTimestamp.")
    return Selector(kind, start_ms, end_ms)


def epoch_ms(timestamp: float | str) -> int:
    """Milliseconds of a restJson1 timestamp: epoch seconds, or ISO 8601."""
    try:
        if isinstance(timestamp, str):
            return round(datetime.fromisoformat(timestamp).timestamp() * 1000)
        return round(timestamp * 1000)
    except (ValueError, TypeError) as error:
        raise invalid_argument(f"not a timestamp: {timestamp}") from error
